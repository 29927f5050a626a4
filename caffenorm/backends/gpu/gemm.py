"""Products of matrices by cuBLAS, many at a time, within larger arrays and with sums that go on.

cuBLAS is called through CuPy's own bindings, as CuPy's matmul does: that one would make pointers for
each call or copy where matrices stand inside other arrays, and can not add to its result.

float32 is computed in float32. TF32, which keeps 10 bits of each factor, is used where CUPY_TF32=1 is set, as
in CuPy, and the device has it.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device
from caffenorm.errors import ShapeError

_DATA_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}  # CUDA_R_32F, CUDA_R_64F
_ONE = {dtype: np.ones((), dtype) for dtype in _DATA_TYPES}
_ZERO = {dtype: np.zeros((), dtype) for dtype in _DATA_TYPES}
_MOST = 2**31 - 1  # of what cuBLAS takes as int
_TF32_FROM = 80  # compute capability

Array = Any  # cupy.ndarray


@dataclass(frozen=True)
class Matrices:
    """Matrices in an array, row by row: number i begins at value start + i * step.

    Attributes:
        array: any contiguous array.
        start: the first value of matrix 0.
        row: from one row to the next.
        step: from one matrix to the next; 0 for the same one again.
        transposed: they are the transposed of what the product means.
    """

    array: Array
    start: int
    row: int
    step: int = 0
    transposed: bool = False

    @property
    def turned(self) -> Matrices:
        """The same, transposed."""
        return replace(self, transposed=not self.transposed)

    @property
    def address(self) -> int:
        return int(self.array.data.ptr) + self.start * int(self.array.itemsize)


def allows_tf32() -> bool:
    """Whether the user lets float32 products be rounded to TF32; CuPy reads the same variable."""
    return os.environ.get("CUPY_TF32", "0").strip() not in ("", "0")


@functools.cache
def _compute_type(device: Device, dtype: np.dtype[Any]) -> int:
    types = device.xp.cuda.cublas
    if dtype == np.float64:
        return int(types.CUBLAS_COMPUTE_64F)
    with device.selected():
        capability = int(device.xp.cuda.Device(device.index).compute_capability)
    fast = allows_tf32() and capability >= _TF32_FROM
    return int(types.CUBLAS_COMPUTE_32F_FAST_TF32 if fast else types.CUBLAS_COMPUTE_32F)


def gemm(
    device: Device,
    sizes: tuple[int, int, int],
    a: Matrices,
    b: Matrices,
    out: Matrices,
    *,
    count: int = 1,
    accumulate: bool = False,
) -> None:
    """out[i] = a[i] b[i], or out[i] += a[i] b[i], for `count` products on the current stream.

    Args:
        device: that the arrays lie on.
        sizes: rows, columns and depth of each product.
        a: (rows, depth), or (depth, rows) where transposed.
        b: (depth, columns), or (columns, depth) where transposed.
        out: (rows, columns), or (columns, rows) where transposed; no two of them overlap.
        count: of products.
        accumulate: add to what is there.

    Raises:
        ShapeError: a side has 2^31 values or more.
    """
    rows, columns, depth = sizes
    if out.transposed:
        rows, columns, a, b = columns, rows, b.turned, a.turned
    if not rows or not columns or not count:
        return
    if max(rows, columns, depth, a.row, b.row, out.row, count) > _MOST:
        raise ShapeError(f"a product of {rows} x {depth} and {depth} x {columns} is more than cuBLAS takes")
    cublas = device.xp.cuda.cublas
    dtype = np.dtype(out.array.dtype)
    kind, values = _DATA_TYPES[dtype], _ONE[dtype]
    # cuBLAS counts columns first, so that it is told out^T = b^T a^T.
    cublas.gemmStridedBatchedEx(
        device.xp.cuda.device.get_cublas_handle(),
        int(b.transposed),
        int(a.transposed),
        columns,
        rows,
        depth,
        values.ctypes.data,
        *(b.address, kind, max(1, b.row), b.step),
        *(a.address, kind, max(1, a.row), a.step),
        (values if accumulate else _ZERO[dtype]).ctypes.data,
        *(out.address, kind, max(1, out.row), out.step),
        count,
        _compute_type(device, dtype),
        cublas.CUBLAS_GEMM_DEFAULT,
    )
