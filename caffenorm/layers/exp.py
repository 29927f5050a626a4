"""Exp: base^(shift + scale * x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Exp")
class Exp(Elementwise):
    """y = base^(shift + scale * x); a base of -1 means e.

    Shape: any; y has x's.
    Raises: LayerError for a base that is not above 0, other than -1.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.exp_param
        if param.base != -1 and not param.base > 0:
            raise LayerError(f"base must be above 0, or -1 for e, found {param.base:g}")
        rate = 1.0 if param.base == -1 else math.log(param.base)
        self._factor, self._offset = rate * param.scale, rate * param.shift

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("exp", x, y, self._factor, self._offset)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("exp", s, dy, dx, self._factor)
