"""Plain names for the blobs of a net, for files that hold named arrays: `<layer>.<role>`.

| layer | roles, in the order of its blobs |
| --- | --- |
| any with one or two blobs (Convolution, InnerProduct, Scale, PReLU ...) | weight, bias |
| Bias | bias |
| BatchNorm | mean_sum, var_sum, scale_factor, and weight, bias in forks |
| BN, InstanceNorm with running statistics | weight, bias, running_mean, running_var |
| anything else | the index of the blob, as in pycaffe's `net.params[layer][index]` |

The values are those that Caffe stores: the sums of BatchNorm are not divided by the factor, so that the way
back gives the same bits. A name is split at its last dot, so layers may be called anything; the roles of a
layer have one order, so that the index of a blob follows from the roles that are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.errors import WeightsError, Where
from caffenorm.weights.model import Array, LayerWeights, ModelWeights, some_names

_SUMS = ("mean_sum", "var_sum", "scale_factor")
_AFFINE = ("weight", "bias")
_AVERAGES = ("running_mean", "running_var")
_RANK = {role: rank for rank, role in enumerate((*_SUMS, *_AFFINE, *_AVERAGES))}
_INDEX = re.compile(r"0|[1-9][0-9]{0,2}")

_MOST_ARRAYS = 100_000  # the deepest nets have a few thousand; a file that has more was made to waste memory


def named_arrays(layers: Iterable[LayerWeights]) -> dict[str, Array]:
    """The blobs of all layers under their plain names; of layers of one name the last counts, as in Caffe."""
    last = {layer.name: layer for layer in layers}
    return {
        f"{layer.name}.{role}": _plain(layer, role, blob, legacy)
        for layer in last.values()
        for role, blob, legacy in zip(roles(layer), layer.blobs, layer.legacy, strict=True)
    }


def roles(layer: LayerWeights) -> tuple[str, ...]:
    """What the blobs of a layer are, by its type and by their sizes; HDF5 files hold no types."""
    sizes = [blob.size for blob in layer.blobs]
    kind = _spelled(layer.type)
    indices = tuple(str(index) for index in layer.indices)
    if list(layer.indices) != list(range(len(sizes))):
        return indices
    if kind in ("batchnorm", "bn", "syncbatchnorm", "") and len(sizes) >= 3:
        channels = sizes[0]
        if sizes[:3] == [channels, channels, 1] and sizes[3:] in ([], [channels], [channels] * 2):
            return (*_SUMS, *_AFFINE)[: len(sizes)]
    if kind in ("bn", "instancenorm") and len(sizes) == 4:
        return (*_AFFINE, *_AVERAGES)
    if kind == "bias" and len(sizes) == 1:
        return ("bias",)
    # Two blobs of an InstanceNorm may be its averages, and a BatchNorm of one or two is in no known form.
    return _AFFINE[: len(sizes)] if len(sizes) <= 2 and kind not in ("batchnorm", "instancenorm") else indices


def _spelled(kind: str) -> str:
    """A type as V2, V1 and V0 nets spell it, as one word."""
    plain = kind.replace("_", "").lower()
    return {"conv": "convolution"}.get(plain, plain)


def _plain(layer: LayerWeights, role: str, blob: Array, legacy: bool) -> Array:
    """Without the axes of 1 in front that blobs of old files were stored with."""
    kind = _spelled(layer.type)
    if not legacy or (role == "weight" and kind in ("convolution", "deconvolution")):
        return blob
    keep = 2 if role == "weight" and kind in ("innerproduct", "embed") else 1
    shape = blob.shape
    while len(shape) > keep and shape[0] == 1:
        shape = shape[1:]
    return blob.reshape(shape)


def model_of_arrays(
    arrays: Mapping[str, NDArray[Any]],  # Any: what a file holds
    file: str,
    form: str,
) -> ModelWeights:
    """Named arrays as a weights file: the layers in the order in which their names first come.

    Raises:
        WeightsError: a name or a type is none of ours; the message says which, and what the file may be.
    """
    if not arrays:
        raise WeightsError(f"this {form} file holds no arrays", Where(file))
    if len(arrays) > _MOST_ARRAYS:
        raise WeightsError(f"more than {_MOST_ARRAYS} arrays", Where(file))
    _check_names(arrays, file)
    found: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(".")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise WeightsError(f"{role} holds {array.dtype} in place of floats", Where(file, layer=layer))
        found.setdefault(layer, {})[role] = array if array.dtype.itemsize > 2 else array.astype(np.float32)
    return ModelWeights(file, form, [_layer(name, blobs, file) for name, blobs in found.items()])


def _check_names(names: Iterable[str], file: str) -> None:
    strange = [name for name in names if not _is_role(name)]
    if not strange:
        return
    roles_known = ", ".join((*_AFFINE, *_SUMS, *_AVERAGES))
    hint = ""
    if any(name.endswith(("num_batches_tracked", ".in_proj_weight")) for name in strange):
        hint = (
            "; it looks like a state dict of PyTorch, which `caffenorm convert --to caffemodel --map` reads"
        )
    verb = "is no name of a Caffe blob" if len(strange) == 1 else "are no names of Caffe blobs"
    raise WeightsError(
        f"{some_names(strange)} {verb}, which are <layer>.<role> with the roles {roles_known} and 0, 1, 2 "
        f"...{hint}",
        Where(file),
    )


def _is_role(name: str) -> bool:
    _, dot, role = name.rpartition(".")
    return bool(dot) and (role in _RANK or _INDEX.fullmatch(role) is not None)


def _layer(name: str, blobs: Mapping[str, Array], file: str) -> LayerWeights:
    numbered = [role for role in blobs if role not in _RANK]
    if numbered and len(numbered) < len(blobs):
        raise WeightsError(
            f"has blobs both by role and by index ({', '.join(blobs)}); name all in one way",
            Where(file, layer=name),
        )
    listed = sorted(blobs, key=int if numbered else _RANK.__getitem__)
    indices = [int(role) for role in listed] if numbered else list(range(len(listed)))
    kind = "BatchNorm" if set(_SUMS) <= blobs.keys() else ""
    return LayerWeights(name, kind, [blobs[role] for role in listed], [False] * len(listed), indices)
