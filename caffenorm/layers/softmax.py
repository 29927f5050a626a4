"""Softmax: scores to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, canonical_axis, register_layer
from caffenorm.layers._channels import View, split_axes
from caffenorm.layers._softmax import note_unused


@register_layer("Softmax")
class Softmax(Layer):
    """y = e^x / sum e^x over `axis`; the largest x is taken off first, so that nothing overflows.

    Shape: y as x; any axis, negative ones count from the end.
    Caffe: `engine` chooses a library, not a result. Works in place.
    """

    num_bottoms, num_tops = 1, 1

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        note_unused(self, self.param.softmax_param)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self._view: View = split_axes(shape, canonical_axis(self.param.softmax_param.axis, len(shape)), 1)
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0]).reshape(self._view)
        y = self.write(top[0]).reshape(self._view)
        self.ops.softmax(x, y)
        if self.needs_backward and not self.keeps_top(0):
            self.ops.xp.copyto(self.scratch("y", self._view), y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        y = self.read(top[0]).reshape(self._view) if self.keeps_top(0) else self.scratch("y", self._view)
        dy = self.read_diff(top[0]).reshape(self._view)
        self.ops.softmax_backward(y, dy, self.write_diff(bottom[0]).reshape(self._view))
