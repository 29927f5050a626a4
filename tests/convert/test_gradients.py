"""Gradients of converted modules against the Caffe net's, in float64, on the golden cases' nets."""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest
from converted import LEFT_OUT, NOT_CONVERTED, draws, loaded
from tolerances import assert_close

from caffenorm import Net
from caffenorm.blob import Blob
from caffenorm.convert.live import build_module
from caffenorm.convert.program import Describer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

RTOL, ATOL = 1e-6, 1e-9
# Caffe's gradient is not the derivative there, or there are several at a kink, and PyTorch takes another one.
OTHERWISE = {
    "ContrastiveLoss/all_dissimilar": "divides by the distance plus 1e-4",
    "ContrastiveLoss/default": "divides by the distance plus 1e-4",
    "ContrastiveLoss/margin": "divides by the distance plus 1e-4",
    "ContrastiveLoss/weight": "divides by the distance plus 1e-4",
    "Eltwise/max_ties": "equal values: Caffe's gradient goes to one, PyTorch's is halved",
    "LossWeight/loss_used_again": "an unwritten weight of a loss that is used again has no gradient",
    "LossWeight/loss_used_again_explicit": "a weight of a loss that is used again has no gradient",
    "MVN/eps": "leaves eps out of the deviation's derivative",
    "MVN/small_variance": "leaves eps out of the deviation's derivative",
    "Net/frozen_lower": "nothing flows below what does not learn",
    "Net/inplace_chain": "in place: the gradient of ReLU reads what Bias has changed",
    "Net/inplace_on_input": "in place: the gradient of Sigmoid reads what Scale has changed",
    "Net/propagate_down_false": "propagate_down: false stops the gradient",
    "Net/propagate_down_one": "propagate_down: false stops the gradient",
    "Scale/frozen_bias_only": "nobody asks for the input's gradient, so Caffe leaves products there",
    "Scale/shared_batch1": "a shared factor keeps the gradient of one layer alone for a batch of one",
}


def cases() -> list[Path]:
    skipped = {**NOT_CONVERTED, **LEFT_OUT, **OTHERWISE}
    found = []
    for family in golden.layer_families():
        for path in golden.paths(family):
            if golden.name(path) not in skipped and golden.load(path).meta.get("backward"):
                found.append(path)
    return found


def seeds(net: Net, names: dict[int, str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The gradients of losses, which are their weights; of the outputs, at random, where there is no loss."""
    losses = {
        names[id(blob)]: np.full(blob.shape, weight)
        for step in net.steps
        for blob, weight in zip(step.top, step.loss_weights, strict=True)
        if weight
    }
    return losses or {name: rng.standard_normal(net.blobs[name].shape) for name in net.outputs}


@pytest.mark.parametrize("path", cases(), ids=golden.name)
def test_gradients_are_the_nets(path: Path, rng: np.random.Generator) -> None:
    case = golden.load(path)
    net = loaded(case)
    if draws(net):
        pytest.skip("Dropout draws other masks")
    describer = Describer(net)
    module = build_module(describer.run(), np.float64)
    inputs = {name: torch.from_numpy(net.blobs[name].data.copy()).requires_grad_() for name in net.inputs}
    top = seeds(net, describer.names, rng)

    net.forward()
    net.clear_param_diffs()
    for name, value in top.items():
        if name in net.blobs:
            net.blobs[name].diff[...] = value
    net.backward()
    blobs = module.blobs(*inputs.values())
    terms = [
        (blobs[name].reshape(value.shape) * torch.from_numpy(value)).sum()
        for name, value in top.items()
        if blobs[name].requires_grad
    ]
    if terms:
        sum(terms).backward()

    wanted = case.under("indiff")
    for name, tensor in inputs.items():
        if name in wanted:
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            assert_close(gradient.numpy(), net.blobs[name].diff, f"d {name}", rtol=RTOL, atol=ATOL)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for full, param in describer.homes.values():
        gradient = parameters[full].grad
        expected = learnt(net, param.blob)
        if expected is not None:
            assert gradient is not None or not expected.any(), full
        if expected is not None and gradient is not None:
            value = gradient.numpy().T if param.transposed else gradient.numpy()
            assert_close(value.reshape(expected.shape), expected, full, rtol=RTOL, atol=ATOL)


def learnt(net: Net, blob: Blob) -> np.ndarray | None:
    """The gradient of a parameter, None where Caffe is told to compute none."""
    for layer in net.layers:
        for own, learns in zip(layer.blobs, layer.param_propagate_down, strict=True):
            if own is blob and learns:
                return own.diff
    return None
