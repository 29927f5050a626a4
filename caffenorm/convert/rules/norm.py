"""BatchNorm, Scale, Bias and their relatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.convert.program import Chain, arguments, number, rule
from caffenorm.layers._channel_norm import ChannelNorm
from caffenorm.layers.batch_norm import BatchNorm

_CLASS_BY_AXES = {2: "nn.BatchNorm1d", 3: "nn.BatchNorm1d", 4: "nn.BatchNorm2d", 5: "nn.BatchNorm3d"}
_TORCH_EPS, _TORCH_MOMENTUM = 1e-5, 0.1


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
    cumulative = fraction == 1
    return BatchNormValues(
        mean_sum * reciprocal,
        var_sum * reciprocal,
        weight,
        bias,
        eps,
        None if cumulative else 1 - fraction,
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


def batch_norm_constructor(values: BatchNormValues, num_axes: int) -> str:
    """The module's constructor."""
    momentum = "None" if values.momentum is None else f"{values.momentum:.7g}"
    listed = arguments(
        str(len(values.mean)),
        eps=(f"{np.float32(values.eps)}", "1e-05"),
        momentum=(momentum, str(_TORCH_MOMENTUM)),
        affine=(str(values.weight is not None), "True"),
    )
    return f"{_CLASS_BY_AXES[num_axes]}({listed})"


@rule("BatchNorm", ("BatchNorm", "Scale"))
def batch_norm(chain: Chain) -> None:
    """BatchNorm (Scale) -> BatchNorm1d, 2d or 3d, by the data's axes."""
    layer = chain.layer
    assert isinstance(layer, ChannelNorm)
    axes = chain.bottom[0].num_axes
    if not layer.is_plain:
        _affine_batch_norm(chain, layer)
        return
    x = chain.x
    scale = [blob.read() for blob in chain.steps[1].layer.blobs] if len(chain.steps) > 1 else None
    fraction = layer.param.batch_norm_param.moving_average_fraction
    values = batch_norm_values([blob.read() for blob in layer.blobs], scale, layer.eps, fraction)
    if axes not in _CLASS_BY_AXES:
        raise chain.fail(f"PyTorch normalises data of 2 to 5 axes, this has {axes}")
    if layer.batch_statistics and layer.phase == 1:
        _batch_statistics(chain, x, values)
        return
    module = chain.submodule(batch_norm_constructor(values, axes), batch_norm_state(values))
    if not layer.batch_statistics and layer.phase == 0:
        chain.note("use_global_stats: true in TRAIN; keep this module in eval mode when you train")
    if values.momentum is not None:
        factor = float(layer.blobs[2].read()[0])
        steady = 1 / (1 - fraction)
        if layer.batch_statistics and abs(factor - steady) > 1e-3 * steady:
            chain.note(
                f"the running average has not converged (factor {factor:g} of {steady:g}); Caffe gives its "
                "next batches more weight than PyTorch's momentum does"
            )
    if scale is not None and len(chain.steps[1].layer.blobs) == 1:
        chain.note("the Scale has no offset; the module's bias is 0, keep it so when you train")
    chain.set(f"{module}({x})")


def _batch_statistics(chain: Chain, x: str, values: BatchNormValues) -> None:
    """use_global_stats: false in TEST: the batch's statistics, always."""
    module = chain.submodule(
        f"nn.BatchNorm{ {2: 1, 3: 1, 4: 2, 5: 3}[chain.bottom[0].num_axes] }d("
        + arguments(
            str(len(values.mean)),
            eps=(f"{np.float32(values.eps)}", "1e-05"),
            affine=(str(values.weight is not None), "True"),
            track_running_stats=("False", "True"),
        )
        + ")",
        {k: v for k, v in batch_norm_state(values).items() if k in ("weight", "bias")},
    )
    chain.note(
        "use_global_stats: false in TEST, so results depend on the batch; running statistics are left out"
    )
    chain.set(f"{module}({x})")


def _affine_batch_norm(chain: Chain, layer: ChannelNorm) -> None:
    """A fork's BatchNorm that scales by itself."""
    if len(chain.steps) > 1 or not isinstance(layer, BatchNorm) or layer.form.special or layer.form.relu:
        raise chain.fail("this fork's options of BatchNorm have no counterpart in PyTorch")
    form, x = layer.form, chain.x
    blobs = [blob.read() for blob in layer.blobs]
    if form.averages:
        blobs[2] = np.ones_like(blobs[2])
    values = batch_norm_values(blobs[:3], blobs[3:] or None, layer.eps, form.fraction)
    module = chain.submodule(
        batch_norm_constructor(values, chain.bottom[0].num_axes), batch_norm_state(values)
    )
    chain.set(f"{module}({x})")


@rule("Scale")
def scale(chain: Chain) -> None:
    """A lone Scale: multiplies by a parameter, or by its second bottom."""
    layer, inputs = chain.layer, chain.inputs()
    param = layer.param.scale_param
    if len(inputs) == 2:
        expression = f"{inputs[0]} * {_fitted(inputs[1], chain.bottom[0], chain.bottom[1].shape, param.axis)}"
        if param.bias_term:
            module = chain.submodule(*_channel_bias(chain, layer.blobs[0], param.axis))
            expression = f"{module}({expression})"
        chain.set(expression)
        return
    shape = _aligned(chain.bottom[0], layer.blobs[0].shape, param.axis)
    has_bias = len(layer.blobs) > 1
    module = chain.submodule(
        f"{chain.helper('Scale')}({arguments(str(shape), bias=(str(has_bias), 'True'))})",
        {
            key: blob.read().reshape(shape).copy()
            for key, blob in zip(("weight", "bias"), layer.blobs, strict=False)
        },
    )
    chain.set(f"{module}({inputs[0]})")


@rule("Bias")
def bias(chain: Chain) -> None:
    """Adds a parameter, or its second bottom."""
    inputs, param = chain.inputs(), chain.layer.param.bias_param
    if len(inputs) == 2:
        chain.set(f"{inputs[0]} + {_fitted(inputs[1], chain.bottom[0], chain.bottom[1].shape, param.axis)}")
        return
    module = chain.submodule(*_channel_bias(chain, chain.layer.blobs[0], param.axis))
    chain.set(f"{module}({inputs[0]})")


def _channel_bias(chain: Chain, blob: Blob, axis: int) -> tuple[str, dict[str, NDArray[Any]]]:
    shape = _aligned(chain.bottom[0], blob.shape, axis)
    return f"{chain.helper('Bias')}({shape})", {"bias": blob.read().reshape(shape).copy()}


def _aligned(bottom: Blob, covering: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The parameter's shape with ones behind it, so that it broadcasts from `axis` on."""
    if not covering:
        return (1,) * bottom.num_axes if bottom.num_axes else ()
    first = axis + bottom.num_axes if axis < 0 else axis
    return (*covering, *((1,) * (bottom.num_axes - first - len(covering))))


def _fitted(name: str, bottom: Blob, covering: tuple[int, ...], axis: int) -> str:
    shape = _aligned(bottom, covering, axis)
    if not covering or len(shape) == len(covering):
        return name
    return f"{name}[{', '.join(['...'] + ['None'] * (len(shape) - len(covering)))}]"


@rule("MVN")
def mvn(chain: Chain) -> None:
    param = chain.layer.param.mvn_param
    dims = "(1, 2, 3)" if param.across_channels else "(2, 3)"
    listed = arguments(
        chain.x if chain.bottom[0].num_axes == 4 else f"{chain.x}.reshape{chain.top[0].shape}",
        dims,
        eps=(number(param.eps), "1e-09"),
        normalize_variance=(str(param.normalize_variance), "True"),
    )
    chain.set(f"{chain.helper('mean_variance_normalize')}({listed})")


@rule("InstanceNorm")
def instance_norm(chain: Chain) -> None:
    _grouped(chain, f"nn.InstanceNorm{chain.bottom[0].num_axes - 2}d", str(chain.bottom[0].shape[1]))


@rule("GroupNorm")
def group_norm(chain: Chain) -> None:
    groups = getattr(chain.layer, "groups", None)
    _grouped(chain, "nn.GroupNorm", f"{groups}, {chain.bottom[0].shape[1]}")


@rule("LayerNorm")
def layer_norm(chain: Chain) -> None:
    _grouped(
        chain, "nn.LayerNorm", str(tuple(getattr(chain.layer, "normalized_shape", chain.bottom[0].shape[1:])))
    )


def _grouped(chain: Chain, constructor: str, size: str) -> None:
    """Norms whose statistics are an example's own."""
    layer, x = chain.layer, chain.x
    affine = len(layer.blobs) >= 2
    key = "elementwise_affine" if "LayerNorm" in constructor else "affine"
    default = "False" if "InstanceNorm" in constructor else "True"
    if "InstanceNorm" in constructor and len(layer.blobs) not in (0, 2):
        raise chain.fail("InstanceNorm with running statistics has no rule")
    options = {"eps": (number(getattr(layer, "eps", 1e-5)), "1e-05"), key: (str(affine), default)}
    module = chain.submodule(
        f"{constructor}({arguments(size, **options)})",
        {
            k: b.read().reshape(-1).copy() if "Layer" not in constructor else b.read().copy()
            for k, b in zip(("weight", "bias"), layer.blobs, strict=False)
        },
    )
    chain.set(f"{module}({x})")


@rule("Normalize")
def normalize(chain: Chain) -> None:
    """SSD's Normalize: divides by the L2 norm over channels, or over channels and space."""
    param, x = chain.layer.param.norm_param, chain.x
    dims = "(1, 2, 3)" if param.across_spatial else "1"
    shape = (1, chain.bottom[0].shape[1], 1, 1) if not param.channel_shared else (1, 1, 1, 1)
    module = chain.submodule(
        f"{chain.helper('Scale')}({shape}, bias=False)",
        {"weight": chain.layer.blobs[0].read().reshape(shape).copy()},
    )
    chain.set(f"{module}({x} / ({x}.square().sum({dims}, keepdim=True) + {number(param.eps)}).sqrt())")
