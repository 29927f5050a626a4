"""Dropout: sets some values to 0 in training."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer


@register_layer("Dropout")
class Dropout(Layer):
    """In TRAIN y = x * mask / (1 - dropout_ratio), with a new mask of zeros and ones at each forward; in
    TEST y = x.

    Shape: any; y has x's.
    Raises: LayerError unless 0 < dropout_ratio < 1.
    Caffe: the random numbers are others than Caffe's.
    See: Srivastava et al., Dropout, 2014.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ratio = self.param.dropout_param.dropout_ratio
        if not 0 < ratio < 1:
            raise LayerError(f"dropout_ratio must lie between 0 and 1, both excluded, found {ratio:g}")
        self._ratio = ratio
        self._drops = self.phase == schema.TRAIN

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]), self.write(top[0])
        if self._drops:
            mask = self.scratch("mask", x.shape)
            mask[...] = self.ops.xp.asarray(self.rng.random(x.shape, dtype="f4") >= self._ratio)
            mask *= 1 / (1 - self._ratio)
            self.ops.xp.multiply(x, mask, out=y)
        elif y is not x:
            self.ops.xp.copyto(y, x)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = self.read_diff(top[0]), self.write_diff(bottom[0])
        if self._drops:
            self.ops.xp.multiply(dy, self.scratch("mask", dy.shape), out=dx)
        elif dx is not dy:
            self.ops.xp.copyto(dx, dy)
