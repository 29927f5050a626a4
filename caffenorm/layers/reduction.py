"""Reduction: one number for all values behind an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, canonical_axis, register_layer

_Operation = schema.ReductionParameter
_TERMS: dict[int, Literal["values", "sizes", "squares"]] = {
    _Operation.SUM: "values",
    _Operation.MEAN: "values",
    _Operation.ASUM: "sizes",
    _Operation.SUMSQ: "squares",
}


@register_layer("Reduction")
class Reduction(Layer):
    """coeff times the SUM, ASUM (of sizes), SUMSQ (of squares) or MEAN over the axes from `axis` on.

    Shape: the top keeps the axes before `axis`; it has none for axis 0.
    Raises: LayerError for the operation TOPK of a fork.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        operation = self.param.reduction_param.operation
        if operation not in _TERMS:
            name = _Operation.ReductionOp.Name(operation)
            raise LayerError(f"operation {name} of a fork is not supported; SUM, ASUM, SUMSQ and MEAN are")
        self._terms = _TERMS[operation]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.reduction_param, bottom[0].shape
        axis = canonical_axis(param.axis, len(shape)) if shape else 0
        self._view = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        self._factor = param.coeff
        if param.operation == _Operation.MEAN:
            self._factor /= max(1, self._view[1])
        top[0].reshape(shape[:axis])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]).reshape(self._view), self.write(top[0]).reshape(-1)
        self.ops.reduce_rows(self._terms, x, y, self._factor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        x, dy = self.read(bottom[0]).reshape(self._view), self.read_diff(top[0]).reshape(-1)
        dx = self.write_diff(bottom[0]).reshape(self._view)
        self.ops.reduce_rows_backward(self._terms, x, dy, dx, self._factor)
