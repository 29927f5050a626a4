"""MVN: subtracts the mean, and divides by the standard deviation, of each image or channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array


@register_layer("MVN")
class MVN(Layer):
    """y = (x - mean) / (std + eps), for every channel of every image, or every image with across_channels.

    Shape: x has at least one axis; the top has at least four, with ones at the end.
    Raises: ShapeError for a bottom without axes.
    Caffe: eps is added to the standard deviation, not to the variance, which is the biased one; a fork's
        `add_eps_before_sqrt` adds it to the variance. The gradient leaves eps out of the deviation's
        derivative, and is computed whether anybody asks or not. In place Caffe's gradient is wrong, because
        it takes y for x; here it comes from y. Caffe takes four axes at most, here there may be more.
    """

    ignores_propagate_down = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            raise ShapeError("needs at least one axis, and bottom 0 has none")
        whole = (*shape, *(1,) * (4 - len(shape)))
        kept = 1 if self.param.mvn_param.across_channels else 2
        rows = math.prod(whole[:kept])
        self._view = (1, rows, math.prod(whole[kept:]))
        for name in ("mean", "var", "inverse"):
            self.scratch(name, (rows,))
        top[0].reshape(whole)

    def _row(self, name: str) -> Array:
        """A number for each image or channel: mean, var or inverse, what is multiplied by."""
        return self.scratch(name, (self._view[1],))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not bottom[0].count:
            return
        mean, var, inverse = self._row("mean"), self._row("var"), self._row("inverse")
        x, y = self.read(bottom[0]).reshape(self._view), self.write(top[0]).reshape(self._view)
        self.ops.batch_norm_statistics(x, mean, var)
        self._invert(var, inverse)
        self.ops.batch_norm_apply(x, y, mean, inverse)
        if self.needs_backward and not self.keeps_top(0):
            self.ops.xp.copyto(self.scratch("y", self._view), y)

    def _invert(self, var: Array, inverse: Array) -> None:
        """inverse = 1 / (sqrt(var) + eps), or 1."""
        param, xp = self.param.mvn_param, self.ops.xp
        if not param.normalize_variance:
            inverse.fill(1)
        elif param.add_eps_before_sqrt:
            self.ops.inverse_std(var, inverse, param.eps)
        else:
            xp.sqrt(var, out=inverse)
            xp.add(inverse, self.dtype.type(param.eps), out=inverse)
            with np.errstate(divide="ignore"):
                xp.reciprocal(inverse, out=inverse)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0] or not bottom[0].count:
            return
        dy, dx = self.read_diff(top[0]).reshape(self._view), self.write_diff(bottom[0]).reshape(self._view)
        mean = self._row("mean")
        if not self.param.mvn_param.normalize_variance:
            less = self._row("var")
            self.ops.channel_sum(dy, less, False)
            self.ops.xp.multiply(less, self.dtype.type(-1 / self._view[2]), out=less)
            self.ops.add_channels(dy, less, dx)
            return
        y = self.read(top[0]).reshape(self._view) if self.keeps_top(0) else self.scratch("y", self._view)
        self.ops.batch_norm_backward(y, dy, dx, mean, self._row("inverse"), x_is_hat=True)
