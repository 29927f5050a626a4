"""The ops that layers call, a Protocol a family; a backend has them all.

Ops take arrays of their device, of one dtype (float32 or float64) and C-contiguous, write into what they are
given, and keep no state but the number of threads. Channel-wise ops see arrays as (outer, channels, inner).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
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

    def selected(self) -> AbstractContextManager[Any]:  # Any: nobody looks at it
        """Context in which `xp` works on this device's arrays."""

    def wait(self) -> None:
        """Wait until the current stream has done all that it was given."""

    def is_device_array(self, value: Any) -> bool:
        """Whether `value`, of any library, lies in a GPU's memory; a backend of the host says no."""

    def assign(self, target: Any, value: Any) -> None:
        """target[...] = value, for a number or an array of any library, wherever it lies."""

    # What Synced keeps host and device in step with; never called where is_host.

    def upload(self, host: NDArray[Any], device: Any) -> None:
        """Copy a host array into this device's array of the same count."""

    def download(self, device: Any, host: NDArray[Any]) -> None:
        """Copy this device's array into a host array of the same count, and wait for it."""

    def fill(self, device: Any, value: float) -> None:
        """Set all of this device's array."""

    def alias(self, device: Any, owner: object) -> Any:
        """The same memory as an array that, with all its views, keeps `owner` alive."""

    def order_after(self, stream: Any) -> Any:
        """Let the current stream wait for what is in `stream` (None: nothing) and return the current one."""
