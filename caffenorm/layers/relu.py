"""ReLU: max(x, 0), with a slope for negative values."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer


@register_layer("ReLU")
class ReLU(Layer):
    """y = max(x, 0) + negative_slope * min(x, 0).

    Shape: any; y has x's.
    Caffe: the derivative at 0 is the slope. In place with a negative slope Caffe's gradient is wrong,
        because it looks at y; here
        x is kept then.
    """

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._slope = self.param.relu_param.negative_slope
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0])
        if self._slope < 0 and self.needs_backward and not self.keeps_bottom(0):
            self.scratch("x", x.shape)[...] = x
        self.ops.activate("relu", x, self.write(top[0]), self._slope)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        if self.keeps_bottom(0):
            side = self.read(bottom[0])
        else:
            side = self.scratch("x", bottom[0].shape) if self._slope < 0 else self.read(top[0])
        self.ops.activate_backward(
            "relu", side, self.read_diff(top[0]), self.write_diff(bottom[0]), self._slope
        )


@register_layer("ReLU6")
class ReLU6(Layer):
    """y = min(max(x, 0), 6), a layer of several forks.

    Caffe: BVLC has no such layer; forks with `relu6_param { negative_slope }` let that share of negative
        values through.
    """

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._slope = self.param.relu6_param.negative_slope
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]), self.write(top[0])
        if self.needs_backward:
            inside = self.scratch("inside", x.shape)
            self.ops.xp.less(x, 6, out=inside)
            self.ops.xp.multiply(inside, self.ops.xp.where(x > 0, 1, self._slope), out=inside)
        self.ops.activate("relu", x, y, self._slope)
        self.ops.xp.minimum(y, 6, out=y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            inside = self.scratch("inside", bottom[0].shape)
            self.ops.xp.multiply(self.read_diff(top[0]), inside, out=self.write_diff(bottom[0]))
