"""Statistics ops on the GPU; what each does is said in `backends.interface.statistics`."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.norm_checks import check_values

Array = Any  # cupy.ndarray
_THREADS = 128
_KINDS = (np.dtype("f4"), np.dtype("f8"))


def _check(mean: Array, var: Array, others: dict[str, Array], factor: Array | None) -> None:
    if mean.dtype not in _KINDS:
        raise TypeError(f"the array is of {mean.dtype}, expected float32 or float64")
    check_values(mean.size, mean.dtype, mean=mean, var=var, **others)
    check_values(1, mean.dtype, factor=factor)


class GpuStatistics:
    """Ops of the family statistics."""

    device: Device

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
        _check(mean, var, {"stored_mean": stored_mean, "stored_var": stored_var}, factor)
        kernel = self.device.kernel("statistics", "store_statistics", mean.dtype)
        blocks, weights = self.device.blocks(mean.size, _THREADS, 1), (float(mean_weight), float(var_weight))
        kernel(
            *(blocks, _THREADS, mean, var, stored_mean, stored_var, factor, float(keep), *weights, mean.size)
        )

    def read_statistics(
        self, mean_sum: Array, var_sum: Array, factor: Array, mean: Array, var: Array
    ) -> None:
        _check(mean, var, {"mean_sum": mean_sum, "var_sum": var_sum}, factor)
        if mean.size:
            kernel = self.device.kernel("statistics", "read_statistics", mean.dtype)
            blocks = self.device.blocks(mean.size, _THREADS, 1)
            kernel(blocks, _THREADS, mean_sum, var_sum, factor, mean, var, mean.size)
