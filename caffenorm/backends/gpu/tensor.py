"""Tensor ops on the GPU; what each does is said in `backends.interface.tensor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.interface.tensor import Terms

Array = Any  # cupy.ndarray
_THREADS = 256
_TERMS: dict[Terms, int] = {"values": 0, "sizes": 1, "squares": 2}
_SUM, _PRODUCT, _MAXIMUM = range(3)
_OPERANDS = 8  # arrays that the kernel `combine` takes
_COLUMNS_FROM = 32  # inner from which on threads stand side by side in it
_COLUMNS = 64  # of rows that are added up by a block
_MOST_ROWS = 65535  # blocks along y, on every device
_CHUNK = 1 << 14  # values of a row that one block adds up at least


def _check_counts(found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"arrays of {found} and {expected} values in one call")


def _check_types(like: Array, *others: Array | None) -> None:
    for array in others:
        if array is not None and array.dtype != like.dtype:
            raise TypeError(f"arrays of {array.dtype} and {like.dtype} in one call")


def _check_numbers(array: Array, dtype: str, what: str) -> None:
    if array.dtype != dtype:
        raise TypeError(f"{what} holds {array.dtype}, it must be {dtype}")


def row_threads(channels: int) -> int:
    """Threads of a block that shares out that many values: whole warps, 256 at most."""
    return min(_THREADS, -(-channels // 32) * 32)


class GpuTensor:
    """Ops of the family tensor."""

    device: Device

    # --- along the channels ---

    def _along(self, name: str, x: Array, arrays: Sequence[Array | None], *numbers: int) -> None:
        """Launch `<name>_rows` or `<name>_columns` of softmax.cu, whichever suits x's shape."""
        outer, channels, inner = x.shape
        positions = outer * inner
        arguments = (*arrays, positions, channels, inner, *numbers)
        if inner >= _COLUMNS_FROM:
            kernel = self._columns(name, x.dtype)
            kernel(self.device.blocks(positions, _THREADS, 1), _THREADS, *arguments)
        else:
            threads = row_threads(channels)
            kernel = self._rows(name, x.dtype)
            kernel(self.device.blocks(positions * threads, threads, 1), threads, *arguments)

    def _rows(self, name: str, kind: Any) -> Any:  # Any: a dtype, a Kernel
        if name == "softmax":
            return self.device.kernel("softmax", "softmax_rows", kind)
        if name == "top":
            return self.device.kernel("softmax", "top_rows", kind)
        return self.device.kernel("softmax", "softmax_backward_rows", kind)

    def _columns(self, name: str, kind: Any) -> Any:
        if name == "softmax":
            return self.device.kernel("softmax", "softmax_columns", kind)
        if name == "top":
            return self.device.kernel("softmax", "top_columns", kind)
        return self.device.kernel("softmax", "softmax_backward_columns", kind)

    def softmax(self, x: Array, y: Array) -> None:
        """y = exp(x - max x) / sum."""
        _check_counts(y.size, x.size)
        _check_types(x, y)
        if x.size:
            self._along("softmax", x, (x, y))

    def softmax_backward(self, y: Array, dy: Array, dx: Array) -> None:
        """dx = (dy - sum of y * dy) * y."""
        _check_counts(dy.size, y.size)
        _check_counts(dx.size, y.size)
        _check_types(y, dy, dx)
        if y.size:
            self._along("softmax_backward", y, (y, dy, dx))

    def top_values(
        self, x: Array, places: Array | None, values: Array | None, smallest: bool = False
    ) -> None:
        """The k largest values and where they are."""
        wanted = [array for array in (places, values) if array is not None]
        if not wanted:
            return
        outer, size, inner = x.shape
        k = wanted[0].shape[1]
        if not 1 <= k <= size:
            raise ValueError(f"{k} of {size} values")
        for array in wanted:
            _check_counts(array.size, outer * k * inner)
        _check_types(x, places, values)
        if outer * inner:
            self._along("top", x, (x, places, values), k, int(smallest))

    # --- several arrays to one ---

    def weighted_sum(
        self,
        arrays: Sequence[Array],
        weights: Sequence[float] | None,
        y: Array,
        slope: float | None = None,
    ) -> None:
        """y = sum of weights[i] * arrays[i]."""
        if weights is not None:
            _check_counts(len(weights), len(arrays))
        self._combine(_SUM, arrays, weights or [1.0] * len(arrays), y, None, slope)

    def product(self, arrays: Sequence[Array], y: Array) -> None:
        """y = product of the arrays."""
        self._combine(_PRODUCT, arrays, [1.0] * len(arrays), y, None)

    def maximum(self, arrays: Sequence[Array], y: Array, winner: Array | None = None) -> None:
        """y = largest of the arrays."""
        if winner is not None:
            _check_numbers(winner, "int32", "winner")
            _check_counts(winner.size, y.size)
        self._combine(_MAXIMUM, arrays, [1.0] * len(arrays), y, winner)

    def _combine(
        self,
        how: int,
        arrays: Sequence[Array],
        weights: Sequence[float],
        y: Array,
        winner: Array | None,
        slope: float | None = None,
    ) -> None:
        """The first arrays into y or, while y may be one of those to come, into scratch memory; and so on."""
        if not arrays:
            raise ValueError("no operands")
        for array in arrays:
            _check_counts(array.size, y.size)
        _check_types(y, *arrays)
        if not y.size:
            return
        kernel = self.device.kernel("tensor", "combine", y.dtype, how)
        blocks = self.device.blocks(y.size, _THREADS)
        now, factors, done = list(arrays), list(map(float, weights)), 0
        while now:
            part, now = now[:_OPERANDS], now[_OPERANDS:]
            used, factors = factors[:_OPERANDS], factors[_OPERANDS:]
            out = self.device.scratch("combine", y.nbytes)[: y.nbytes].view(y.dtype) if now else y
            empty = _OPERANDS - len(part)
            kernel(
                *(blocks, _THREADS, *part, *[None] * empty, *used, *[0.0] * empty, out, winner, y.size),
                *(len(part), done, int(slope is not None and not now), float(slope or 0.0)),
            )
            done += len(part) - (done > 0)
            if now:
                now, factors = [out, *now], [1.0, *factors]

    def maximum_backward(self, dy: Array, winner: Array, number: int, dx: Array) -> None:
        """dx = dy where `winner` is `number`, else 0."""
        _check_numbers(winner, "int32", "winner")
        _check_counts(winner.size, dy.size)
        _check_counts(dx.size, dy.size)
        _check_types(dy, dx)
        if dy.size:
            kernel = self.device.kernel("tensor", "only_winner", dy.dtype)
            kernel(self.device.blocks(dy.size, _THREADS), _THREADS, dy, winner, int(number), dx, dy.size)

    # --- reductions ---

    def reduce_rows(self, terms: Terms, x: Array, y: Array, factor: float) -> None:
        """y = factor * the sum of a row's terms."""
        rows, size = x.shape
        _check_counts(y.size, rows)
        _check_types(x, y)
        if not rows:
            return
        enough = max(1, 4 * self.device.multiprocessors // rows)  # blocks a row that fill the device
        chunks = max(1, min(-(-size // _CHUNK), enough))
        length = -(-size // chunks)
        parts = self.device.scratch("reduce_rows", 8 * rows * chunks)[: 8 * rows * chunks].view(np.float64)
        threads = row_threads(max(1, length))
        kernel = self.device.kernel("tensor", "reduce_parts", x.dtype, _TERMS[terms])
        blocks = self.device.blocks(rows * chunks * threads, threads, 1)
        kernel(blocks, threads, x, parts, rows, size, chunks, length)
        finish = self.device.kernel("tensor", "reduce_finish", x.dtype)
        finish(self.device.blocks(rows, _THREADS, 1), _THREADS, parts, y, rows, chunks, float(factor))

    def reduce_rows_backward(self, terms: Terms, x: Array, dy: Array, dx: Array, factor: float) -> None:
        """dx = factor * dy * the derivative of the term."""
        rows, size = dx.shape
        _check_counts(x.size, rows * size)
        _check_counts(dy.size, rows)
        _check_types(x, dy, dx)
        if dx.size:
            kernel = self.device.kernel("tensor", "spread_rows", x.dtype, _TERMS[terms])
            blocks = self.device.blocks(dx.size, _THREADS)
            kernel(blocks, _THREADS, x, dy, dx, dx.size, size, float(factor))

    # --- rows, columns, axes ---

    def take_rows(self, x: Array, index: Array, y: Array) -> None:
        """y[i] = x[index[i]]; 0 where there is no such row, which nobody waits to hear of."""
        rows, size = x.shape
        _check_numbers(index, "int64", "index")
        _check_counts(y.size, index.size * size)
        _check_types(x, y)
        if y.size:
            kernel = self.device.kernel("tensor", "take_rows", x.dtype)
            kernel(self.device.blocks(y.size, _THREADS), _THREADS, x, index, y, y.size, rows, size)

    def add_rows(self, dy: Array, index: Array, dx: Array) -> None:
        """dx[index[i]] += dy[i]; nothing where there is no such row."""
        rows, size = dx.shape
        _check_numbers(index, "int64", "index")
        _check_counts(dy.size, index.size * size)
        _check_types(dy, dx)
        if not dy.size:
            return
        columns = self.device.blocks(size, _COLUMNS, 1)
        fill = -(-self.device.multiprocessors * (2048 // _COLUMNS) // columns)
        stretches = max(1, min(rows, fill, _MOST_ROWS))
        kernel = self.device.kernel("tensor", "add_rows", dy.dtype)
        kernel((columns, stretches), _COLUMNS, dy, index, dx, index.size, rows, size)

    def copy_columns(self, x: Array, x_first: int, y: Array, y_first: int, count: int) -> None:
        """y[:, y_first : y_first + count] = x[:, x_first : x_first + count]."""
        rows, x_size, y_size = x.shape[0], x.shape[1], y.shape[1]
        _check_counts(y.shape[0], rows)
        _check_types(x, y)
        if min(x_first, y_first, count) < 0 or x_first + count > x_size or y_first + count > y_size:
            raise ValueError(f"{count} columns from {x_first} of {x_size}, to {y_first} of {y_size}")
        if rows * count:
            kernel = self.device.kernel("tensor", "copy_columns", x.dtype)
            blocks = self.device.blocks(rows * count, _THREADS)
            kernel(blocks, _THREADS, x, y, rows, count, x_size, x_first, y_size, y_first)

    def swap_axes(self, x: Array, y: Array) -> None:
        """y (outer, b, a, inner) = x (outer, a, b, inner)."""
        outer, a, b, inner = x.shape
        _check_counts(y.size, x.size)
        _check_types(x, y)
        if not x.size:
            return
        if inner == 1:
            tiles = outer * -(-a // 32) * -(-b // 32)
            kernel = self.device.kernel("tensor", "transpose_tiles", x.dtype)
            kernel(self.device.blocks(tiles * _THREADS, _THREADS, 1), (32, 8), x, y, outer, a, b)
        else:
            kernel = self.device.kernel("tensor", "swap_axes", x.dtype)
            kernel(self.device.blocks(x.size, _THREADS), _THREADS, x, y, x.size, a, b, inner)

    def scale_add(self, scale: Array, x: Array, y: Array, out: Array) -> None:
        """out = scale * x + y."""
        rows, size = x.shape
        _check_counts(scale.size, rows)
        _check_counts(y.size, x.size)
        _check_counts(out.size, x.size)
        _check_types(x, scale, y, out)
        if x.size:
            kernel = self.device.kernel("tensor", "scale_add", x.dtype)
            kernel(self.device.blocks(x.size, _THREADS), _THREADS, scale, x, y, out, x.size, size)
