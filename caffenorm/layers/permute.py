"""Permute: exchanges axes; a layer of the SSD fork."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer


@register_layer("Permute")
class Permute(Layer):
    """Axis i of the top is axis order[i] of the bottom; axes that are not named follow in their order.

    Raises: LayerError for an axis that does not exist or is named twice.
    Caffe: BVLC has no such layer; SSD's nets do.
    """

    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        axes, order = bottom[0].num_axes, list(self.param.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= axes for axis in order):
            raise LayerError(f"order {order} must name axes of shape {list(bottom[0].shape)}, each once")
        order += [axis for axis in range(axes) if axis not in order]
        self._order = order
        self._back = [order.index(axis) for axis in range(axes)]
        top[0].reshape([bottom[0].shape[axis] for axis in order])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.write(top[0])[...] = self.read(bottom[0]).transpose(self._order)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self.write_diff(bottom[0])[...] = self.read_diff(top[0]).transpose(self._back)
