"""Slice: cuts a blob into parts along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("Slice")
class Slice(Layer):
    """The tops are neighbouring parts of the bottom along `axis`, cut at slice_point, or equal ones.

    Shape: the tops' sizes on that axis add up to the bottom's.
    Raises: ShapeError for points that do not cut, or a size that does not divide. LayerError for another
        number of points than one less than tops, and for both axis and the old slice_dim.
    Caffe: a single top and the bottom are one memory.
    """

    num_tops = (1, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.slice_param
        if param.HasField("axis") and param.HasField("slice_dim"):
            raise LayerError("has both axis and the old slice_dim; give axis alone")
        points = len(param.slice_point)
        if points and points != len(top) - 1:
            raise LayerError(
                f"has {points} slice_point(s) for {len(top)} top(s); give {len(top) - 1}, or none"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.slice_param, bottom[0].shape
        if param.HasField("slice_dim"):
            axis = canonical_axis(param.slice_dim, len(shape), "slice_dim")
        else:
            axis = canonical_axis(param.axis, len(shape))
        before, after = shape[:axis], shape[axis + 1 :]
        sizes = self._sizes(shape[axis], axis, len(top))
        for size, blob in zip(sizes, top, strict=True):
            blob.reshape((*before, size, *after))
        self._rows = math.prod(before)
        self._columns = [size * math.prod(after) for size in sizes]
        if len(top) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def _sizes(self, size: int, axis: int, parts: int) -> list[int]:
        points = list(self.param.slice_param.slice_point)
        if points:
            sizes = [b - a for a, b in pairwise([0, *points, size])]
            if min(sizes) < 1:
                raise ShapeError(f"slice_point {points} must rise, within axis {axis} of size {size}")
            return sizes
        if size % parts:
            raise ShapeError(
                f"axis {axis} of size {size} does not divide into {parts} equal parts; give slice_point"
            )
        return [size // parts] * parts

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) == 1:
            return
        x, first = self.read(bottom[0]).reshape(self._rows, sum(self._columns)), 0
        for blob, count in zip(top, self._columns, strict=True):
            y = self.write(blob).reshape(self._rows, count)
            self.ops.copy_columns(x, first, y, 0, count)
            first += count

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(top) == 1 or not propagate_down[0]:
            return
        dx, first = self.write_diff(bottom[0]).reshape(self._rows, sum(self._columns)), 0
        for blob, count in zip(top, self._columns, strict=True):
            dy = self.read_diff(blob).reshape(self._rows, count)
            self.ops.copy_columns(dy, 0, dx, first, count)
            first += count
