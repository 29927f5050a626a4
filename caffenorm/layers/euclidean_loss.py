"""EuclideanLoss: half the squared distance to the target."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LossLayer, check_counts


@register_layer("EuclideanLoss")
class EuclideanLoss(LossLayer):
    """loss = sum (a - b)^2 / (2 N), N the first axis.

    Shape: a, b with the same first axis and the same number of values.
    Caffe: both bottoms get a gradient, under `force_backward` too. Caffe takes four axes at most, here any
        number will do; a batch of no examples has loss 0, in Caffe NaN.
    """

    def allow_force_backward(self, bottom_index: int) -> bool:
        return True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        check_counts(bottom, 0, 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        diff = self.scratch("diff", (bottom[0].count,)) if self.needs_backward else None
        a, b = self.read(bottom[0]).reshape(-1), self.read(bottom[1]).reshape(-1)
        total = self.ops.squared_distance(a, b, diff)
        self.set_loss(top, total / (2 * max(1, bottom[0].shape[0])))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        scale = self.loss_weight(top) / max(1, bottom[0].shape[0])
        diff = self.scratch("diff", (bottom[0].count,))
        for index, sign in ((0, 1.0), (1, -1.0)):
            if propagate_down[index]:
                self.ops.xp.multiply(diff, sign * scale, out=self.write_diff(bottom[index]).reshape(-1))
