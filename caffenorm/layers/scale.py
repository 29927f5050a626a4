"""Scale: multiplies by a factor, learned or from a second bottom, and may add an offset."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._channels import View, covered_shape, fit_view
from caffenorm.synced import Array


@register_layer("Scale")
class Scale(Layer):
    """y = gamma * x (+ beta), both broadcast over x from `axis` on.

    Shape: gamma is x.shape[axis : axis + num_axes]; it is blobs[0], or bottom[1] where there are two. With
        `bias_term` beta has gamma's shape and is the last blob.
    Raises: ShapeError if gamma does not fit x there.
    Caffe: num_axes -1 takes all axes from `axis` on, 0 makes gamma a scalar. With two bottoms num_axes is not
        used, and a second bottom of no axes makes `axis` meaningless. Without a filler gamma starts at 1.
        The gradient of a learned gamma adds up, as all parameters' do, but it REPLACES what is there where
        gamma has as many values as x, and where nothing stands in front of `axis` and gamma has more than one
        value: so always for a batch of one with axis 1. That spoils iter_size and gammas shared by name. We
        do the same.
        Where nobody asks for x's gradient, Caffe leaves dy * x there, its work space; we do the same.
        Here x is kept for the backward pass only where a layer works in place over it and gamma's gradient is
        wanted.
    """

    num_bottoms, num_tops = (1, 2), 1

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.scale_param
        self._axis = param.axis
        if len(bottom) == 1:
            gamma = self.new_blob(covered_shape(bottom[0].shape, param.axis, param.num_axes, "gamma"))
            self.fill(gamma, param.filler if param.HasField("filler") else _ONE)
            self.blobs = [gamma]
        self._has_beta = param.bias_term
        if param.bias_term:
            beta = self.new_blob(self._gamma(bottom).shape)
            self.fill(beta, param.bias_filler)
            self.blobs.append(beta)
        self._least = param.min_value if param.HasField("min_value") else None
        self._most = param.max_value if param.HasField("max_value") else None
        self._bounded = self._least is not None or self._most is not None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        gamma = self._gamma(bottom).shape
        self._view: View = fit_view(bottom[0].shape, self._axis, gamma, "gamma")
        outer, channels, _ = self._view
        self._leaves_products = len(bottom) == 1 and channels != bottom[0].count
        self._replaces = channels == bottom[0].count or (outer == 1 and channels > 1)
        self._in_one_pass = channels <= bottom[0].count // 4  # the ones take little memory beside the bottom
        if self._in_one_pass:
            self._ones = self.scratch("ones", (channels,))
            self._ones[...] = 1
        if self._has_beta:
            fit_view(bottom[0].shape, self._axis, self.blobs[-1].shape, "beta")
        top[0].reshape(bottom[0].shape)

    def _gamma(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[1] if len(bottom) == 2 else self.blobs[0]

    def _wants_gamma_gradient(self, bottom: Sequence[Blob]) -> bool:
        return len(bottom) == 2 or self.param_propagate_down[0]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        view = self._view
        if self._bounded:
            self._clamp(self.update(self._gamma(bottom)))
        gamma = self.read(self._gamma(bottom)).reshape(-1)
        beta = self.read(self.blobs[-1]).reshape(-1) if self._has_beta else None
        x = self.read(bottom[0])
        if self.needs_backward and not self.keeps_bottom(0) and self._wants_gamma_gradient(bottom):
            self.ops.xp.copyto(self.scratch("x", x.shape), x)
        self.ops.scale_channels(x.reshape(view), gamma, self.write(top[0]).reshape(view), beta)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, view = self.ops, self._view
        dy = self.read_diff(top[0]).reshape(view)
        dgamma = self._gamma_gradient(propagate_down, bottom)
        wants_beta = self._has_beta and self.param_propagate_down[-1]
        dbeta = self.update_diff(self.blobs[-1]).reshape(-1) if wants_beta else None
        gamma = self.read(self._gamma(bottom)).reshape(-1)
        dx = self.write_diff(bottom[0]).reshape(view) if propagate_down[0] else None
        if dgamma is not None and self._in_one_pass:
            ones = self._ones  # these are the gradients of a normalisation by a standard deviation of 1
            ops.batch_norm_backward(
                self._x(bottom), dy, dx, ones, ones, gamma=gamma, dgamma=dgamma, dbeta=dbeta,
                use_global_stats=True, x_is_hat=True,
            )  # fmt: skip
        else:
            if dbeta is not None:
                ops.channel_sum(dy, dbeta, True)
            if dgamma is not None:
                ops.channel_dot(dy, self._x(bottom), dgamma, True)
            if dx is not None:
                ops.scale_backward_input(dy, gamma, dx)
        if dx is None and dgamma is not None and self._leaves_products and top[0] is not bottom[0]:
            ops.xp.multiply(dy, self._x(bottom), out=self.write_diff(bottom[0]).reshape(view))

    def _gamma_gradient(self, propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> Array | None:
        """Where gamma's gradient is added to: cleared where it replaces what is there, None if not wanted."""
        if len(bottom) == 2:
            if not propagate_down[1]:
                return None
            dgamma = self.write_diff(bottom[1]).reshape(-1)
            dgamma[...] = 0
            return dgamma
        if not self.param_propagate_down[0]:
            return None
        dgamma = self.update_diff(self.blobs[0]).reshape(-1)
        if self._replaces:
            dgamma[...] = 0
        return dgamma

    def _x(self, bottom: Sequence[Blob]) -> Array:
        """The bottom's values as forward found them."""
        x = self.read(bottom[0]) if self.keeps_bottom(0) else self.scratch("x", bottom[0].shape)
        return x.reshape(self._view)

    def _clamp(self, gamma: Array) -> None:
        """Keep gamma within min_value and max_value (a fork's options): its values are changed, as there."""
        if self._least is not None:
            self.ops.xp.maximum(gamma, self._least, out=gamma)
        if self._most is not None:
            self.ops.xp.minimum(gamma, self._most, out=gamma)


_ONE = schema.FillerParameter(type="constant", value=1)
