"""Flatten: joins axes into one."""

from __future__ import annotations

import math

from caffenorm.errors import ShapeError
from caffenorm.layer import canonical_axis, register_layer
from caffenorm.layers._same_memory import SameMemory


@register_layer("Flatten")
class Flatten(SameMemory):
    """Axes from `axis` to `end_axis`, both included, become one.

    Raises: ShapeError if there are no such axes, or end_axis comes before axis.
    Caffe: bottom and top are one memory; in place is refused.
    """

    def new_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        param = self.param.flatten_param
        first, last = (
            canonical_axis(param.axis, len(shape)),
            canonical_axis(param.end_axis, len(shape), "end_axis"),
        )
        if last < first:
            raise ShapeError(
                f"end_axis {param.end_axis} comes before axis {param.axis} in shape {list(shape)}"
            )
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
