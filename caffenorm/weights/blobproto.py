"""A stored blob in all its dialects -> an array of its own.

BVLC and most forks: `shape` 7 (old files: num, channels, height, width in 1 to 4), values in `data` 5
    (floats) or
`double_data` 8, packed as a rule, but one by one or packed in several chunks is the same to protobuf; diffs
(6, 9) are passed over. The others reuse numbers from 3 and from 10 on, and are told apart by the wire types
they leave:

| dialect | traits | values |
| --- | --- | --- |
| NVIDIA 0.16 on | 10 is a number: the type of 12 | `raw_data` 12, where neither 8 nor 5 has any |
| OpenCL branch | 13 is a number: the type of 11; 10 is a message | 8 or 5; `packed_data` 11 for half floats |
| C3D 1.0 | 5 is a number (width), 3 is the length of the clip | `data` 6 |
| video-caffe | 7777 is the length of the clip, beside num, channels, height, width | 5 |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffenorm.errors import WeightsError
from caffenorm.weights.model import Array
from caffenorm.weights.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Source,
    fields,
    read_varint,
    signed,
    varints,
)

_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA, _DIFF, _SHAPE, _DOUBLE_DATA = 1, 2, 3, 4, 5, 6, 7, 8
_NVIDIA_TYPE, _OPENCL_BYTES, _NVIDIA_BYTES, _OPENCL_TYPE, _VIDEO_LENGTH = 10, 11, 12, 13, 7777

_DATA_TAG, _SHAPE_TAG, _DIMS_TAG = _DATA << 3 | BYTES, _SHAPE << 3 | BYTES, 1 << 3 | BYTES

_MOST_AXES = 32  # Caffe's own limit
_MOST_PIECES = 1 << 14  # of one blob's values; a file that has more was made to waste memory
# Records of unpacked values looked at in one go: few at first, or many short runs would take quadratic time.
_FIRST_BLOCK, _LARGEST_BLOCK = 16, 1 << 20

_NUMBERS = {_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA, _NVIDIA_TYPE, _OPENCL_TYPE, _VIDEO_LENGTH}
_PIECES = {_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _OPENCL_BYTES, _NVIDIA_BYTES}
_UNPACKED = {(_DATA, FIXED32), (_DIFF, FIXED32), (_DOUBLE_DATA, FIXED64)}

_NVIDIA_TYPES = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}
_OPENCL_TYPES = {0: "<f4", 1: "<f2", 2: "<f8"}


class StoredBlob(NamedTuple):
    """A stored blob; `legacy` and the shape as in LayerWeights; `note` names a dialect, or is empty."""

    array: Array
    legacy: bool
    note: str


@dataclass
class _Found:
    """Where the parts of a blob lie: numbers by field, and (start, stop, unpacked values?) of the rest."""

    numbers: dict[int, int] = field(default_factory=dict)
    pieces: dict[int, list[tuple[int, int, bool]]] = field(default_factory=dict)
    count: int = 0

    def add(self, number: int, start: int, stop: int, unpacked: bool) -> None:
        self.count += 1
        if self.count > _MOST_PIECES:
            raise WeightsError(f"the values come in more than {_MOST_PIECES} pieces")
        self.pieces.setdefault(number, []).append((start, stop, unpacked))


def read_blob_message(source: Source, start: int, end: int) -> StoredBlob:
    """Read the blob whose message lies from `start` to `end`.

    Raises:
        WeightsError: it is damaged, its values do not fill its shape, or its values are of a type that is no
            number.
    """
    usual = _usual(source, start, end)
    if usual is not None:
        return usual
    found = _survey(source, start, end)
    c3d = _DATA in found.numbers and _DATA not in found.pieces
    values, note = _values(source, found, c3d)
    dims, legacy = _dims(source, found, c3d, values.size)
    if math.prod(dims) != values.size:
        size = f"{values.size} values" if values.size else "no values"
        raise WeightsError(f"shape {tuple(dims)} needs {math.prod(dims)} values, and the file holds {size}")
    try:
        return StoredBlob(values.reshape(dims), legacy, note)
    except (ValueError, OverflowError) as error:  # axes of 0 beside huge ones
        raise WeightsError(f"shape {tuple(dims)} cannot be: {error}") from error


def _usual(source: Source, start: int, end: int) -> StoredBlob | None:
    """The blob if it is just what BVLC's Caffe writes, one chunk of floats and a packed shape; else None.

    The general way would read it too; this takes a third of the time, and models have hundreds of such blobs.
    """
    data, base = source.window(start, end)
    i = start - base
    try:
        if data[i] != _DATA_TAG:
            return None
        length, i = read_varint(data, i + 1)
        values_start = base + i
        stop = values_start + length
        if not 4 <= end - stop <= 127:
            return None
        tail = source.span(stop, end)
        if (
            tail[0] != _SHAPE_TAG
            or tail[1] != len(tail) - 2
            or tail[2] != _DIMS_TAG
            or tail[3] != len(tail) - 4
        ):
            return None
        dims, i = [], 4
        while i < len(tail):
            dim, i = read_varint(tail, i)
            dims.append(dim)
    except IndexError:
        return None
    if math.prod(dims) * 4 != length or len(dims) > _MOST_AXES or not length:
        return None
    values = np.empty(length // 4, "<f4")
    source.fill(values, values_start)
    return StoredBlob(_native(values).reshape(dims), False, "")


def _survey(source: Source, start: int, end: int) -> _Found:
    """Note where everything is; runs of unpacked values are taken as a whole."""
    found = _Found()
    while start < end:
        for number, wire, value, stop in fields(source, start, end):
            if wire == BYTES and number in _PIECES:
                found.add(number, value, stop, False)
            elif wire == VARINT and number in _NUMBERS:
                found.numbers[number] = value
            elif (number, wire) in _UNPACKED:
                start = _end_of_run(source, value - 1, end, stop - value + 1, number << 3 | wire)
                found.add(number, value - 1, start, True)
                break
        else:
            return found
    return found


def _end_of_run(source: Source, start: int, end: int, record: int, tag: int) -> int:
    """The end of the records at `start`, of `record` bytes each, that begin with the byte `tag`."""
    if source.span(start, start + 1)[0] != tag:
        raise WeightsError(f"byte {start}: a tag longer than it needs to be")
    block = _FIRST_BLOCK
    while start + record <= end:
        count = min((end - start) // record, block)
        tags = np.frombuffer(source.span(start, start + count * record), np.uint8)[::record]
        others = np.flatnonzero(tags != tag)
        if others.size:
            return start + int(others[0]) * record
        start += count * record
        block = min(4 * block, _LARGEST_BLOCK)
    return start


def _values(source: Source, found: _Found, c3d: bool) -> tuple[Array, str]:
    """The values, flat, and a note if a dialect hid them somewhere unusual."""
    if _DOUBLE_DATA in found.pieces:
        return _gather(source, found.pieces[_DOUBLE_DATA], "<f8"), ""
    if c3d:
        return _gather(source, found.pieces.get(_DIFF, []), "<f4"), "the layout of C3D 1.0"
    if _DATA in found.pieces:
        return _gather(source, found.pieces[_DATA], "<f4"), ""
    if _OPENCL_TYPE in found.numbers and _OPENCL_BYTES in found.pieces:
        stored = _typed(source, found.pieces[_OPENCL_BYTES], _OPENCL_TYPES, found.numbers[_OPENCL_TYPE])
        return _as_floats(stored), f"packed {stored.dtype.name} values of Caffe's OpenCL branch"
    if _NVIDIA_TYPE in found.numbers and _NVIDIA_BYTES in found.pieces:
        stored = _typed(source, found.pieces[_NVIDIA_BYTES], _NVIDIA_TYPES, found.numbers[_NVIDIA_TYPE])
        return _as_floats(stored), f"raw {stored.dtype.name} values of NVIDIA's Caffe"
    return np.empty(0, np.float32), ""


def _gather(source: Source, pieces: list[tuple[int, int, bool]], dtype: str) -> Array:
    """Copy the pieces, packed chunks and unpacked runs, into one new array."""
    size = np.dtype(dtype).itemsize
    record = size + 1
    for start, stop, unpacked in pieces:
        if not unpacked and (stop - start) % size:
            raise WeightsError(f"{stop - start} bytes of values do not divide by {size}")
    counts = [(stop - start) // (record if unpacked else size) for start, stop, unpacked in pieces]
    values = np.empty(sum(counts), dtype)
    position = 0
    for (start, stop, unpacked), count in zip(pieces, counts, strict=True):
        part = values[position : position + count]
        if unpacked:
            records = np.frombuffer(source.span(start, stop), np.uint8).reshape(count, record)
            part.view(np.uint8).reshape(count, size)[...] = records[:, 1:]
        elif count:
            source.fill(part, start)
        position += count
    return _native(values)


def _typed(
    source: Source, pieces: list[tuple[int, int, bool]], types: dict[int, str], kind: int
) -> NDArray[Any]:  # Any: one of the types of the two tables
    """The bytes of the last piece as the type that `kind` stands for."""
    if kind not in types:
        raise WeightsError(f"the values are of type number {kind}, which is quantized or not known")
    start, stop, _ = pieces[-1]
    dtype = np.dtype(types[kind])
    if (stop - start) % dtype.itemsize:
        raise WeightsError(f"{stop - start} bytes of values do not divide by {dtype.itemsize}")
    values = np.empty((stop - start) // dtype.itemsize, dtype)
    if values.size:
        source.fill(values, start)
    return values


def _as_floats(values: NDArray[Any]) -> Array:  # Any: one of the types of the two tables
    """The values as float32, which holds every half float, or as doubles where they are."""
    return _native(values) if values.dtype.itemsize == 8 else values.astype(np.float32)


def _native(values: NDArray[Any]) -> Array:
    """The same values in this machine's byte order."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _dims(source: Source, found: _Found, c3d: bool, count: int) -> tuple[list[int], bool]:
    """The shape, and whether it comes without a shape message.

    Caffe: where num, channels, height or width is there, the four decide and `shape` is not looked at.
    """
    names: tuple[int, ...]
    if c3d:
        names, legacy = (_NUM, _CHANNELS, 3, 4, 5), True
    elif _VIDEO_LENGTH in found.numbers:
        names, legacy = (_NUM, _CHANNELS, _VIDEO_LENGTH, _HEIGHT, _WIDTH), True
    else:
        names = (_NUM, _CHANNELS, _HEIGHT, _WIDTH)
        legacy = any(number in found.numbers for number in names)
    if legacy:
        dims = [signed(found.numbers.get(number, 0)) for number in names]
    elif _SHAPE in found.pieces:
        dims = [dim for start, stop, _ in found.pieces[_SHAPE] for dim in _shape_message(source, start, stop)]
    else:
        dims, legacy = [count], True
    if len(dims) > _MOST_AXES:
        raise WeightsError(f"a shape of {len(dims)} axes; Caffe has at most {_MOST_AXES}")
    if any(dim < 0 for dim in dims):
        raise WeightsError(f"shape {tuple(dims)} has a negative axis")
    return dims, legacy


def _shape_message(source: Source, start: int, end: int) -> list[int]:
    dims: list[int] = []
    for number, wire, value, stop in fields(source, start, end):
        if number == 1 and wire == VARINT:
            dims.append(signed(value))
        elif number == 1 and wire == BYTES:
            dims.extend(signed(dim) for dim in varints(source.span(value, stop), _MOST_AXES))
        if len(dims) > _MOST_AXES:
            raise WeightsError(f"a shape of more than {_MOST_AXES} axes; Caffe has at most {_MOST_AXES}")
    return dims
