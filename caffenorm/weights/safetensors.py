"""`.safetensors` files: named arrays behind a JSON header, read and written here, without a library.

The format is eight bytes with the length of the header, the header, and the values: small enough that
reading it through `Source`, which checks every length against the size of the file, is less than guarding a
library would be; and weights need no extra.

See: the format's description in the safetensors project. Tests compare with its library in both directions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._files import Pathish, atomic_write
from caffenorm.errors import ConfigError, WeightsError, Where
from caffenorm.weights.files import open_weights
from caffenorm.weights.model import ModelWeights
from caffenorm.weights.names import model_of_arrays
from caffenorm.weights.wire import Source

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_BFLOAT = "BF16"  # the upper half of a float32, which NumPy lacks
_METADATA = "__metadata__"
_LENGTH = 8
_LONGEST_HEADER = 100_000_000  # the format's own limit
_MOST_TENSORS = 100_000


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of this size begins as one: a length that fits, and a brace."""
    length = int.from_bytes(head[:_LENGTH], "little")
    return head[_LENGTH : _LENGTH + 1] == b"{" and 2 <= length <= _LONGEST_HEADER and length + _LENGTH <= size


def read_safetensors(path: Pathish) -> ModelWeights:
    """Read weights from a `.safetensors` file with plain names (see `names`).

    Raises:
        WeightsError: there is no such file, it holds no floats under such names, or it is damaged.
    """
    return model_of_arrays(read_tensors(path), str(path), "safetensors")


def read_tensors(path: Pathish) -> dict[str, NDArray[Any]]:  # Any: the types of the table
    """All tensors of a `.safetensors` file, in the order of their values; bfloat16 becomes float32.

    Raises:
        WeightsError: there is no such file, it is none of this format, or damaged.
    """
    with open_weights(path) as (source, file):
        try:
            return _read(source)
        except WeightsError as error:
            raise WeightsError(f"this safetensors file is damaged: {error.message}", Where(file)) from error


def write_safetensors(path: Pathish, arrays: Mapping[str, NDArray[Any]]) -> None:  # Any: as in read_tensors
    """Write a `.safetensors` file; it appears whole or not at all.

    Args:
        path: of the file.
        arrays: by name; they stand in this order, those of larger items first, so that all are aligned.

    Raises:
        ConfigError: an array's type or name is none that the format has, or the file cannot be written.
    """
    header: dict[str, Any] = {}  # Any: as in the format
    stored: list[NDArray[Any]] = []
    end = 0
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if little.dtype not in _NAMES or name == _METADATA:
            raise ConfigError(f'"{name}" of {array.dtype} cannot be stored as safetensors')
        start, end = end, end + little.nbytes
        header[name] = {
            "dtype": _NAMES[little.dtype],
            "shape": list(little.shape),
            "data_offsets": [start, end],
        }
        stored.append(little)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    if len(text) > _LONGEST_HEADER:
        raise ConfigError("the names are too long for a safetensors file")
    with atomic_write(path) as handle:
        handle.write(len(text).to_bytes(_LENGTH, "little") + text)
        for array in stored:
            if array.size:
                handle.write(array.reshape(-1).view(np.uint8).data)


def _read(source: Source) -> dict[str, NDArray[Any]]:
    if source.size < _LENGTH:
        raise WeightsError("it is shorter than the length it begins with")
    length = int.from_bytes(source.span(0, _LENGTH), "little")
    if length > _LONGEST_HEADER or length + _LENGTH > source.size:
        raise WeightsError(f"a header of {length} bytes in a file of {source.size}")
    base = _LENGTH + length
    entries = [
        (name, *_entry(name, said, source.size - base))
        for name, said in _header(source.span(_LENGTH, base)).items()
        if name != _METADATA
    ]
    entries.sort(key=lambda entry: entry[3])
    end = 0
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape, start, stop in entries:
        if start != end:
            raise WeightsError(f'"{name}" begins at {start}, and the values before it end at {end}')
        end = stop
        arrays[name] = _values(source, base + start, dtype, shape, name)
    if end != source.size - base:
        raise WeightsError(f"{source.size - base} bytes of values, and the header tells of {end}")
    return arrays


def _header(content: bytes) -> dict[str, Any]:  # Any: parsed JSON
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise WeightsError("a name is twice in the header")
        return made

    try:
        said = json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"the header is no JSON ({error})") from error
    if not isinstance(said, dict):
        raise WeightsError("the header is no JSON object")
    if len(said) > _MOST_TENSORS:
        raise WeightsError(f"more than {_MOST_TENSORS} tensors")
    return said


def _entry(name: str, said: Any, size: int) -> tuple[str, tuple[int, ...], int, int]:  # Any: parsed JSON
    """Dtype, shape and offsets of one tensor, which fit each other and the file."""
    if not isinstance(said, dict) or not {"dtype", "shape", "data_offsets"} <= said.keys():
        raise WeightsError(f'"{name}" lacks its dtype, shape or data_offsets')
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or (dtype not in _DTYPES and dtype != _BFLOAT):
        raise WeightsError(f'"{name}" is of type {str(dtype)[:40]}, which is not known')
    if not _is_sizes(shape) or len(shape) > 32 or not _is_sizes(offsets) or len(offsets) != 2:
        raise WeightsError(f'the shape or the data_offsets of "{name}" do not read')
    start, stop = offsets
    itemsize = 2 if dtype == _BFLOAT else np.dtype(_DTYPES[dtype]).itemsize
    if not start <= stop <= size or stop - start != math.prod(shape) * itemsize:
        raise WeightsError(
            f'"{name}" of {dtype} {tuple(shape)} takes bytes {start} to {stop} of {size}, which cannot be'
        )
    return dtype, tuple(shape), start, stop


def _is_sizes(value: Any) -> bool:  # Any: parsed JSON
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _values(source: Source, start: int, dtype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    values = np.empty(math.prod(shape), "<u2" if dtype == _BFLOAT else _DTYPES[dtype])
    if values.size:
        source.fill(values, start)
    if dtype == _BFLOAT:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    try:
        return values.astype(values.dtype.newbyteorder("="), copy=False).reshape(shape)
    except (ValueError, OverflowError) as error:  # axes of 0 beside huge ones
        raise WeightsError(f'shape {shape} of "{name}" cannot be: {error}') from error
