"""Activation ops on the CPU; what each does is said in `backends.interface.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels
from caffenorm.backends.interface.activation import Function

Array = NDArray[Any]  # float32 or float64
_SUFFIX = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_compiled: dict[tuple[str, str, np.dtype[Any]], tuple[Any, int]] = {}


def _kernel(entry: str, function: str, dtype: np.dtype[Any]) -> tuple[Any, int]:
    """The compiled entry point for that dtype, and the number of the function."""
    found = _compiled.get((entry, function, dtype))
    if found is None:
        module = kernels("activation")
        found = (getattr(module, entry)[_SUFFIX[dtype]], module.FUNCTIONS[function])
        _compiled[entry, function, dtype] = found
    return found


class CpuActivation:
    """Ops of the family activation."""

    threads: int

    def activate(self, function: Function, x: Array, y: Array, a: float = 0.0, b: float = 0.0) -> None:
        kernel, number = _kernel("forward", function, x.dtype)
        kernel(number, x.reshape(-1), y.reshape(-1), a, b, self.threads)

    def activate_backward(
        self, function: Function, s: Array, dy: Array, dx: Array, a: float = 0.0, b: float = 0.0
    ) -> None:
        kernel, number = _kernel("backward", function, dy.dtype)
        kernel(number, s.reshape(-1), dy.reshape(-1), dx.reshape(-1), a, b, self.threads)
