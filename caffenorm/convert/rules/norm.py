"""BatchNorm with its Scale, SyncBatchNorm, and BN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.convert.program import Chain, Param, arguments, number, rule
from caffenorm.convert.rules.scale import bounded_factor
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers._batch_norm_form import BatchNormForm
from caffenorm.layers.batch_norm import STATISTICS, BatchNorm
from caffenorm.layers.bn import BN
from caffenorm.net import Net
from caffenorm.plan import LayerStep

_CLASS_BY_AXES = {2: "nn.BatchNorm1d", 3: "nn.BatchNorm1d", 4: "nn.BatchNorm2d", 5: "nn.BatchNorm3d"}
_TORCH_MOMENTUM = 0.1
_BIASED = "Caffe's running variance is the biased one, PyTorch's the unbiased one"


@dataclass(frozen=True)
class BatchNormValues:
    """What a BatchNorm layer, with the Scale that may follow, says in PyTorch's terms.

    Attributes:
        mean, var: running statistics, (C,). weight, bias: (C,), or None without an affine part.
        eps: added to the variance. momentum: PyTorch's, None for the cumulative average.
        num_batches_tracked: how many batches the statistics saw, as far as the factor tells.
    """

    mean: NDArray[Any]  # Any: float32 or float64
    var: NDArray[Any]
    weight: NDArray[Any] | None
    bias: NDArray[Any] | None
    eps: float
    momentum: float | None
    num_batches_tracked: int


def batch_norm_values(
    blobs: list[NDArray[Any]], scale: list[NDArray[Any]] | None, eps: float, fraction: float
) -> BatchNormValues:
    """Divide by the scale factor, as Caffe does when it uses the statistics (0 where the factor is 0)."""
    mean_sum, var_sum, factor = blobs[0].reshape(-1), blobs[1].reshape(-1), float(blobs[2].reshape(-1)[0])
    reciprocal = mean_sum.dtype.type(0 if factor == 0 else 1 / mean_sum.dtype.type(factor))
    weight = bias = None
    if scale is not None:
        weight = scale[0].reshape(-1).copy()
        bias = scale[1].reshape(-1).copy() if len(scale) > 1 else np.zeros_like(weight)
    momentum = round(1 - float(str(np.float32(fraction))), 9)  # 0.001 for the float32 nearest to 0.999
    cumulative = fraction == 1
    return BatchNormValues(
        mean_sum * reciprocal,
        var_sum * reciprocal,
        weight,
        bias,
        eps,
        None if cumulative else momentum,
        round(factor) if cumulative and math.isfinite(factor) else 0,
    )


def batch_norm_state(values: BatchNormValues) -> dict[str, NDArray[Any]]:
    """The state dict of the module."""
    state = (
        {} if values.weight is None or values.bias is None else {"weight": values.weight, "bias": values.bias}
    )
    state |= {"running_mean": values.mean, "running_var": values.var}
    state["num_batches_tracked"] = np.asarray(values.num_batches_tracked, dtype=np.int64)
    return state


def batch_norm_constructor(values: BatchNormValues, num_axes: int, *, tracks: bool = True) -> str:
    """The module's constructor; `tracks` says whether it has running statistics."""
    momentum = "None" if values.momentum is None else f"{values.momentum:.7g}"
    listed = arguments(
        str(len(values.mean)),
        eps=(number(values.eps), "1e-05"),
        momentum=(momentum if tracks else str(_TORCH_MOMENTUM), str(_TORCH_MOMENTUM)),
        affine=(str(values.weight is not None), "True"),
        track_running_stats=(str(tracks), "True"),
    )
    return f"{_CLASS_BY_AXES[num_axes]}({listed})"


@dataclass(frozen=True)
class Norm:
    """What becomes one batch norm module, or goes into the weights before it.

    Attributes:
        values: the numbers. weight, bias: the blobs that they come from, where they are learned.
        relu: whether it ends with a ReLU.
    """

    values: BatchNormValues
    weight: Blob | None = None
    bias: Blob | None = None
    relu: bool = False


def joins(part: Sequence[LayerStep], net: Net) -> bool:
    """Whether a Scale multiplies the channels that the BatchNorm before it normalises."""
    norm, scale = part[0].layer, part[1].layer
    if not isinstance(norm, BatchNorm) or norm.form.special or norm.form.relu or len(norm.blobs) > STATISTICS:
        return False
    axis = canonical_axis(scale.param.scale_param.axis, part[1].bottom[0].num_axes)
    return len(part[1].bottom) == 1 and axis == 1 and scale.blobs[0].shape == norm.blobs[0].shape


def read_norm(norm: Layer, scale: Layer | None = None) -> Norm:
    """A BatchNorm or BN that has statistics or takes the batch's, and the Scale behind it."""
    if isinstance(norm, BN):
        running = norm.blobs[2:]
        flat = [blob.read().reshape(-1).copy() for blob in norm.blobs]
        mean, var = flat[2:] if running else (np.zeros_like(flat[0]), np.ones_like(flat[0]))
        momentum = 1 - norm.form.momentum
        return Norm(
            BatchNormValues(mean, var, flat[0], flat[1], norm.form.eps, momentum, 0),
            norm.blobs[0],
            norm.blobs[1],
        )
    assert isinstance(norm, BatchNorm)
    form = norm.form
    affine = list(norm.blobs[STATISTICS:] if scale is None else scale.blobs)
    stored = [blob.read() for blob in norm.blobs[:STATISTICS]]
    if not form.centre:
        stored[0] = np.zeros_like(stored[0])
    if form.averages:
        stored[2] = np.ones_like(stored[2])
    values = None
    if affine:
        values = [bounded_factor(scale or norm, affine[0]), *(blob.read() for blob in affine[1:])]
    learned: tuple[Blob | None, ...] = (*affine, None, None)
    found = batch_norm_values(stored, values, norm.eps, form.fraction)
    if form.averages and form.fraction == 1:
        found = replace(found, momentum=0.0, num_batches_tracked=0)  # these averages stay what they are
    if not form.divide:
        found = replace(found, var=np.ones_like(found.var), eps=0.0)
    return Norm(found, learned[0], learned[1], form.relu)


def _special(form: BatchNormForm) -> str:
    """Why a fork's way of normalising by the batch has no rule."""
    if form.follow_variance:
        return "update_global_stats of a fork normalises by the batch's variance about the stored mean"
    if form.images:
        return f"stats_batch_size of a fork gives every {form.images} images statistics of their own"
    left = "mean" if not form.centre else "variance"
    return f"disable_{left} of a fork leaves out the batch's {left}, which PyTorch always takes"


@rule("BatchNorm", "SyncBatchNorm", ("BatchNorm", "Scale"), ("SyncBatchNorm", "Scale"), fits=joins)
def batch_norm(chain: Chain) -> None:
    """BatchNorm (Scale) -> BatchNorm1d, 2d or 3d, by the data's axes."""
    layer = chain.layer
    assert isinstance(layer, BatchNorm)
    form = layer.form
    if form.special and (layer.batch_statistics or form.follow_variance):
        raise chain.fail(_special(form))
    norm = read_norm(layer, chain.steps[1].layer if len(chain.steps) > 1 else None)
    if layer.type == "SyncBatchNorm":
        chain.note("torch.nn.SyncBatchNorm.convert_sync_batchnorm makes it one of a group of processes")
    if layer.batch_statistics:
        _note_statistics(chain, norm.values, layer)
    if norm.weight is not None and norm.bias is None:
        chain.note("the Scale has no offset; the module's bias is 0, keep it so when you train")
    _add_batch_norm(chain, norm, batch_statistics=layer.batch_statistics)


def _note_statistics(chain: Chain, values: BatchNormValues, layer: BatchNorm) -> None:
    """Where training goes on, PyTorch's running statistics are Caffe's only under conditions."""
    form = layer.form
    if not form.unbiased and chain.program.train:
        chain.note(_BIASED)
    if not 0 < form.fraction < 1:
        return
    steady = 1 / (1 - float(np.float32(form.fraction)))
    factor = float(layer.blobs[2].read().reshape(-1)[0])
    if form.averages:  # what is all 0 is replaced by the first batch
        factor = steady if values.var.any() else 0.0
    if factor == 0:
        chain.note(
            "has seen no batch yet; Caffe's first batches count for more than PyTorch's momentum gives them, "
            "which begins with a mean of 0 and a variance of 0 here"
        )
    elif abs(factor - steady) > 1e-3 * steady:
        chain.note(
            f"the running average has not converged (factor {factor:g} of {steady:g}); Caffe gives its next "
            "batches more weight than PyTorch's momentum does"
        )


def _add_batch_norm(chain: Chain, norm: Norm, *, batch_statistics: bool) -> None:
    axes, x = chain.bottom[0].num_axes, chain.x
    training = chain.program.train
    if axes not in _CLASS_BY_AXES:
        raise chain.fail(f"PyTorch normalises data of 2 to 5 axes, this has {axes}")
    if batch_statistics and chain.bottom[0].count == chain.bottom[0].shape[1]:
        raise chain.fail("PyTorch refuses to normalise by a batch with one value a channel")
    if batch_statistics and norm.values.eps == 0:
        raise chain.fail("PyTorch refuses to normalise by a batch with an eps of 0")
    tracks = training or not batch_statistics
    state: dict[str, Any] = dict(batch_norm_state(norm.values))  # Any: arrays and Params
    for key, blob in (("weight", norm.weight), ("bias", norm.bias)):
        if blob is not None:
            state[key] = Param(blob, state[key])
    if not tracks:
        state = {key: value for key, value in state.items() if key in ("weight", "bias")}
        chain.note("normalises by the batch in TEST too, so results depend on what else is in the batch")
    module = chain.submodule(batch_norm_constructor(norm.values, axes, tracks=tracks), state)
    if training and not batch_statistics:
        chain.note("normalises by the stored statistics in training too")
        affine = f", {module}.weight, {module}.bias" if norm.values.weight is not None else ""
        text = f"F.batch_norm({x}, {module}.running_mean, {module}.running_var{affine}, eps={module}.eps)"
    else:
        text = f"{module}({x})"
    chain.set(f"F.relu({text})" if norm.relu else text)


@rule("BN")
def bn(chain: Chain) -> None:
    """SegNet's and PSPNet's batch norm with scale and offset inside."""
    layer = chain.layer
    assert isinstance(layer, BN)
    form, (weight, bias, *running) = layer.form, layer.blobs
    if not running and not form.batch_statistics:
        shape = (weight.count, *(1,) * (chain.bottom[0].num_axes - 2))
        state = {
            key: Param(blob, blob.read().reshape(shape).copy())
            for key, blob in (("weight", weight), ("bias", bias))
        }
        module = chain.submodule(f"{chain.helper('Scale')}({shape})", state)
        chain.set(f"{module}({chain.x})")
        return
    if running and form.batch_statistics and not form.unbiased:
        chain.note(_BIASED)
    if not running and chain.program.train:
        chain.note("has no running statistics in Caffe; those that PyTorch collects are for its eval mode")
    if len(chain.top) > 1:
        _add_statistics(chain)
    _add_batch_norm(chain, read_norm(layer), batch_statistics=form.batch_statistics)


def _add_statistics(chain: Chain) -> None:
    """The batch's mean and variance, which SegNet's layer gives as tops, and which pass no gradient back."""
    x, axes, tops = chain.x, chain.bottom[0].num_axes, chain.outputs()[1:]
    dims = (0, *range(2, axes))
    channels = chain.bottom[0].shape[1]
    for top, text in zip(tops, ("mean({})", "var({}, unbiased=False)"), strict=False):
        chain.line(f"{top} = {x}.detach().{text.format(dims)}.reshape(1, {channels}, 1, 1)")
