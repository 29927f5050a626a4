"""LRN: local response normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer


@register_layer("LRN")
class LRN(Layer):
    """y = x * s^-beta, where s grows with the squares around x.

    ACROSS_CHANNELS: s = k + alpha / local_size * sum of x^2 over local_size channels around.
    WITHIN_CHANNEL: s = 1 + alpha / local_size^2 * sum of x^2 over local_size x local_size positions around.

    Shape: bottom (N, C, spatial...), for WITHIN_CHANNEL (N, C, H, W); top alike.
    Raises: LayerError unless local_size is odd; ShapeError for other numbers of axes.
    Caffe: alpha is divided by the number of values in a whole window, also at the edges; k means nothing
        within a channel. Caffe takes 4 axes only.
    See: Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.lrn_param
        if param.local_size % 2 == 0:
            raise LayerError(
                f"local_size must be odd, so that a window has a middle; found {param.local_size}"
            )
        self._size, self._alpha, self._beta = int(param.local_size), param.alpha, param.beta
        self._within = param.norm_region == schema.LRNParameter.WITHIN_CHANNEL
        self._k = 1.0 if self._within else param.k

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 and (self._within or len(shape) < 2):
            needed = "4 axes, (N, C, H, W)" if self._within else "2 axes or more, (N, C, ...)"
            raise ShapeError(f"needs a bottom with {needed}, found shape {list(shape)}")
        if self._within:
            self._view = (shape[0] * shape[1], *shape[2:])
        else:
            self._view = (shape[0], shape[1], math.prod(shape[2:]))
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]).reshape(self._view), self.write(top[0]).reshape(self._view)
        lrn = self.ops.lrn_within if self._within else self.ops.lrn_across
        keeps = self._within or self.needs_backward
        scale = self.scratch("scale", self._view) if keeps else None
        lrn(x, y, scale, self._size, self._alpha, self._beta, self._k)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        x, scale = self.read(bottom[0]).reshape(self._view), self.scratch("scale", self._view)
        dy, dx = self.read_diff(top[0]).reshape(self._view), self.write_diff(bottom[0]).reshape(self._view)
        backward = self.ops.lrn_within_backward if self._within else self.ops.lrn_across_backward
        backward(x, scale, dy, dx, self._size, self._alpha, self._beta)
