"""Reduction: one number for all values behind an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.layer import Layer, canonical_axis, register_layer

_Operation = schema.ReductionParameter


@register_layer("Reduction")
class Reduction(Layer):
    """coeff times the SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over all axes from `axis`
    on.

    Shape: the top keeps the axes before `axis`; it has none for axis 0.
    """

    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.reduction_param, bottom[0].shape
        axis = canonical_axis(param.axis, len(shape)) if shape else 0
        self._view = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        self._operation = param.operation
        self._coeff = (
            param.coeff / max(self._view[1], 1) if param.operation == _Operation.MEAN else param.coeff
        )
        top[0].reshape(shape[:axis])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, x, y = self.ops.xp, self.read(bottom[0]).reshape(self._view), self.write(top[0]).reshape(-1)
        if self._operation == _Operation.ASUM:
            xp.sum(xp.abs(x, out=self.scratch("values", x.shape)), axis=1, out=y)
        elif self._operation == _Operation.SUMSQ:
            xp.einsum("ij,ij->i", x, x, out=y)
        else:
            xp.sum(x, axis=1, out=y)
        xp.multiply(y, self._coeff, out=y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        xp, dy = self.ops.xp, self.read_diff(top[0]).reshape(-1, 1) * self._coeff
        x, dx = self.read(bottom[0]).reshape(self._view), self.write_diff(bottom[0]).reshape(self._view)
        if self._operation == _Operation.ASUM:
            xp.multiply(xp.sign(x, out=self.scratch("values", x.shape)), dy, out=dx)
        elif self._operation == _Operation.SUMSQ:
            xp.multiply(x, 2 * dy, out=dx)
        else:
            dx[...] = dy
