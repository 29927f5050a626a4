"""Fused chains: the same values as the single layers, in every blob and gradient, and less memory."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tolerances import assert_close

import caffenorm
from caffenorm import Net
from caffenorm.fusion import FusedNorm
from caffenorm.rewrite import fuse

SHAPE = (3, 4, 5, 6)
ACTIVATIONS = {
    "none": "",
    "relu": 'type: "ReLU"',
    "leaky": 'type: "ReLU" relu_param { negative_slope: 0.1 }',
    "prelu": 'type: "PReLU"',
}


def chain_text(
    activation: str, tops: str, scale: str = "scale_param { bias_term: true }", norm: str = ""
) -> str:
    """Input, BatchNorm, Scale, activation; `tops` are those of the three layers."""
    dims = " ".join(f"dim: {d}" for d in SHAPE)
    names = tops.split()
    text = "force_backward: true\n"
    text += f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
    text += f'layer {{ name: "bn" type: "BatchNorm" bottom: "x" top: "{names[0]}" {norm} }}\n'
    text += f'layer {{ name: "scale" type: "Scale" bottom: "{names[0]}" top: "{names[1]}" {scale} }}\n'
    if ACTIVATIONS[activation]:
        text += f'layer {{ name: "act" bottom: "{names[1]}" top: "{names[2]}" {ACTIVATIONS[activation]} }}\n'
    return text


def pair(text: str, phase: int) -> tuple[Net, Net]:
    """The same net and parameters, fused and not."""
    rng = np.random.default_rng(3)
    nets = (
        Net.from_text(text, phase, dtype=np.float64),
        Net.from_text(text, phase, dtype=np.float64, fuse=False),
    )
    for name, blobs in nets[0].params.items():
        for index, blob in enumerate(blobs):
            values = rng.normal(1, 0.5, blob.shape)
            for net in nets:
                net.params[name][index].data[...] = np.abs(values) if name in ("bn", "act") else values
    return nets


def both(fused: Net, plain: Net, steps: int = 1) -> None:
    rng = np.random.default_rng(4)
    for _ in range(steps):
        x = rng.normal(1, 2, SHAPE)
        for net in (fused, plain):
            net.forward(x=x)
            top = net.outputs[0]
            net.blobs[top].diff[...] = np.cos(np.arange(x.size)).reshape(x.shape)
            net.backward()


def assert_same(fused: Net, plain: Net) -> None:
    for name, blob in plain.blobs.items():
        assert_close(fused.blobs[name].data, blob.data, f"data of {name}", rtol=1e-10, atol=1e-12)
        assert_close(fused.blobs[name].diff, blob.diff, f"diff of {name}", rtol=1e-10, atol=1e-12)
    for name, blobs in plain.params.items():
        for mine, theirs in zip(fused.params[name], blobs, strict=True):
            assert_close(mine.data, theirs.data, f"data of parameter {name}", rtol=1e-10, atol=1e-12)
            assert_close(mine.diff, theirs.diff, f"diff of parameter {name}", rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "tops", "phase"),
    [
        pytest.param(a, t, p, id=f"{a}-{t.replace(' ', '')}-{'train' if p == caffenorm.TRAIN else 'test'}")
        for a, t, p in product(
            ACTIVATIONS, ("x x x", "a a a", "a b c", "a a c", "a b b"), (caffenorm.TRAIN, caffenorm.TEST)
        )
    ],
)
def test_every_blob_and_gradient_is_that_of_the_single_layers(activation: str, tops: str, phase: int) -> None:
    fused, plain = pair(chain_text(activation, tops), phase)
    both(fused, plain, steps=2)
    assert any(isinstance(step, FusedNorm) for step in fuse(fused.steps))
    assert_same(fused, plain)


@pytest.mark.parametrize("tops", ["x x x", "a b c"])
def test_a_partial_backward_after_a_fused_forward(tops: str) -> None:
    fused, plain = pair(chain_text("leaky", tops), caffenorm.TRAIN)
    x = np.random.default_rng(5).normal(1, 2, SHAPE)
    for net in (fused, plain):
        net.forward(x=x)
        net.blobs[net.outputs[0]].diff[...] = 1
        net.backward(end="scale")
        net.backward(start="bn")
    assert_same(fused, plain)


@pytest.mark.parametrize("tops", ["x x x", "a b c"])
def test_a_partial_forward_after_a_fused_one(tops: str) -> None:
    fused, plain = pair(chain_text("prelu", tops), caffenorm.TEST)
    x = np.random.default_rng(5).normal(1, 2, SHAPE)
    for net in (fused, plain):
        net.forward(x=x)
        net.params["scale"][0].data[...] *= 2
        net.forward(start="scale")
        net.blobs[net.outputs[0]].diff[...] = 1
        net.backward()
    assert_same(fused, plain)


def test_blobs_between_show_the_forward_that_made_them() -> None:
    fused, plain = pair(chain_text("relu", "a b c"), caffenorm.TRAIN)
    x = np.random.default_rng(5).normal(1, 2, SHAPE)
    for net in (fused, plain):
        net.forward(x=x)
        net.blobs["x"].data[...] = 0
        net.params["scale"][0].data[...] = 0
    assert_close(fused.blobs["a"].data, plain.blobs["a"].data, "a", rtol=1e-10)
    assert_close(fused.blobs["b"].data, plain.blobs["b"].data, "b", rtol=1e-10)


def test_a_batch_of_one_replaces_the_multipliers_gradient_as_caffe_does() -> None:
    text = chain_text("relu", "x x x").replace("dim: 3", "dim: 1", 1)
    fused, plain = pair(text, caffenorm.TRAIN)
    x = np.random.default_rng(4).normal(size=(1, *SHAPE[1:]))
    for net in (fused, plain):
        for _ in range(2):
            net.forward(x=x)
            net.backward(x=np.ones_like(x)) if net.outputs == ["x"] else None
    assert_same(fused, plain)


@pytest.mark.parametrize(
    ("scale", "norm"),
    [
        ("scale_param { axis: 2 bias_term: true }", ""),
        ("scale_param { num_axes: 2 }", ""),
        ("loss_weight: 1", ""),
        ("", "loss_weight: 2"),
    ],
)
def test_chains_that_cannot_join_run_layer_by_layer_or_partly(scale: str, norm: str) -> None:
    fused, plain = pair(chain_text("none", "a b", scale=scale, norm=norm), caffenorm.TRAIN)
    both(fused, plain)
    assert_same(fused, plain)


@pytest.mark.parametrize(("tops", "copies"), [("x x x", 1), ("a a a", 0), ("a b c", 0)])
def test_training_keeps_at_most_one_tensor_of_the_inputs_size(tops: str, copies: int) -> None:
    net = Net.from_text(chain_text("relu", tops), caffenorm.TRAIN)
    net.forward(x=np.random.default_rng(0).normal(size=SHAPE))
    net.run_backward()
    tensor = int(np.prod(SHAPE)) * 4
    small = 64 * SHAPE[1] * 4
    assert sum(layer.scratch_bytes for layer in net.layers) <= copies * tensor + small
    taken = {id(b.data_memory): b.data_memory.allocated_bytes for b in net.blobs.values()}
    ends = len({id(net.blobs["x"].data_memory), id(net.blobs[net.outputs[0]].data_memory)})
    assert sum(taken.values()) <= ends * tensor


def test_nobody_fuses_when_told_not_to() -> None:
    net = Net.from_text(chain_text("relu", "x x x"), caffenorm.TRAIN, fuse=False)
    calls = []
    layer = net.layer_dict["scale"]
    original = layer.forward
    layer.forward = lambda bottom, top: (calls.append(1), original(bottom, top))[1]  # type: ignore[method-assign,return-value,func-returns-value]
    net.forward(x=np.zeros(SHAPE))
    net.fuse = True
    net.forward(x=np.zeros(SHAPE))
    assert len(calls) == 1
