"""BatchNorm, Scale, Bias and their relatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffenorm.blob import Blob
from caffenorm.convert.onnx_graph import Array
from caffenorm.convert.onnx_part import Part, rule
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers._grouped_norm import GroupedNorm
from caffenorm.layers.batch_norm import STATISTICS, BatchNorm
from caffenorm.layers.bn import BN
from caffenorm.plan import LayerStep


def _joins(steps: Sequence[LayerStep]) -> bool:
    """Whether a Scale multiplies the channels that the BatchNorm before it normalises."""
    norm, scale = steps[0].layer, steps[1].layer
    if not isinstance(norm, BatchNorm) or norm.form.special or norm.form.relu or len(norm.blobs) > STATISTICS:
        return False
    axis = canonical_axis(scale.param.scale_param.axis, steps[1].bottom[0].num_axes)
    return axis == 1 and bool(scale.blobs) and scale.blobs[0].shape == norm.blobs[0].shape


@rule("BatchNorm", "SyncBatchNorm", ("BatchNorm", "Scale"), ("SyncBatchNorm", "Scale"), fits=_joins)
def batch_norm(part: Part) -> None:
    """BatchNormalization, of the stored sums divided by the factor."""
    layer = part.layer
    assert isinstance(layer, BatchNorm)
    if layer.form.special:
        raise part.fail("this fork's options of BatchNorm have no form in ONNX")
    mean, var = (np.empty(layer.channels, layer.dtype) for _ in range(2))
    layer.read_stored(mean, var)
    other = part.steps[-1].layer if len(part.steps) > 1 else layer
    affine = other.blobs if other is not layer else layer.blobs[STATISTICS:]
    gamma = beta = ""
    if affine:
        gamma = part.param(affine[0], "weight", within_bounds(other, affine[0]).reshape(-1), of=other)
    if len(affine) > 1:
        beta = part.param(affine[1], "bias", affine[1].read().reshape(-1), of=other)
    y = _normalised(part, gamma, beta, None if layer.batch_statistics else (mean, var), layer.eps)
    part.set(part.node("Relu", y, at="relu") if layer.form.relu else y)


@rule("BN")
def bn(part: Part) -> None:
    """SegNet's and PSPNet's batch norm with scale and offset inside."""
    layer = part.layer
    assert isinstance(layer, BN)
    weight, bias, *running = layer.blobs
    if len(part.top) > 1:
        raise part.fail("the batch's mean and variance as tops have no rule")
    gamma, beta = (
        part.param(blob, role, blob.read().reshape(-1)) for blob, role in ((weight, "weight"), (bias, "bias"))
    )
    flat = [blob.read().reshape(-1) for blob in running]
    if layer.form.batch_statistics:
        part.set(_normalised(part, gamma, beta, None, layer.form.eps))
    elif running:
        part.set(_normalised(part, gamma, beta, (flat[0], flat[1]), layer.form.eps))
    else:
        shape = (weight.count, *(1,) * (part.bottom[0].num_axes - 2))
        part.set(_affine(part, part.x, [weight.read().reshape(shape), bias.read().reshape(shape)]))


def _normalised(part: Part, gamma: str, beta: str, stored: tuple[Array, Array] | None, eps: float) -> str:
    """BatchNormalization; by the batch's statistics a composition, as ONNX has that for training alone."""
    channels, axes = part.bottom[0].shape[1], part.bottom[0].num_axes
    if stored is not None:
        gamma = gamma or part.constant(np.ones(channels), "ones")
        beta = beta or part.constant(np.zeros(channels), "zeros")
        statistics = [
            part.constant(value, role)
            for value, role in zip(stored, ("running_mean", "running_var"), strict=True)
        ]
        return part.node("BatchNormalization", part.x, gamma, beta, *statistics, epsilon=float(eps))
    part.note("normalises by the batch in TEST too, so results depend on what else is in the batch")
    others = [axis for axis in range(axes) if axis != 1]
    y = _standardised(part, part.x, others, float(eps), at="" if not gamma else "norm")
    for op, value, at in (("Mul", gamma, "scale" if beta else ""), ("Add", beta, "")):
        if value:
            y = part.node(op, y, part.behind(value, 1, axes - 2, at=f"{op.lower()}_shape"), at=at)
    return y


def _standardised(part: Part, x: str, axes: Sequence[int], eps: float, at: str = "") -> str:
    """(x - mean) / sqrt(var + eps), over these axes."""
    centred = part.node("Sub", x, part.reduce("ReduceMean", x, axes, at="mean"), at="centred")
    square = part.node("Mul", centred, centred, at="square")
    var = part.reduce("ReduceMean", square, axes, at="var")
    return part.node("Div", centred, part.node("Sqrt", part.plus(var, eps, "eps"), at="std"), at=at)


def within_bounds(layer: Layer, blob: Blob) -> Array:
    """The factor of a Scale, within the bounds that a fork's options give."""
    param = layer.param.scale_param
    value: Array = blob.read()
    if param.HasField("min_value") or param.HasField("max_value"):
        least = param.min_value if param.HasField("min_value") else -np.inf
        most = param.max_value if param.HasField("max_value") else np.inf
        value = np.clip(value, value.dtype.type(least), value.dtype.type(most))
    return value


# --- scale and offset by themselves ---


@rule("Scale")
def scale(part: Part) -> None:
    """Mul and Add, with a parameter or the second bottom."""
    layer, inputs, param = part.layer, part.inputs, part.layer.param.scale_param
    if len(inputs) == 1:
        values = [within_bounds(layer, layer.blobs[0]), *(blob.read() for blob in layer.blobs[1:])]
        shape = _aligned(part.bottom[0], layer.blobs[0].shape, param.axis)
        part.set(_affine(part, inputs[0], [value.reshape(shape) for value in values]))
        return
    more = bool(layer.blobs)
    y = part.node("Mul", inputs[0], _second(part, param.axis), at="mul" if more else "")
    if more:
        shape = _aligned(part.bottom[0], part.bottom[1].shape, param.axis)
        y = part.node("Add", y, part.param(layer.blobs[0], "bias", layer.blobs[0].read().reshape(shape)))
    part.set(y)


@rule("Bias")
def bias(part: Part) -> None:
    """Add."""
    layer, param = part.layer, part.layer.param.bias_param
    if len(part.inputs) == 2:
        part.set(part.node("Add", part.x, _second(part, param.axis)))
        return
    shape = _aligned(part.bottom[0], layer.blobs[0].shape, param.axis)
    value = part.param(layer.blobs[0], "bias", layer.blobs[0].read().reshape(shape))
    part.set(part.node("Add", part.x, value))


def _affine(part: Part, x: str, values: Sequence[Array]) -> str:
    """Times the layer's first blob, plus its second, shaped to broadcast."""
    weight = part.param(part.layer.blobs[0], "weight", values[0])
    y = part.node("Mul", x, weight, at="mul" if len(values) > 1 else "")
    if len(values) > 1:
        y = part.node("Add", y, part.param(part.layer.blobs[1], "bias", values[1]))
    return y


def _aligned(bottom: Blob, covering: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The parameter's shape with ones behind it, so that it broadcasts from `axis` on."""
    if not covering:
        return ()
    first = canonical_axis(axis, bottom.num_axes)
    return (*covering, *((1,) * (bottom.num_axes - first - len(covering))))


def _second(part: Part, axis: int) -> str:
    """The second bottom with axes of size 1 behind it, so that it broadcasts from `axis` on."""
    covering = part.bottom[1].shape
    missing = len(_aligned(part.bottom[0], covering, axis)) - len(covering)
    return part.behind(part.inputs[1], len(covering), missing)


# --- norms of single examples ---


@rule("InstanceNorm")
def instance_norm(part: Part) -> None:
    """InstanceNormalization, or BatchNormalization where TEST takes running statistics."""
    param, blobs, bottom = part.layer.param.instance_norm_param, part.layer.blobs, part.bottom[0]
    affine = blobs[:2] if param.affine else []
    gamma, beta = (
        (part.param(blob, role) for blob, role in zip(affine, ("weight", "bias"), strict=True))
        if affine
        else ("", "")
    )
    if param.track_running_stats:
        part.set(_normalised(part, gamma, beta, (blobs[-2].read(), blobs[-1].read()), float(param.eps)))
        return
    part.set(_per_group(part, bottom.shape[1], gamma, beta, float(param.eps)))


def _per_group(part: Part, groups: int, gamma: str, beta: str, eps: float) -> str:
    """InstanceNormalization of groups of channels; with a group for each channel, of the channels."""
    bottom, dims = part.bottom[0], part.dims(part.bottom[0])
    channels, axes = bottom.shape[1], bottom.num_axes
    x = part.x
    single = groups == channels
    if single and axes > 2:
        gamma = gamma or part.constant(np.ones(channels), "ones")
        beta = beta or part.constant(np.zeros(channels), "zeros")
        return part.node("InstanceNormalization", x, gamma, beta, epsilon=eps)
    ones, zeros = part.constant(np.ones(groups), "ones"), part.constant(np.zeros(groups), "zeros")
    inner = math.prod(bottom.shape[2:]) * (channels // groups)
    x = part.reshape(x, (dims[0], groups, inner), "groups")
    y = part.node("InstanceNormalization", x, ones, zeros, at="norm", epsilon=eps)
    y = part.reshape(y, dims, "channels" if gamma else "")
    for op, value, at in (("Mul", gamma, "scale" if beta else ""), ("Add", beta, "")):
        if value:
            y = part.node(op, y, part.behind(value, 1, axes - 2, at=f"{op.lower()}_shape"), at=at)
    return y


@rule("GroupNorm", "GN")
def group_norm(part: Part) -> None:
    """InstanceNormalization of the groups; ONNX's GroupNormalization changed its meaning with opset 21."""
    layer = part.layer
    assert isinstance(layer, GroupedNorm)
    roles = [("weight", layer.has_gamma), ("bias", layer.has_beta)]
    names = dict.fromkeys(("weight", "bias"), "")
    for blob, role in zip(layer.blobs, [role for role, given in roles if given], strict=True):
        names[role] = part.param(blob, role, blob.read().reshape(-1))
    part.set(_per_group(part, layer.groups, names["weight"], names["bias"], float(layer.eps)))


@rule("LayerNorm")
def layer_norm(part: Part) -> None:
    """LayerNormalization."""
    param, bottom, blobs = part.layer.param.layer_norm_param, part.bottom[0], part.layer.blobs
    shape = tuple(param.normalized_shape) or bottom.shape[canonical_axis(param.axis, bottom.num_axes) :]
    gamma = part.param(blobs[0], "weight") if blobs else part.constant(np.ones(shape), "ones")
    beta = [part.param(blobs[1], "bias")] if len(blobs) > 1 else []
    axis = bottom.num_axes - len(shape)
    part.set(part.node("LayerNormalization", part.x, gamma, *beta, axis=axis, epsilon=float(param.eps)))


@rule("MVN")
def mvn(part: Part) -> None:
    """Mean and variance of each channel, or of each image."""
    param, axes, x = part.layer.param.mvn_param, part.bottom[0].num_axes, part.x
    over = list(range(1 if param.across_channels else 2, axes))
    mean = part.reduce("ReduceMean", x, over, at="mean") if over else x
    at = "flat" if axes < 4 else ""  # the top has four axes at least
    if not param.normalize_variance:
        y = part.node("Sub", x, mean, at=at)
        part.set(part.behind(y, axes, 4 - axes, ""))
        return
    centred = part.node("Sub", x, mean, at="centred")
    square = part.node("Mul", centred, centred, at="square")
    var = part.reduce("ReduceMean", square, over, at="var") if over else square
    if param.add_eps_before_sqrt:
        std = part.node("Sqrt", part.plus(var, float(param.eps), "eps"), at="std")
    else:
        std = part.plus(part.node("Sqrt", var, at="std"), float(param.eps), "eps")
    part.set(part.behind(part.node("Div", centred, std, at=at), axes, 4 - axes, ""))


@rule("Normalize")
def normalize(part: Part) -> None:
    """Divides by the L2 norm over channels, or over channels and positions; SSD's form has a factor."""
    layer, bottom, x = part.layer, part.bottom[0], part.x
    plain = layer.param.HasField("normalize_param")
    if len(part.top) > 1 or (plain and layer.param.normalize_param.normalize_type != "L2"):
        raise part.fail("the L1 norm, and the norm as a second top, have no rule")
    across = not plain and layer.param.norm_param.across_spatial
    over = list(range(1, bottom.num_axes)) if across else [1]
    eps = 1e-6 if plain else float(layer.param.norm_param.eps)
    squares = part.reduce("ReduceSumSquare", x, over, at="squares")
    norm = part.node("Sqrt", part.plus(squares, eps, "eps"), at="norm")
    y: Any = part.node("Div", x, norm, at="divided" if layer.blobs else "")
    if layer.blobs:
        factor = layer.blobs[0]
        shape = (factor.count, *(1,) * (bottom.num_axes - 2)) if factor.num_axes else ()
        y = part.node("Mul", y, part.param(factor, "weight", factor.read().reshape(shape)))
    part.set(y)
