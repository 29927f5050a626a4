"""im2col and col2im on the GPU, for the window ops and for convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.numbers import Numbers
from caffenorm.backends.gpu.planes import over_planes

Array = Any  # cupy.ndarray
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class GpuPatches:
    """A kernel over channels of `axes` spatial axes.

    Attributes:
        plane, out_plane: values of a channel, and positions that the kernel takes in it.
        taps: of the kernel.
        numbers: sizes as the kernels read them.
    """

    axes: int
    plane: int
    out_plane: int
    taps: int
    numbers: Numbers

    def channels(self, x: Array, columns: Array) -> int:
        """The number of channels, which both arrays must have."""
        each = self.taps * self.out_plane
        if x.size % self.plane or x.size // self.plane * each != columns.size:
            raise ValueError(f"{x.size} and {columns.size} values are no channels of {self.plane} and {each}")
        return int(x.size) // self.plane


def plan_patches(
    device: Device,
    size: Sizes,
    out_size: Sizes,
    *,
    kernel: Sizes,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
) -> GpuPatches:
    """What the kernels of patches.cu and depthwise.cu need to know."""
    numbers = Numbers(device, (*size, *out_size, *kernel, *stride, *pad, *dilation))
    return GpuPatches(len(size), math.prod(size), math.prod(out_size), math.prod(kernel), numbers)


def im2col(device: Device, plan: GpuPatches, x: Array, columns: Array) -> None:
    """columns (channels, taps, out_plane): what each tap meets, zeros outside of x."""
    channels = plan.channels(x, columns)
    if not columns.size:
        return
    kernel = device.kernel("patches", "im2col", x.dtype, plan.axes)
    kernel(*over_planes(device, plan.out_plane, channels), x, columns, plan.numbers.here(), channels)


def col2im(device: Device, plan: GpuPatches, columns: Array, x: Array) -> None:
    """x: for each value the sum of the columns' values that stand for it."""
    channels = plan.channels(x, columns)
    if not x.size:
        return
    kernel = device.kernel("patches", "col2im", x.dtype, plan.axes)
    kernel(*over_planes(device, plan.plane, channels), columns, x, plan.numbers.here(), channels)
