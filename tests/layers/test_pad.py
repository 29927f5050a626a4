"""Pad and MirrorPad against PyTorch's F.pad, NumPy's pad and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward

from caffenorm import LayerError, ShapeError
from caffenorm.errors import CaffenormError

torch = pytest.importorskip("torch")
MODES_OF_TORCH = ("constant", "reflect", "replicate", "circular")
MODES_OF_NUMPY = {"reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "wrap": "wrap"}


def body(pads, mode="constant", value=None):
    """Type and parameters of a Pad layer."""
    listed = " ".join(f"pads: {pad}" for pad in pads)
    given_value = "" if value is None else f" value: {value}"
    return f'type: "Pad" pad_param {{ {listed} mode: "{mode}"{given_value} }}'


@st.composite
def padded(draw):
    """A shape, pads from its last axis on, and a mode that takes them."""
    mode = draw(st.sampled_from(MODES_OF_TORCH))
    space = draw(st.integers(1, 3))
    shape = tuple(draw(st.lists(st.integers(4, 6), min_size=space, max_size=space)))
    least = -1 if mode == "constant" else 0
    pads = draw(st.lists(st.integers(least, 3), min_size=2 * space, max_size=2 * space))
    return (2, 2, *shape), pads, mode


@given(case=padded(), seed=st.integers(0, 99))
@settings(deadline=None)
def test_values_and_gradients_are_those_of_torch(case, seed):
    shape, pads, mode = case
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=shape), requires_grad=True)
    y = torch.nn.functional.pad(x, pads, mode, *([0.5] if mode == "constant" else []))
    dy = rng.normal(size=tuple(y.shape))
    y.backward(torch.tensor(dy))
    net = one_layer(body(pads, mode, 0.5), shape)

    np.testing.assert_array_equal(run(net, x.detach().numpy()), y.detach().numpy())
    np.testing.assert_allclose(run_backward(net, dy)[0], x.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES_OF_NUMPY)
def test_every_axis_can_have_a_border(mode):
    x = np.random.default_rng(3).normal(size=(3, 4, 2, 3))
    pads = [(1, 2), (3, 0), (1, 1), (0, 2)]
    net = one_layer(body([n for pair in reversed(pads) for n in pair], mode), x.shape)

    np.testing.assert_array_equal(run(net, x), np.pad(x, pads, mode=MODES_OF_NUMPY[mode]))
    assert gradient_error(net, [x]) < 1e-8


def test_a_negative_pad_cuts_off():
    x = np.arange(24.0).reshape(2, 3, 4)
    net = one_layer(body((-1, -2, 1, -1), value=9), x.shape)
    expected = np.pad(x[:, :2, 1:2], [(0, 0), (1, 0), (0, 0)], constant_values=9)

    np.testing.assert_array_equal(run(net, x), expected)
    assert gradient_error(net, [x]) < 1e-8


def test_what_is_cut_off_does_not_reflect():
    x = np.arange(6.0).reshape(1, 6)
    net = one_layer(body((-2, 2), "reflect"), x.shape)
    np.testing.assert_array_equal(run(net, x), [[2, 3, 4, 5, 4, 3]])


def test_paddings_of_the_fork_begin_with_axis_0():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    net = one_layer('type: "Pad" pad_param { paddings: [0, 0, 1, 0, 2, 3] constant_values: -1 }', x.shape)
    np.testing.assert_array_equal(run(net, x), np.pad(x, [(0, 0), (1, 0), (2, 3)], constant_values=-1))


@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT", "SYMMETRIC", "EDGE"])
def test_the_forks_mirror_pad(mode):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    pads = [(0, 0), (2, 1), (2, 2)]
    listed = ", ".join(str(n) for pair in pads for n in pair)
    net = one_layer(f'type: "MirrorPad" mirror_pad_param {{ paddings: [{listed}] mode: "{mode}" }}', x.shape)
    np.testing.assert_array_equal(run(net, x), np.pad(x, pads, mode=mode.lower()))
    assert gradient_error(net, [x]) < 1e-8


@pytest.mark.parametrize("mode", MODES_OF_TORCH)
def test_a_new_size_is_padded_anew(mode):
    net = one_layer(body((1, 2, 2, 0), mode), (1, 2, 4, 4))
    for shape in [(2, 2, 5, 3), (1, 2, 4, 4)]:
        x = np.random.default_rng(1).normal(size=shape)
        net.blobs["x0"].reshape(shape)
        net.reshape()
        expected = torch.nn.functional.pad(torch.tensor(x), (1, 2, 2, 0), mode)
        np.testing.assert_array_equal(run(net, x), expected.numpy())
        assert gradient_error(net, [x]) < 1e-8


def test_float32_keeps_its_bits():
    x = np.random.default_rng(1).normal(size=(1, 2, 5)).astype(np.float32)
    net = one_layer(body((2, 2), "replicate"), x.shape, dtype="f4")
    y = run(net, x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 0), (2, 2)], mode="edge"))


def test_in_place_is_refused():
    with pytest.raises(CaffenormError, match="in place"):
        one_layer(body((1, 1)), (2, 3), in_place=True)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ("", LayerError, r"there must be some; found \[\]"),
        ("pads: 1", LayerError, r"pairs.* found \[1\]"),
        ("pads: [1, 1, 1, 1, 1, 1]", LayerError, "pads for 3 axes, and the bottom has 2"),
        ("paddings: [1, 1]", LayerError, "pads for 1 axes, and the bottom has 2; paddings name each"),
        ("pads: [1, 1] paddings: [1, 1, 0, 0]", LayerError, "both pads and paddings"),
        ('pads: [1, 1] mode: "mirror"', LayerError, 'mode "mirror" is unknown; there are constant, reflect'),
        ("pads: [-2, -2]", ShapeError, r"pads \(-2, -2\) of axis 1 cut off more than its size of 3"),
        ('pads: [3, 0] mode: "reflect"', ShapeError, "axis 1 has size 3; .*border of 3 .*needs 4 or more"),
        ('pads: [0, 4] mode: "symmetric"', ShapeError, "a border of 4 in mode symmetric needs 4 or more"),
        ('pads: [4, 0] mode: "circular"', ShapeError, "a border of 4 in mode circular needs 4 or more"),
        ('pads: [-3, 2] mode: "replicate"', ShapeError, "has size 0; a border of 2 .*needs 1 or more"),
    ],
)
def test_bad_input(options, error, says):
    with pytest.raises(error, match=says):
        one_layer(f'type: "Pad" pad_param {{ {options} }}', (2, 3))
