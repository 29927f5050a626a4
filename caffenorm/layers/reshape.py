"""Reshape: another shape for the same values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._same_memory import SameMemory


@register_layer("Reshape")
class Reshape(SameMemory):
    """Axes [axis, axis + num_axes) become reshape_param.shape: 0 copies an axis, one -1 is worked out.

    Raises: LayerError for a dimension below -1, or two of -1. ShapeError where the values do not fit.
    Caffe: a negative axis counts from one behind the end, so -1 adds axes at the end; num_axes -1 takes all
        that follow.
        Bottom and top are one memory; in place is refused.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        dims = list(self.param.reshape_param.shape.dim)
        if any(dim < -1 for dim in dims) or dims.count(-1) > 1:
            raise LayerError(f"shape {dims} may hold sizes, 0 to copy an axis, and one -1 to be worked out")

    def new_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        param = self.param.reshape_param
        axes = len(shape)
        first = param.axis if param.axis >= 0 else axes + param.axis + 1
        if not 0 <= first <= axes:
            raise ShapeError(f"axis {param.axis} does not exist in an array of {axes} axes")
        if param.num_axes < -1:
            raise ShapeError(f"num_axes must be -1 (all that follow) or more, found {param.num_axes}")
        last = axes if param.num_axes == -1 else first + param.num_axes
        if last > axes:
            raise ShapeError(
                f"axes {first} to {last - 1} are to be reshaped, and bottom 0 has shape {list(shape)}"
            )
        dims = []
        for i, dim in enumerate(param.shape.dim):
            if dim == 0 and first + i >= axes:
                raise ShapeError(
                    f"shape {list(param.shape.dim)} copies axis {first + i}, which bottom 0 {list(shape)} has not"
                )
            dims.append(shape[first + i] if dim == 0 else dim)
        whole = [*shape[:first], *dims, *shape[last:]]
        count = math.prod(shape)
        if -1 in dims:
            known = math.prod(dim for dim in whole if dim != -1)
            if known == 0 or count % known:
                raise ShapeError(
                    f"{count} values of shape {list(shape)} do not fit {whole}: no size for -1 works"
                )
            whole[whole.index(-1)] = count // known
        if math.prod(whole) != count:
            raise ShapeError(
                f"{count} values of shape {list(shape)} do not fit {whole}, which has {math.prod(whole)}"
            )
        return tuple(whole)
