"""What InstanceNorm, GroupNorm and LayerNorm have in common: each example is normalised by itself."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.layer import Layer
from caffenorm.layers._channels import View
from caffenorm.synced import Array

ONE = schema.FillerParameter(type="constant", value=1)
ZERO = schema.FillerParameter(type="constant", value=0)


class GroupedNorm(Layer):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta, for each group of channels of each example.

    A subclass makes the blobs, gamma first and then beta, and sets `view`, `groups` and `eps`; it calls
    `set_view` from `reshape`.

    Where a layer works in place over the bottom, a copy of x is kept for the backward pass; otherwise nothing
    of its size.
    """

    view: View
    groups: int
    eps: float
    has_gamma = False
    has_beta = False

    def make_affine(
        self,
        shape: Sequence[int],
        scale_filler: schema.FillerParameter | None,
        bias_filler: schema.FillerParameter | None,
    ) -> None:
        """Add gamma and beta to `self.blobs`; None leaves one out."""
        for filler in (scale_filler, bias_filler):
            if filler is not None:
                self.blobs.append(self.new_blob(shape))
                self.fill(self.blobs[-1], filler)
        self.has_gamma, self.has_beta = scale_filler is not None, bias_filler is not None

    def set_view(self, view: View) -> None:
        """Take note of a bottom's shape as (outer, channels, inner)."""
        self.view = view
        rows = (view[0] * self.groups,)
        self.mean = self.scratch("mean", rows)
        self.var = self.scratch("var", rows)
        self.inv_std = self.scratch("inv_std", rows)

    def affine(self) -> tuple[Array | None, Array | None]:
        """gamma and beta, flat; None where the layer has none."""
        return (
            self.read(self.blobs[0]).reshape(-1) if self.has_gamma else None,
            self.read(self.blobs[1]).reshape(-1) if self.has_beta else None,
        )

    def affine_gradients(self) -> tuple[Array | None, Array | None]:
        """Where the gradients of gamma and beta go; None where nobody wants one."""
        return (
            self.update_diff(self.blobs[0]).reshape(-1)
            if self.has_gamma and self.param_propagate_down[0]
            else None,
            self.update_diff(self.blobs[1]).reshape(-1)
            if self.has_beta and self.param_propagate_down[1]
            else None,
        )

    def keep_bottom(self, x: Array) -> None:
        """Copy x for the backward pass, if somebody works in place over it."""
        if self.needs_backward and not self.keeps_bottom(0):
            self.ops.xp.copyto(self.scratch("x", self.view), x)

    def kept_bottom(self, bottom: Blob) -> Array:
        """x as the forward pass found it."""
        return self.read(bottom).reshape(self.view) if self.keeps_bottom(0) else self.scratch("x", self.view)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not bottom[0].count:
            return
        x = self.read(bottom[0]).reshape(self.view)
        self.keep_bottom(x)
        gamma, beta = self.affine()
        y = self.write(top[0]).reshape(self.view)
        self.ops.group_norm_train(
            x, y, self.mean, self.var, self.inv_std, self.groups, self.eps, gamma=gamma, beta=beta
        )

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not bottom[0].count:
            return
        dy = self.read_diff(top[0]).reshape(self.view)
        dx = self.write_diff(bottom[0]).reshape(self.view) if propagate_down[0] else None
        dgamma, dbeta = self.affine_gradients()
        if dx is None and dgamma is None and dbeta is None:
            return
        self.ops.group_norm_backward(
            self.kept_bottom(bottom[0]), dy, dx, self.mean, self.inv_std, self.groups,
            gamma=self.affine()[0], dgamma=dgamma, dbeta=dbeta,
        )  # fmt: skip
