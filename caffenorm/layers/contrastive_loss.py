"""ContrastiveLoss: similar pairs close together, others at least a margin apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LossLayer, only_to

_GUARD = 1e-4  # Caffe adds it to distances before it divides by them


@register_layer("ContrastiveLoss")
class ContrastiveLoss(LossLayer):
    """loss = sum over pairs of (d^2 where similar, else max(margin - d, 0)^2) / (2 N), d = |a - b|.

    Shape: a, b (N, C) or (N, C, 1, 1); bottom 2 has N values, similar where not 0.
    Raises: ShapeError if that does not fit.
    Caffe: `legacy_version` takes max(margin - d^2, 0) for pairs that are not similar. The gradient divides by
        d + 1e-4, so it is not quite the derivative, and 0 for equal points. Bottom 2 is cut to whole numbers:
        0.9 is not similar.
    See: Hadsell, Chopra, LeCun 2006, Dimensionality Reduction by Learning an Invariant Mapping.
    """

    num_bottoms, num_tops = 3, 1

    def allow_force_backward(self, bottom_index: int) -> bool:
        return bottom_index != 2

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.contrastive_loss_param
        self._margin, self._legacy = param.margin, param.legacy_version

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        a, b, similar = (blob.shape for blob in bottom)
        if len(a) < 2 or a[:2] != b[:2] or math.prod(a[2:]) != 1 or math.prod(b[2:]) != 1:
            raise ShapeError(
                f"bottoms 0 and 1 must both be (N, C) or (N, C, 1, 1), "
                f"they have shapes {list(a)} and {list(b)}"
            )
        if math.prod(similar) != a[0]:
            raise ShapeError(
                f"bottom 2 must have a value for each of {a[0]} pairs, it has shape {list(similar)}"
            )
        top[0].reshape(())
        self._view = a[0], a[1]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b = (self.read(blob).reshape(self._view) for blob in bottom[:2])
        total = self.ops.contrastive_loss(
            a,
            b,
            self.read(bottom[2]).reshape(-1),
            self.scratch("squared", self._view[:1]),
            self._margin,
            self._legacy,
        )
        self.set_loss(top, total / (2 * max(1, self._view[0])))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0, 1)
        a, b = (self.read(blob).reshape(self._view) for blob in bottom[:2])
        scale = self.loss_weight(top) / max(1, self._view[0])
        for index, sign in ((0, 1.0), (1, -1.0)):
            if propagate_down[index]:
                self.ops.contrastive_loss_backward(
                    a,
                    b,
                    self.read(bottom[2]).reshape(-1),
                    self.scratch("squared", self._view[:1]),
                    self.write_diff(bottom[index]).reshape(self._view),
                    sign * scale,
                    self._margin,
                    self._legacy,
                    _GUARD,
                )
