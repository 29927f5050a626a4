"""Tensor ops on the CPU; what each does is said in `backends.interface.tensor`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels
from caffenorm.backends.interface.tensor import Terms

Array = NDArray[Any]  # float32 or float64
_SUFFIX = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_TERMS: dict[Terms, int] = {"values": 0, "sizes": 1, "squares": 2}


@cache
def _kernel(name: str, dtype: np.dtype[Any]) -> Any:  # Any: a compiled function
    """The kernel for arrays of that dtype."""
    return getattr(kernels("tensor"), name)[_SUFFIX[dtype]]


class CpuTensor:
    """Ops of the family tensor."""

    threads: int

    def softmax(self, x: Array, y: Array) -> None:
        _kernel("softmax", x.dtype)(x, y, self.threads)

    def softmax_backward(self, y: Array, dy: Array, dx: Array) -> None:
        _kernel("softmax_backward", y.dtype)(y, dy, dx, self.threads)

    def weighted_sum(
        self,
        arrays: Sequence[Array],
        weights: Sequence[float] | None,
        y: Array,
        slope: float | None = None,
    ) -> None:
        flat = [array.reshape(-1) for array in arrays]
        kernel = _kernel("sum_of", y.dtype)
        kernel(flat, weights, y.reshape(-1), slope is not None, slope or 0.0, self.threads)

    def product(self, arrays: Sequence[Array], y: Array) -> None:
        flat = [array.reshape(-1) for array in arrays]
        _kernel("product_of", y.dtype)(flat, y.reshape(-1), self.threads)

    def maximum(self, arrays: Sequence[Array], y: Array, winner: Array | None = None) -> None:
        flat = [array.reshape(-1) for array in arrays]
        won = None if winner is None else winner.reshape(-1)
        _kernel("largest_of", y.dtype)(flat, y.reshape(-1), won, self.threads)

    def maximum_backward(self, dy: Array, winner: Array, number: int, dx: Array) -> None:
        kernel = _kernel("winner", dy.dtype)
        kernel(dy.reshape(-1), winner.reshape(-1), number, dx.reshape(-1), self.threads)

    def reduce_rows(self, terms: Terms, x: Array, y: Array, factor: float) -> None:
        _kernel("reduce", x.dtype)(_TERMS[terms], x, y, factor, self.threads)

    def reduce_rows_backward(self, terms: Terms, x: Array, dy: Array, dx: Array, factor: float) -> None:
        _kernel("spread", x.dtype)(_TERMS[terms], x, dy, dx, factor, self.threads)

    def top_values(
        self, x: Array, places: Array | None, values: Array | None, smallest: bool = False
    ) -> None:
        _kernel("top", x.dtype)(x, places, values, smallest, self.threads)

    def take_rows(self, x: Array, index: Array, y: Array) -> None:
        _kernel("take_rows", x.dtype)(x, index, y, self.threads)

    def add_rows(self, dy: Array, index: Array, dx: Array) -> None:
        _kernel("add_rows", dy.dtype)(dy, index, dx, self.threads)

    def copy_columns(self, x: Array, x_first: int, y: Array, y_first: int, count: int) -> None:
        _kernel("copy_columns", x.dtype)(x, x_first, y, y_first, count, self.threads)

    def swap_axes(self, x: Array, y: Array) -> None:
        _kernel("swap_axes", x.dtype)(x, y, self.threads)

    def scale_add(self, scale: Array, x: Array, y: Array, out: Array) -> None:
        _kernel("scale_add", x.dtype)(scale, x, y, out, self.threads)
