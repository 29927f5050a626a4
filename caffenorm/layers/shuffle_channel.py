"""ShuffleChannel: mixes the channels of groups; a layer of ShuffleNet's forks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer


@register_layer("ShuffleChannel")
class ShuffleChannel(Layer):
    """Channels seen as (group, C / group) are transposed to (C / group, group).

    Shape: x is (N, C, ...), and group divides C.
    Caffe: BVLC has no such layer.
    See: Zhang et al., ShuffleNet, 2017.
    """

    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        group, shape = self.param.shuffle_channel_param.group, bottom[0].shape
        if group < 1:
            raise LayerError(f"group must be 1 or more, found {group}")
        if len(shape) < 2 or shape[1] % group:
            raise ShapeError(
                f"needs channels on axis 1 that divide into {group} groups, "
                f"and bottom 0 has shape {list(shape)}"
            )
        inner = math.prod(shape[2:])
        self._apart = (shape[0], group, shape[1] // group, inner)
        self._mixed = (shape[0], shape[1] // group, group, inner)
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]), self.write(top[0])
        self.ops.swap_axes(x.reshape(self._apart), y.reshape(self._mixed))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy, dx = self.read_diff(top[0]), self.write_diff(bottom[0])
            self.ops.swap_axes(dy.reshape(self._mixed), dx.reshape(self._apart))
