"""Sigmoid: 1 / (1 + e^-x)."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Sigmoid")
class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)).

    Shape: any; y has x's.
    """

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("sigmoid", x, y)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("sigmoid", s, dy, dx)
