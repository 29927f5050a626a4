"""BatchNorm, with its Scale, in the weights of the layer before it: exact where it uses stored statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.convert.program import Chain, Floats, Param
from caffenorm.convert.rules.norm import joins, read_norm
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers._convolution import ConvolutionBase
from caffenorm.layers.batch_norm import BatchNorm
from caffenorm.layers.bn import BN
from caffenorm.layers.inner_product import InnerProduct
from caffenorm.net import Net
from caffenorm.plan import LayerStep

_NORMS = ("BatchNorm", "SyncBatchNorm", "BN")


def folding_chains(*types: str) -> list[tuple[str, ...]]:
    """The chains in which layers of these types take up the norm that follows."""
    chains: list[tuple[str, ...]] = []
    for kind in types:
        chains += [(kind, norm) for norm in _NORMS]
        chains += [(kind, norm, "Scale") for norm in _NORMS if norm != "BN"]
    return chains


def folds(part: Sequence[LayerStep], net: Net) -> bool:
    """Whether the layers behind the first one multiply and add along its outputs, and nothing else."""
    first, norm = part[0].layer, part[1].layer
    if not isinstance(first, ConvolutionBase | InnerProduct) or first.slope is not None:
        return False
    if not isinstance(norm, BatchNorm | BN) or norm.batch_statistics or len(part[1].top) > 1:
        return False
    if isinstance(norm, BatchNorm) and norm.form.follow_variance:
        return False
    if isinstance(norm, BN) and not norm.form.running:
        return False
    if len(part) > 2 and not joins(part[1:], net):
        return False
    mine = {id(blob.data_memory) for blob in first.blobs}
    others = (blob for layer in net.layers if layer is not first for blob in layer.blobs)
    return _axis(first, part[0]) == 1 and not any(id(blob.data_memory) in mine for blob in others)


def _axis(layer: Layer, step: LayerStep) -> int:
    """The axis of the outputs."""
    param = layer.param
    given = (
        param.inner_product_param.axis if isinstance(layer, InnerProduct) else param.convolution_param.axis
    )
    return canonical_axis(given, step.bottom[0].num_axes)


def folded_state(chain: Chain, weight: NDArray[Any], outputs: int) -> dict[str, Floats | Param]:
    """Weight and bias of the first layer with what follows it.

    Args:
        chain: of layers that `folds`.
        weight: as PyTorch has it, its own copy.
        outputs: the axis of `weight` that has the outputs, 0; or 1 for transposed convolutions, of which each
            group has a part of them.
    """
    _, norm, *scale = (step.layer for step in chain.steps)
    values = read_norm(norm, *scale).values
    factor = 1 / np.sqrt(values.var.astype(np.float64) + values.eps)
    if values.weight is not None:
        factor *= values.weight
    bias = -factor * values.mean
    if values.bias is not None:
        bias += values.bias
    if len(chain.layer.blobs) > 1:
        bias += factor * chain.layer.blobs[1].read().reshape(-1)
    if outputs == 0:
        scaled = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    else:
        groups = len(factor) // weight.shape[1]
        shape = (groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2))
        scaled = (weight.reshape(groups, -1, *weight.shape[1:]) * factor.reshape(shape)).reshape(weight.shape)
    if chain.program.train:
        chain.note(f"{chain.steps[1].layer.type} is folded into its weights, so training moves both at once")
    return {"weight": scaled.astype(weight.dtype), "bias": bias.astype(weight.dtype)}


def ends_with_relu(chain: Chain) -> bool:
    """Whether the norm that was folded has a ReLU of a fork."""
    return len(chain.steps) > 1 and read_norm(chain.steps[1].layer).relu
