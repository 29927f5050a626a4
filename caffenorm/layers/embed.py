"""Embed: looks up learned rows by number."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._index import checked_index


@register_layer("Embed")
class Embed(Layer):
    """y[...] = weight[x[...]] (+ bias), for whole numbers x.

    Shape: x has any, y one axis of num_output more. blobs are weight (input_dim, num_output) and bias
        (num_output,).
    Raises: LayerError for a num_output or input_dim below 1, or if the bottom's gradient is asked for: there
        is none. ShapeError, in forward, for a number outside 0 to input_dim - 1.
    Caffe: numbers are cut to whole ones.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.embed_param
        if param.num_output < 1 or param.input_dim < 1:
            raise LayerError(
                f"num_output and input_dim must be 1 or more, found {param.num_output} and {param.input_dim}"
            )
        self.blobs = [self.new_blob((param.input_dim, param.num_output))]
        self.fill(self.blobs[0], param.weight_filler)
        if param.bias_term:
            self.blobs.append(self.new_blob((param.num_output,)))
            self.fill(self.blobs[1], param.bias_filler)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outputs = self.param.embed_param.num_output
        self._view = (bottom[0].count, outputs)
        top[0].reshape((*bottom[0].shape, outputs))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, y = self.ops.xp, self.write(top[0]).reshape(self._view)
        self._index = checked_index(xp, self.read(bottom[0]), self.param.embed_param.input_dim, "number")
        self.ops.take_rows(self.read(self.blobs[0]), self._index, y)
        if len(self.blobs) > 1:
            xp.add(y, self.read(self.blobs[1]), out=y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise LayerError("has no gradient for the numbers it looks up")
        dy = self.read_diff(top[0]).reshape(self._view)
        if self.param_propagate_down[0]:
            self.ops.add_rows(dy, self._index, self.update_diff(self.blobs[0]))
        if len(self.blobs) > 1 and self.param_propagate_down[1]:
            self.ops.channel_sum(dy.reshape(*self._view, 1), self.update_diff(self.blobs[1]), True)
