"""Stands in for CuPy's bindings of cuBLAS: products of matrices at addresses, columns first."""

from __future__ import annotations

import ctypes

import numpy as np

CUBLAS_GEMM_DEFAULT = -1
CUBLAS_COMPUTE_32F = 68
CUBLAS_COMPUTE_64F = 70
CUBLAS_COMPUTE_32F_FAST_TF32 = 77
HANDLE = 4711
_TYPES = {0: np.dtype(np.float32), 1: np.dtype(np.float64)}
_COMPUTE_TYPES = {0: (CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32), 1: (CUBLAS_COMPUTE_64F,)}


def get_cublas_handle() -> int:
    return HANDLE


def _matrix(address: int, kind: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """(rows, columns), columns `leading` values apart."""
    dtype = _TYPES[kind]
    if leading < max(1, rows):
        raise ValueError(f"a leading dimension of {leading} for {rows} rows")
    count = (columns - 1) * leading + rows if rows and columns else 0
    raw = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
    strides = (dtype.itemsize, leading * dtype.itemsize)
    return np.lib.stride_tricks.as_strided(np.frombuffer(raw, dtype), (rows, columns), strides)


def gemmStridedBatchedEx(  # noqa: N802 (CuPy's name)
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
    a: int, a_type: int, lda: int, stride_a: int, b: int, b_type: int, ldb: int, stride_b: int,
    beta: int, c: int, c_type: int, ldc: int, stride_c: int, batch_count: int, compute_type: int,
    algorithm: int,
) -> None:  # fmt: skip
    """c = alpha op(a) op(b) + beta c; with beta 0 what c held does not matter, not even a NaN."""
    if handle != HANDLE or not a_type == b_type == c_type or algorithm != CUBLAS_GEMM_DEFAULT:
        raise ValueError("cuBLAS takes a handle, and matrices of one type here")
    if compute_type not in _COMPUTE_TYPES[c_type]:
        raise ValueError(f"data of type {c_type} is not computed in type {compute_type}")
    size = _TYPES[c_type].itemsize
    one, zero = (float(_matrix(address, c_type, 1, 1, 1)[0, 0]) for address in (alpha, beta))
    for i in range(batch_count):
        left = _matrix(a + i * stride_a * size, a_type, *((k, m) if transa else (m, k)), lda)
        right = _matrix(b + i * stride_b * size, b_type, *((n, k) if transb else (k, n)), ldb)
        target = _matrix(c + i * stride_c * size, c_type, m, n, ldc)
        product = one * ((left.T if transa else left) @ (right.T if transb else right))
        target[...] = product if zero == 0 else product + zero * target
