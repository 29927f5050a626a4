"""Norms of single examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffenorm.convert.program import Chain, Param, arguments, number, rule
from caffenorm.layer import canonical_axis
from caffenorm.layers._grouped_norm import GroupedNorm

_AFFINE = ("weight", "bias")


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
    """Divides by the norm over channels, or over channels and positions; SSD's form has a factor."""
    layer, bottom = chain.layer, chain.bottom[0]
    plain, x, outputs = layer.param.HasField("normalize_param"), chain.x, chain.outputs()
    across = not plain and layer.param.norm_param.across_spatial
    dims = tuple(range(1, bottom.num_axes)) if across else 1
    eps = 1e-6 if plain else layer.param.norm_param.eps
    if plain and layer.param.normalize_param.normalize_type == "L1":
        norm = f"{x}.abs().sum(1, keepdim=True)"
    else:
        norm = f"{chain.helper('norm_of')}({x}, {dims}, {number(eps)})"
    if len(outputs) > 1:
        chain.line(f"{outputs[1]} = {norm}")
        chain.line(f"{outputs[0]} = {x} / {outputs[1]}")
        if not layer.param.normalize_param.bp_norm:
            chain.line(f"{outputs[1]} = {outputs[1]}.detach()")
        return
    text = f"{x} / {norm}"
    if layer.blobs:
        factor = layer.blobs[0]
        shape = (factor.count, *(1,) * (bottom.num_axes - 2)) if factor.num_axes else ()
        state = {"weight": Param(factor, factor.read().reshape(shape).copy())}
        module = chain.submodule(f"{chain.helper('Scale')}({shape}, bias=False)", state)
        text = f"{module}({text})"
    chain.set(text)
