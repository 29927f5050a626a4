"""How products end on the GPU: bias, a residual and an activation in one pass, and sums of parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from caffenorm.backends.gpu.cuda import Device

_THREADS = 256

Array = Any  # cupy.ndarray


@dataclass(frozen=True, eq=False)
class Ending:
    """result = act(sum + bias + more); None where there is no such part.

    Attributes:
        bias: a value a channel.
        more: of the result's shape; it may be its array.
        slope: of a (leaky) ReLU.
    """

    bias: Array | None
    more: Array | None
    slope: float | None

    @property
    def is_nothing(self) -> bool:
        return self.bias is None and self.more is None and self.slope is None

    @property
    def activation(self) -> tuple[bool, float]:
        """Whether there is one, and its slope, as kernels take them."""
        return self.slope is not None, float(self.slope or 0)


def end_product(device: Device, sums: Array, y: Array, channels: int, inner: int, ending: Ending) -> None:
    """y (outer, channels, inner) from the sums, which may be y's own array."""
    if sums is y and ending.is_nothing:
        return
    kernel = device.kernel("epilogue", "epilogue", y.dtype)
    arrays = (sums, ending.bias, ending.more, y)
    kernel(device.blocks(y.size), _THREADS, *arrays, y.size, channels, inner, *ending.activation)


def add_parts(device: Device, partial: Array, out: Array, parts: int) -> None:
    """out += the sum of the parts, one after the other."""
    kernel = device.kernel("epilogue", "add_parts", out.dtype)
    kernel(device.blocks(out.size, per_thread=1), _THREADS, partial, out, out.size, parts)
