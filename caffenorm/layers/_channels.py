"""Which axes of a bottom a parameter covers, and the bottom as (outer, channels, inner)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.errors import ShapeError
from caffenorm.layer import canonical_axis

View = tuple[int, int, int]


def split_axes(shape: Sequence[int], first: int, count: int) -> View:
    """(outer, channels, inner), where `count` axes from `first` on are the channels."""
    last = first + count
    return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])


def covered_shape(shape: Sequence[int], axis: int, num_axes: int, what: str) -> tuple[int, ...]:
    """The shape of a parameter that covers `num_axes` axes of a bottom from `axis` on.

    Args:
        shape: of the bottom.
        axis: may be negative, counted from the end.
        num_axes: -1 takes all axes that follow, 0 makes a scalar.
        what: the parameter, for messages.

    Raises:
        ShapeError: the bottom has no such axes, or num_axes is below -1.
    """
    first = canonical_axis(axis, len(shape))
    if num_axes < -1:
        raise ShapeError(f"num_axes must be -1 (all that follow), 0 (a scalar) or more, found {num_axes}")
    last = len(shape) if num_axes == -1 else first + num_axes
    if last > len(shape):
        raise ShapeError(
            f"{what} covers {num_axes} axes from axis {first} on, and bottom 0 has shape {list(shape)}"
        )
    return tuple(shape[first:last])


def fit_view(shape: Sequence[int], axis: int, covering: Sequence[int], what: str) -> View:
    """How a bottom looks to a parameter that covers its axes from `axis` on.

    Args:
        shape: of the bottom.
        axis: of the bottom, may be negative; of no meaning where the parameter is a scalar.
        covering: the parameter's shape.
        what: the parameter, for messages.

    Raises:
        ShapeError: the parameter's shape is not the bottom's there.
    """
    if not covering:
        return 1, 1, math.prod(shape)
    first = canonical_axis(axis, len(shape))
    if tuple(shape[first : first + len(covering)]) != tuple(covering):
        raise ShapeError(
            f"{what} has shape {list(covering)}, and bottom 0 has {list(shape)}, "
            f"which is {list(shape[first : first + len(covering)])} from axis {first} on"
        )
    return split_axes(shape, first, len(covering))
