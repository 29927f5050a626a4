"""Concat: joins blobs along an axis."""

from __future__ import annotations

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
        for i, blob in enumerate(bottom):
            if len(blob.shape) != len(shape) or (*blob.shape[:axis], *blob.shape[axis + 1 :]) != (
                *shape[:axis],
                *shape[axis + 1 :],
            ):
                raise ShapeError(
                    f"bottom {i} has shape {list(blob.shape)}, bottom 0 has {list(shape)}; they may differ on axis {axis} only"
                )
        sizes = [blob.shape[axis] for blob in bottom]
        top[0].reshape((*shape[:axis], sum(sizes), *shape[axis + 1 :]))
        self._parts: list[tuple[slice, ...]] = []
        start = 0
        for size in sizes:
            self._parts.append((*(slice(None),) * axis, slice(start, start + size)))
            start += size
        if len(bottom) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            return
        y = self.write(top[0])
        for part, blob in zip(self._parts, bottom, strict=True):
            y[part] = self.read(blob)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            return
        dy = self.read_diff(top[0])
        for part, wanted, blob in zip(self._parts, propagate_down, bottom, strict=True):
            if wanted:
                self.write_diff(blob)[...] = dy[part]
