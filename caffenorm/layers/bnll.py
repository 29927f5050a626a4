"""BNLL: log(1 + e^x)."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("BNLL")
class BNLL(Elementwise):
    """y = log(1 + exp(x)), without overflow.

    Shape: any; y has x's.
    Caffe: in place Caffe's gradient is wrong, because it takes y for x; here x is kept then.
    """

    reads_x = True

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("bnll", x, y)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("bnll", s, dy, dx)
