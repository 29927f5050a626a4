"""Caffe's binary files, written byte by byte with `struct`: nothing here comes from caffenorm or protobuf.

`field` makes one field of a message; a message is the fields put together. The other functions are the
messages of caffe.proto with the numbers of BVLC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(key: int, value: int) -> bytes:
    """A field of wire type 0."""
    return varint(key * 8) + varint(value)


def field(key: int, content: bytes | str) -> bytes:
    """A field of wire type 2."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(key * 8 + 2) + varint(len(raw)) + raw


def floats(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<f", value) for value in values)


def doubles(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack("<d", value) for value in values)


def shape(*dims: int) -> bytes:
    """A BlobShape with packed dims."""
    packed = b"".join(varint(dim) for dim in dims)
    return field(1, packed) if dims else b""


def blob(array: np.ndarray) -> bytes:
    """A BlobProto as BVLC writes it: packed data and a shape."""
    return field(5, floats(array.ravel())) + field(7, shape(*array.shape))


def old_blob(array: np.ndarray) -> bytes:
    """A BlobProto with num, channels, height and width."""
    dims = (1,) * (4 - array.ndim) + array.shape
    return b"".join(number(i + 1, dim) for i, dim in enumerate(dims)) + field(5, floats(array.ravel()))


def layer(name: str | bytes, kind: str, blobs: Sequence[bytes] = (), extra: bytes = b"") -> bytes:
    """A net's field with a V2 layer; `blobs` are messages."""
    parts = (field(1, name), field(2, kind), *(field(7, one) for one in blobs), extra)
    return field(100, b"".join(parts))


def v1_layer(name: str, kind: int, blobs: Sequence[bytes] = (), extra: bytes = b"") -> bytes:
    parts = (extra, field(4, name), number(5, kind), *(field(6, one) for one in blobs))
    return field(2, b"".join(parts))


def v0_layer(name: str, kind: str, blobs: Sequence[bytes] = (), extra: bytes = b"") -> bytes:
    inner = b"".join((field(1, name), field(2, kind), *(field(50, one) for one in blobs), extra))
    return field(2, field(1, inner))
