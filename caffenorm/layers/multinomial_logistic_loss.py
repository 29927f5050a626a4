"""MultinomialLogisticLoss: the cross entropy of probabilities against class labels."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LOG_THRESHOLD, LossLayer, only_to, refuse_label, row_view


@register_layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(LossLayer):
    """loss = -sum log(p[label]) / N on probabilities, such as Softmax gives.

    SoftmaxWithLoss is both in one, and stabler.

    Shape: p (N, ...), where all that follows the first axis are the classes; one label for each of the N.
    Raises: ShapeError if there are not N labels; LayerError for a label that is no class.
    Caffe: probabilities are raised to 1e-20, in the gradient too; rows need not sum to 1.
    """

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self._view = (*row_view(bottom), 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        labels = self.read(bottom[1]).reshape(-1, 1)
        total, _, bad = self.ops.log_loss(self.read(bottom[0]).reshape(self._view), labels, LOG_THRESHOLD)
        refuse_label(bad, labels, bottom[1].shape, self._view[1], can_ignore=False)
        self.set_loss(top, total / max(1, self._view[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0)
        if not propagate_down[0]:
            return
        labels = self.read(bottom[1]).reshape(-1, 1)
        bad = self.ops.log_loss_backward(
            self.read(bottom[0]).reshape(self._view),
            labels,
            self.write_diff(bottom[0]).reshape(self._view),
            self.loss_weight(top) / max(1, self._view[0]),
            LOG_THRESHOLD,
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1], can_ignore=False)
