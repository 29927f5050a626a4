"""Shapes of convolutions and products as the conv ops take them, on every device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from caffenorm.errors import ShapeError

Array = Any  # the device's array: NumPy's or CuPy's


@dataclass(frozen=True)
class Shape:
    """What `plan_convolution` is told; tuples have a value for each spatial axis.

    Raises:
        ShapeError: a size, a kernel, a stride or a dilation is below 1.
    """

    images: int
    channels: int
    outputs: int
    groups: int
    size: tuple[int, ...]
    out_size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def __post_init__(self) -> None:
        for what in ("size", "out_size", "kernel", "stride", "dilation"):
            values = getattr(self, what)
            if min(values, default=1) < 1:
                raise ShapeError(f"{what} of a convolution is {list(values)}; each must be 1 or more")

    @property
    def taps(self) -> int:
        """Values of a kernel in one channel."""
        return math.prod(self.kernel)


def expect_count(array: Array, count: int, what: str) -> None:
    """An array has to have that many values.

    Raises:
        ShapeError: it has others.
    """
    if array.size != count:
        raise ShapeError(f"{what} has shape {list(array.shape)}, {array.size} values; expected {count}")


def product_sizes(
    a: Array, b: Array, out: Array, *, transpose_a: bool, transpose_b: bool
) -> tuple[int, int, int]:
    """Rows, depth and columns of a product of matrices.

    Raises:
        ShapeError: the matrices do not fit.
    """
    rows, depth = a.shape[::-1] if transpose_a else a.shape
    other, columns = b.shape[::-1] if transpose_b else b.shape
    if depth != other or out.shape != (rows, columns):
        raise ShapeError(
            f"matrices ({rows}, {depth}) and ({other}, {columns}) have no product of shape {out.shape}"
        )
    return rows, depth, columns
