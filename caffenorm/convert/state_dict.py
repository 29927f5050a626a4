"""Caffe's parameters under the names of a PyTorch class of your own, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write, read_bytes
from caffenorm.convert.state_match import Matcher, Pair, fits, fitted
from caffenorm.convert.state_modules import TRACKED, Array, Module, modules_of_net, modules_of_state
from caffenorm.errors import ConfigError, Where
from caffenorm.graph import near
from caffenorm.net import Net

Mapped = Mapping[str, str | None]
_FORMAT = "caffenorm mapping 1"


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


def match_state_dict(
    net: Net,
    state: Mapping[str, Any],  # Any: torch.Tensor or array
    mapping: Mapped | None = None,
) -> Match:
    """Put a net's parameters under the names of a state dict.

    Args:
        net: stays as it is.
        state: names with tensors (or arrays) of the right shapes, such as `model.state_dict()` of a class of
            your own; its values are not used.
        mapping: Caffe layer -> module, or `layer.role` -> full name; None for what is to have no counterpart.
            What it does not name is matched by name, shape and order.

    Returns:
        The new state, the mapping, and for every name why it was matched, or why not. BatchNorm and the Scale
        behind it are one module; a weight may be turned, or reshaped with its first axis kept.

    Raises:
        ConfigError: the mapping names what is not there, or what does not fit.
    """
    arrays, wrap = _as_arrays(state)
    matcher = _matched(net, arrays, mapping or {})
    match = Match({}, {})
    for pair in matcher.pairs:
        _collect(match, pair)
    _explain(match, matcher)
    match.state = {name: wrap(name, match.state[name]) for name in arrays if name in match.state}
    match.mapping = _mapping_of(matcher)
    return match


def load_state_dict(
    net: Net,
    state: Mapping[str, Any],  # Any: torch.Tensor or array
    mapping: Mapped | None = None,
) -> Match:
    """The other way: fill a net's parameters from a state dict, matched in the same way.

    BatchNorm's statistics are stored with a factor of 1, and keep their bits; where the net averages
    cumulatively (moving_average_fraction 1), with a factor of `num_batches_tracked`.

    Raises:
        ConfigError: the mapping names what is not there, or what does not fit.
    """
    arrays, _wrap = _as_arrays(state)
    matcher = _matched(net, arrays, mapping or {})
    match = Match({}, _mapping_of(matcher))
    for pair in matcher.pairs:
        _collect(match, pair)
        values: dict[str, Array] = {}
        for role, own in pair.ours.tensors.items():
            theirs = pair.theirs.tensors.get(role)
            if theirs is not None:
                back = theirs if role == TRACKED else fitted(theirs, own.shape)
                assert back is not None
                values[role] = back
            elif role != TRACKED:
                values[role] = np.full(own.shape, pair.ours.defaults[role], own.dtype)
        assert pair.ours.put is not None
        pair.ours.put(values)
    _explain(match, matcher)
    match.state = {}
    return match


def read_mapping(path: Pathish) -> dict[str, str | None]:
    """A mapping file.

    Raises:
        ConfigError: there is none, or it is not JSON of the right form.
    """
    where = Where(file=str(path))
    content = read_bytes(path, ConfigError, "a mapping")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"this is no JSON ({error})", where) from error
    names = said.get("names") if isinstance(said, dict) else None
    if not isinstance(names, dict) or any(
        value is not None and not isinstance(value, str) for value in names.values()
    ):
        raise ConfigError('a mapping is {"names": {"<Caffe layer>": "<module>" or null, ...}}', where)
    return names


def write_mapping(path: Pathish, mapping: Mapped, net: Net) -> None:
    """Write a mapping file, one line a name, to be read by people and changed by them."""
    with atomic_write(path, "w") as handle:
        json.dump(
            {"format": _FORMAT, "net": net.name, "names": dict(mapping)}, handle, indent=1, ensure_ascii=False
        )
        handle.write("\n")


def _as_arrays(state: Mapping[str, Any]) -> tuple[dict[str, Array], Any]:  # Any: tensors; a function
    """The values as arrays, and what makes an array what the value was: a tensor, and its dtype."""
    tensors = {name: value for name, value in state.items() if hasattr(value, "detach")}
    torch = require("torch", extra="torch", to="read PyTorch's state dicts") if tensors else None
    arrays: dict[str, Array] = {}
    for name, value in state.items():
        if name in tensors:
            assert torch is not None
            plain = value.detach().cpu()
            arrays[name] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
        elif hasattr(value, "shape"):
            arrays[name] = np.asarray(value)

    def wrap(name: str, array: Array) -> Any:
        if name not in tensors:
            return array
        assert torch is not None
        return torch.from_numpy(np.array(array)).to(tensors[name].dtype)

    return arrays, wrap


def _matched(net: Net, arrays: Mapping[str, Array], mapping: Mapped) -> Matcher:
    matcher = Matcher(modules_of_net(net), modules_of_state(arrays))
    given = _given(matcher, mapping)
    for ours, theirs in given:
        if theirs is None:
            matcher.ours.remove(ours)
            matcher.why[ours.name] = "the mapping says that it has no counterpart"
        else:
            matcher.take(ours, theirs, "mapping")
    skipped = [ours for ours, theirs in given if theirs is None]
    matcher.by_name()
    matcher.by_shape()
    matcher.by_size()
    matcher.pairs.sort(key=lambda pair: pair.ours.index)
    matcher.ours = sorted([*matcher.ours, *skipped], key=lambda module: module.index)
    return matcher


def _given(matcher: Matcher, mapping: Mapped) -> list[tuple[Module, Module | None]]:
    """The pairs that the mapping names, whole modules or tensor by tensor.

    Raises:
        ConfigError: lists all names that are not there, or do not fit.
    """
    ours = {module.name: module for module in matcher.ours}
    theirs = {module.name: module for module in matcher.theirs}
    own_names = {name: module for module in matcher.ours for name in module.names.values()}
    their_names = {name: module for module in matcher.theirs for name in module.names.values()}
    pairs: dict[int, tuple[Module, Module | None]] = {}
    pieces: dict[int, tuple[Module, dict[str, str]]] = {}
    faults: list[str] = []
    for key, value in mapping.items():
        mine = ours.get(key) or own_names.get(key)
        if mine is None:
            faults.append(f'"{key}" is no layer with parameters in the net{near(key, set(ours))}')
        elif value is None:
            pairs[id(mine)] = (mine, None)
        elif key in ours:
            yours = theirs.get(value)
            if yours is None:
                faults.append(f'"{key}": there is no module "{value}"{near(value, set(theirs))}')
            else:
                pairs[id(mine)] = (mine, yours)
        elif value not in their_names:
            faults.append(f'"{key}": there is no "{value}"{near(value, set(their_names))}')
        else:
            role = next(role for role, name in mine.names.items() if name == key)
            pieces.setdefault(id(mine), (mine, {}))[1][role] = value
    for mine, named in pieces.values():
        pairs[id(mine)] = (mine, _piece(matcher, named, their_names))
    for mine, found in pairs.values():
        if found is not None and not fits(mine, found):
            faults.append(f'"{mine.name}" {_shapes(mine)} does not fit "{found.name}" {_shapes(found)}')
    if faults:
        raise ConfigError("the mapping is wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return list(pairs.values())


def _piece(matcher: Matcher, named: Mapping[str, str], owners: Mapping[str, Module]) -> Module:
    """A module of the tensors that a mapping names one by one."""
    prefixes = {name.rpartition(".")[0] for name in named.values()}
    made = Module(
        prefixes.pop() if len(prefixes) == 1 else " and ".join(named.values()), len(matcher.theirs), {}, {}
    )
    for role, name in named.items():
        owner = owners[name]
        old = next(key for key, full in owner.names.items() if full == name)
        made.tensors[role], made.names[role] = owner.tensors.pop(old), owner.names.pop(old)
    matcher.theirs = [module for module in matcher.theirs if module.tensors]
    matcher.theirs.append(made)
    made.defaults = {"bias": 0.0} | ({"weight": 1.0} if made.is_norm else {})
    return made


def _shapes(module: Module) -> str:
    return "(" + ", ".join(f"{role} {list(shape)}" for role, shape in module.shapes) + ")"


def _collect(match: Match, pair: Pair) -> None:
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


def _explain(match: Match, matcher: Matcher) -> None:
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
        return f'nothing on the other side fits; "{like[0].name}" {_shapes(like[0])} comes nearest'
    return "nothing on the other side has its shapes"


def _mapping_of(matcher: Matcher) -> dict[str, str | None]:
    """By module where all roles have the same names, else by tensor."""
    mapping: dict[str, str | None] = {}
    for pair in matcher.pairs:
        ours, theirs = pair.ours, pair.theirs
        if all(name == f"{theirs.name}.{role}".removeprefix(".") for role, name in theirs.names.items()):
            mapping[ours.name] = theirs.name
        else:
            mapping |= {ours.names[role]: name for role, name in theirs.names.items() if role in ours.names}
    mapping |= {module.name: None for module in matcher.ours}
    return mapping
