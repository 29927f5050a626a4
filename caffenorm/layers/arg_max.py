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
        places, then values; with
        as many axes as the bottom where it has more than three.
    Raises: LayerError for a top_k below 1 or above what there is, or if a gradient is asked for: there is
        none.
    Caffe: equal values come with the larger place first; with both axis and out_max_val the top has the
        values alone.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_top_k(self._view_of(bottom[0])[1])

    def _check_top_k(self, size: int) -> None:
        top_k = self.param.argmax_param.top_k
        if not 1 <= top_k <= size:
            raise LayerError(f"top_k must lie between 1 and {size}, the number of values, found {top_k}")

    def _view_of(self, blob: Blob) -> tuple[int, int, int]:
        param, shape = self.param.argmax_param, blob.shape
        if param.HasField("axis"):
            axis = canonical_axis(param.axis, len(shape))
            return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        return shape[0], math.prod(shape[1:]), 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.argmax_param, bottom[0].shape
        self._view = self._view_of(bottom[0])
        self._check_top_k(self._view[1])
        if param.HasField("axis"):
            axis = canonical_axis(param.axis, len(shape))
            top[0].reshape((*shape[:axis], param.top_k, *shape[axis + 1 :]))
        else:
            rest = max(3, len(shape)) - 3
            top[0].reshape((shape[0], 2 if param.out_max_val else 1, param.top_k, *(1,) * rest))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, param = self.ops.xp, self.param.argmax_param
        x, size, top_k = self.read(bottom[0]).reshape(self._view), self._view[1], param.top_k
        places = size - 1 - xp.argsort(-x[:, ::-1], axis=1, kind="stable")[:, :top_k]
        y = self.write(top[0])
        if param.HasField("axis"):
            found = xp.take_along_axis(x, places, axis=1) if param.out_max_val else places
            y[...] = found.reshape(y.shape)
            return
        y = y.reshape(len(x), -1, top_k)
        y[:, 0] = places[:, :, 0]
        if param.out_max_val:
            y[:, 1] = xp.take_along_axis(x, places, axis=1)[:, :, 0]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise LayerError(
                "has no gradient; say propagate_down: false, or put it where nothing before it learns"
            )
