"""The CPU backend: NumPy arrays, kernels of `caffenorm._kernels`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.cpu.activation import CpuActivation
from caffenorm.backends.cpu.channel import CpuChannel
from caffenorm.backends.cpu.conv import CpuConv
from caffenorm.backends.cpu.loss import CpuLoss
from caffenorm.backends.cpu.norm import CpuNorm
from caffenorm.backends.cpu.statistics import CpuStatistics
from caffenorm.backends.cpu.tensor import CpuTensor
from caffenorm.backends.cpu.window import CpuWindow

_ALIGNMENT = 64  # bytes: what streaming stores of AVX-512 need


class CpuOps(CpuNorm, CpuChannel, CpuStatistics, CpuActivation, CpuWindow, CpuConv, CpuTensor, CpuLoss):
    """All ops on the CPU.

    Args:
        threads: how many threads the kernels may use; results do not depend on it.
    """

    name = "cpu"
    is_host = True
    xp: ModuleType = np

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def empty(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:  # Any: float32 or float64
        """A flat array of that many values, not set, starting on a cache line."""
        raw = np.empty(count * dtype.itemsize + _ALIGNMENT, dtype=np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        return raw[start : start + count * dtype.itemsize].view(dtype)

    def to_device(self, host: NDArray[Any]) -> NDArray[Any]:
        """The array itself: host and device are one."""
        return host

    def to_host(self, device: NDArray[Any]) -> NDArray[Any]:
        """The array itself: host and device are one."""
        return device
