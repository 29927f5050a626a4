"""Parameter: a learned blob as a top."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer


@register_layer("Parameter")
class Parameter(Layer):
    """Its top is its parameter.

    Shape: of parameter_param.shape, for blobs[0] and the top; the values start at 0, or as a fork's
        `blob_filler` says.
    Caffe: both are one memory, so a layer that works in place on the top changes the parameter for good.
    """

    num_bottoms = 0

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.blobs = [self.new_blob(tuple(self.param.parameter_param.shape.dim))]
        self.fill(self.blobs[0], self.param.parameter_param.blob_filler)
        self.reshape(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(self.blobs[0].shape)
        top[0].share_data(self.blobs[0])
        top[0].share_diff(self.blobs[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The values are there."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The gradient is there."""
