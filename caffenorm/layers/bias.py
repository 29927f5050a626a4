"""Bias: adds an offset, learned or from a second bottom."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._channels import View, covered_shape, fit_view


@register_layer("Bias")
class Bias(Layer):
    """y = x + beta, with beta broadcast over x from `axis` on.

    Shape: beta is x.shape[axis : axis + num_axes]; it is blobs[0], or bottom[1] where there are two.
    Raises: ShapeError if beta does not fit x there.
    Caffe: num_axes -1 takes all axes from `axis` on, 0 makes beta a scalar. With two bottoms num_axes is not
        used, and a second bottom of no axes makes `axis` meaningless. The gradient of blobs[0] adds up, that
        of bottom[1] is written anew.
    """

    num_bottoms, num_tops = (1, 2), 1

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.bias_param
        self._axis = param.axis
        if len(bottom) == 1:
            beta = self.new_blob(covered_shape(bottom[0].shape, param.axis, param.num_axes, "beta"))
            self.fill(beta, param.filler)
            self.blobs = [beta]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._view: View = fit_view(bottom[0].shape, self._axis, self._beta(bottom).shape, "beta")
        top[0].reshape(bottom[0].shape)

    def _beta(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[1] if len(bottom) == 2 else self.blobs[0]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        view = self._view
        beta = self.read(self._beta(bottom)).reshape(-1)
        x = self.read(bottom[0]).reshape(view)
        self.ops.add_channels(x, beta, self.write(top[0]).reshape(view))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.read_diff(top[0])
        if len(bottom) == 1:
            if self.param_propagate_down[0]:
                self.ops.channel_sum(
                    dy.reshape(self._view), self.update_diff(self.blobs[0]).reshape(-1), True
                )
        elif propagate_down[1]:
            self.ops.channel_sum(dy.reshape(self._view), self.write_diff(bottom[1]).reshape(-1), False)
        if propagate_down[0] and bottom[0] is not top[0]:
            self.ops.xp.copyto(self.write_diff(bottom[0]), dy)
