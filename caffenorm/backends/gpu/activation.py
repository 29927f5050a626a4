"""Activation ops on the GPU; what each does is said in `backends.interface.activation`."""

from __future__ import annotations

from typing import Any, get_args

from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.interface.activation import Backward, Forward

Array = Any  # cupy.ndarray
_THREADS = 256
_FORWARD = {name: number for number, name in enumerate(get_args(Forward))}
_BACKWARD = {name: number for number, name in enumerate(get_args(Backward))}
_WORDS = 1 << 32  # values of a random word


def _check_counts(like: Array, *others: Array) -> None:
    for array in others:
        if array.size != like.size:
            raise ValueError(f"arrays of {array.size} and {like.size} values in one call")
        if array.dtype != like.dtype:
            raise TypeError(f"arrays of {array.dtype} and {like.dtype} in one call")


class GpuActivation:
    """Ops of the family activation."""

    device: Device

    def activate(
        self, function: Forward, x: Array, y: Array, a: float = 0.0, b: float = 0.0, c: float = 0.0
    ) -> None:
        """y = f(x)."""
        number = _FORWARD[function]
        _check_counts(x, y)
        if x.size:
            kernel = self.device.kernel("activation", "activate", x.dtype, number)
            blocks = self.device.blocks(x.size, _THREADS)
            kernel(blocks, _THREADS, x, y, x.size, float(a), float(b), float(c))

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
        """dx = dy * f'(x)."""
        number = _BACKWARD[function]
        _check_counts(s, dy, dx)
        if s.size:
            kernel = self.device.kernel("activation", "activate_backward", s.dtype, number)
            blocks = self.device.blocks(s.size, _THREADS)
            kernel(blocks, _THREADS, s, dy, dx, s.size, float(a), float(b), float(c))

    def random_mask(self, x: Array, y: Array, seed: int, ratio: float, scale: float) -> None:
        """y = x * mask."""
        _check_counts(x, y)
        if not x.size:
            return
        threshold = min(_WORDS - 1, round(ratio * _WORDS))
        signed = (int(seed) + (1 << 63)) % (1 << 64) - (1 << 63)  # the same 64 bits
        kernel = self.device.kernel("activation", "random_mask", x.dtype)
        kernel(self.device.blocks(x.size, _THREADS), _THREADS, x, y, x.size, signed, threshold, float(scale))
