"""Normalize: divides by the norm over channels, or over the whole image, as SSD and ParseNet do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_PLAIN_EPS = 1e-6  # of the form without a scale


@register_layer("Normalize")
class Normalize(Layer):
    """y = scale * x / norm, norm = sqrt(eps + sum of x^2).

    `norm_param` (SSD): the sum goes over channels and positions of an image, or with `across_spatial: false`
        over the channels of each position. scale is one value, or one a channel with `channel_shared: false`;
        `fix_scale: true` where it is written keeps it from learning.
    `normalize_param` (happynear): over the channels of each position, no scale, eps 1e-6; `normalize_type:
        "L1"` takes the sum of |x| as the norm. Top 1, where there is one, is the norm; its gradient counts
        with `bp_norm: true`.

    Shape: x is (N, C, ...). blobs[0] of `norm_param` is (), or (C). Top 1 is (N, 1, ...).
    Raises: ShapeError for a bottom of one axis. LayerError for both messages at once.
    Caffe: SSD's gradient leaves the scale out of a sum, which is right only while all channels have the same
        scale; this is the derivative. The same holds in place, where SSD's gradient is wrong.
    See: Liu, Rabinovich and Berg, ParseNet, 2015.
    """

    num_tops = (1, 2)

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].num_axes < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(bottom[0].shape)}")
        if self.param.HasField("norm_param") and self.param.HasField("normalize_param"):
            raise LayerError("norm_param and normalize_param belong to different layers; keep one of them")
        self._l1 = self._across_spatial = self._backward_from_norm = False
        self._eps = _PLAIN_EPS
        if self.param.HasField("normalize_param"):
            self._set_up_plain(self.param.normalize_param)
        else:
            self._set_up_scaled(bottom[0].shape[1], len(top))

    def _set_up_plain(self, param: schema.NormalizeParameter) -> None:
        if param.normalize_type not in ("L1", "L2"):
            raise LayerError(f'normalize_type must be "L1" or "L2", found "{param.normalize_type}"')
        if param.fix_gradient:
            raise LayerError("fix_gradient: true is an option of a fork that caffenorm does not compute")
        self._l1 = param.normalize_type == "L1"
        self._backward_from_norm = param.bp_norm
        self._learns = False

    def _set_up_scaled(self, channels: int, tops: int) -> None:
        param = self.param.norm_param
        if tops > 1:
            raise LayerError("has 2 tops; the norm as a second top belongs to the form with normalize_param")
        if not param.add_eps_before_sqrt:
            raise LayerError(
                "add_eps_before_sqrt: false is an option of a fork that caffenorm does not compute"
            )
        self._eps = param.eps
        self._across_spatial = param.across_spatial
        self._learns = not (param.HasField("fix_scale") and param.fix_scale)
        scale = self.new_blob(() if param.channel_shared else (channels,))
        self.fill(scale, param.scale_filler if param.HasField("scale_filler") else _ONE)
        self.blobs = [scale]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or (self.blobs and self.blobs[0].num_axes and self.blobs[0].count != shape[1]):
            raise ShapeError(
                f"the scale has {self.blobs[0].count} channels, and bottom 0 has shape {list(shape)}"
            )
        self._view = (shape[0], shape[1], math.prod(shape[2:]))
        self._axes = (1, 2) if self._across_spatial else (1,)
        top[0].reshape(shape)
        for norm in top[1:]:
            norm.reshape(shape[0], 1, *shape[2:])

    def _norm(self) -> Array:
        outer, _, inner = self._view
        return self.scratch("norm", (outer, 1, 1 if self._across_spatial else inner))

    def _scale(self) -> Array | None:
        """Scales as (channels or 1, 1)."""
        return self.read(self.blobs[0]).reshape(-1, 1) if self.blobs else None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp, norm = self.ops.xp, self._norm()
        x, y = self.read(bottom[0]).reshape(self._view), self.write(top[0]).reshape(self._view)
        if self.needs_backward and not self.keeps_bottom(0):
            xp.copyto(self.scratch("x", self._view), x)
        work = self.scratch("work", self._view) if top[0] is bottom[0] else y
        if self._l1:
            xp.absolute(x, out=work)
        else:
            xp.multiply(x, x, out=work)
        xp.sum(work, axis=self._axes, keepdims=True, out=norm)
        if not self._l1:
            xp.add(norm, self._eps, out=norm)
            xp.sqrt(norm, out=norm)
        xp.divide(x, norm, out=y)
        scale = self._scale()
        if scale is not None:
            xp.multiply(y, scale, out=y)
        for blob in top[1:]:
            self.write(blob).reshape(norm.shape)[...] = norm

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        xp, norm, view = self.ops.xp, self._norm(), self._view
        x = self.read(bottom[0]).reshape(view) if self.keeps_bottom(0) else self.scratch("x", view)
        dy = self.read_diff(top[0]).reshape(view)
        work = self.scratch("work", view)
        if self.blobs and self._learns and self.param_propagate_down[0]:
            flat = view if self.blobs[0].num_axes else (1, 1, bottom[0].count)
            xp.divide(x, norm, out=work)
            dscale = self.update_diff(self.blobs[0]).reshape(-1)
            self.ops.channel_dot(dy.reshape(flat), work.reshape(flat), dscale, True)
        if not propagate_down[0]:
            return
        dx = self.write_diff(bottom[0]).reshape(view)
        scale = self._scale()
        if scale is not None:
            xp.multiply(dy, scale, out=dx)
        elif dx is not dy:
            xp.copyto(dx, dy)
        dnorm = self.scratch("dnorm", norm.shape)
        xp.multiply(dx, x, out=work)
        xp.sum(work, axis=self._axes, keepdims=True, out=dnorm)
        xp.divide(dnorm, norm, out=dnorm)
        xp.divide(dnorm, norm, out=dnorm)
        if len(top) > 1 and self._backward_from_norm:
            xp.subtract(dnorm, self.read_diff(top[1]).reshape(norm.shape), out=dnorm)
        xp.divide(dx, norm, out=dx)
        self._direction(x, norm, work)
        xp.multiply(work, dnorm, out=work)
        xp.subtract(dx, work, out=dx)

    def _direction(self, x: Array, norm: Array, out: Array) -> None:
        """The derivative of the norm by x."""
        if self._l1:
            self.ops.xp.sign(x, out=out)
        else:
            self.ops.xp.divide(x, norm, out=out)


_ONE = schema.FillerParameter(type="constant", value=1)
