"""Tensor ops: softmax, sums and maxima of arrays, gathering rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Array = Any  # the backend's, float32 or float64 unless said otherwise


class TensorOps(Protocol):
    """Ops of the family tensor."""

    def softmax(self, x: Array, y: Array) -> None:
        """y = exp(x - max x) / sum, along axis 1 of (outer, channels, inner); y may be x."""

    def softmax_backward(self, y: Array, dy: Array, dx: Array) -> None:
        """dx = y * (dy - sum of y * dy), along axis 1 of (outer, channels, inner); dx may be dy."""

    def weighted_sum(self, arrays: Sequence[Array], weights: Sequence[float], y: Array) -> None:
        """y = sum of weights[i] * arrays[i]; one shape for all; y is none of the arrays, but may be the
        first.
        """

    def maximum(self, x: Array, y: Array, winner: Array, number: int) -> None:
        """y = max(x, y), and winner (int32) = number where x is taken.

        Number 1 takes x on a tie and starts `winner` (0 elsewhere); later numbers take x only where it is
        larger.
        """

    def take_rows(self, x: Array, index: Array, y: Array) -> None:
        """y[i] = x[index[i]]; x (rows, size), index (n,) of int64 within the rows, y (n, size)."""

    def add_rows(self, dy: Array, index: Array, dx: Array) -> None:
        """dx[index[i]] += dy[i], in the order of i."""
