"""Caffe's parameters under the names of a PyTorch class of your own, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from caffenorm._extras import require
from caffenorm.convert.state_files import Mapped
from caffenorm.convert.state_match import Matcher, fits, fitted
from caffenorm.convert.state_modules import TRACKED, Array, Module, modules_of_net, modules_of_state
from caffenorm.convert.state_result import Match, collect, explain, shapes_of
from caffenorm.errors import ConfigError
from caffenorm.graph import near
from caffenorm.net import Net


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
        collect(match, pair)
    explain(match, matcher)
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
        collect(match, pair)
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
    explain(match, matcher)
    match.state = {}
    return match


def _as_arrays(
    state: Mapping[str, Any],  # Any: torch.Tensor or array
) -> tuple[dict[str, Array], Callable[[str, Array], Any]]:
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
            faults.append(f'"{mine.name}" {shapes_of(mine)} does not fit "{found.name}" {shapes_of(found)}')
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
