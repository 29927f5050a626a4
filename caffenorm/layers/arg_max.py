"""ArgMax: places of the largest values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("ArgMax")
class ArgMax(Layer):
    """The top_k largest values' places, along `axis`, or over all axes but the first.

    Shape: with axis, that axis becomes top_k. Without: (N, 1, top_k), or (N, 2, top_k) with out_max_val:
        places, then values; with as many axes as the bottom where it has more than three.
    Raises: LayerError for a top_k below 1 or above what there is, or if a gradient is asked for: there is
        none.
    Caffe: equal values come with the larger place first; with both axis and out_max_val the top has the
        values alone. NaN comes before all numbers here; in Caffe its place is undefined. The forks'
        `min_first` asks for the smallest values, of equal ones the smaller place first.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._along_axis = self.param.argmax_param.HasField("axis")
        self._set_view(bottom[0].shape)

    def _set_view(self, shape: Sequence[int]) -> None:
        """Take note of the bottom as (outer, channels, inner) and of the top's shape."""
        param = self.param.argmax_param
        k = param.top_k
        if self._along_axis:
            axis = canonical_axis(param.axis, len(shape))
            self._view = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
            self._top_shape = (*shape[:axis], k, *shape[axis + 1 :])
        else:
            if not shape:
                raise LayerError("needs at least one axis, and bottom 0 has none")
            self._view = (shape[0], math.prod(shape[1:]), 1)
            self._top_shape = (shape[0], 2 if param.out_max_val else 1, k, *(1,) * (len(shape) - 3))
        if not 1 <= k <= self._view[1]:
            raise LayerError(f"top_k must lie between 1 and {self._view[1]}, the number of values, found {k}")
        self._found = (self._view[0], k, self._view[2])

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._set_view(bottom[0].shape)
        top[0].reshape(self._top_shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.argmax_param
        x, y = self.read(bottom[0]).reshape(self._view), self.write(top[0])
        if not param.out_max_val:
            self.ops.top_values(x, y.reshape(self._found), None, param.min_first)
        elif self._along_axis:
            self.ops.top_values(x, None, y.reshape(self._found), param.min_first)
        else:
            places, values = self.scratch("places", self._found), self.scratch("values", self._found)
            self.ops.top_values(x, places, values, param.min_first)
            pairs = y.reshape(len(x), 2, param.top_k)
            pairs[:, 0], pairs[:, 1] = places[:, :, 0], values[:, :, 0]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise LayerError(
                "has no gradient; say propagate_down: false, or put it where nothing before it learns"
            )
