"""The ops that layers call, a Protocol a family; a backend has them all.

Ops take arrays of their device, of one dtype (float32 or float64) and C-contiguous, write into what they are
given, and keep no state but the number of threads. Channel-wise ops see arrays as (outer, channels, inner).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.interface.activation import ActivationOps
from caffenorm.backends.interface.channel import ChannelOps
from caffenorm.backends.interface.conv import ConvOps
from caffenorm.backends.interface.loss import LossOps
from caffenorm.backends.interface.norm import NormOps
from caffenorm.backends.interface.statistics import StatisticsOps
from caffenorm.backends.interface.tensor import TensorOps
from caffenorm.backends.interface.window import WindowOps


class Ops(
    NormOps, ChannelOps, StatisticsOps, ActivationOps, WindowOps, ConvOps, TensorOps, LossOps, Protocol
):
    """All ops of one device.

    Attributes:
        name: of the device, "cpu" or "gpu:0".
        is_host: whether the arrays are NumPy's.
        threads: how many threads the kernels may use.
        xp: the array module, NumPy or CuPy.
    """

    name: str
    is_host: bool
    threads: int

    @property
    def xp(self) -> ModuleType: ...

    def empty(
        self, count: int, dtype: np.dtype[Any]
    ) -> Any:  # Any: the device's array, of float32 or float64
        """A flat array of that many values, not set."""

    def to_device(self, host: NDArray[Any]) -> Any:
        """A copy of a host array on this device."""

    def to_host(self, device: Any) -> NDArray[Any]:
        """A copy of this device's array on the host."""
