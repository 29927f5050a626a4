"""BatchNorm options of forks that change what is computed.

Each class takes over some of the steps of a BatchNorm layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from caffenorm.errors import ShapeError
from caffenorm.layers._channel_norm import ChannelNorm, Given
from caffenorm.synced import Array

if TYPE_CHECKING:
    from caffenorm.layers.batch_norm import BatchNorm


class SpecialSteps:
    """What a class takes over; what it leaves alone is as without options."""

    def __init__(self, layer: BatchNorm) -> None:
        self.layer = layer

    def reshape(self) -> None:
        """Take note of a new shape."""

    def by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        """Normalise by the batch, and store its statistics."""
        ChannelNorm.normalise_by_batch(self.layer, x, y, gamma, beta, x_hat)

    def by_stored(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        """Normalise by what is stored."""
        ChannelNorm.normalise_by_stored(self.layer, x, y, gamma, beta, x_hat)

    def backward(self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool) -> None:
        """Write dx, add to dgamma and dbeta."""
        ChannelNorm.backward_to_bottom(self.layer, x, dy, dx, dgamma, dbeta, x_is_hat)


class SubBatches(SpecialSteps):
    """Intel's `stats_batch_size`: so many images have their own statistics, stored one after the other."""

    def reshape(self) -> None:
        layer, images = self.layer, self.layer.form.images
        outer, channels, inner = layer.view
        if outer % images:
            raise ShapeError(f"stats_batch_size {images} does not divide the batch of {outer}")
        layer.set_values_a_channel(images * inner)
        self._parts = [slice(i, i + images) for i in range(0, outer, images)]
        self._mean = layer.scratch("means", (len(self._parts), channels))
        self._inv_std = layer.scratch("inv_stds", (len(self._parts), channels))

    def by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        layer = self.layer
        for part, mean, inv_std in zip(self._parts, self._mean, self._inv_std, strict=True):
            hat = None if x_hat is None else x_hat[part]
            layer.ops.batch_norm_train(
                x[part], y[part], mean, layer.var, inv_std, layer.eps,
                gamma=gamma, beta=beta, slope=layer.slope, x_hat=hat,
            )  # fmt: skip
            layer.store(mean, layer.var)

    def backward(self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool) -> None:
        layer = self.layer
        gamma, beta = layer.affine()
        for part, mean, inv_std in zip(self._parts, self._mean, self._inv_std, strict=True):
            down = None if dx is None else dx[part]
            layer.ops.batch_norm_backward(
                x[part], dy[part], down, mean, inv_std, gamma=gamma, beta=beta, slope=layer.slope,
                dgamma=dgamma, dbeta=dbeta, x_is_hat=x_is_hat,
            )  # fmt: skip


class FollowedVariance(SpecialSteps):
    """`update_global_stats` of PSPNet and DeepLab, in TRAIN with use_global_stats.

    Caffe: there the mean is the stored one and stays what it is; the variance is the batch's about that mean,
        and is both used and stored. The gradient is that of fixed statistics.
    """

    def by_stored(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        layer, ops = self.layer, self.layer.ops
        batch_mean, square = layer.inv_std, layer.scratch("square", (layer.channels,))
        layer.read_stored(layer.mean, layer.var)
        ops.batch_norm_statistics(x, batch_mean, layer.var)
        ops.xp.subtract(batch_mean, layer.mean, square)
        ops.xp.multiply(square, square, square)
        ops.xp.add(layer.var, square, layer.var)
        layer.store(layer.mean, layer.var)
        ops.inverse_std(layer.var, layer.inv_std, layer.eps)
        ops.batch_norm_apply(
            x, y, layer.mean, layer.inv_std, gamma=gamma, beta=beta, slope=layer.slope, x_hat=x_hat
        )


class WithoutMeanOrVariance(SpecialSteps):
    """happynear's `disable_mean` and `disable_variance`: what is switched off is neither used nor stored.

    Without the mean, the variance is the mean square.
    """

    def reshape(self) -> None:
        self._sum = self.layer.scratch("sum", (self.layer.channels,))
        self._unused = self.layer.scratch("unused", (self.layer.channels,))
        self._unused[...] = 0

    def by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        layer, ops, form = self.layer, self.layer.ops, self.layer.form
        if form.centre:
            ops.batch_norm_statistics(x, layer.mean, layer.var)
        else:
            layer.mean[...] = 0
            ops.channel_dot(x, x, layer.var, False)
            ops.xp.multiply(layer.var, 1 / layer.count, layer.var)
        ops.store_statistics(
            layer.mean,
            layer.var,
            layer.update(layer.blobs[0]) if form.centre else self._unused,
            layer.update(layer.blobs[1]) if form.divide else self._unused,
            layer.update(layer.blobs[2]),
            form.fraction,
            1.0,
            layer.unbias,
        )
        self._apply(x, y, gamma, beta, x_hat)

    def by_stored(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        self.layer.read_stored(self.layer.mean, self.layer.var)
        self._apply(x, y, gamma, beta, x_hat)

    def _apply(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        layer = self.layer
        if not layer.form.centre:
            layer.mean[...] = 0
        if layer.form.divide:
            layer.ops.inverse_std(layer.var, layer.inv_std, layer.eps)
        else:
            layer.inv_std[...] = 1
        layer.ops.batch_norm_apply(
            x, y, layer.mean, layer.inv_std, gamma=gamma, beta=beta, slope=layer.slope, x_hat=x_hat
        )

    def backward(self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool) -> None:
        layer, ops, form = self.layer, self.layer.ops, self.layer.form
        total, fixed = self._sum, not layer.batch_statistics or not form.divide
        total[...] = 0
        ops.batch_norm_backward(
            x, dy, dx, layer.mean, layer.inv_std,
            slope=layer.slope, dbeta=total, use_global_stats=fixed, x_is_hat=x_is_hat,
        )  # fmt: skip
        if dx is None or not layer.batch_statistics or form.centre != fixed:
            return
        ops.xp.multiply(total, layer.inv_std, total)
        ops.xp.multiply(total, (-1 if fixed else 1) / layer.count, total)
        ops.add_channels(dx, total, dx)


def special_steps(layer: BatchNorm) -> SpecialSteps | None:
    """The steps that a layer's options ask for; None where it has none."""
    form = layer.form
    if not form.centre or not form.divide:
        return WithoutMeanOrVariance(layer)
    if form.follow_variance:
        return FollowedVariance(layer)
    if form.images and not form.use_global_stats:
        return SubBatches(layer)
    return None
