"""Power: (shift + scale * x)^power."""

from __future__ import annotations

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
        0. With shift 0 and a power
        other than 1 and 2 the gradient is power * y / x, so NaN at 0. In place Caffe's gradient is wrong;
        here x is kept then.
    """

    reads_x = True

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.power_param
        self._power, self._scale, self._shift = param.power, param.scale, param.shift
        self._constant = param.power * param.scale == 0

    def compute(self, x: Array, y: Array) -> None:
        xp = self.ops.xp
        if self._constant:
            y[...] = (
                1
                if self._power == 0
                else xp.power(self.dtype.type(self._shift), self.dtype.type(self._power))
            )
            return
        self._base(x, y)
        if self._power != 1:
            with xp.errstate(all="ignore"):
                xp.power(y, self.dtype.type(self._power), out=y)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        xp = self.ops.xp
        if self._constant:
            dx[...] = 0
            return
        if self._power == 1:
            xp.multiply(dy, self._scale, out=dx)
            return
        slope = self.scratch("slope", s.shape)
        self._base(s, slope)
        with xp.errstate(all="ignore"):
            if self._shift == 0 and self._power != 2:
                base = self.scratch("base", s.shape)
                xp.copyto(base, slope)
                xp.power(slope, self.dtype.type(self._power), out=slope)
                xp.divide(slope, base, out=slope)
            else:
                xp.power(slope, self.dtype.type(self._power - 1), out=slope)
            xp.multiply(slope, self._power * self._scale, out=slope)
            xp.multiply(dy, slope, out=dx)

    def _base(self, x: Array, out: Array) -> None:
        xp = self.ops.xp
        if self._scale == 1:
            xp.copyto(out, x)
        else:
            xp.multiply(x, self._scale, out=out)
        if self._shift != 0:
            xp.add(out, self._shift, out=out)
