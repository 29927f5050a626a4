"""PReLU: ReLU with a learned slope for negative values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_QUARTER = schema.FillerParameter(type="constant", value=0.25)


@register_layer("PReLU")
class PReLU(Layer):
    """y = max(x, 0) + slope * min(x, 0), with one slope a channel, or one for all.

    Shape: x is (N, C, ...), of two axes or more; blobs[0] is (C,), or () with channel_shared.
    Raises: ShapeError for a bottom of one axis, and where the number of channels changes.
    Caffe: the slope starts at 0.25 without a filler; the derivative at 0 is the slope; more than four axes
        are refused by Caffe, not here.
    See: He et al., Delving Deep into Rectifiers, 2015.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.prelu_param
        if bottom[0].num_axes < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(bottom[0].shape)}")
        slope = self.new_blob(() if param.channel_shared else (bottom[0].shape[1],))
        self.fill(slope, param.filler if param.HasField("filler") else _QUARTER)
        self.blobs = [slope]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(shape)}")
        if self.blobs[0].shape and self.blobs[0].shape[0] != shape[1]:
            raise ShapeError(
                f"was made for {self.blobs[0].shape[0]} channels, and bottom 0 now has shape {list(shape)}"
            )
        shared = not self.blobs[0].shape
        self._view = (1, 1, bottom[0].count) if shared else (shape[0], shape[1], math.prod(shape[2:]))
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0])
        if self.needs_backward and not self.keeps_bottom(0):
            self.ops.xp.copyto(self.scratch("x", x.shape), x)
        self.ops.prelu_forward(x.reshape(self._view), self._slope(), self.write(top[0]).reshape(self._view))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        view = self._view
        x = self.read(bottom[0]) if self.keeps_bottom(0) else self.scratch("x", bottom[0].shape)
        x, dy = x.reshape(view), self.read_diff(top[0]).reshape(view)
        if self.param_propagate_down[0]:
            self.ops.prelu_backward_slope(x, dy, self.update_diff(self.blobs[0]).reshape(-1))
        if propagate_down[0]:
            self.ops.prelu_backward(x, dy, self._slope(), self.write_diff(bottom[0]).reshape(view))

    def _slope(self) -> Array:
        return self.read(self.blobs[0]).reshape(-1)
