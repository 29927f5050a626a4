"""The CPU backend: NumPy arrays, kernels of `caffenorm._kernels`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
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

_NO_CONTEXT = nullcontext()
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

    def selected(self) -> AbstractContextManager[Any]:  # Any: nobody looks at it
        """Nothing to select."""
        return _NO_CONTEXT

    def wait(self) -> None:
        """Ops are done when they return."""

    def is_device_array(self, value: Any) -> bool:
        """No: arrays of the host's memory have no device."""
        return False

    def assign(self, target: NDArray[Any], value: Any) -> None:
        """target[...] = value."""
        target[...] = value

    def upload(self, host: NDArray[Any], device: NDArray[Any]) -> None:
        """Copy."""
        device[...] = host.reshape(device.shape)

    def download(self, device: NDArray[Any], host: NDArray[Any]) -> None:
        """Copy."""
        host[...] = device.reshape(host.shape)

    def fill(self, device: NDArray[Any], value: float) -> None:
        """Set all of an array."""
        device[...] = value

    def alias(self, device: NDArray[Any], owner: object) -> NDArray[Any]:
        """The array itself: NumPy's views keep their owner."""
        return device

    def order_after(self, stream: None) -> None:
        """There are no streams."""
