"""InstanceNorm: normalises every channel of every example by itself."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._channels import split_axes
from caffenorm.layers._grouped_norm import ONE, ZERO, GroupedNorm
from caffenorm.layers._statistics import exclude_from_learning
from caffenorm.synced import Array


@register_layer("InstanceNorm")
class InstanceNorm(GroupedNorm):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta, over the positions of each channel of each example.

    `instance_norm_param`, named as the arguments of torch.nn.InstanceNorm2d: `eps` 1e-5, `affine` false
    (gamma and beta, one value a channel, with `scale_filler` and `bias_filler`), `track_running_stats` false,
    `momentum` 0.1. With running statistics TRAIN does

        r = (1 - momentum) * r + momentum * (mean over the examples of their means, or of their unbiased
        variances)

    and TEST normalises all examples by them.

    Shape: x is (N, C, ...), with a position or more. blobs are gamma and beta where affine, then running mean
        and running variance (which starts at 1) where tracked, each (C).
    Raises: ShapeError for a bottom of one axis. LayerError for a momentum outside 0 to 1, or a learning rate
        on the statistics.
    Caffe: BVLC has no such layer; its MVN computes the same but for eps, which it adds outside the root.
    See: Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.instance_norm_param
        if bottom[0].num_axes < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(bottom[0].shape)}")
        if not 0 <= param.momentum <= 1:
            raise LayerError(f"momentum must lie between 0 and 1, found {param.momentum:g}")
        channels = self.groups = bottom[0].shape[1]
        self.eps = param.eps
        self._momentum = param.momentum
        if param.affine:
            self.make_affine(
                (channels,),
                param.scale_filler if param.HasField("scale_filler") else ONE,
                param.bias_filler if param.HasField("bias_filler") else ZERO,
            )
        self._first = len(self.blobs)
        self._tracks = param.track_running_stats
        self._uses_running = param.track_running_stats and self.phase == schema.TEST
        if self._tracks:
            self.blobs += [self.new_blob((channels,)), self.new_blob((channels,))]
            self.write(self.blobs[-1])[...] = 1
            exclude_from_learning(self.param, self._first, self._first + 2)
        self._running_mean = self.scratch("running_mean", (channels,))
        self._running_inv_std = self.scratch("running_inv_std", (channels,))

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] != self.groups:
            raise ShapeError(
                f"was made for {self.groups} channels on axis 1, and bottom 0 now has shape {list(shape)}"
            )
        self.set_view(split_axes(shape, 1, 1))
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self._uses_running:
            super().forward(bottom, top)
            if self._tracks and bottom[0].count:
                self._remember()
            return
        x = self.read(bottom[0]).reshape(self.view)
        self.keep_bottom(x)
        gamma, beta = self.affine()
        self._running_mean[...] = self.read(self.blobs[self._first])
        self.ops.inverse_std(self.read(self.blobs[self._first + 1]), self._running_inv_std, self.eps)
        y = self.write(top[0]).reshape(self.view)
        self.ops.batch_norm_apply(x, y, self._running_mean, self._running_inv_std, gamma=gamma, beta=beta)

    def _remember(self) -> None:
        """Move the running statistics towards the examples' averages."""
        outer, channels, inner = self.view
        unbias = inner / (inner - 1) if inner > 1 else 1.0
        mean, var = self.scratch("average_mean", (channels,)), self.scratch("average_var", (channels,))
        for values, average in ((self.mean, mean), (self.var, var)):
            self.ops.xp.mean(values.reshape(outer, channels), axis=0, out=average)
        stored_mean, stored_var = (self.update(blob) for blob in self.blobs[self._first :])
        new = self._momentum
        self.ops.store_statistics(mean, var, stored_mean, stored_var, None, 1 - new, new, new * unbias)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not self._uses_running:
            super().backward(top, propagate_down, bottom)
            return
        dy = self.read_diff(top[0]).reshape(self.view)
        dx: Array | None = self.write_diff(bottom[0]).reshape(self.view) if propagate_down[0] else None
        dgamma, dbeta = self.affine_gradients()
        if dx is None and dgamma is None and dbeta is None:
            return
        self.ops.batch_norm_backward(
            self.kept_bottom(bottom[0]), dy, dx, self._running_mean, self._running_inv_std,
            gamma=self.affine()[0], dgamma=dgamma, dbeta=dbeta,
            use_global_stats=True,
        )  # fmt: skip
