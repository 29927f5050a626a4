"""How the fields of a `batch_norm_param` are read: as BVLC's, or as those of the fork that has them."""

from __future__ import annotations

from dataclasses import dataclass

from caffenorm import schema
from caffenorm.errors import LayerError

_CUDNN_LEAST_EPS = 1e-5
_INTEL_ENGINES = (schema.BatchNormParameter.MKL2017, schema.BatchNormParameter.MKLDNN)
_ONE = schema.FillerParameter(type="constant", value=1)
_ZERO = schema.FillerParameter(type="constant", value=0)


@dataclass(frozen=True)
class BatchNormForm:
    """What a BatchNorm layer stores and computes.

    Attributes:
        dialect: "BVLC", "NVIDIA" or "Intel".
        note: for the user, empty for BVLC's own form.
        use_global_stats: normalise by what is stored.
        fraction: what is left of the stored statistics after a batch.
        eps: added to the variance.
        scale_filler, bias_filler: of blobs 3 and 4; None where there is no such blob.
        averages: blobs 0 and 1 are running averages, and blob 2 stays 1; else decayed sums, to be divided by
            blob 2.
        unbiased: the stored variance is the unbiased one.
        forced_rates: learning rates are set, whatever the prototxt says; else others than 0 are refused for
            the statistics.
        relu: max(y, 0) at the end.
        images: that share their statistics; 0 for the whole batch.
        centre, divide: subtract the mean, divide by the standard deviation.
        follow_variance: with stored statistics in TRAIN: the variance about the stored mean is the batch's,
            and is stored.
    """

    dialect: str
    note: str
    use_global_stats: bool
    fraction: float
    eps: float
    scale_filler: schema.FillerParameter | None = None
    bias_filler: schema.FillerParameter | None = None
    averages: bool = False
    unbiased: bool = True
    forced_rates: bool = False
    relu: bool = False
    images: int = 0
    centre: bool = True
    divide: bool = True
    follow_variance: bool = False

    @property
    def special(self) -> bool:
        """Whether this is more than one mean and one variance for the batch, or stored ones."""
        batch_options = self.images > 0 and not self.use_global_stats
        return batch_options or self.follow_variance or not self.centre or not self.divide


def read_form(param: schema.BatchNormParameter, phase: int) -> BatchNormForm:
    """Read the fields of a BatchNorm layer.

    Raises:
        LayerError: a value that makes no sense, or an option of a fork that is not known well enough to
            compute it.
    """
    if not 0 <= param.moving_average_fraction <= 1:
        raise LayerError(
            f"moving_average_fraction must lie between 0 and 1, found {param.moving_average_fraction:g}"
        )
    if not param.eps >= 0:
        raise LayerError(f"eps must not be negative, found {param.eps:g}")
    _refuse_unknown(param)
    intel = param.engine in _INTEL_ENGINES or any(
        param.HasField(name)
        for name in ("use_weight_bias", "bias_term", "filler", "stats_batch_size", "relu")
    )
    if intel:
        return _intel(param, phase)
    if param.scale_bias or param.HasField("scale_filler") or param.HasField("bias_filler"):
        return _nvidia(param, phase)
    return _bvlc(param, phase)


def _refuse_unknown(param: schema.BatchNormParameter) -> None:
    for name, harmless in (("use_alpha_beta", False), ("add_eps_before_sqrt", True), ("icnet", False)):
        if getattr(param, name) != harmless:
            raise LayerError(
                f"{name}: {str(not harmless).lower()} is an option of a fork that caffenorm does not compute"
            )


def _follows_phase(param: schema.BatchNormParameter, phase: int) -> bool:
    return param.use_global_stats if param.HasField("use_global_stats") else phase == schema.TEST


def _bvlc(param: schema.BatchNormParameter, phase: int) -> BatchNormForm:
    use_global_stats = _follows_phase(param, phase)
    options = [
        name
        for name in ("fused_relu", "update_global_stats", "disable_mean", "disable_variance")
        if getattr(param, name)
    ]
    return BatchNormForm(
        dialect="BVLC",
        note=f"BatchNorm with {', '.join(options)}, which BVLC Caffe does not know" if options else "",
        use_global_stats=use_global_stats,
        fraction=param.moving_average_fraction,
        eps=param.eps,
        relu=param.fused_relu,
        centre=not param.disable_mean,
        divide=not param.disable_variance,
        follow_variance=param.update_global_stats and use_global_stats and phase == schema.TRAIN,
    )


def _nvidia(param: schema.BatchNormParameter, phase: int) -> BatchNormForm:
    stored = phase == schema.TEST
    ignored = param.HasField("use_global_stats") and param.use_global_stats != stored
    return BatchNormForm(
        dialect="NVIDIA",
        note="BatchNorm of NVIDIA's Caffe: five blobs (mean, variance, 1, scale, bias), running averages"
        + ("; use_global_stats is ignored, as there: the phase decides" if ignored else ""),
        use_global_stats=stored,
        fraction=param.moving_average_fraction,
        eps=max(param.eps, _CUDNN_LEAST_EPS),
        scale_filler=param.scale_filler if param.HasField("scale_filler") else _ONE,
        bias_filler=param.bias_filler if param.HasField("bias_filler") else _ZERO,
        averages=True,
        unbiased=param.engine != schema.BatchNormParameter.CAFFE,
        forced_rates=True,
        relu=param.fused_relu,
    )


def _intel(param: schema.BatchNormParameter, phase: int) -> BatchNormForm:
    wanted = param.engine in _INTEL_ENGINES or any(param.HasField(name) for name in ("bias_term", "filler"))
    scale = wanted and param.engine != schema.BatchNormParameter.CAFFE
    if param.HasField("use_weight_bias"):
        scale = param.use_weight_bias
    bias = scale and param.bias_term
    blobs = 3 + scale + bias
    return BatchNormForm(
        dialect="Intel",
        note=f"BatchNorm of Intel's Caffe: {blobs} blobs (mean sum, variance sum, factor"
        + f"{', scale' * scale}{', bias' * bias})",
        use_global_stats=_follows_phase(param, phase),
        fraction=param.moving_average_fraction,
        eps=param.eps,
        scale_filler=(param.filler if param.HasField("filler") else _ONE) if scale else None,
        bias_filler=(param.bias_filler if param.HasField("bias_filler") else _ZERO) if bias else None,
        relu=param.relu or param.fused_relu,
        images=param.stats_batch_size,
    )
