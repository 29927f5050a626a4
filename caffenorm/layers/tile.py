"""Tile: repeats a blob along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, canonical_axis, register_layer


@register_layer("Tile")
class Tile(Layer):
    """The bottom `tiles` times, one copy behind the other along `axis`, as numpy.tile does.

    Raises: LayerError for fewer than one tile.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._tiles = self.param.tile_param.tiles
        if self._tiles < 1:
            raise LayerError(f"tiles must be 1 or more, found {self._tiles}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axis = canonical_axis(self.param.tile_param.axis, len(shape))
        self._view = (math.prod(shape[:axis]), 1, math.prod(shape[axis:]))
        self._tiled = (self._view[0], self._tiles, self._view[2])
        top[0].reshape((*shape[:axis], shape[axis] * self._tiles, *shape[axis + 1 :]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.write(top[0]).reshape(self._tiled)[...] = self.read(bottom[0]).reshape(self._view)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = self.write_diff(bottom[0]).reshape(self._view)
            self.ops.xp.sum(self.read_diff(top[0]).reshape(self._tiled), axis=1, keepdims=True, out=dx)
