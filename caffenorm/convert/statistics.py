"""Running statistics of PyTorch as the sums and the factor that Caffe stores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # Any: float32 or float64
_NEIGHBOURS = 4  # units in the last place to either side that are tried; the right sum is never farther


@dataclass(frozen=True)
class Statistics:
    """Blobs of a BatchNorm layer.

    Attributes:
        mean_sum, var_sum: (C,). factor: (1,), what they are divided by. fraction: moving_average_fraction.
        exact: whether the division gives the running statistics bit for bit.
    """

    mean_sum: Floats
    var_sum: Floats
    factor: Floats
    fraction: float
    exact: bool


def stored_statistics(mean: Floats, var: Floats, momentum: float | None, batches: int) -> Statistics:
    """Sums and factor for running statistics.

    Caffe's next batch gets the weight 1 / (f * factor + 1), with f = 1 - momentum; that is the momentum once
    the factor has converged to 1 / momentum. Only by a power of two can all statistics be multiplied and
    divided without losing bits, so the factor is the power of two nearest to 1 / momentum: for PyTorch's 0.1
    it is 8, the next batch weighs 0.12, and the factor converges to 10 from there.

    Args:
        mean, var: running statistics, (C,).
        momentum: PyTorch's; None for the cumulative average. Then the fraction is 1 and the factor is
            `batches`, the number of batches that the statistics stand for, and sums are chosen such that the
            division comes as close as it can.
        batches: `num_batches_tracked`; 0 is taken as 1.
    """
    if momentum is None:
        factor = float(max(1, batches))
        fraction = 1.0
    else:
        factor = 2.0 ** round(-math.log2(momentum)) if 0 < momentum < 1 else 1.0
        fraction = 1.0 - momentum
    sums = [_sum_for(values, factor) for values in (mean, var)]
    reciprocal = mean.dtype.type(1 / mean.dtype.type(factor))
    exact = all(
        np.array_equal(total * reciprocal, values, equal_nan=True)
        for total, values in zip(sums, (mean, var), strict=True)
    )
    return Statistics(sums[0], sums[1], np.full(1, factor, mean.dtype), fraction, exact)


def _sum_for(values: Floats, factor: float) -> Floats:
    """The sum that gives values, or comes nearest, when it is multiplied by 1 / factor."""
    kind = values.dtype.type
    reciprocal = kind(1 / kind(factor))
    best: Floats = values * kind(factor)
    for direction in (-np.inf, np.inf):
        tried = values * kind(factor)
        for _ in range(_NEIGHBOURS):
            tried = np.nextafter(tried, kind(direction))
            with np.errstate(invalid="ignore"):
                better = np.abs(tried * reciprocal - values) < np.abs(best * reciprocal - values)
            best = np.where(better, tried, best)
    return best
