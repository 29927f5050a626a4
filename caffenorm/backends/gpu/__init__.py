"""The GPU backend: CuPy arrays, kernels of the `.cu` files here, compiled when they are first used."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.gpu.activation import GpuActivation
from caffenorm.backends.gpu.channel import GpuChannel
from caffenorm.backends.gpu.conv import GpuConv
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.loss import GpuLoss
from caffenorm.backends.gpu.norm import GpuNorm
from caffenorm.backends.gpu.statistics import GpuStatistics
from caffenorm.backends.gpu.tensor import GpuTensor
from caffenorm.backends.gpu.window import GpuWindow

_DLPACK_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged


class GpuOps(GpuNorm, GpuChannel, GpuStatistics, GpuActivation, GpuWindow, GpuConv, GpuTensor, GpuLoss):
    """All ops on one GPU.

    Args:
        index: the GPU's number.
        cupy: what stands in for CuPy; None imports CuPy.

    Raises:
        MissingExtraError: CuPy is not installed.
        DeviceError: there is no such GPU, or no driver.
    """

    is_host = False
    threads = 1

    def __init__(self, index: int = 0, cupy: ModuleType | None = None) -> None:
        self.device = Device(index, cupy)
        self.name = f"gpu:{index}"
        self.xp: ModuleType = self.device.xp

    def empty(self, count: int, dtype: np.dtype[Any]) -> Any:  # Any: cupy.ndarray
        """A flat array of that many values, not set."""
        with self.device.selected():
            return self.xp.empty(count, dtype=dtype)

    def selected(self) -> AbstractContextManager[Any]:  # Any: nobody looks at it
        """Context in which this is CuPy's current device."""
        context: AbstractContextManager[Any] = self.device.selected()
        return context

    def wait(self) -> None:
        """Wait until this GPU's current stream has done all that it was given."""
        with self.device.selected():
            self.xp.cuda.get_current_stream(self.device.index).synchronize()

    def is_device_array(self, value: Any) -> bool:  # Any: of whatever library
        """Whether it lies on a GPU and says so, by DLPack or `__cuda_array_interface__`."""
        if isinstance(value, self.xp.ndarray):
            return True
        if hasattr(value, "__dlpack_device__"):
            return value.__dlpack_device__()[0] in _DLPACK_CUDA
        return hasattr(value, "__cuda_array_interface__")

    def assign(self, target: Any, value: Any) -> None:
        """target[...] = value, for a number or an array of any library, wherever it lies."""
        with self.device.selected():
            target[...] = self._taken(value)

    def _taken(self, value: Any) -> Any:
        """The value as a number or as an array on this GPU, without a copy where it is there already."""
        if np.isscalar(value):
            return value
        if not self.is_device_array(value):
            return self.xp.asarray(np.asarray(value))
        if not isinstance(value, self.xp.ndarray):
            exports = hasattr(value, "__dlpack__")
            value = self.xp.from_dlpack(value) if exports else self.xp.asarray(value)
        if int(value.device) != self.device.index:
            return self.xp.asarray(self.xp.asnumpy(value))
        return value

    def upload(self, host: NDArray[Any], device: Any) -> None:
        """Copy a host array into this GPU's array of the same count."""
        with self.device.selected():
            device.set(host.reshape(device.shape))

    def download(self, device: Any, host: NDArray[Any]) -> None:
        """Copy this GPU's array into a host array of the same count; waits for the current stream."""
        with self.device.selected():
            device.get(out=host.reshape(device.shape))

    def fill(self, device: Any, value: float) -> None:
        """Set all of an array."""
        with self.device.selected():
            device.fill(value)

    def alias(self, device: Any, owner: object) -> Any:
        """The same memory as an array that, with all its views, keeps `owner` alive."""
        cuda = self.xp.cuda
        memory = cuda.UnownedMemory(device.data.ptr, device.nbytes, owner, self.device.index)
        return self.xp.ndarray(device.shape, device.dtype, cuda.MemoryPointer(memory, 0))

    def order_after(self, stream: Any) -> Any:
        """Let the current stream wait for what is in `stream` (None: nothing) and return the current one."""
        return self.device.order_after(stream)
