"""SyncBatchNorm: BatchNorm whose statistics are those of the whole group of processes that train together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._channel_norm import Given
from caffenorm.layers.batch_norm import BatchNorm
from caffenorm.synced import Array

Collective = Callable[[Array], Array]


def _alone(values: Array) -> Array:
    """The sum over a group of one."""
    return values


@register_layer("SyncBatchNorm")
class SyncBatchNorm(BatchNorm):
    """BatchNorm over the batches of all processes of a group, with the numbers of one process with all data.

    Parameters and blobs are those of BatchNorm.
    Give every process's layer the collective of the group before the first forward:

        net.layer_dict["bn1"].collective = sum_over_group

    Attributes:
        collective: takes a float64 vector of this layer's device, returns the sum of all processes' vectors
            (a new array, or the one given). All processes must call it equally often: twice in a forward by
            batch statistics, once in the backward. The default is a group of one.

    Shape: x is (N, C, ...). N may differ between processes, and may be 0.
    Raises: LayerError for options of forks that change the statistics.
    Caffe: has no such layer; multi-GPU training there normalises by each device's part of the batch. The
        gradients of scale and offset (with `scale_bias`) are this process's share; whoever sums the gradients
        of the group sums them too.
    """

    collective: Collective

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().layer_setup(bottom, top)
        if self.form.special:
            raise LayerError(
                "stats_batch_size, update_global_stats, disable_mean and disable_variance do not go with "
                "statistics of a group"
            )
        self.collective = _alone
        channels = self.channels
        self._sums = self.scratch("sums", (channels + 1,), "f8")
        self._part = self.scratch("part", (2 * channels,), "f8")
        self._group_count = 0.0

    @property
    def is_plain(self) -> bool:
        return False

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].count or not self.batch_statistics:
            super().forward(bottom, top)
        else:
            self._join(None)
            if self._group_count:
                self.remember()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not bottom[0].count and self.batch_statistics and propagate_down[0]:
            self._part[...] = 0
            self.collective(self._part)
        super().backward(top, propagate_down, bottom)

    def _join(self, x: Given) -> None:
        """Set mean, var and inv_std to the group's; None is a part without values."""
        xp, sums, channels = self.ops.xp, self._sums, self.channels
        mean, deviation = self._part[:channels], self._part[channels:]
        count = self.count if x is not None else 0
        if x is None:
            self._part[...] = 0
        else:
            self.ops.batch_norm_moments(x, mean, deviation)
        xp.multiply(mean, count, out=sums[:channels])
        sums[channels] = count
        total = self.collective(sums)
        self._group_count = float(total[channels])
        group_mean = total[:channels] / max(1.0, self._group_count)
        deviation += count * (mean - group_mean) ** 2
        self.mean[...] = group_mean
        self.var[...] = self.collective(deviation.copy()) / max(1.0, self._group_count)
        self.ops.inverse_std(self.var, self.inv_std, self.eps)
        self.set_values_a_channel(self._group_count)

    def normalise_by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        self._join(x)
        self.ops.batch_norm_apply(
            x, y, self.mean, self.inv_std, gamma=gamma, beta=beta, slope=self.slope, x_hat=x_hat
        )
        self.remember()

    def backward_to_bottom(
        self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool
    ) -> None:
        if not self.batch_statistics:
            super().backward_to_bottom(x, dy, dx, dgamma, dbeta, x_is_hat)
            return
        gamma, beta = self.affine()
        channels = self.channels
        sum_g, sum_g_x_hat = self._part[:channels], self._part[channels:]
        self.ops.batch_norm_backward_sums(
            x, dy, self.mean, self.inv_std, sum_g, sum_g_x_hat,
            gamma=gamma, beta=beta, slope=self.slope, x_is_hat=x_is_hat,
        )  # fmt: skip
        if dgamma is not None:
            dgamma += sum_g_x_hat.astype(dgamma.dtype)
        if dbeta is not None:
            dbeta += sum_g.astype(dbeta.dtype)
        if dx is None:
            return
        means = self.collective(self._part) / self._group_count
        self.ops.batch_norm_backward_apply(
            x, dy, dx, self.mean, self.inv_std, means[:channels], means[channels:],
            gamma=gamma, beta=beta, slope=self.slope, x_is_hat=x_is_hat,
        )  # fmt: skip
