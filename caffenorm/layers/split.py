"""Split: one blob for several readers."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer


@register_layer("Split")
class Split(Layer):
    """Every top is the bottom; the bottom's gradient is the sum of the tops'.

    Shape: any; the tops have the bottom's, and its memory.
    Caffe: nets insert one wherever several layers read a blob.
    """

    num_tops = (1, None)
    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.reshape(bottom[0].shape)
            blob.share_data(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The tops have the values already."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            gradients = [self.read_diff(blob) for blob in top]
            self.ops.weighted_sum(gradients, None, self.write_diff(bottom[0]))
