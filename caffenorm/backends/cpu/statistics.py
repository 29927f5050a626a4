"""Statistics ops on the CPU; what each does is said in `backends.interface.statistics`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from caffenorm.backends.cpu.channel import ByType

Array = NDArray[Any]  # float32 or float64

_STORE = ByType("statistics", "store_statistics")
_READ = ByType("statistics", "read_statistics")


class CpuStatistics:
    """Ops of the family statistics."""

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
        _STORE[mean.dtype](mean, var, stored_mean, stored_var, factor, keep, mean_weight, var_weight)

    def read_statistics(
        self, mean_sum: Array, var_sum: Array, factor: Array, mean: Array, var: Array
    ) -> None:
        _READ[mean.dtype](mean_sum, var_sum, factor, mean, var)
