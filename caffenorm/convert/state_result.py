"""What became of the names of a net and of a state dict, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffenorm.convert.state_match import Matcher, Pair, fitted
from caffenorm.convert.state_modules import TRACKED, Module


@dataclass(frozen=True)
class Row:
    """One tensor that both sides have.

    Attributes:
        caffe, theirs: its names. shape: theirs. how: why they are the same, and what was done to the values.
    """

    caffe: str
    theirs: str
    shape: tuple[int, ...]
    how: str


@dataclass(frozen=True)
class Unmatched:
    """One tensor without a counterpart.

    Attributes:
        side: "caffe" or "state dict". matters: whether something is lost (num_batches_tracked is not).
    """

    name: str
    side: str
    shape: tuple[int, ...]
    why: str
    matters: bool = True


@dataclass
class Match:
    """What became of a net's parameters and of a state dict's names.

    Attributes:
        state: their names -> Caffe's values in their shapes and dtypes, tensors where tensors were given.
            Names without a counterpart are left out, so that `load_state_dict` tells of them.
        mapping: Caffe layer (or `layer.role`) -> their module (or full name); None for what has none.
        rows, unmatched: every name of both sides, in order. doubts: pairs to look at.
    """

    state: dict[str, Any]  # Any: torch.Tensor or array
    mapping: dict[str, str | None]
    rows: list[Row] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything that matters has a counterpart."""
        return not any(one.matters for one in self.unmatched)

    def __str__(self) -> str:
        width = max((len(row.caffe) for row in self.rows), default=0)
        other = max((len(row.theirs) for row in self.rows), default=0)
        lines = [f"{len(self.rows)} tensors matched"]
        for row in self.rows:
            shape = "x".join(map(str, row.shape)) or "scalar"
            lines.append(f"  {row.caffe:{width}}  {row.theirs:{other}}  {shape:>15}  {row.how}".rstrip())
        for side, title in (("caffe", "in the net alone"), ("state dict", "in the state dict alone")):
            found = [one for one in self.unmatched if one.side == side and one.matters]
            if found:
                lines.append(f"{len(found)} {title}")
                lines += [f"  {one.name} {list(one.shape)}: {one.why}" for one in found]
        lines += [f"look at this: {doubt}" for doubt in self.doubts]
        return "\n".join(lines)


def shapes_of(module: Module) -> str:
    return "(" + ", ".join(f"{role} {list(shape)}" for role, shape in module.shapes) + ")"


def collect(match: Match, pair: Pair) -> None:
    """The tensors of a pair: their rows, and Caffe's values in the state."""
    ours, theirs = pair.ours, pair.theirs
    for role, name in theirs.names.items():
        target = theirs.tensors[role]
        own = ours.tensors.get(role)
        how = pair.how
        if own is None:
            value = np.full(target.shape, theirs.defaults.get(role, 0.0), target.dtype)
            if role != TRACKED:
                how += f", all {theirs.defaults.get(role, 0.0):g}: Caffe has none"
        elif role == TRACKED:
            value = own.reshape(target.shape)
        else:
            fit = fitted(own, target.shape)
            assert fit is not None
            value = fit
            if own.shape != target.shape:
                turned = own.ndim == 2 and own.shape[::-1] == target.shape and own.shape[0] != target.shape[0]
                how += f", {'turned' if turned else 'reshaped'} from {list(own.shape)}"
        match.state[name] = value.astype(target.dtype, copy=True)
        match.rows.append(Row(ours.names.get(role, f"{ours.name}.{role}"), name, target.shape, how))
    for role, name in ours.names.items():
        if role not in theirs.tensors and role != TRACKED:
            why = f"all {ours.defaults[role]:g}, so nothing is lost"
            match.unmatched.append(Unmatched(name, "caffe", ours.tensors[role].shape, why, matters=False))
    if pair.doubt:
        match.doubts.append(f'"{ours.name}" was taken for "{theirs.name}" by {pair.how}; {pair.doubt}')


def explain(match: Match, matcher: Matcher) -> None:
    """Why each tensor that is left has no counterpart."""
    taken: dict[str, list[Module]] = {
        "caffe": [pair.theirs for pair in matcher.pairs],
        "state dict": [pair.ours for pair in matcher.pairs],
    }
    left = {"caffe": matcher.theirs, "state dict": matcher.ours}
    for side, modules in (("caffe", matcher.ours), ("state dict", matcher.theirs)):
        for module in modules:
            why = matcher.why.get(module.name) or _reason(module, taken[side], left[side])
            for role, name in module.names.items():
                shape = module.tensors[role].shape
                match.unmatched.append(Unmatched(name, side, shape, why, matters=role != TRACKED))


def _reason(module: Module, taken: list[Module], left: list[Module]) -> str:
    """Why nothing on the other side is this module."""
    same = [other.name for other in taken if other.shapes == module.shapes]
    if same:
        listed = ", ".join(f'"{name}"' for name in same[:3]) + (", ..." if len(same) > 3 else "")
        return f"the {len(same)} of its shapes on the other side are taken: {listed}"
    main = max(module.tensors.values(), key=lambda value: value.size)
    like = [other for other in left if any(value.size == main.size for value in other.tensors.values())]
    if like:
        return f'nothing on the other side fits; "{like[0].name}" {shapes_of(like[0])} comes nearest'
    return "nothing on the other side has its shapes"
