"""The GPU backend: CuPy arrays, kernels of the `.cu` files here, compiled when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.gpu.cuda import FOLDER, Device

_FAMILIES = ("norm", "channel", "statistics", "activation", "window", "conv", "tensor", "loss")
_MIXINS: tuple[type, ...] = tuple(
    getattr(importlib.import_module(f"caffenorm.backends.gpu.{name}"), f"Gpu{name.capitalize()}")
    for name in _FAMILIES
    if (FOLDER / f"{name}.py").exists()
)


class GpuOps(*_MIXINS):  # type: ignore[misc]  # bases are a list
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

    def to_device(self, host: NDArray[Any]) -> Any:
        """A copy of a host array on this GPU."""
        with self.device.selected():
            return self.xp.asarray(host)

    def to_host(self, device: Any) -> NDArray[Any]:
        """A copy of this GPU's array on the host; waits for what the current stream has to do before."""
        with self.device.selected():
            host: NDArray[Any] = self.xp.asnumpy(device)
            return host
