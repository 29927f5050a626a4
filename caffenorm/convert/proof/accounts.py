"""Where everything went: each Caffe blob, each Caffe parameter, and each parameter and buffer in PyTorch.

Nothing is taken on trust from the rules: that two tensors are equal is found by comparing their bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.convert.parts import Program, Submodule
from caffenorm.convert.proof.copies import blob_names
from caffenorm.net import Net

Array = NDArray[Any]  # Any: float32, float64 or int64
_NORMS = ("BatchNorm", "SyncBatchNorm")
_STATISTICS = 3


@dataclass(frozen=True)
class BlobAccount:
    """A Caffe blob.

    Attributes:
        name: of it. shape: its. layer: that writes it last, empty for inputs.
        fate: "input", "kept", "copy", "folded" or "unused". why: more about it.
    """

    name: str
    shape: tuple[int, ...]
    layer: str
    fate: str
    why: str = ""


@dataclass(frozen=True)
class ParamAccount:
    """One of a Caffe layer's parameter blobs.

    Attributes:
        name: such as `conv1[0]`. layer_type: its layer's. shape: its.
        becomes: names in the module's state. fate: how it is found there, or that it is "unused".
    """

    name: str
    layer_type: str
    shape: tuple[int, ...]
    becomes: tuple[str, ...]
    fate: str


@dataclass(frozen=True)
class StateAccount:
    """A parameter or buffer of the module.

    Attributes:
        name: in the state dict. shape: its. origin: of Caffe's parameters, such as `conv1[0]`.
        how: "bit-equal" or what was done. exact: whether every bit is Caffe's.
    """

    name: str
    shape: tuple[int, ...]
    origin: tuple[str, ...]
    how: str
    exact: bool


@dataclass(frozen=True)
class Accounts:
    """All three."""

    blobs: tuple[BlobAccount, ...]
    params: tuple[ParamAccount, ...]
    state: tuple[StateAccount, ...]


@dataclass(frozen=True)
class _Stored:
    """A Caffe parameter blob with its name."""

    name: str
    kind: str
    index: int
    value: Array
    memory: int


def account(net: Net, program: Program) -> Accounts:
    """Account for everything.

    Args:
        net: the Caffe net. program: what has become of it.
    """
    state = tuple(_state(net, program))
    return Accounts(tuple(_blobs(net, program)), tuple(_params(net, state)), state)


def _blobs(net: Net, program: Program) -> Iterator[BlobAccount]:
    names = blob_names(net)
    writers = {names[id(blob)]: step for step in net.steps for blob in step.top}
    read = {names[id(blob)] for step in net.steps for blob in step.bottom}
    blobs = {names[id(blob)]: blob for step in net.steps for blob in (*step.bottom, *step.top)}
    for name, blob in blobs.items():
        step = writers.get(name)
        layer = step.layer.name if step is not None else ""
        if name in program.folded:
            yield BlobAccount(name, blob.shape, layer, "folded", program.folded[name])
        elif name in program.inputs:
            yield BlobAccount(name, blob.shape, layer, "input")
        elif step is not None and step.layer.type == "Split":
            yield BlobAccount(name, blob.shape, layer, "copy", f"the same as {names[id(step.bottom[0])]}")
        elif name not in read and name not in program.outputs:
            yield BlobAccount(name, blob.shape, layer, "unused", "no layer reads it, and it is no output")
        else:
            yield BlobAccount(name, blob.shape, layer, "kept", f"variable {program.variables[name]}")


def _params(net: Net, state: tuple[StateAccount, ...]) -> Iterator[ParamAccount]:
    users: dict[str, list[StateAccount]] = {}
    for entry in state:
        for origin in entry.origin:
            users.setdefault(origin, []).append(entry)
    first: dict[int, str] = {}
    for stored in _stored(net):
        owner = first.setdefault(stored.memory, stored.name)
        found = users.get(stored.name, [])
        if not found and owner != stored.name:
            fate = f"shared with {owner}"
            found = users.get(owner, [])
        elif not found:
            fate = "unused: nothing in the module is made of it"
        else:
            fate = next((entry.how for entry in found if entry.exact), found[0].how)
            if stored.kind in _NORMS and stored.index == _STATISTICS - 1:
                fate = "divides the sums before it"
        becomes = tuple(entry.name for entry in found)
        yield ParamAccount(stored.name, stored.kind, stored.value.shape, becomes, fate)


def _stored(net: Net, layers: tuple[str, ...] | None = None) -> list[_Stored]:
    """Parameter blobs of the net, or of these layers."""
    return [
        _Stored(f"{layer.name}[{i}]", layer.type, i, blob.read(), id(blob.data_memory))
        for layer in net.layers
        if layers is None or layer.name in layers
        for i, blob in enumerate(layer.blobs)
    ]


def _state(net: Net, program: Program) -> Iterator[StateAccount]:
    for part in program.submodules:
        stored = _stored(net, part.layers)
        taken: set[str] = set()
        for key, value in part.state.items():
            full = f"{part.name}.{key}" if key else part.name
            found = (
                _equal(value, stored, taken) or _statistic(key, value, stored) or _made(value, part, stored)
            )
            taken.update(found[0] if found[2] else ())
            if program.options.half and value.dtype.kind == "f":
                found = (
                    found[0],
                    f"{found[1].replace('bit-equal', 'equal')}, then rounded to float16",
                    False,
                )
            if full in program.shared:
                found = (found[0], f"{found[1]}; shared with {program.shared[full]}", found[2])
            yield StateAccount(full, value.shape, *found)


_Found = tuple[tuple[str, ...], str, bool]


def _equal(value: Array, stored: list[_Stored], taken: set[str]) -> _Found | None:
    """A blob with the very same bits, in this or another arrangement."""
    for fresh in (True, False):
        for blob in stored:
            if (blob.name in taken) == fresh or blob.value.size != value.size:
                continue
            if _bits(value) == _bits(blob.value):
                same = _squeezed(value.shape) == _squeezed(blob.value.shape)
                return (blob.name,), "bit-equal" if same else "bit-equal, in another shape", True
            if value.ndim == 2 and _bits(value.T) == _bits(blob.value):
                return (blob.name,), "bit-equal, transposed", True
    return None


def _bits(value: Array) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _statistic(key: str, value: Array, stored: list[_Stored]) -> _Found | None:
    """A batch norm's statistics: stored sums over the factor."""
    blobs = [blob for blob in stored if blob.kind in _NORMS][:_STATISTICS]
    if len(blobs) < _STATISTICS:
        return None
    factor = float(blobs[2].value.reshape(-1)[0])
    if key == "num_batches_tracked":
        if int(value) and int(value) == round(factor):
            return (blobs[2].name,), "the factor, as a count of batches", False
        return (), "starts at 0", False
    place = {"running_mean": 0, "running_var": 1}.get(key)
    if place is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        exact = blobs[place].value.reshape(-1).astype(np.float64) / factor if factor else np.zeros(value.size)
        close = np.allclose(exact, value.reshape(-1), rtol=1e-6, atol=0, equal_nan=True)
    if not close:
        return None
    how = f"divided by the factor {blobs[2].name} = {factor:.7g}" if factor else "0, as the factor is"
    return (blobs[place].name, blobs[2].name), how, False


def _made(value: Array, part: Submodule, stored: list[_Stored]) -> _Found:
    """Anything else: a constant, values in another order, or computed from all that the layers have."""
    flat = value.reshape(-1)
    if not part.layers:
        return (), "an option of the conversion", False
    if flat.size and (flat == flat[0]).all() and float(flat[0]) in (0.0, 1.0):
        return (), f"starts at {flat[0]:g}: Caffe's {' and '.join(part.layers)} have no such parameter", False
    for blob in stored:
        if blob.value.size == value.size and np.array_equal(np.sort(flat), np.sort(blob.value, axis=None)):
            return (blob.name,), "the same values in another order", True
        if 0 < value.size < blob.value.size and np.isin(flat, blob.value).all():
            return (blob.name,), "a part of it", True
    weights = next((blob for blob in stored if blob.value.size == value.size and value.ndim > 1), None)
    if weights is not None and _is_scaled(value, weights.value):
        norms = [blob.name for blob in stored if blob.kind in _NORMS and blob.index in (1, 2)]
        factors = [blob.name for blob in stored if blob.kind == "Scale" and blob.index == 0]
        return (weights.name, *norms, *factors), "each channel multiplied: a batch norm is folded in", False
    names = tuple(blob.name for blob in stored if blob is not _weights_of(stored) or len(stored) == 1)
    return names, "computed from these" if names else "not from Caffe", False


def _weights_of(stored: list[_Stored]) -> _Stored | None:
    """The weights of a layer that multiplies, from which no vector is computed."""
    return next((blob for blob in stored if blob.index == 0 and blob.value.ndim > 1), None)


def _is_scaled(value: Array, weights: Array) -> bool:
    """Whether every channel is the weights' times one number."""
    for axis in (0, 1):
        a = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).astype(np.float64)
        b = np.moveaxis(weights.reshape(value.shape), axis, 0).reshape(a.shape).astype(np.float64)
        ratio = (a * b).sum(1) / np.maximum((b * b).sum(1), np.finfo(np.float64).tiny)
        if np.allclose(a, b * ratio[:, None], rtol=0, atol=1e-5 * float(np.abs(a).max(initial=0.0))):
            return True
    return False
