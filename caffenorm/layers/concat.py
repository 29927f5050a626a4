"""Concat: joins blobs along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("Concat")
class Concat(Layer):
    """The bottoms one after the other along `axis`.

    Shape: the bottoms agree but for that axis, whose sizes add up.
    Raises: ShapeError where they do not. LayerError for both axis and the old concat_dim.
    Caffe: a single bottom and the top are one memory.
    """

    num_bottoms = (1, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise LayerError("has both axis and the old concat_dim; give axis alone")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.concat_param, bottom[0].shape
        if param.HasField("concat_dim"):
            axis = canonical_axis(param.concat_dim, len(shape), "concat_dim")
        else:
            axis = canonical_axis(param.axis, len(shape))
        before, after = shape[:axis], shape[axis + 1 :]
        for i, blob in enumerate(bottom):
            like = blob.shape[axis : axis + 1]
            if blob.shape != (*before, *like, *after):
                raise ShapeError(
                    f"bottom {i} has shape {list(blob.shape)}, bottom 0 has {list(shape)}; "
                    f"they may differ on axis {axis} only"
                )
        top[0].reshape((*before, sum(blob.shape[axis] for blob in bottom), *after))
        self._rows = math.prod(before)
        self._columns = [blob.shape[axis] * math.prod(after) for blob in bottom]
        if len(bottom) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            return
        y, first = self.write(top[0]).reshape(self._rows, sum(self._columns)), 0
        for blob, count in zip(bottom, self._columns, strict=True):
            x = self.read(blob).reshape(self._rows, count)
            self.ops.copy_columns(x, 0, y, first, count)
            first += count

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            return
        dy, first = self.read_diff(top[0]).reshape(self._rows, sum(self._columns)), 0
        for blob, count, wanted in zip(bottom, self._columns, propagate_down, strict=True):
            if wanted:
                dx = self.write_diff(blob).reshape(self._rows, count)
                self.ops.copy_columns(dy, first, dx, 0, count)
            first += count
