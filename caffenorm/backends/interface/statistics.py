"""Ops on stored statistics: what normalisation layers keep from batch to batch."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # the device's array: NumPy's or CuPy's


class StatisticsOps(Protocol):
    """Ops of the family statistics.

    Shape: means and variances are (channels,), factor is (1,); all of one dtype, float32 or float64,
    C-contiguous.

    Products and sums are rounded one by one: results are bit-equal for any build of the kernels.

    Raises:
        ShapeError: an array does not fit the others.
        ValueError, TypeError: an array has another number of axes, another dtype or another layout.
    """

    def store_statistics(
        self,
        mean: Array,
        var: Array,
        stored_mean: Array,
        stored_var: Array,
        factor: Array | None,
        keep: float,
        mean_weight: float = 1.0,
        var_weight: float = 1.0,
    ) -> None:
        """Take a batch's statistics into the stored ones.

        stored_mean = keep * stored_mean + mean_weight * mean, the variances likewise with var_weight, and
        factor = keep * factor + 1 where there is a factor.
        """

    def read_statistics(
        self, mean_sum: Array, var_sum: Array, factor: Array, mean: Array, var: Array
    ) -> None:
        """mean and var are the sums times the factor's reciprocal, or 0 where the factor is 0."""
