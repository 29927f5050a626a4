"""AbsVal: the absolute value."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("AbsVal")
class AbsVal(Elementwise):
    """y = |x|.

    Shape: any; y has x's.
    Caffe: the derivative at 0 is 0; in place is refused.
    """

    in_place_ok = False
    reads_x = True

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("abs", x, y)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("abs", s, dy, dx)
