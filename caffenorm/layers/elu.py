"""ELU: x above 0, alpha * (e^x - 1) below."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("ELU")
class ELU(Elementwise):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    Shape: any; y has x's.
    Caffe: the derivative at 0 is alpha. In place with a negative alpha Caffe's gradient is wrong, because y
        > 0 does not say
        that x > 0; here x is kept.
    See: Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2015.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._alpha = self.param.elu_param.alpha
        self.reads_x = self._alpha < 0

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("elu", x, y, self._alpha)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        if not self.reads_x:
            self.ops.activate_backward("elu", s, dy, dx, self._alpha)
            return
        slope = self.scratch("slope", s.shape)
        self.ops.activate("exp", s, slope, 1.0)
        slope *= self._alpha
        slope[s > 0] = 1
        self.ops.xp.multiply(dy, slope, out=dx)
