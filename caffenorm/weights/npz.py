"""`.npz` files: NumPy's archives of named arrays, read and written without pickle.

An archive is a zip file with an `.npy` file for each array. Nothing is believed before it is checked against
the size of the file: not the sizes in the archive's list, not the shapes in the arrays' headers.
"""

from __future__ import annotations

import ast
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from caffenorm._files import Pathish, atomic_write
from caffenorm.errors import ConfigError, WeightsError, Where
from caffenorm.weights.encode import storable
from caffenorm.weights.files import open_weights
from caffenorm.weights.model import ModelWeights
from caffenorm.weights.names import model_of_arrays

ZIP_SIGNATURE = b"PK\x03\x04"
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_MOST_MEMBERS = 100_000
_MOST_COMPRESSED = 1100  # deflate packs at best a thousand zeros into one byte
_LONGEST_NAME = 60_000  # zip's own limit is 65535 bytes
_DTYPE = re.compile(r"[<>=|]?f[248]")


def read_npz(path: Pathish) -> ModelWeights:
    """Read weights from an `.npz` file with plain names (see `names`).

    Raises:
        WeightsError: there is no such file, it is no archive of arrays of floats under such names, or it is
            damaged.
    """
    with open_weights(path) as (source, file):
        size = source.size
    try:
        with zipfile.ZipFile(file) as archive:
            arrays = _read_members(archive, file, size)
    except WeightsError as error:
        raise error if error.where else WeightsError(error.message, Where(file)) from error
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError),
        *(ValueError, IndexError, OverflowError),  # what zipfile lets through on damaged lists
    ) as error:
        raise WeightsError(f"this zip archive is cut off or damaged: {error}", Where(file)) from error
    return model_of_arrays(arrays, file, "npz")


def write_npz(path: Pathish, arrays: Mapping[str, NDArray[Any]]) -> None:  # Any: floats
    """Write an `.npz` file that `numpy.load` reads; whole or not at all, the same each time.

    Args:
        path: of the file.
        arrays: floats by name, stored uncompressed in this order.

    Raises:
        ConfigError: a name cannot stand in a zip archive, or the file cannot be written.
    """
    for name in arrays:
        if "\0" in name or len(name.encode()) > _LONGEST_NAME:
            raise ConfigError(f'"{name[:80]}" cannot be the name of an array in an .npz file')
    with atomic_write(path) as handle, zipfile.ZipFile(handle, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as opened:
                npy.write_array(opened, storable(array, name), allow_pickle=False)


def _read_members(archive: zipfile.ZipFile, file: str, size: int) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise WeightsError(f"more than {_MOST_MEMBERS} files in one archive")
    names = [member.filename for member in members]
    if not any(name.endswith(".npy") for name in names):
        torch = any(name.endswith("data.pkl") for name in names)
        raise WeightsError(f"this is a zip archive{' of PyTorch, a checkpoint' * torch}, not Caffe weights")
    left = size
    arrays: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise WeightsError(f'"{name}" in the archive is no NumPy array')
        if name in arrays:
            raise WeightsError(f'"{name}" is twice in the archive')
        left -= member.compress_size
        packed = member.compress_type != zipfile.ZIP_STORED
        if left < 0 or member.file_size > member.compress_size * (_MOST_COMPRESSED if packed else 1):
            raise WeightsError(
                f'"{name}": {member.file_size} bytes do not come out of the {size} of the file'
            )
        with archive.open(member) as opened:
            try:
                arrays[name] = _read_array(opened, member.file_size)
            except WeightsError as error:
                raise WeightsError(f'"{name}": {error.message}') from error
    return arrays


def _read_array(opened: Any, size: int) -> NDArray[Any]:  # Any: zipfile's reader; floats
    """One `.npy` file of `size` bytes."""
    start = opened.read(8)
    if len(start) < 8 or not start.startswith(_MAGIC) or start[6] not in (1, 2, 3):
        raise WeightsError("this is no NumPy array")
    length_bytes = opened.read(2 if start[6] == 1 else 4)
    length = int.from_bytes(length_bytes, "little")
    if length > _LONGEST_HEADER:
        raise WeightsError("the header of the array is too long")
    dtype, fortran, shape = _header(opened.read(length))
    count = math.prod(shape)
    held = size - len(start) - len(length_bytes) - length
    if count * dtype.itemsize != held:
        raise WeightsError(f"shape {shape} needs {count * dtype.itemsize} bytes, and the file holds {held}")
    values = np.empty(count, dtype)
    room = memoryview(values.view(np.uint8).data) if count else memoryview(b"")
    done = 0
    while done < len(room):
        got = opened.readinto(room[done:])
        if not got:
            raise WeightsError("the values are cut off")
        done += got
    native = values.astype(dtype.newbyteorder("="), copy=False)
    try:
        return np.ascontiguousarray(native.reshape(shape, order="F" if fortran else "C")).reshape(shape)
    except ValueError as error:
        raise WeightsError(f"shape {shape} cannot be: {error}") from error


def _header(content: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Dtype, whether in Fortran's order, shape."""
    try:
        said = ast.literal_eval(content.decode("utf-8"))
        descr, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise WeightsError("the header of the array does not read") from error
    if not isinstance(descr, str) or not _DTYPE.fullmatch(descr):
        raise WeightsError(f"it holds {str(descr)[:40]} in place of floats")
    sizes = isinstance(shape, tuple) and len(shape) <= 32 and all(type(dim) is int for dim in shape)
    if not sizes or any(dim < 0 for dim in shape) or not isinstance(fortran, bool):
        raise WeightsError("the header of the array does not read")
    return np.dtype(descr), fortran, shape
