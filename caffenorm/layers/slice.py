"""Slice: cuts a blob into parts along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("Slice")
class Slice(Layer):
    """The tops are neighbouring parts of the bottom along `axis`, cut at slice_point, or equal ones.

    Shape: the tops' sizes on that axis add up to the bottom's.
    Raises: ShapeError for points that do not cut, or a size that does not divide. LayerError for both axis
        and the old slice_dim.
    Caffe: a single top and the bottom are one memory.
    """

    num_tops = (1, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.slice_param
        if param.HasField("axis") and param.HasField("slice_dim"):
            raise LayerError("has both axis and the old slice_dim; give axis alone")
        if param.slice_point and len(param.slice_point) != len(top) - 1:
            raise LayerError(
                f"has {len(param.slice_point)} slice_point(s) for {len(top)} top(s); give {len(top) - 1}, or none"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.slice_param, bottom[0].shape
        if param.HasField("slice_dim"):
            axis = canonical_axis(param.slice_dim, len(shape), "slice_dim")
        else:
            axis = canonical_axis(param.axis, len(shape))
        size = shape[axis]
        if param.slice_point:
            cuts = [0, *param.slice_point, size]
            if any(a >= b for a, b in pairwise(cuts)):
                raise ShapeError(
                    f"slice_point {list(param.slice_point)} must rise, within axis {axis} of size {size}"
                )
        else:
            if size % len(top):
                raise ShapeError(
                    f"axis {axis} of size {size} does not divide into {len(top)} equal parts; give slice_point"
                )
            cuts = [size // len(top) * i for i in range(len(top) + 1)]
        self._parts = [(*(slice(None),) * axis, slice(a, b)) for a, b in pairwise(cuts)]
        for (a, b), blob in zip(pairwise(cuts), top, strict=True):
            blob.reshape((*shape[:axis], b - a, *shape[axis + 1 :]))
        if len(top) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) == 1:
            return
        x = self.read(bottom[0])
        for part, blob in zip(self._parts, top, strict=True):
            self.write(blob)[...] = x[part]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(top) == 1 or not propagate_down[0]:
            return
        dx = self.write_diff(bottom[0])
        for part, blob in zip(self._parts, top, strict=True):
            dx[part] = self.read_diff(blob)
