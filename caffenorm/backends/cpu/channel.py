"""Channel ops on the CPU; what each does is said in `backends.interface.channel`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels

Array = NDArray[Any]  # float32 or float64


class ByType(dict[np.dtype[Any], Any]):  # Any: float32 or float64; a compiled function
    """The versions of a kernel for float32 and float64."""

    def __init__(self, family: str, name: str) -> None:
        self.family, self.name = family, name
        kernel = getattr(kernels(family), name)
        super().__init__({np.dtype(np.float32): kernel["float"], np.dtype(np.float64): kernel["double"]})

    def __missing__(self, dtype: np.dtype[Any]) -> Any:  # Any: never returns
        raise TypeError(f"the array is of {dtype}, expected float32 or float64")


_SCALE = ByType("channel", "scale")
_ADD = ByType("channel", "add")
_DOT = ByType("channel", "dot")
_TOTAL = ByType("channel", "total")
_PRELU = ByType("channel", "prelu")
_PRELU_BACKWARD = ByType("channel", "prelu_backward")
_PRELU_SLOPE = ByType("channel", "prelu_slope")


class CpuChannel:
    """Ops of the family channel."""

    threads: int

    def scale_channels(self, x: Array, gamma: Array, y: Array, beta: Array | None = None) -> None:
        """y = gamma * x, or gamma * x + beta."""
        _SCALE[x.dtype](x, gamma, y, beta, self.threads)

    def add_channels(self, x: Array, beta: Array, y: Array) -> None:
        """y = x + beta."""
        _ADD[x.dtype](x, beta, y, self.threads)

    def scale_backward_input(self, dy: Array, gamma: Array, dx: Array) -> None:
        """dx = gamma * dy."""
        _SCALE[dy.dtype](dy, gamma, dx, None, self.threads)

    def channel_dot(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        """Sum of a * b over outer and inner."""
        _DOT[a.dtype](a, b, out, accumulate, self.threads)

    def channel_sum(self, a: Array, out: Array, accumulate: bool) -> None:
        """Sum of a over outer and inner."""
        _TOTAL[a.dtype](a, out, accumulate, self.threads)

    def prelu_forward(self, x: Array, slope: Array, y: Array) -> None:
        """y = max(x, 0) + slope * min(x, 0)."""
        _PRELU[x.dtype](x, slope, y, self.threads)

    def prelu_backward(self, x: Array, dy: Array, slope: Array, dx: Array) -> None:
        """dx = dy * ((x > 0) + slope * (x <= 0))."""
        _PRELU_BACKWARD[x.dtype](x, dy, slope, dx, self.threads)

    def prelu_backward_slope(self, x: Array, dy: Array, dslope: Array) -> None:
        """dslope += sum of dy * x where x <= 0."""
        _PRELU_SLOPE[x.dtype](x, dy, dslope, self.threads)
