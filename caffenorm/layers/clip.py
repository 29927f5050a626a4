"""Clip: values kept within bounds."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Clip")
class Clip(Elementwise):
    """y = min(max(x, min), max).

    Shape: any; y has x's.
    Raises: LayerError without min or max, or with min above max.
    Caffe: the gradient passes on both bounds. In place Caffe's gradient is wrong, because it takes y for x;
        here x is kept then.
    """

    reads_x = True

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.clip_param
        if not param.HasField("min") or not param.HasField("max"):
            raise LayerError("clip_param needs both min and max")
        if not param.min <= param.max:
            raise LayerError(f"min {param.min:g} lies above max {param.max:g}")
        self._least, self._most = param.min, param.max

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("clip", x, y, self._least, self._most)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("clip", s, dy, dx, self._least, self._most)
