"""BN: batch normalisation with scale and offset inside, as SegNet's and PSPNet's forks have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._channel_norm import ChannelNorm
from caffenorm.layers._statistics import force_rates

_SEGNET_FIELDS = ("scale_filler", "shift_filler", "bn_mode")
_PARSENET_FIELDS = ("var_eps", "moving_average", "decay", "across_spatial", "axis")
_PSPNET_FIELDS = ("slope_filler", "bias_filler", "momentum", "eps", "frozen")
_SEGNET_EPS = 1e-9


@dataclass(frozen=True)
class BNForm:
    """What a BN layer stores and computes.

    Attributes:
        note: for the user.
        running: four blobs, with running averages; else two.
        scale_filler, shift_filler: of blobs 0 and 1.
        eps: added to the variance.
        batch_statistics: normalise by the batch; else by the running averages, or not at all where there are
            none.
        momentum: what is left of the running averages after a batch.
        unbiased: the running variance is the unbiased one.
    """

    note: str
    running: bool
    scale_filler: schema.FillerParameter
    shift_filler: schema.FillerParameter
    eps: float
    batch_statistics: bool
    momentum: float = 0.0
    unbiased: bool = False


def read_form(param: schema.BNParameter, param_blocks: int, phase: int) -> BNForm:
    """Whose BN layer this is: the fields tell, and where there are none the number of `param` blocks.

    Raises:
        LayerError: fields of different forks, or a fork's option that is not known well enough to compute it.
    """
    given = [field.name for field, _ in param.ListFields()]
    two = [name for name in given if name in (*_SEGNET_FIELDS, *_PARSENET_FIELDS)]
    four = [name for name in given if name in _PSPNET_FIELDS]
    if two and four:
        raise LayerError(
            f"bn_param mixes fields of SegNet's layer ({', '.join(two)}) and of PSPNet's ({', '.join(four)})"
        )
    if param.icnet:
        raise LayerError("icnet: true is an option of a fork that caffenorm does not compute")
    return _two_blobs(param) if two or (not four and param_blocks == 2) else _four_blobs(param, phase)


def _two_blobs(param: schema.BNParameter) -> BNForm:
    if param.moving_average or not param.across_spatial or param.axis != 1:
        raise LayerError(
            "moving_average, across_spatial: false and axis (other than 1) are options of ParseNet's and "
            "CTPN's BN that caffenorm does not compute"
        )
    learns = param.bn_mode == schema.BNParameter.LEARN
    return BNForm(
        note="BN of SegNet: two blobs (scale, shift), "
        + (
            "normalised by the batch in both phases"
            if learns
            else "no normalisation, INFERENCE multiplies and adds"
        ),
        running=False,
        scale_filler=param.scale_filler,
        shift_filler=param.shift_filler,
        eps=param.var_eps if param.HasField("var_eps") else _SEGNET_EPS,
        batch_statistics=learns,
    )


def _four_blobs(param: schema.BNParameter, phase: int) -> BNForm:
    if not 0 <= param.momentum <= 1:
        raise LayerError(f"momentum must lie between 0 and 1, found {param.momentum:g}")
    return BNForm(
        note="BN of PSPNet: four blobs (slope, bias, running mean, running variance)"
        + (", frozen" if param.frozen else ""),
        running=True,
        scale_filler=param.slope_filler,
        shift_filler=param.bias_filler,
        eps=param.eps,
        batch_statistics=phase == schema.TRAIN and not param.frozen,
        momentum=param.momentum,
        unbiased=param.engine != schema.BNParameter.CAFFE,
    )


@register_layer("BN")
class BN(ChannelNorm):
    """y = scale * (x - mean) / sqrt(var + eps) + shift, in the form of one of two forks.

    SegNet (`scale_filler`, `shift_filler`, `bn_mode`): two blobs, scale and shift. LEARN normalises by the
        batch in TRAIN and TEST alike, with eps 1e-9; tops 1 and 2, where they are, get the batch's mean and
        variance. INFERENCE is y = scale * x + shift.
    PSPNet (`slope_filler`, `bias_filler`, `momentum`, `eps`, `frozen`): four blobs, slope, bias, running mean
    and running variance.
        TRAIN normalises by the batch and moves the running averages, r = momentum * r + (1 - momentum) *
        batch. TEST, and any phase where `frozen`, normalises by them.

    Shape: x is (N, C, ...); all blobs are (1, C, 1, 1).
    Raises: ShapeError for a bottom of one axis. LayerError for a mixture of fields.
    Caffe: a filler that is not given fills with 0, so the layer gives nothing until weights are loaded. The
        running statistics take no learning rate, whatever the prototxt says; nor do slope and bias where
        `frozen`. SegNet's gradients of scale and shift replace what is there; ours add up, so that iter_size
        works.
    """

    num_tops = (1, 3)
    form: BNForm

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.form = form = read_form(self.param.bn_param, len(self.param.param), self.phase)
        self.notes.append(form.note)
        if len(top) > 1 and (form.running or not form.batch_statistics):
            raise LayerError(
                "tops 1 and 2 are the batch's mean and variance; only SegNet's layer in mode LEARN has them"
            )
        self.normalise_channels(
            bottom[0], eps=form.eps, batch_statistics=form.batch_statistics, gamma=0, beta=1
        )
        shape = (1, self.channels, 1, 1)
        self.blobs = [self.new_blob(shape) for _ in range(4 if form.running else 2)]
        self.fill(self.blobs[0], form.scale_filler)
        self.fill(self.blobs[1], form.shift_filler)
        if form.running:
            frozen = self.param.bn_param.frozen
            force_rates(self.param, dict.fromkeys(range(0 if frozen else 2, 4), 0.0))
            self.write(self.blobs[3])[...] = 1 if frozen else 0
        elif not form.batch_statistics:
            self.mean[...] = 0
            self.inv_std[...] = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        for statistic in top[1:]:
            statistic.reshape(1, self.channels, 1, 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().forward(bottom, top)
        for statistic, values in zip(top[1:], (self.mean, self.var), strict=False):
            self.write(statistic).reshape(-1)[...] = values

    def remember(self) -> None:
        if not self.form.running:
            return
        momentum = self.form.momentum
        unbias = self.unbias if self.form.unbiased else 1.0
        stored_mean, stored_var = (self.update(blob).reshape(-1) for blob in self.blobs[2:])
        self.ops.store_statistics(
            self.mean,
            self.var,
            stored_mean,
            stored_var,
            None,
            momentum,
            1 - momentum,
            (1 - momentum) * unbias,
        )

    def recall(self) -> None:
        if self.form.running:
            self.mean[...] = self.read(self.blobs[2]).reshape(-1)
            self.ops.inverse_std(self.read(self.blobs[3]).reshape(-1), self.inv_std, self.eps)
