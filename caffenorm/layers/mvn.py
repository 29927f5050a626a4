"""MVN: subtracts an image's mean, and divides by its standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array


@register_layer("MVN")
class MVN(Layer):
    """y = (x - mean) / (std + eps), for every channel of every image, or every image with across_channels.

    Shape: x has at most four axes; the top always has four.
    Raises: ShapeError for more axes.
    Caffe: eps is added to the standard deviation, not to the variance, which is the biased one. The gradient
        leaves eps out of the
        deviation's derivative. In place Caffe's gradient is wrong, because it takes y for x; here it comes
        from y.
    """

    ignores_propagate_down = True  # as Caffe's does

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) > 4:
            raise ShapeError(f"takes at most four axes, and bottom 0 has shape {list(shape)}")
        whole = (*shape, *(1,) * (4 - len(shape)))
        param = self.param.mvn_param
        rows = whole[0] if param.across_channels else whole[0] * whole[1]
        self._view = (rows, bottom[0].count // rows if rows else 0)
        self._eps, self._divides = param.eps, param.normalize_variance
        top[0].reshape(whole)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, x, y = (
            self.ops.xp,
            self.read(bottom[0]).reshape(self._view),
            self.write(top[0]).reshape(self._view),
        )
        if not y.size:
            return
        row = self.scratch("row", (self._view[0], 1))
        xp.mean(x, axis=1, keepdims=True, out=row)
        xp.subtract(x, row, out=y)
        if self._divides:
            deviation = self._deviation(y)
            xp.divide(y, deviation, out=y)
        if self.needs_backward and not self.keeps_top(0):
            xp.copyto(self.scratch("y", self._view), y)

    def _deviation(self, centred: Array) -> Array:
        """The standard deviations plus eps, kept for backward."""
        xp, deviation = self.ops.xp, self.scratch("deviation", (self._view[0], 1))
        xp.einsum("ij,ij->i", centred, centred, out=deviation[:, 0])
        xp.divide(deviation, self._view[1], out=deviation)
        xp.sqrt(deviation, out=deviation)
        xp.add(deviation, self._eps, out=deviation)
        return deviation

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        xp, view = self.ops.xp, self._view
        dy, dx = self.read_diff(top[0]).reshape(view), self.write_diff(bottom[0]).reshape(view)
        if not dx.size:
            return
        mean = xp.mean(dy, axis=1, keepdims=True)
        if not self._divides:
            xp.subtract(dy, mean, out=dx)
            return
        y = self.read(top[0]).reshape(view) if self.keeps_top(0) else self.scratch("y", view)
        along = xp.einsum("ij,ij->i", y, dy)[:, None] / view[1]
        work = self.scratch("work", view)
        xp.multiply(y, along, out=work)
        xp.add(work, mean, out=work)
        xp.subtract(dy, work, out=dx)
        xp.divide(dx, self.scratch("deviation", (view[0], 1)), out=dx)
