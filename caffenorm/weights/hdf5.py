"""`.caffemodel.h5` files: Caffe's HDF5 weights, read and written through h5py (extra `data`).

The file has a group `data`, in it a group for each layer, in it a dataset for each blob, named by its index;
gradients lie under `diff` in the same way. A blob that several layers share is stored with its owner only. A
slash in a layer's name makes groups within groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write
from caffenorm.errors import ConfigError, WeightsError, Where
from caffenorm.weights.encode import storable
from caffenorm.weights.files import open_weights
from caffenorm.weights.model import Array, LayerWeights, ModelWeights
from caffenorm.weights.sniff import HEAD, is_hdf5, what_else
from caffenorm.weights.wire import Source

_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_DEEPEST = 64  # groups within groups
_MOST_GROUPS = 100_000
_MOST_COMPRESSED = 1100  # deflate packs at best a thousand zeros into one byte


def read_hdf5(path: Pathish) -> ModelWeights:
    """Read a `.caffemodel.h5`.

    Returns:
        All layers that are groups of the file, in the order of their names. Their types are not in the file;
        `indices` tells which blobs a layer has, since shared ones are stored with their owner.

    Raises:
        MissingExtraError: h5py is not installed.
        WeightsError: there is no such file, it is no HDF5 file, it is damaged, or it is not laid out as
            Caffe's weights.
    """
    with open_weights(path) as (source, file):
        _check_is_hdf5(source, file)
    h5py = require("h5py", extra="data", to="read HDF5 weights")
    try:
        with h5py.File(file, "r") as opened:
            data = opened.get("data") if _is_hard(opened, "data", h5py) else None
            if not isinstance(data, h5py.Group):
                raise WeightsError(
                    "this HDF5 file has no group `data`: it holds no Caffe weights", Where(file)
                )
            layers = _Reader(h5py, file, source.size).read(data)
    except WeightsError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        UnicodeError,
    ) as error:  # what h5py raises
        raise WeightsError(f"this HDF5 file is cut off or damaged: {error}", Where(file)) from error
    if not layers:
        raise WeightsError("this HDF5 file holds no layers", Where(file))
    return ModelWeights(file, "HDF5", layers)


def write_hdf5(
    path: Pathish,
    blobs: Mapping[str, Sequence[NDArray[Any]]],  # Any: float32 or float64
    owned: Mapping[str, Sequence[bool]] | None = None,
    diffs: Mapping[str, Sequence[NDArray[Any]]] | None = None,
) -> None:
    """Write a `.caffemodel.h5` that Caffe reads; the file appears whole or not at all.

    Args:
        path: of the file.
        blobs: the values of all layers of the net by name; layers without blobs get a group too, as in
            Caffe's files.
        owned: by layer, which of its blobs are its own; the others are stored with the layer that they belong
            to. Layers that are not in it own all of theirs.
        diffs: gradients of the same shapes, to be stored too.

    Raises:
        MissingExtraError: h5py is not installed.
        ConfigError: a layer's name cannot be one in HDF5, the arrays do not fit, or the file cannot be
            written.
    """
    h5py = require("h5py", extra="data", to="write HDF5 weights")
    _check_names(blobs)
    trees = {"data": blobs} if diffs is None else {"data": blobs, "diff": diffs}
    with atomic_write(path, "w+b") as handle, h5py.File(handle, "w") as opened:
        for tree, arrays in trees.items():
            root = opened.create_group(tree)
            for name in blobs:
                group = root.require_group(name)
                values = arrays.get(name, ())
                own = (owned or {}).get(name, [True] * len(values))
                if len(own) != len(values) or len(values) != len(blobs[name]):
                    raise ConfigError(f'layer "{name}": the numbers of blobs, gradients and owners differ')
                for index, array in enumerate(values):
                    if own[index]:
                        group.create_dataset(
                            str(index), data=storable(array, f'layer "{name}", blob {index}')
                        )


def _check_is_hdf5(source: Source, file: str) -> None:
    head = source.span(0, min(HEAD, source.size))
    if not is_hdf5(head):
        other = what_else(head)
        raise WeightsError(f"this is {other}" if other else "this is no HDF5 file", Where(file))


def _check_names(names: Mapping[str, object]) -> None:
    """Refuse names that HDF5 would read as something else."""
    for name in names:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise ConfigError(f'a layer named "{name}" cannot be stored in HDF5; save a .caffemodel')
        above = "/".join(parts[:-1])
        if _INDEX.fullmatch(parts[-1]) and above in names:
            raise ConfigError(
                f'HDF5 cannot tell layer "{name}" from a blob of layer "{above}"; save a .caffemodel'
            )


def _is_hard(group: Any, name: str, h5py: Any) -> bool:  # Any: h5py has no types
    """Whether `name` is there and lies in this very file: links elsewhere are not followed."""
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


class _Reader:
    """Walks the groups of one file, each once: hard links may form rings."""

    def __init__(self, h5py: Any, file: str, size: int) -> None:  # Any: h5py has no types
        self._h5py = h5py
        self._file = file
        self._size = size
        self._seen: set[tuple[int, int]] = set()
        self._layers: list[LayerWeights] = []
        self._taken = 0

    def read(self, data: Any) -> list[LayerWeights]:  # Any: an h5py group
        todo = [(data, "", 0)]
        while todo:
            group, name, depth = todo.pop()
            info = self._h5py.h5o.get_info(group.id)
            place = (info.fileno, info.addr)
            if place in self._seen:
                continue
            self._seen.add(place)
            if depth > _DEEPEST or len(self._seen) > _MOST_GROUPS:
                raise WeightsError("the groups of this HDF5 file are too many or too deep", Where(self._file))
            below = self._take(group, name)
            todo += [(group[key], f"{name}/{key}" if name else key, depth + 1) for key in reversed(below)]
        return self._layers

    def _take(self, group: Any, name: str) -> list[str]:  # Any: an h5py group
        """Add the layer that a group is; return the names of the groups in it."""
        below, datasets = [], []
        for key in group:
            if not _is_hard(group, key, self._h5py):
                raise WeightsError(f'"{name}/{key}" is a link to somewhere else', Where(self._file))
            kind = group.get(key, getclass=True)
            if kind is self._h5py.Group:
                below.append(key)
            elif kind is self._h5py.Dataset and _INDEX.fullmatch(key):
                datasets.append(int(key))
        datasets.sort()
        if name and (datasets or not below):
            blobs = [self._values(group[str(index)], name, index) for index in datasets]
            self._layers.append(LayerWeights(name, "", blobs, [False] * len(blobs), datasets))
        return below

    def _values(self, dataset: Any, name: str, index: int) -> Array:  # Any: an h5py dataset
        where = Where(self._file, layer=name)
        if dataset.dtype.kind != "f" or dataset.shape is None:
            raise WeightsError(f"blob {index} holds {dataset.dtype} in place of floats", where)
        if dataset.is_virtual or dataset.external:
            raise WeightsError(f"blob {index} is stored in another file", where)
        packed = dataset.id.get_create_plist().get_nfilters() > 0
        stored = min(dataset.id.get_storage_size(), self._size)
        if dataset.size * dataset.dtype.itemsize > stored * (_MOST_COMPRESSED if packed else 1):
            raise WeightsError(
                f"blob {index} of shape {dataset.shape} has only {stored} bytes in the file", where
            )
        self._taken += stored
        if self._taken > self._size:
            raise WeightsError(f"blob {index} shares its bytes with other blobs of the file", where)
        values = np.empty(dataset.shape, "=f8" if dataset.dtype.itemsize > 4 else "=f4")
        if values.size:
            dataset.read_direct(values)
        return values
