"""HingeLoss: one class against all others, with a margin of 1."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LossLayer, only_to, refuse_label, row_view


@register_layer("HingeLoss")
class HingeLoss(LossLayer):
    """loss = sum m / N (L1) or sum m^2 / N (L2).

    m = max(0, 1 - x) at the label's class and max(0, 1 + x) elsewhere.

    Shape: x (N, ...), where all that follows the first axis are the classes; one label for each of the N.
    Raises: ShapeError if there are not N labels; LayerError for a label that is no class.
    Caffe: the gradient at a margin of exactly 0 is 0. Caffe's forward uses the gradient of x as work space
        and takes four axes at most; here it is left alone, and any number of axes will do. A NaN score has
        margin 0.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._squared = self.param.hinge_loss_param.norm == schema.HingeLossParameter.L2

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self._view = row_view(bottom)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        labels = self.read(bottom[1]).reshape(-1)
        total, bad = self.ops.hinge_loss(self.read(bottom[0]).reshape(self._view), labels, self._squared)
        refuse_label(bad, labels, bottom[1].shape, self._view[1], can_ignore=False)
        self.set_loss(top, total / max(1, self._view[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0)
        if not propagate_down[0]:
            return
        labels = self.read(bottom[1]).reshape(-1)
        bad = self.ops.hinge_loss_backward(
            self.read(bottom[0]).reshape(self._view),
            labels,
            self.write_diff(bottom[0]).reshape(self._view),
            self.loss_weight(top) / max(1, self._view[0]),
            self._squared,
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1], can_ignore=False)
