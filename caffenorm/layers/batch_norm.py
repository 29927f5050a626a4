"""BatchNorm: normalises every channel by the batch's or by stored statistics."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import register_layer
from caffenorm.layers._batch_norm_form import BatchNormForm, read_form
from caffenorm.layers._batch_norm_special import special_steps
from caffenorm.layers._channel_norm import ChannelNorm, Given
from caffenorm.layers._statistics import exclude_from_learning, force_rates
from caffenorm.synced import Array

STATISTICS = 3  # blobs of every form: mean, variance, factor


@register_layer("BatchNorm")
class BatchNorm(ChannelNorm):
    """y = (x - mean) / sqrt(var + eps) for every channel.

    In TRAIN the mean and the (biased) variance are the batch's, and they go into the stored statistics:

        mean_sum = f * mean_sum + mean
        var_sum = f * var_sum + var * m / (m - 1)        (m values a channel; factor 1 for m = 1)
        scale_factor = f * scale_factor + 1              (f is moving_average_fraction)

    In TEST they are mean_sum / scale_factor and var_sum / scale_factor, and both are 0 where scale_factor is
    0. `use_global_stats`, where it is written, decides instead of the phase: false in TEST normalises by the
    batch and moves the stored statistics, true in TRAIN leaves them alone.

    Shape: x is (N, C, ...). blobs are mean_sum (C), var_sum (C), scale_factor (1).
    Raises: ShapeError for a bottom of one axis. LayerError for a learning rate on the statistics.
    Caffe: no scale and no offset; a Scale layer follows. An untrained layer gives x / sqrt(eps) in TEST, 316
        times x. The statistics are parameters, with lr_mult 0: missing `param` blocks are added, others than
        0 are refused. Forks' layers of this name are recognised by their fields, and `notes` says so:
        docs/batchnorm-and-scale.md.
    See: Ioffe and Szegedy, Batch Normalization, 2015.
    """

    form: BatchNormForm
    ignores_propagate_down = True  # as Caffe's does: a net's input gets a gradient too

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.form = form = read_form(self.param.batch_norm_param, self.phase)
        if form.note:
            self.notes.append(form.note)
        self.normalise_channels(
            bottom[0],
            eps=form.eps,
            batch_statistics=not form.use_global_stats,
            gamma=STATISTICS if form.scale_filler is not None else None,
            beta=STATISTICS + 1 if form.bias_filler is not None else None,
            slope=0.0 if form.relu else None,
        )
        self.blobs = [self.new_blob((self.channels,)), self.new_blob((self.channels,)), self.new_blob((1,))]
        if form.averages:
            self.write(self.blobs[2])[...] = 1
        for filler in (form.scale_filler, form.bias_filler):
            if filler is not None:
                self.blobs.append(self.new_blob((self.channels,)))
                self.fill(self.blobs[-1], filler)
        if form.forced_rates:
            force_rates(self.param, {0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0, 4: 1.0})
        else:
            exclude_from_learning(self.param, 0, STATISTICS)
        self._special = special_steps(self)
        self._recalled: list[int | None] = []  # versions of the statistics that mean and inv_std come from

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if self._special is not None:
            self._special.reshape()

    @property
    def is_plain(self) -> bool:
        return super().is_plain and self._special is None

    @property
    def averages(self) -> bool:
        """Whether averages are stored, as in NVIDIA's fork, and not sums to be divided by the factor."""
        return self.form.averages

    # --- the stored statistics ---

    def remember(self) -> None:
        self.store(self.mean, self.var)

    def recall(self) -> None:
        versions = [blob.stable_version() for blob in self.blobs[:STATISTICS]]
        if versions == self._recalled and None not in versions:
            return
        self.read_stored(self.mean, self.var)
        self.ops.inverse_std(self.var, self.inv_std, self.eps)
        self._recalled = versions

    def store(self, mean: Array, var: Array) -> None:
        """Put a batch's mean and biased variance into the stored statistics."""
        form, blobs = self.form, self.blobs
        stored_mean, stored_var = self.update(blobs[0]), self.update(blobs[1])
        if form.averages:
            keep = form.fraction if stored_var.any() else 0.0  # the first batch is taken as it is
            var_weight = (1 - keep) * (self.unbias if form.unbiased else 1.0)
            self.ops.store_statistics(mean, var, stored_mean, stored_var, None, keep, 1 - keep, var_weight)
        else:
            self.ops.store_statistics(
                mean, var, stored_mean, stored_var, self.update(blobs[2]), form.fraction, 1.0, self.unbias
            )

    def read_stored(self, mean: Array, var: Array) -> None:
        """Set `mean` and `var` to what is stored."""
        if self.form.averages:
            mean[...] = self.read(self.blobs[0])
            var[...] = self.read(self.blobs[1])
        else:
            mean_sum, var_sum, factor = (self.read(blob) for blob in self.blobs[:STATISTICS])
            self.ops.read_statistics(mean_sum, var_sum, factor, mean, var)

    # --- steps that options of forks change ---

    def normalise_by_batch(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        if self._special is None:
            super().normalise_by_batch(x, y, gamma, beta, x_hat)
        else:
            self._special.by_batch(x, y, gamma, beta, x_hat)

    def normalise_by_stored(self, x: Array, y: Array, gamma: Given, beta: Given, x_hat: Given) -> None:
        if self._special is None:
            super().normalise_by_stored(x, y, gamma, beta, x_hat)
        else:
            self._special.by_stored(x, y, gamma, beta, x_hat)

    def backward_to_bottom(
        self, x: Array, dy: Array, dx: Given, dgamma: Given, dbeta: Given, x_is_hat: bool
    ) -> None:
        if self._special is None:
            super().backward_to_bottom(x, dy, dx, dgamma, dbeta, x_is_hat)
        else:
            self._special.backward(x, dy, dx, dgamma, dbeta, x_is_hat)
