"""Blobs -> bytes of Caffe's messages, without a Python object for each value.

The fields stand in the order of their numbers, so that the bytes equal those that Caffe itself writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm._files import Pathish, atomic_write
from caffenorm.errors import ConfigError
from caffenorm.weights.model import Array
from caffenorm.weights.wire import Source, encode_header, encode_varint, fields

Parts: TypeAlias = "list[bytes | memoryview]"

_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_NET_LAYER = 100
_LAYER_BLOBS = 7
_OURS = range(20000, 21000)  # numbers that our schema gave to fields whose own are contested between forks
_LARGEST_MESSAGE = (1 << 31) - 1  # protobuf's limit: Caffe reads no larger file


def storable(array: NDArray[Any], what: str) -> Array:  # Any: what a caller hands over
    """The array as Caffe can store it: float32 or float64, contiguous, little endian.

    Args:
        array: floats of any size up to 64 bits.
        what: names it in the message ('layer "conv1", blob 0').

    Raises:
        ConfigError: it holds something else.
    """
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise ConfigError(f"{what} is of {array.dtype}; Caffe stores float32 and float64")
    dtype = "<f8" if array.dtype.itemsize == 8 else "<f4"
    return np.asarray(array, dtype=dtype, order="C")


def encode_blob(data: Array, diff: Array | None) -> Parts:
    """The message of one blob, in parts to write one after the other; the values are views, not copies."""
    double = data.dtype.itemsize == 8
    dims = b"".join(encode_varint(dim) for dim in data.shape)
    shape = encode_header(1, len(dims)) + dims if dims else b""
    parts: Parts = [encode_header(_SHAPE, len(shape)) + shape]
    values: Parts = []
    for number, array in (
        (_DOUBLE_DATA if double else _DATA, data),
        (_DOUBLE_DIFF if double else _DIFF, diff),
    ):
        if array is not None and array.size:
            values += encode_header(number, array.nbytes), array.reshape(-1).view(np.uint8).data
    return parts + values if double else values + parts


def write_caffemodel(
    path: Pathish,
    net: schema.NetParameter,
    blobs: Mapping[str, Sequence[NDArray[Any]]],  # Any: float32 or float64
    diffs: Mapping[str, Sequence[NDArray[Any]]] | None = None,
) -> tuple[str, ...]:
    """Write a `.caffemodel` (V2) that Caffe reads; the file appears whole or not at all.

    Args:
        path: of the file.
        net: the net with current layers (`layer`); blobs in it are left out in favour of `blobs`.
        blobs: the values by layer name; float64 is stored as doubles.
        diffs: gradients of the same shapes, to be stored too.

    Returns:
        The names of parameters that were left out ("conv1.some_param"): fields of forks whose numbers in our
        schema are our own, so that another reader would take them for something else. They belong into the
        prototxt only.

    Raises:
        ConfigError: the net still has old layers (`layers`), `blobs` names a layer it lacks or fits it
            otherwise not, the file would be larger than protobuf and so Caffe can read (2 GiB), or the file
            cannot be written.

    Caffe: a blob that several layers share is stored with each of them.
    """
    if len(net.layers):
        raise ConfigError("the net has layers of the old form (`layers`); upgrade it before saving")
    unknown = sorted(set(blobs) - {layer.name for layer in net.layer})
    if unknown:
        raise ConfigError(f"blobs for layers that the net does not have: {', '.join(unknown)}")
    header = schema.NetParameter()
    header.CopyFrom(net)
    del header.layer[:]
    left_out = _leave_out_foreign(header, "net")
    parts: Parts = []
    for layer in net.layer:
        bare = schema.LayerParameter()
        bare.CopyFrom(layer)
        del bare.blobs[:]
        left_out += _leave_out_foreign(bare, layer.name)
        values = _encode_blobs(layer.name, blobs.get(layer.name, ()), diffs)
        parts += _framed(_NET_LAYER, _spliced(bare.SerializeToString(), _LAYER_BLOBS, values))
    parts = _spliced(header.SerializeToString(), _NET_LAYER, parts)
    if _size(parts) > _LARGEST_MESSAGE:
        raise ConfigError(
            f"the file would have {_size(parts):,} bytes, and Caffe reads at most {_LARGEST_MESSAGE:,}; "
            "save it as HDF5"
        )
    with atomic_write(path) as handle:
        for part in parts:
            handle.write(part)
    return tuple(left_out)


def _encode_blobs(
    name: str,
    blobs: Sequence[NDArray[Any]],  # Any: what a caller hands over
    diffs: Mapping[str, Sequence[NDArray[Any]]] | None,
) -> Parts:
    """The `blobs` fields of one layer."""
    gradients = diffs.get(name) if diffs is not None else None
    if gradients is not None and len(gradients) != len(blobs):
        raise ConfigError(f'layer "{name}" has {len(blobs)} blobs and {len(gradients)} gradients')
    parts: Parts = []
    for index, blob in enumerate(blobs):
        what = f'layer "{name}", blob {index}'
        data = storable(blob, what)
        diff = None if gradients is None else storable(gradients[index], f"{what}, gradient")
        if diff is not None and (diff.shape != data.shape or diff.dtype != data.dtype):
            raise ConfigError(
                f"{what} is {data.dtype} {data.shape}, and its gradient {diff.dtype} {diff.shape}"
            )
        parts += _framed(_LAYER_BLOBS, encode_blob(data, diff))
    return parts


def _leave_out_foreign(message: Message, name: str) -> list[str]:
    """Clear the fields, at any depth, whose numbers are our schema's own; return their dotted names."""
    left_out = []
    for field, value in message.ListFields():
        path = f"{name}.{field.name}"
        if field.number in _OURS:
            message.ClearField(field.name)
            left_out.append(path)
        elif field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                left_out += _leave_out_foreign(part, path)
    return left_out


def _framed(number: int, parts: Parts) -> Parts:
    return [encode_header(number, _size(parts)), *parts]


def _size(parts: Parts) -> int:
    return sum(len(part) for part in parts)


def _spliced(message: bytes, number: int, parts: Parts) -> Parts:
    """The fields of `message` in the order of their numbers, with `parts` where `number` belongs."""
    pieces, start = [], 0
    for found, _wire, _value, stop in fields(Source.of_bytes(message), 0, len(message)):
        pieces.append((found, message[start:stop]))
        start = stop
    pieces.sort(key=lambda piece: piece[0])
    before = b"".join(piece for found, piece in pieces if found < number)
    after = b"".join(piece for found, piece in pieces if found >= number)
    return [before, *parts, after]
