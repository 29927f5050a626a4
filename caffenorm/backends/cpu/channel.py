"""Channel ops on the CPU; what each does is said in `backends.interface.channel`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels

Array = NDArray[Any]  # float32 or float64
_kernels = kernels("channel")


def _by_type(name: str) -> dict[np.dtype[Any], Any]:  # Any: float32 or float64; a compiled function
    """The versions of a kernel for float32 and float64."""
    kernel = getattr(_kernels, name)
    return {np.dtype(np.float32): kernel["float"], np.dtype(np.float64): kernel["double"]}


_SCALE = _by_type("scale")
_ADD = _by_type("add")
_DOT = _by_type("dot")
_TOTAL = _by_type("total")
_PRELU = _by_type("prelu")
_PRELU_BACKWARD = _by_type("prelu_backward")
_PRELU_SLOPES = _by_type("prelu_slopes")


class CpuChannel:
    """Ops of the family channel."""

    threads: int

    def scale_channels(self, x: Array, gamma: Array, y: Array, beta: Array | None = None) -> None:
        _SCALE[x.dtype](x, gamma, y, beta, self.threads)

    def add_channels(self, x: Array, beta: Array, y: Array) -> None:
        _ADD[x.dtype](x, beta, y, self.threads)

    def scale_backward_input(self, dy: Array, gamma: Array, dx: Array) -> None:
        _SCALE[dy.dtype](dy, gamma, dx, None, self.threads)

    def channel_dot(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        _DOT[a.dtype](a, b, out, accumulate, self.threads)

    def channel_sum(self, a: Array, out: Array, accumulate: bool) -> None:
        _TOTAL[a.dtype](a, out, accumulate, self.threads)

    def prelu_forward(self, x: Array, slope: Array, y: Array) -> None:
        _PRELU[x.dtype](_flat(x, slope), slope, _flat(y, slope), self.threads)

    def prelu_backward(self, x: Array, dy: Array, slope: Array, dx: Array) -> None:
        _PRELU_BACKWARD[x.dtype](_flat(x, slope), _flat(dy, slope), slope, _flat(dx, slope), self.threads)

    def prelu_backward_slope(self, x: Array, dy: Array, dslope: Array) -> None:
        _PRELU_SLOPES[x.dtype](_flat(x, dslope), _flat(dy, dslope), dslope, self.threads)


def _flat(x: Array, slope: Array) -> Array:
    """x with one channel where one slope is for all."""
    return x.reshape(1, 1, -1) if slope.size == 1 and x.shape[1] != 1 else x
