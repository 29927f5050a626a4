"""Silence: reads blobs and makes nothing of them."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer


@register_layer("Silence")
class Silence(Layer):
    """Keeps its bottoms from being outputs of the net; their gradient is 0."""

    num_bottoms = (1, None)
    num_tops = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """There are no tops."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """There is nothing to compute."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for wanted, blob in zip(propagate_down, bottom, strict=True):
            if wanted:
                self.write_diff(blob)[...] = 0
