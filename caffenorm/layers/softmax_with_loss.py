"""SoftmaxWithLoss: the cross entropy of scores against class labels."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._loss import FLT_MIN, only_to, read_normalizer, refuse_label
from caffenorm.layers._softmax import SoftmaxLossLayer
from caffenorm.synced import Array


@register_layer("SoftmaxWithLoss")
class SoftmaxWithLoss(SoftmaxLossLayer):
    """loss = -sum log(softmax(x)[label]) / divisor.

    Shape: x any, with classes on `softmax_param.axis`; labels any shape with one value for each other
        position of x; a second top gets the probabilities, in the shape of x.
    Raises: ShapeError if the number of labels does not fit; LayerError for a label that is no class.
    Caffe: the divisor is `loss_param.normalization`: VALID (positions not ignored, the default), FULL,
        BATCH_SIZE or NONE, never below 1. `ignore_label` may lie outside the classes. A term is at most
        87.3365 (probabilities are raised to the smallest normal float), the gradient is not capped. Labels
        are cut to whole numbers.
    Dialects: `class_weighting` with `weight_by_label_freqs` multiplies each position by its class's weight
        and leaves the divisor; `label_smoothing` s moves the gradient's target to 1 - s at the label and s /
        classes elsewhere and leaves the loss; PRE_FIXED divides by `pre_fixed_normalizer`.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().layer_setup(bottom, top)
        param = self.param.loss_param
        self._axis = self.param.softmax_param.axis
        self._normalizer = read_normalizer(param, schema.LossParameter.VALID)
        self._smoothing = param.label_smoothing
        if not 0 <= self._smoothing < 1:
            raise LayerError(f"label_smoothing must be from 0 to below 1, found {self._smoothing:g}")
        self._weights: Blob | None = None
        if param.weight_by_label_freqs:
            self._weights = self.new_blob((len(param.class_weighting),))
            self._weights.data[...] = list(param.class_weighting)
        self._counted = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if self._weights is not None and self._weights.count != self._view[1]:
            raise ShapeError(
                f"weight_by_label_freqs takes one class_weighting for each of the {self._view[1]} classes, "
                f"found {self._weights.count}"
            )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        prob, labels = self.compute_probabilities(bottom, top), self.labels(bottom)
        total, self._counted, bad = self.ops.log_loss(
            prob, labels, FLT_MIN, ignore_label=self._normalizer.ignore_label, weights=self._class_weights()
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1])
        self.set_loss(top, total / self._divisor())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0)
        if not propagate_down[0]:
            return
        labels = self.labels(bottom)
        bad = self.ops.softmax_loss_backward(
            self.probabilities(top),
            labels,
            self.write_diff(bottom[0]).reshape(self._view),
            self.loss_weight(top) / self._divisor(),
            ignore_label=self._normalizer.ignore_label,
            weights=self._class_weights(),
            smoothing=self._smoothing,
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1])

    def _divisor(self) -> float:
        return self._normalizer.divisor(self._view[0], self._view[2], self._counted)

    def _class_weights(self) -> Array | None:
        return None if self._weights is None else self.read(self._weights)
