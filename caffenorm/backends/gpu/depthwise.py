"""Convolutions with one input channel a group on the GPU, by kernels of our own."""

from __future__ import annotations

from typing import Any

from caffenorm.backends.gpu.conv_plan import GpuConvolution
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.epilogue import Ending, add_parts
from caffenorm.backends.gpu.planes import over_planes

_BLOCKS_EACH = 4  # of gradients, for each multiprocessor
_MOST_PARTS = 1024  # of the images

Array = Any  # cupy.ndarray


def convolve(
    device: Device, plan: GpuConvolution, x: Array, weights: Array, y: Array, ending: Ending
) -> None:
    """y = act(convolution of x + bias + more)."""
    shape, patches = plan.shape, plan.patches
    planes = shape.images * shape.outputs
    kernel = device.kernel("depthwise", "depthwise", y.dtype, patches.axes)
    arrays = (x, weights, ending.bias, ending.more, y, patches.numbers.here())
    numbers = (planes, shape.outputs, plan.rows, *ending.activation)
    kernel(*over_planes(device, patches.out_plane, planes), *arrays, *numbers)


def convolve_transposed(
    device: Device, plan: GpuConvolution, y: Array, weights: Array, x: Array, ending: Ending
) -> None:
    """x = act(transposed convolution of y + bias + more)."""
    shape, patches = plan.shape, plan.patches
    planes = shape.images * shape.channels
    kernel = device.kernel("depthwise", "depthwise_transposed", x.dtype, patches.axes)
    arrays = (y, weights, ending.bias, ending.more, x, patches.numbers.here())
    numbers = (planes, shape.channels, plan.rows, *ending.activation)
    kernel(*over_planes(device, patches.plane, planes), *arrays, *numbers)


def add_gradient(device: Device, plan: GpuConvolution, x: Array, dy: Array, dweights: Array) -> None:
    """dweights += the gradient; with few weights the images are shared out among blocks."""
    shape, patches, weights = plan.shape, plan.patches, int(dweights.size)
    wanted = -(-_BLOCKS_EACH * device.multiprocessors // weights)
    each = -(-shape.images // min(shape.images, wanted, _MOST_PARTS))
    parts = -(-shape.images // each)
    partial = device.scratch("weight gradients", parts * dweights.nbytes)
    _, threads = over_planes(device, patches.out_plane, each)
    kernel = device.kernel("depthwise", "depthwise_gradient", x.dtype, patches.axes)
    numbers = (shape.images, each, shape.outputs, plan.rows)
    kernel((weights, parts), threads, x, dy, partial, patches.numbers.here(), *numbers)
    add_parts(device, partial, dweights, parts)
