"""SigmoidCrossEntropyLoss: many independent yes-or-no predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LossLayer, check_counts, only_to, read_normalizer


@register_layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(LossLayer):
    """loss = -sum (t log s(x) + (1 - t) log(1 - s(x))) / divisor, s the sigmoid; computed without overflow.

    Shape: x and t with the same first axis and the same number of values; t any real number.
    Caffe: the divisor is the batch size unless `loss_param` says otherwise, never below 1; VALID and FULL
        count elements. Targets are cut to whole numbers before they are compared with `ignore_label`, so 0
        ignores every target below 1.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._normalizer = read_normalizer(self.param.loss_param, schema.LossParameter.BATCH_SIZE)
        self._counted = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        check_counts(bottom, 0, 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        total, self._counted = self.ops.sigmoid_cross_entropy(
            self.read(bottom[0]).reshape(-1),
            self.read(bottom[1]).reshape(-1),
            ignore_label=self._normalizer.ignore_label,
        )
        self.set_loss(top, total / self._divisor(bottom))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0)
        if propagate_down[0]:
            self.ops.sigmoid_cross_entropy_backward(
                self.read(bottom[0]).reshape(-1),
                self.read(bottom[1]).reshape(-1),
                self.write_diff(bottom[0]).reshape(-1),
                self.loss_weight(top) / self._divisor(bottom),
                ignore_label=self._normalizer.ignore_label,
            )

    def _divisor(self, bottom: Sequence[Blob]) -> float:
        shape = bottom[0].shape
        return self._normalizer.divisor(shape[0], math.prod(shape[1:]), self._counted)
