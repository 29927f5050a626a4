"""TanH: the hyperbolic tangent."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("TanH")
class TanH(Elementwise):
    """y = tanh(x).

    Shape: any; y has x's.
    """

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("tanh", x, y)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("tanh", s, dy, dx)
