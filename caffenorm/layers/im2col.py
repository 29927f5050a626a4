"""Im2col: all values that a kernel meets, in columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer
from caffenorm.layers._window import read_convolution


@register_layer("Im2col")
class Im2col(Layer):
    """For each position of a convolution the values under its kernel.

    Shape: bottom (batch..., C, spatial...) with channels on `axis`; top (batch..., C * kernel, out...): for
        each channel the taps of the kernel in row order.
    Raises: LayerError and ShapeError as Convolution.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.convolution_param, bottom[0].shape
        self._axis, self._num_axes = canonical_axis(param.axis, len(shape)), len(shape)
        if self._axis == len(shape) - 1:
            raise ShapeError(f"needs spatial axes behind axis {self._axis}, found shape {list(shape)}")
        self._windows = read_convolution(param, len(shape) - self._axis - 1)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, axis = bottom[0].shape, self._axis
        if len(shape) != self._num_axes:
            raise ShapeError(
                f"needs a bottom with {self._num_axes} axes, as at first; found shape {list(shape)}"
            )
        size = shape[axis + 1 :]
        self.windows = windows = self._windows.for_size(size)
        out_size = windows.convolved(size)
        top[0].reshape((*shape[:axis], shape[axis] * math.prod(windows.kernel), *out_size))
        self._plan = self.ops.plan_patches(
            size,
            out_size,
            kernel=windows.kernel,
            stride=windows.stride,
            pad=windows.pad,
            dilation=windows.dilation,
        )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.ops.im2col(self._plan, self.read(bottom[0]), self.write(top[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self.ops.col2im(self._plan, self.read_diff(top[0]), self.write_diff(bottom[0]))
