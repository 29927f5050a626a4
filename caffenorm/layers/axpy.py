"""Axpy: a channel-wise multiple of one blob plus another; a layer of SENet's fork."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Layer, register_layer


@register_layer("Axpy")
class Axpy(Layer):
    """top = a * x + y, with a of one value an image and channel.

    Shape: bottoms are a (N, C) or (N, C, 1, 1), x and y (N, C, H, W).
    Raises: ShapeError for other shapes.
    Caffe: BVLC has no such layer.
    See: Hu et al., Squeeze-and-Excitation Networks, 2017.
    """

    num_bottoms = 3
    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, x, y = (blob.shape for blob in bottom)
        if len(x) < 2 or x != y or a[:2] != x[:2] or math.prod(a) != math.prod(x[:2]):
            raise ShapeError(f"takes a (N, C), x and y (N, C, ...), found {list(a)}, {list(x)} and {list(y)}")
        self._view = (1, x[0] * x[1], math.prod(x[2:]))
        top[0].reshape(x)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows = self._view[1:]
        a, x, y = (self.read(blob) for blob in bottom)
        out = self.write(top[0])
        self.ops.scale_add(a.reshape(-1), x.reshape(rows), y.reshape(rows), out.reshape(rows))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.read_diff(top[0]).reshape(self._view)
        if propagate_down[0]:
            x = self.read(bottom[1]).reshape(self._view)
            self.ops.channel_dot(dy, x, self.write_diff(bottom[0]).reshape(-1), False)
        if propagate_down[1]:
            a = self.read(bottom[0]).reshape(-1)
            self.ops.scale_backward_input(dy, a, self.write_diff(bottom[1]).reshape(self._view))
        if propagate_down[2]:
            self.write_diff(bottom[2]).reshape(self._view)[...] = dy
