"""What BatchNorm and its relatives have in common: one mean and one variance a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import Count, Layer
from caffenorm.synced import Array

Given = Array | None  # None where there is none


class ChannelNorm(Layer):
    """y = act(gamma * x_hat + beta), x_hat = (x - mean) / sqrt(var + eps), for each channel.

    A subclass makes the blobs in `layer_setup`, calls `normalise_channels`, and says where the batch's
    statistics go (`remember`) and where stored ones come from (`recall`).

    Shape: x is (N, C, ...), with two axes or more; channels are axis 1.
    Raises: ShapeError for a bottom of one axis, and where the number of channels changes.

    Attributes:
        channels: C.
        eps: added to the variance.
        slope: None, or that of a (leaky) ReLU which the layer ends with.
        batch_statistics: whether the mean and variance are the batch's, or those that `recall` gives.
        mean, var, inv_std: of the last forward; var is the biased one.
        count: values a channel.
        saved_x_hat: the private copy of x_hat that the last forward made for backward, or None.
        unbias: m / (m - 1) for m values a channel, 1 for one value.
        view: the bottom's shape as (outer, channels, inner).

    The backward pass reads x or, where a layer works in place over the bottom, x_hat: from the top if that
    still holds it, else from a private copy. That copy is the only thing of the bottom's size that is ever
    kept.
    """

    num_tops: ClassVar[Count] = 1

    def normalise_channels(
        self,
        bottom: Blob,
        *,
        eps: float,
        batch_statistics: bool,
        gamma: int | None = None,
        beta: int | None = None,
        slope: float | None = None,
    ) -> None:
        """Say how this layer normalises; `gamma` and `beta` are places in `self.blobs`."""
        if bottom.num_axes < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(bottom.shape)}")
        self.channels = bottom.shape[1]
        self.eps = eps
        self.batch_statistics = batch_statistics
        self.slope = slope
        self._gamma_index, self._beta_index = gamma, beta
        self._bare = gamma is None and beta is None and slope is None
        self.mean = self.scratch("mean", (self.channels,))
        self.var = self.scratch("var", (self.channels,))
        self.inv_std = self.scratch("inv_std", (self.channels,))
        self.saved_x_hat: Given = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] != self.channels:
            raise ShapeError(
                f"was made for {self.channels} channels on axis 1, and bottom 0 now has shape {list(shape)}"
            )
        self.view = (shape[0], shape[1], math.prod(shape[2:]))
        self.count = self.view[0] * self.view[2]
        self.set_values_a_channel(self.count)
        top[0].reshape(shape)

    def set_values_a_channel(self, count: float) -> None:
        """Say how many values a channel the batch's statistics come from."""
        self.unbias = count / (count - 1) if count > 1 else 1.0

    @property
    def is_plain(self) -> bool:
        """Whether y is x_hat, with one mean and one variance a channel: what a following Scale can join."""
        return self._bare

    # --- what subclasses say ---

    def remember(self) -> None:
        """Store `mean` and `var`, which are the batch's."""

    def recall(self) -> None:
        """Set `mean` and `inv_std` from what is stored."""

    # --- forward and backward ---

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not bottom[0].count:
            return
        view = self.view
        x = self.read(bottom[0]).reshape(view)
        y = self.write(top[0]).reshape(view)
        gamma, beta = self.affine()
        self.saved_x_hat = x_hat = self.scratch("x_hat", view) if self._keeps_x_hat() else None
        if self.batch_statistics:
            self.normalise_by_batch(x, y, gamma, beta, x_hat)
        else:
            self.normalise_by_stored(x, y, gamma, beta, x_hat)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not bottom[0].count:
            return
        view = self.view
        dy = self.read_diff(top[0]).reshape(view)
        dx = self.write_diff(bottom[0]).reshape(view) if propagate_down[0] else None
        if self._bare and not self.batch_statistics:
            if dx is not None:
                self.ops.scale_backward_input(dy, self.inv_std, dx)
            return
        dgamma, dbeta = self._gradient(self._gamma_index), self._gradient(self._beta_index)
        if dx is None and dgamma is None and dbeta is None:
            return
        x_is_hat = self.saved_x_hat is not None or not self.keeps_bottom(0)
        x = self.saved_x_hat
        if x is None:
            x = self.read(top[0] if x_is_hat else bottom[0]).reshape(view)
        self.backward_to_bottom(x, dy, dx, dgamma, dbeta, x_is_hat)

    def normalise_by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        """Set `mean`, `var`, `inv_std` to the batch's and store them; set y, and x_hat where it is given."""
        self.ops.batch_norm_train(
            x, y, self.mean, self.var, self.inv_std, self.eps,
            gamma=gamma, beta=beta, slope=self.slope, x_hat=x_hat,
        )  # fmt: skip
        self.remember()

    def normalise_by_stored(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        """Set `mean` and `inv_std` to what is stored; set y, and x_hat where it is given."""
        self.recall()
        self.ops.batch_norm_apply(
            x, y, self.mean, self.inv_std, gamma=gamma, beta=beta, slope=self.slope, x_hat=x_hat
        )

    def backward_to_bottom(
        self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool
    ) -> None:
        """Write dx, add to dgamma and dbeta; None is not wanted. x holds x_hat where `x_is_hat`."""
        gamma, beta = self.affine()
        self.ops.batch_norm_backward(
            x, dy, dx, self.mean, self.inv_std, gamma=gamma, beta=beta, slope=self.slope,
            dgamma=dgamma, dbeta=dbeta, use_global_stats=not self.batch_statistics, x_is_hat=x_is_hat,
        )  # fmt: skip

    # --- helpers ---

    def affine(self) -> tuple[Given, Given]:
        """gamma and beta, flat; None where the layer has none."""
        gamma, beta = self._gamma_index, self._beta_index
        return (
            None if gamma is None else self.read(self.blobs[gamma]).reshape(-1),
            None if beta is None else self.read(self.blobs[beta]).reshape(-1),
        )

    def _gradient(self, index: int | None) -> Given:
        """Where the gradient of a blob goes, None if nobody wants it."""
        if index is None or not self.param_propagate_down[index]:
            return None
        return self.update_diff(self.blobs[index]).reshape(-1)

    def _keeps_x_hat(self) -> bool:
        """Whether backward will find neither x in the bottom nor x_hat in the top, and needs one of them."""
        if not self.needs_backward or self.keeps_bottom(0):
            return False
        if self._bare:
            return self.batch_statistics and not self.keeps_top(0)
        return True
