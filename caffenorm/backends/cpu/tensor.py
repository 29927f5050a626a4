"""Tensor ops on the CPU; what each does is said in `backends.interface.tensor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels

Array = NDArray[Any]  # float32 or float64
_SUFFIX = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_compiled: dict[tuple[str, np.dtype[Any]], Any] = {}


def _kernel(name: str, dtype: np.dtype[Any]) -> Any:  # Any: a compiled function
    """The kernel for arrays of that dtype."""
    found = _compiled.get((name, dtype))
    if found is None:
        found = _compiled[name, dtype] = getattr(kernels("tensor"), name)[_SUFFIX[dtype]]
    return found


class CpuTensor:
    """Ops of the family tensor."""

    threads: int

    def softmax(self, x: Array, y: Array) -> None:
        _kernel("softmax", x.dtype)(x, y, self.threads)

    def softmax_backward(self, y: Array, dy: Array, dx: Array) -> None:
        _kernel("softmax_backward", y.dtype)(y, dy, dx, self.threads)

    def weighted_sum(self, arrays: Sequence[Array], weights: Sequence[float], y: Array) -> None:
        flat = y.reshape(-1)
        if len(arrays) >= 2 and weights[0] == 1 and weights[1] == 1:
            _kernel("add", y.dtype)(arrays[0].reshape(-1), arrays[1].reshape(-1), flat, False, self.threads)
            rest = range(2, len(arrays))
        else:
            _kernel("add_scaled", y.dtype)(arrays[0].reshape(-1), weights[0], flat, True, self.threads)
            rest = range(1, len(arrays))
        for i in rest:
            _kernel("add_scaled", y.dtype)(arrays[i].reshape(-1), weights[i], flat, False, self.threads)

    def maximum(self, x: Array, y: Array, winner: Array, number: int) -> None:
        _kernel("maximum", x.dtype)(x.reshape(-1), y.reshape(-1), winner.reshape(-1), number, self.threads)

    def take_rows(self, x: Array, index: Array, y: Array) -> None:
        np.take(x, index, axis=0, out=y, mode="clip")

    def add_rows(self, dy: Array, index: Array, dx: Array) -> None:
        np.add.at(dx, index, dy)
