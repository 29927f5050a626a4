"""Swish: x * sigmoid(beta * x)."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Swish")
class Swish(Elementwise):
    """y = x / (1 + exp(-beta * x)).

    Shape: any; y has x's.
    See: Ramachandran et al., Searching for Activation Functions, 2017.
    """

    reads_x = True

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("swish", x, y, self.param.swish_param.beta)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("swish", s, dy, dx, self.param.swish_param.beta)
