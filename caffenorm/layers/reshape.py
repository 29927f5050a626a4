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

    Raises: LayerError for a dimension below -1, two of -1, or a fork's `pixelshuffler`. ShapeError where the
        values do not fit.
    Caffe: a negative axis counts from one behind the end, so -1 adds axes at the end; num_axes -1 takes all
        that follow. Bottom and top are one memory; in place is refused.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.reshape_param
        dims = list(param.shape.dim)
        if any(dim < -1 for dim in dims) or dims.count(-1) > 1:
            raise LayerError(f"shape {dims} may hold sizes, 0 to copy an axis, and one -1 to be worked out")
        if param.pixelshuffler != 1:
            raise LayerError(
                "pixelshuffler of a fork is not supported; it moves values, which Reshape does not"
            )

    def new_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        first, last = self._replaced_axes(shape)
        given = list(self.param.reshape_param.shape.dim)
        dims = list(given)
        for i in (i for i, dim in enumerate(given) if dim == 0):
            if first + i >= len(shape):
                raise ShapeError(
                    f"shape {given} copies axis {first + i}, which bottom 0 of shape {list(shape)} has not"
                )
            dims[i] = shape[first + i]
        if -1 in dims:
            dims[dims.index(-1)] = self._inferred(shape, given, first, last)
        whole = (*shape[:first], *dims, *shape[last:])
        if math.prod(whole) != math.prod(shape):
            raise ShapeError(
                f"{math.prod(shape)} values of shape {list(shape)} do not fit {list(whole)}, "
                f"which has {math.prod(whole)}"
            )
        return whole

    def _replaced_axes(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The first axis that is replaced, and the first one behind that is not."""
        param, axes = self.param.reshape_param, len(shape)
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
        return first, last

    def _inferred(self, shape: tuple[int, ...], given: list[int], first: int, last: int) -> int:
        """What -1 stands for; axes that are copied cancel out, so that a batch of 0 examples will do."""
        copied = {first + i for i, dim in enumerate(given) if dim == 0}
        values = math.prod(shape[i] for i in range(first, last) if i not in copied)
        beyond = math.prod(shape[i] for i in copied if i >= last)
        known = beyond * math.prod(dim for dim in given if dim > 0)
        if known == 0 or values % known:
            raise ShapeError(
                f"{values} values of shape {list(shape)} do not fit {given}: no size for -1 works"
            )
        return values // known
