"""Rows of arrays, and whole numbers that come in a blob of floats and name them."""

from __future__ import annotations

from typing import Any

from caffenorm.errors import ShapeError
from caffenorm.synced import Array


def checked_index(xp: Any, values: Array, limit: int, what: str) -> Array:  # Any: NumPy or CuPy
    """The values, cut to whole numbers, as int64.

    Raises:
        ShapeError: one lies outside 0 to limit - 1; its value and place are named.
    """
    flat = values.reshape(-1)
    outside = ~((flat > -1) & (flat < limit))
    if bool(outside.any()):
        place = int(xp.argmax(outside))
        known = f"must lie between 0 and {limit - 1}" if limit else "there are none"
        raise ShapeError(f"{what} {place} is {float(flat[place]):g}, and {known}")
    return flat.astype("i8")


def rows_of(array: Array) -> Array:
    """The array as (rows, size): axis 0, and all others. It must not be empty."""
    return array.reshape(len(array), -1)
