"""Activation ops on the CPU; what each does is said in `backends.interface.activation`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels
from caffenorm.backends.interface.activation import Backward, Forward

Array = NDArray[Any]  # float32 or float64
_SUFFIX = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_WORDS = 1 << 32  # values of a random word


@cache
def _forward(function: str, dtype: np.dtype[Any]) -> tuple[Any, int]:  # Any: a compiled function
    module = kernels("activation")
    return module.forward[_SUFFIX[dtype]], module.FORWARD[function]


@cache
def _backward(function: str, dtype: np.dtype[Any]) -> tuple[Any, int]:  # Any: a compiled function
    module = kernels("activation")
    return module.backward[_SUFFIX[dtype]], module.BACKWARD[function]


class CpuActivation:
    """Ops of the family activation."""

    threads: int

    def activate(
        self, function: Forward, x: Array, y: Array, a: float = 0.0, b: float = 0.0, c: float = 0.0
    ) -> None:
        kernel, number = _forward(function, x.dtype)
        kernel(number, x.reshape(-1), y.reshape(-1), a, b, c, self.threads)

    def activate_backward(
        self,
        function: Backward,
        s: Array,
        dy: Array,
        dx: Array,
        a: float = 0.0,
        b: float = 0.0,
        c: float = 0.0,
    ) -> None:
        kernel, number = _backward(function, s.dtype)
        kernel(number, s.reshape(-1), dy.reshape(-1), dx.reshape(-1), a, b, c, self.threads)

    def random_mask(self, x: Array, y: Array, seed: int, ratio: float, scale: float) -> None:
        threshold = min(_WORDS - 1, round(ratio * _WORDS))
        kernel = kernels("activation").mask[_SUFFIX[x.dtype]]
        kernel(x.reshape(-1), y.reshape(-1), seed, threshold, scale, self.threads)
