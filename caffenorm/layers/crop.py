"""Crop: cuts a blob to the size of another."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("Crop")
class Crop(Layer):
    """Bottom 0 cut to bottom 1's sizes, from axis on, beginning at offset.

    Shape: the top has bottom 0's sizes before `axis` and bottom 1's from there on.
    Raises: LayerError for another number of offsets than one, or one an axis, and for a fork's `dimsize`.
        ShapeError if the cut lies outside.
    Caffe: the gradient is 0 outside the cut; bottom 1 gets none.
    """

    num_bottoms = 2
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.param.crop_param.dimsize:
            raise LayerError("dimsize of a fork is not supported; bottom 1 says the sizes")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape, like = self.param.crop_param, bottom[0].shape, bottom[1].shape
        axis = canonical_axis(param.axis, len(shape))
        if len(like) != len(shape):
            raise ShapeError(
                f"bottom 1 has shape {list(like)}, bottom 0 has {list(shape)}; they need as many axes"
            )
        offsets = list(param.offset)
        if len(offsets) > 1 and len(offsets) != len(shape) - axis:
            raise LayerError(
                f"has {len(offsets)} offsets for {len(shape) - axis} axes; give one, or one for each"
            )
        size, cut = list(shape), [slice(None)] * axis
        for i in range(axis, len(shape)):
            offset = offsets[i - axis if len(offsets) > 1 else 0] if offsets else 0
            if offset + like[i] > shape[i]:
                raise ShapeError(
                    f"axis {i} of bottom 0 has size {shape[i]}, "
                    f"and the cut goes from {offset} to {offset + like[i]}"
                )
            cut.append(slice(offset, offset + like[i]))
            size[i] = like[i]
        self._cut = tuple(cut)
        top[0].reshape(size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.write(top[0])[...] = self.read(bottom[0])[self._cut]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = self.write_diff(bottom[0])
            dx[...] = 0
            dx[self._cut] = self.read_diff(top[0])
        if propagate_down[1]:
            self.write_diff(bottom[1])[...] = 0
