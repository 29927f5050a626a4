"""Tensor ops: softmax, several arrays to one, reductions, and moving rows, columns and axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

Array = Any  # the backend's, float32 or float64 unless said otherwise
Terms = Literal["values", "sizes", "squares"]


class TensorOps(Protocol):
    """Ops of the family tensor.

    Where an output may be an input, that is said; else they are different memory.
    """

    # --- softmax: arrays are (outer, channels, inner) ---

    def softmax(self, x: Array, y: Array) -> None:
        """y = exp(x - max x) / sum, along axis 1; y may be x."""

    def softmax_backward(self, y: Array, dy: Array, dx: Array) -> None:
        """dx = (dy - sum of y * dy) * y, along axis 1; dx may be dy."""

    # --- several arrays to one: all of one shape; y may be any of the arrays ---

    def weighted_sum(
        self,
        arrays: Sequence[Array],
        weights: Sequence[float] | None,
        y: Array,
        slope: float | None = None,
    ) -> None:
        """y = sum of weights[i] * arrays[i] (None: all 1); with a slope, leaky ReLU of that."""

    def product(self, arrays: Sequence[Array], y: Array) -> None:
        """y = product of the arrays."""

    def maximum(self, arrays: Sequence[Array], y: Array, winner: Array | None = None) -> None:
        """y = largest of the arrays; `winner` (int32) gets the number of the one it comes from.

        Of two equal ones the second is taken, of more a later one only if it is larger.
        """

    def maximum_backward(self, dy: Array, winner: Array, number: int, dx: Array) -> None:
        """dx = dy where `winner` is `number`, else 0; dx may be dy."""

    # --- reductions: x, dx (rows, size); y, dy (rows,) ---

    def reduce_rows(self, terms: Terms, x: Array, y: Array, factor: float) -> None:
        """y = factor * the sum of a row's values, sizes (|x|) or squares."""

    def reduce_rows_backward(self, terms: Terms, x: Array, dy: Array, dx: Array, factor: float) -> None:
        """dx = factor * dy * the derivative of the term: 1, the sign of x (0 at 0), or 2 x."""

    def top_values(
        self, x: Array, places: Array | None, values: Array | None, smallest: bool = False
    ) -> None:
        """The k largest values of x (outer, channels, inner) along axis 1: where they are, and what they are.

        Places and values are (outer, k, inner) and of x's dtype; at least one is given. The largest comes
        first; of equal ones that with the larger place (with `smallest` the smallest first, and the smaller
        place); a NaN before all numbers.
        """

    # --- rows, columns, axes ---

    def take_rows(self, x: Array, index: Array, y: Array) -> None:
        """y[i] = x[index[i]]; x (rows, size), index (n,) of int64, y (n, size).

        Raises:
            IndexError: an index lies outside the rows. A GPU reads 0 and adds nothing there instead, for
                Python would wait for the answer; layers look before they call.
        """

    def add_rows(self, dy: Array, index: Array, dx: Array) -> None:
        """dx[index[i]] += dy[i], in the order of i.

        Raises:
            IndexError: an index lies outside the rows. A GPU reads 0 and adds nothing there instead, for
                Python would wait for the answer; layers look before they call.
        """

    def copy_columns(self, x: Array, x_first: int, y: Array, y_first: int, count: int) -> None:
        """y[:, y_first : y_first + count] = x[:, x_first : x_first + count]; x, y (rows, ...)."""

    def swap_axes(self, x: Array, y: Array) -> None:
        """y (outer, b, a, inner) = x (outer, a, b, inner) with its middle axes exchanged."""

    def scale_add(self, scale: Array, x: Array, y: Array, out: Array) -> None:
        """out = scale * x + y; scale (rows,), x, y, out (rows, size); out may be x or y."""
