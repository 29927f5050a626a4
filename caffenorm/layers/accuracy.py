"""Accuracy: the share of examples whose label is among the best scores."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._loss import View, class_view, refuse_label


@register_layer("Accuracy")
class Accuracy(Layer):
    """The share of positions where fewer than top_k other classes score at least as high as the label's.

    Shape: scores any, with classes on `axis`; labels any shape with one value for each other position; top 0
        has no axes, top 1 (classes,) holds the share of each class.
    Raises: ShapeError if the number of labels does not fit; LayerError for a label that is no class, a top_k
        of 0 or above the number of classes, or where a gradient is asked for.
    Caffe: a tie counts against the label. A NaN at the label's class counts as a hit. Without positions that
        count the share is 0. Under `force_backward` Caffe's backward fails, here the layer passes nothing
        back.
    Dialects: `denominator` (where above 0) is what hits are divided by in top 0.
    """

    num_bottoms, num_tops = 2, (1, 2)
    in_place_ok = False

    def allow_force_backward(self, bottom_index: int) -> bool:
        return False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.accuracy_param
        self._ignored = param.ignore_label if param.HasField("ignore_label") else None
        if param.min_is_better:
            raise LayerError(
                "accuracy_param.min_is_better is not supported; negate the scores with a Power layer"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.accuracy_param
        self._view: View = class_view(bottom[0].shape, param.axis, bottom[1])
        if not 1 <= param.top_k <= self._view[1]:
            raise LayerError(
                f"top_k must be from 1 to the {self._view[1]} classes of bottom 0, found {param.top_k}"
            )
        top[0].reshape(())
        if len(top) == 2:
            top[1].reshape((self._view[1],))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.accuracy_param
        labels = self.read(bottom[1]).reshape(self._view[0], self._view[2])
        hits, counted, bad = self.ops.accuracy(
            self.read(bottom[0]).reshape(self._view),
            labels,
            param.top_k,
            ignore_label=self._ignored,
            by_class=self.write(top[1]) if len(top) == 2 else None,
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1])
        among = param.denominator if param.denominator > 0 else counted
        self.write(top[0])[...] = hits / among if among else 0.0

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise LayerError(
                "has no gradient, nothing learns from an accuracy; remove its loss_weight or propagate_down"
            )
