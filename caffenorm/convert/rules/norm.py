"""BatchNorm, Scale, Bias and their relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.convert.program import Chain, Param, arguments, number, rule
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers._grouped_norm import GroupedNorm
from caffenorm.layers.batch_norm import STATISTICS, BatchNorm
from caffenorm.layers.bn import BN
from caffenorm.plan import LayerStep

_CLASS_BY_AXES = {2: "nn.BatchNorm1d", 3: "nn.BatchNorm1d", 4: "nn.BatchNorm2d", 5: "nn.BatchNorm3d"}
_TORCH_MOMENTUM = 0.1
_AFFINE = ("weight", "bias")


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
class _Norm:
    """What becomes one batch norm module.

    Attributes:
        values: the numbers. weight, bias: the blobs that they come from, where they are learned.
        relu: whether it ends with a ReLU.
    """

    values: BatchNormValues
    weight: Blob | None = None
    bias: Blob | None = None
    relu: bool = False


def _joins(part: Sequence[LayerStep]) -> bool:
    """Whether a Scale multiplies the channels that the BatchNorm before it normalises."""
    norm, scale = part[0].layer, part[1].layer
    if not isinstance(norm, BatchNorm) or norm.form.special or norm.form.relu or len(norm.blobs) > STATISTICS:
        return False
    axis = canonical_axis(scale.param.scale_param.axis, part[1].bottom[0].num_axes)
    return axis == 1 and scale.blobs[0].shape == norm.blobs[0].shape


@rule("BatchNorm", "SyncBatchNorm", ("BatchNorm", "Scale"), ("SyncBatchNorm", "Scale"), fits=_joins)
def batch_norm(chain: Chain) -> None:
    """BatchNorm (Scale) -> BatchNorm1d, 2d or 3d, by the data's axes."""
    layer = chain.layer
    assert isinstance(layer, BatchNorm)
    form = layer.form
    if form.special:
        raise chain.fail("this fork's options of BatchNorm have no counterpart in PyTorch")
    affine = list(layer.blobs[STATISTICS:])
    if len(chain.steps) > 1:
        affine = list(chain.steps[1].layer.blobs)
    stored = [blob.read() for blob in layer.blobs[:STATISTICS]]
    if form.averages:
        stored[2] = np.ones_like(stored[2])
    scale = (
        [_bounded(chain.steps[-1].layer, affine[0]), *(blob.read() for blob in affine[1:])]
        if affine
        else None
    )
    values = batch_norm_values(stored, scale, layer.eps, form.fraction)
    if layer.type == "SyncBatchNorm":
        chain.note("torch.nn.SyncBatchNorm.convert_sync_batchnorm makes it one of a group of processes")
    if not form.averages and values.momentum is not None and layer.batch_statistics:
        _note_convergence(chain, float(stored[2].reshape(-1)[0]), form.fraction)
    if len(affine) == 1:
        chain.note("the Scale has no offset; the module's bias is 0, keep it so when you train")
    weight, bias = (*affine, None, None)[:2]
    norm = _Norm(values, weight, bias, form.relu)
    _add_batch_norm(chain, norm, batch_statistics=layer.batch_statistics)


def _note_convergence(chain: Chain, factor: float, fraction: float) -> None:
    steady = 1 / (1 - float(np.float32(fraction)))
    if abs(factor - steady) > 1e-3 * steady:
        chain.note(
            f"the running average has not converged (factor {factor:g} of {steady:g}); Caffe gives its next "
            "batches more weight than PyTorch's momentum does"
        )


def _add_batch_norm(chain: Chain, norm: _Norm, *, batch_statistics: bool) -> None:
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
    if len(chain.top) > 1:
        raise chain.fail("the batch's mean and variance as tops have no rule")
    flat = [blob.read().reshape(-1).copy() for blob in layer.blobs]
    if not running and not form.batch_statistics:
        shape = (weight.count, *(1,) * (chain.bottom[0].num_axes - 2))
        state = {
            key: Param(blob, blob.read().reshape(shape).copy())
            for key, blob in (("weight", weight), ("bias", bias))
        }
        module = chain.submodule(f"{chain.helper('Scale')}({shape})", state)
        chain.set(f"{module}({chain.x})")
        return
    mean, var = flat[2:] if running else (np.zeros_like(flat[0]), np.ones_like(flat[0]))
    values = BatchNormValues(mean, var, flat[0], flat[1], form.eps, 1 - form.momentum, 0)
    if running and form.batch_statistics and not form.unbiased:
        chain.note("Caffe's running variance is the biased one, PyTorch's the unbiased one")
    if not running and chain.program.train:
        chain.note("has no running statistics in Caffe; those that PyTorch collects are for its eval mode")
    _add_batch_norm(chain, _Norm(values, weight, bias), batch_statistics=form.batch_statistics)


def _bounded(layer: Layer, blob: Blob) -> NDArray[Any]:
    """The factor of a Scale, within the bounds that a fork's options give."""
    param = layer.param.scale_param
    value: NDArray[Any] = blob.read()  # Any: float32 or float64
    if param.HasField("min_value") or param.HasField("max_value"):
        least = param.min_value if param.HasField("min_value") else -np.inf
        most = param.max_value if param.HasField("max_value") else np.inf
        value = np.clip(value, value.dtype.type(least), value.dtype.type(most))
    return value


@rule("Scale")
def scale(chain: Chain) -> None:
    """A lone Scale: multiplies by a parameter, or by its second bottom."""
    layer, inputs = chain.layer, chain.inputs()
    param = layer.param.scale_param
    if len(inputs) == 2:
        expression = f"{inputs[0]} * {_fitted(inputs[1], chain, param.axis)}"
        if param.bias_term:
            expression = (
                f"{_bias_module(chain, layer.blobs[0], chain.bottom[1].shape, param.axis)}({expression})"
            )
        chain.set(expression)
        return
    shape = _aligned(chain.bottom[0], layer.blobs[0].shape, param.axis)
    values = [_bounded(layer, layer.blobs[0]), *(blob.read() for blob in layer.blobs[1:])]
    state = {
        key: Param(blob, value.reshape(shape).copy())
        for key, blob, value in zip(("weight", "bias"), layer.blobs, values, strict=False)
    }
    given = arguments(str(shape), bias=(str(len(layer.blobs) > 1), "True"))
    module = chain.submodule(f"{chain.helper('Scale')}({given})", state)
    chain.set(f"{module}({inputs[0]})")


@rule("Bias")
def bias(chain: Chain) -> None:
    """Adds a parameter, or its second bottom."""
    inputs, param = chain.inputs(), chain.layer.param.bias_param
    if len(inputs) == 2:
        chain.set(f"{inputs[0]} + {_fitted(inputs[1], chain, param.axis)}")
        return
    blob = chain.layer.blobs[0]
    chain.set(f"{_bias_module(chain, blob, blob.shape, param.axis)}({inputs[0]})")


def _bias_module(chain: Chain, blob: Blob, covering: tuple[int, ...], axis: int) -> str:
    shape = _aligned(chain.bottom[0], covering, axis)
    state = {"bias": Param(blob, blob.read().reshape(shape).copy())}
    return chain.submodule(f"{chain.helper('Bias')}({shape})", state)


def _aligned(bottom: Blob, covering: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The parameter's shape with ones behind it, so that it broadcasts from `axis` on."""
    if not covering:
        return ()
    first = canonical_axis(axis, bottom.num_axes)
    return (*covering, *((1,) * (bottom.num_axes - first - len(covering))))


def _fitted(name: str, chain: Chain, axis: int) -> str:
    """The second bottom with axes of size 1 behind it, so that it broadcasts from `axis` on."""
    covering = chain.bottom[1].shape
    missing = len(_aligned(chain.bottom[0], covering, axis)) - len(covering)
    return f"{name}[{', '.join(['...'] + ['None'] * missing)}]" if missing else name


@rule("MVN")
def mvn(chain: Chain) -> None:
    """Mean and variance of each channel, or of each image."""
    param, axes = chain.layer.param.mvn_param, chain.bottom[0].num_axes
    x = chain.x if axes >= 4 else f"{chain.x}[{', '.join(['...'] + ['None'] * (4 - axes))}]"
    dims = tuple(range(1 if param.across_channels else 2, max(4, axes)))
    listed = arguments(
        x,
        str(dims),
        eps=(number(param.eps), "1e-09"),
        normalize_variance=(str(param.normalize_variance), "True"),
        eps_in_root=(str(bool(param.add_eps_before_sqrt)), "False"),
    )
    chain.set(f"{chain.helper('mean_variance_normalize')}({listed})")


# --- norms of single examples ---


@rule("InstanceNorm")
def instance_norm(chain: Chain) -> None:
    """InstanceNorm1d, 2d or 3d, with running statistics where Caffe's layer has them."""
    param, blobs, bottom = chain.layer.param.instance_norm_param, chain.layer.blobs, chain.bottom[0]
    if not 3 <= bottom.num_axes <= 5 or math.prod(bottom.shape[2:]) == 1:
        raise chain.fail("PyTorch needs 1 to 3 axes behind the channels, with more than one position")
    given = ("weight", "bias") * bool(param.affine) + ("running_mean", "running_var") * bool(
        param.track_running_stats
    )
    state: dict[str, Any] = _params(chain, given)  # Any: arrays and Params
    if param.track_running_stats:
        state["num_batches_tracked"] = np.asarray(0, dtype=np.int64)
    listed = arguments(
        str(bottom.shape[1]),
        eps=(number(param.eps), "1e-05"),
        momentum=(number(param.momentum), "0.1"),
        affine=(str(bool(param.affine)), "False"),
        track_running_stats=(str(bool(param.track_running_stats)), "False"),
    )
    assert len(given) == len(blobs)
    chain.set(f"{chain.submodule(f'nn.InstanceNorm{bottom.num_axes - 2}d({listed})', state)}({chain.x})")


@rule("GroupNorm", "GN")
def group_norm(chain: Chain) -> None:
    """nn.GroupNorm."""
    layer = chain.layer
    assert isinstance(layer, GroupedNorm)
    listed = arguments(
        str(layer.groups),
        str(chain.bottom[0].shape[1]),
        eps=(number(layer.eps), "1e-05"),
        affine=(str(bool(layer.blobs)), "True"),
    )
    chain.set(f"{chain.submodule(f'nn.GroupNorm({listed})', _params(chain, _AFFINE))}({chain.x})")


@rule("LayerNorm")
def layer_norm(chain: Chain) -> None:
    """nn.LayerNorm."""
    param, bottom, blobs = chain.layer.param.layer_norm_param, chain.bottom[0], chain.layer.blobs
    shape = tuple(param.normalized_shape) or bottom.shape[canonical_axis(param.axis, bottom.num_axes) :]
    listed = arguments(
        str(shape[0]) if len(shape) == 1 else str(shape),
        eps=(number(param.eps), "1e-05"),
        elementwise_affine=(str(bool(blobs)), "True"),
        bias=(str(len(blobs) != 1), "True"),
    )
    state = {key: Param(blob, blob.read().copy()) for key, blob in zip(_AFFINE, blobs, strict=False)}
    chain.set(f"{chain.submodule(f'nn.LayerNorm({listed})', state)}({chain.x})")


def _params(chain: Chain, names: Sequence[str]) -> dict[str, Any]:  # Any: Params
    """The layer's blobs, flat, under these names."""
    return {
        name: Param(blob, blob.read().reshape(-1).copy())
        for name, blob in zip(names, chain.layer.blobs, strict=False)
    }


@rule("Normalize")
def normalize(chain: Chain) -> None:
    """Divides by the L2 norm over channels, or over channels and positions; SSD's form has a factor."""
    layer, bottom = chain.layer, chain.bottom[0]
    plain = layer.param.HasField("normalize_param")
    if len(chain.top) > 1 or (plain and layer.param.normalize_param.normalize_type != "L2"):
        raise chain.fail("the L1 norm, and the norm as a second top, have no rule")
    across = not plain and layer.param.norm_param.across_spatial
    dims = tuple(range(1, bottom.num_axes)) if across else 1
    eps = 1e-6 if plain else layer.param.norm_param.eps
    text = f"{chain.helper('normalized')}({chain.x}, {dims}, {number(eps)})"
    if layer.blobs:
        factor = layer.blobs[0]
        shape = (factor.count, *(1,) * (bottom.num_axes - 2)) if factor.num_axes else ()
        state = {"weight": Param(factor, factor.read().reshape(shape).copy())}
        module = chain.submodule(f"{chain.helper('Scale')}({shape}, bias=False)", state)
        text = f"{module}({text})"
    chain.set(text)
