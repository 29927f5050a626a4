"""What planes and windows the window ops take, on every device."""

from __future__ import annotations

import math

from caffenorm.errors import ShapeError

_MOST_VALUES = 2**31 - 1  # of a plane, so that places fit int32


def check_pooled_plane(size: tuple[int, ...]) -> None:
    """Pooling takes planes of one to three axes whose places fit int32.

    Raises:
        ShapeError: a plane has no axis, more than three, or 2^31 values or more.
    """
    if not 1 <= len(size) <= 3:
        raise ShapeError(f"pooling is over 1 to 3 axes, found {len(size)}")
    values = math.prod(size)
    if values > _MOST_VALUES:
        raise ShapeError(f"a plane of {values} values is too large for pooling; the most is {_MOST_VALUES}")
