"""Permute: exchanges axes; a layer of the SSD fork."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

Swap = tuple[int, int, int, int]


@register_layer("Permute")
class Permute(Layer):
    """Axis i of the top is axis order[i] of the bottom; axes that are not named follow in their order.

    Raises: LayerError for an axis that does not exist or is named twice.
    Caffe: BVLC has no such layer; SSD's nets do. If nothing moves, bottom and top are one memory.
    """

    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, order = bottom[0].shape, list(self.param.permute_param.order)
        if len(set(order)) != len(order) or any(axis >= len(shape) for axis in order):
            raise LayerError(f"order {order} must name axes of shape {list(shape)}, each once")
        order += [axis for axis in range(len(shape)) if axis not in order]
        self._order = order
        self._back = [order.index(axis) for axis in range(len(shape))]
        self._swap = middle_swap(shape, order)
        self._moves = order != sorted(order)
        top[0].reshape([shape[axis] for axis in order])
        if not self._moves:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self._moves:
            self._copy(self.read(bottom[0]), self.write(top[0]), self._order, self._swap)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if self._moves and propagate_down[0]:
            outer, a, b, inner = self._swap or (0, 0, 0, 0)
            back = (outer, b, a, inner) if self._swap else None
            self._copy(self.read_diff(top[0]), self.write_diff(bottom[0]), self._back, back)

    def _copy(self, x: Array, y: Array, order: Sequence[int], swap: Swap | None) -> None:
        if swap is None:
            self.ops.xp.copyto(y, x.transpose(order))
        else:
            outer, a, b, inner = swap
            self.ops.swap_axes(x.reshape(swap), y.reshape(outer, b, a, inner))


def middle_swap(shape: Sequence[int], order: Sequence[int]) -> Swap | None:
    """(outer, a, b, inner), where the permutation exchanges a and b alone; None where it does more."""
    first, last = 0, len(order)
    while first < last and order[first] == first:
        first += 1
    while last > first and order[last - 1] == last - 1:
        last -= 1
    moved = list(order[first:last])
    for cut in range(first + 1, last):
        if moved == [*range(cut, last), *range(first, cut)]:
            return (
                math.prod(shape[:first]),
                math.prod(shape[first:cut]),
                math.prod(shape[cut:last]),
                math.prod(shape[last:]),
            )
    return None
