"""ELU: exponential linear unit."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("ELU")
class ELU(Elementwise):
    """y = x where x > 0, else alpha * (exp(x) - 1); NVIDIA's fork multiplies both by `lambda`.

    Shape: any; y has x's.
    Caffe: the derivative at 0 is alpha. In place with a negative alpha Caffe's gradient is wrong, because
        y > 0 does not say that x > 0; here x is kept.
    See: Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2015.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.elu_param
        self._alpha = param.alpha
        self._lambda: float = getattr(param, "lambda")
        self.reads_x = self._alpha < 0 or self._lambda <= 0

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("elu", x, y, self._alpha, self._lambda)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        if self.reads_x:
            self.ops.activate_backward("elu_of_x", s, dy, dx, self._alpha, self._lambda)
        else:
            self.ops.activate_backward("elu", s, dy, dx, self._alpha, self._lambda)
