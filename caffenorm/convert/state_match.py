"""Which module of a net is which of a state dict: by the user's mapping, by name, by shape and order.

Where several modules have the same shapes, order decides, which is that of execution here and that of the
state dict there. Shortcuts are kept apart where both sides have as many: they run before their block in most
Caffe nets and are listed after it in most PyTorch classes. Where only one side's names tell shortcuts, or a
name is more like another one, there is a doubt to look at.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from caffenorm.convert.state_modules import STATISTIC_ROLES, TRACKED, Array, Module

_SHORTCUT = re.compile(
    r"(?<![a-z])(downsample|shortcut|short|projection|skip|identity|sc)(?![a-z])"
    r"|branch1(?!\d)"
)
_WRAPPERS = ("module.", "model.", "net.", "backbone.")
_CLEARLY = 0.4  # of similarity: two pairs of names that would gain so much if they were swapped


@dataclass(frozen=True)
class Pair:
    """One module on both sides.

    Attributes:
        how: why they were taken for each other. doubt: what speaks against it, or empty.
    """

    ours: Module
    theirs: Module
    how: str
    doubt: str = ""


@dataclass
class Matcher:
    """Pairs modules up; what is left stays in `ours` and `theirs`.

    Attributes:
        why: name of a module of ours or theirs -> why several of its kind could not be told apart.
    """

    ours: list[Module]
    theirs: list[Module]
    pairs: list[Pair] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)

    def take(self, ours: Module, theirs: Module, how: str, doubt: str = "") -> None:
        """These two are one."""
        self.pairs.append(Pair(ours, theirs, how, doubt))
        self.ours.remove(ours)
        self.theirs.remove(theirs)

    def by_name(self) -> None:
        """Names that are the same but for dots, slashes and what wraps the model."""
        plain: defaultdict[str, list[Module]] = defaultdict(list)
        for theirs in self.theirs:
            plain[_plain(theirs.name)].append(theirs)
        for ours in list(self.ours):
            found = plain.get(_plain(ours.name), [])
            if len(found) == 1 and found[0] in self.theirs and fits(ours, found[0]):
                self.take(ours, found[0], "same name")

    def by_shape(self) -> None:
        """The same roles with the same shapes."""
        self._by_key(lambda module: (module.is_norm, module.shapes))

    def by_size(self) -> None:
        """What fits when it is turned or reshaped, or lacks what changes nothing: as many values to learn."""
        self._by_key(lambda module: (module.is_norm, _main_size(module)))

    def _by_key(self, key: Callable[[Module], object]) -> None:
        groups: defaultdict[object, tuple[list[Module], list[Module]]] = defaultdict(lambda: ([], []))
        for side, modules in enumerate((self.ours, self.theirs)):
            for module in modules:
                groups[key(module)][side].append(module)
        for ours, theirs in groups.values():
            for mine, yours in _kept_apart(ours, theirs):
                self._align(mine, yours)

    def _align(self, ours: Sequence[Module], theirs: Sequence[Module]) -> None:
        """Pair up modules that are alike; all are tried in order."""
        if not ours or not theirs:
            return
        how = "order" if len(ours) == len(theirs) else "order and name"
        if len(ours) == len(theirs) == 1:
            how = "only one that fits"
        chosen = _in_order(ours, theirs)
        for a, b in chosen:
            self.take(a, b, how, _doubt(a, b, chosen))
        if len(ours) != len(theirs):
            counts = f"there are {len(ours)} of its shapes in the net and {len(theirs)} in the state dict"
            taken = {id(module) for pair in chosen for module in pair}
            for module in (*ours, *theirs):
                if id(module) not in taken:
                    self.why[module.name] = counts


def fits(ours: Module, theirs: Module) -> bool:
    """Whether every tensor of one has its place in the other, or changes nothing."""
    for role in ours.tensors.keys() | theirs.tensors.keys():
        if role == TRACKED:
            continue
        mine, yours = ours.tensors.get(role), theirs.tensors.get(role)
        if mine is None:
            if role not in theirs.defaults:
                return False
        elif yours is None:
            if role not in ours.defaults:
                return False
        elif fitted(mine, yours.shape) is None:
            return False
    return bool(ours.tensors.keys() & theirs.tensors.keys())


def fitted(value: Array, shape: tuple[int, ...]) -> Array | None:
    """The values in that shape: as they are, reshaped where the first axis stays, or turned; None if not."""
    if value.shape == shape:
        return value
    size = int(np.prod(shape))
    plain = tuple(dim for dim in value.shape if dim != 1) == tuple(dim for dim in shape if dim != 1)
    if value.size == size and (plain or (value.ndim and len(shape) and value.shape[0] == shape[0])):
        return value.reshape(shape)
    return np.ascontiguousarray(value.T) if value.ndim == 2 and value.shape[::-1] == shape else None


def _main_size(module: Module) -> int:
    tensors = module.tensors
    for role in ("weight", STATISTIC_ROLES[0], *tensors):
        if role in tensors and not (module.is_norm and role == "weight"):
            return int(tensors[role].size)
    return 0


def _kept_apart(
    ours: Sequence[Module], theirs: Sequence[Module]
) -> Iterable[tuple[list[Module], list[Module]]]:
    """Shortcuts and the others, where both sides have as many shortcuts; else all together."""
    flags = [[_is_shortcut(module) for module in side] for side in (ours, theirs)]
    if sum(flags[0]) != sum(flags[1]):
        return [(list(ours), list(theirs))]
    return [
        (
            [module for module, found in zip(ours, flags[0], strict=True) if found is flag],
            [module for module, found in zip(theirs, flags[1], strict=True) if found is flag],
        )
        for flag in (False, True)
    ]


def _is_shortcut(module: Module) -> bool:
    return _SHORTCUT.search(module.name.lower()) is not None


def _in_order(ours: Sequence[Module], theirs: Sequence[Module]) -> list[tuple[Module, Module]]:
    """The most pairs that fit and stand in order on both sides; of those, the ones with names most alike."""
    straight = list(zip(ours, theirs, strict=False))
    if len(ours) == len(theirs) and all(fits(a, b) for a, b in straight):
        return straight
    # best[i, j]: what the first i of ours and the first j of theirs come to; a pair is worth more than names.
    worth = np.array(
        [
            [1 + similarity(a.name, b.name) / 4 / len(ours) if fits(a, b) else -np.inf for b in theirs]
            for a in ours
        ]
    )
    best = np.zeros((len(ours) + 1, len(theirs) + 1))
    for i in range(1, len(ours) + 1):
        for j in range(1, len(theirs) + 1):
            best[i, j] = max(best[i - 1, j], best[i, j - 1], best[i - 1, j - 1] + worth[i - 1, j - 1])
    pairs, i, j = [], len(ours), len(theirs)
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((ours[i], theirs[j]))
    return pairs[::-1]


def _doubt(ours: Module, theirs: Module, chosen: Sequence[tuple[Module, Module]]) -> str:
    """A shortcut on one side alone, where there are others to choose from; or names that should swap."""
    if len(chosen) > 1 and _is_shortcut(ours) != _is_shortcut(theirs):
        return "one of the two names speaks of a shortcut"
    own = similarity(ours.name, theirs.name)
    for other, taken in chosen:
        swapped = similarity(ours.name, taken.name) + similarity(other.name, theirs.name)
        if swapped > own + similarity(other.name, taken.name) + _CLEARLY:
            return f'its name is more like "{taken.name}"'
    return ""


@lru_cache(maxsize=1 << 16)
def similarity(first: str, second: str) -> float:
    """From 0 to 1, how alike two names are: their letters, and their numbers compared from the end on."""
    first, second = _plain(first), _plain(second)
    alike: float = difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
    ours, theirs = (re.findall(r"\d+", name)[::-1] for name in (first, second))
    if not ours or not theirs:
        return alike
    same = [a == b for a, b in zip(ours, theirs, strict=False)]
    shared = same.count(True) / max(len(ours), len(theirs))
    return (alike + shared) / 2


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
