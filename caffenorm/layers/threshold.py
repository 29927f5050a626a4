"""Threshold: 1 above a value, 0 elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer


@register_layer("Threshold")
class Threshold(Layer):
    """y = 1 where x > threshold, else 0.

    Shape: any; y has x's.
    Raises: LayerError if a gradient is asked for: there is none.
    """

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]), self.write(top[0])
        self.ops.activate("threshold", x, y, self.param.threshold_param.threshold)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise LayerError(
                "has no gradient; say propagate_down: false, or put it where nothing before it learns"
            )
