"""Power: a power of a linear function."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Power")
class Power(Elementwise):
    """y = (shift + scale * x)^power.

    Shape: any; y has x's.
    Caffe: with power * scale = 0 the result is a constant (1 for power 0, shift^power else) and the gradient
        0. Where shift is 0, Caffe's gradient is power * y / x, so NaN at 0; in place it is wrong, because it
        takes y for x. Here it is the derivative.
    """

    reads_x = True

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.power_param
        self._power, self._scale, self._shift = param.power, param.scale, param.shift
        self._constant = _power_of(param.shift, param.power) if param.power * param.scale == 0 else None

    def compute(self, x: Array, y: Array) -> None:
        if self._constant is None:
            self.ops.activate("power", x, y, self._power, self._scale, self._shift)
        else:
            y.fill(self._constant)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        if self._constant is None:
            self.ops.activate_backward("power", s, dy, dx, self._power, self._scale, self._shift)
        else:
            dx.fill(0)


def _power_of(base: float, power: float) -> float:
    """C's pow: 1 for power 0, inf for a negative power of 0, NaN where there is no real power."""
    try:
        return math.pow(base, power)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan
