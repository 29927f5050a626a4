"""PReLU: slopes for channels or for all, gradients, shapes."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import ShapeError


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_values_and_gradients_are_torchs(shape, shared, in_place):
    torch = importlib.import_module("torch")
    rng = np.random.default_rng(0)
    net = one_layer(
        f'type: "PReLU" prelu_param {{ channel_shared: {str(shared).lower()} }}', shape, in_place=in_place
    )
    (blob,) = net.params["op"]
    assert blob.shape == (() if shared else shape[1:2])
    blob.data[...] = rng.normal(size=blob.shape)
    x, dy = rng.normal(size=shape), rng.normal(size=shape)
    leaf, slope = (
        torch.tensor(x, requires_grad=True),
        torch.tensor(blob.data.reshape(-1).copy(), requires_grad=True),
    )
    expected = torch.nn.functional.prelu(leaf, slope)
    expected.backward(torch.tensor(dy))

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-14)
    np.testing.assert_allclose(blob.diff.reshape(-1), slope.grad.numpy(), rtol=1e-12)


@given(shared=st.booleans(), in_place=st.booleans(), overwritten=st.booleans(), seed=st.integers(0, 99))
def test_gradient_is_the_derivative(shared, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    options = f"channel_shared: {str(shared).lower()}"
    net = one_layer(
        f'type: "PReLU" prelu_param {{ {options} }}', (2, 3, 4), in_place=in_place, overwritten=overwritten
    )
    slope = np.array(rng.normal(size=() if shared else 3))

    assert gradient_error(net, [spread(rng, (2, 3, 4))], {0: slope}) < 1e-8


def test_slopes_start_at_a_quarter_or_as_the_filler_says():
    assert (one_layer('type: "PReLU"', (2, 3)).params["op"][0].data == 0.25).all()
    assert (
        one_layer('type: "PReLU" prelu_param { filler { value: 2 } }', (2, 3)).params["op"][0].data == 2
    ).all()


def test_the_derivative_at_zero_is_the_slope():
    net = one_layer('type: "PReLU"', (1, 2))
    run(net, np.zeros((1, 2)))
    assert (run_backward(net, np.ones((1, 2)))[0] == 0.25).all()


def test_more_than_four_axes_are_taken():
    assert run(one_layer('type: "PReLU"', (1, 2, 1, 2, 1)), -np.ones((1, 2, 1, 2, 1))).max() == -0.25


def test_one_axis_is_refused():
    with pytest.raises(ShapeError, match=r"needs channels on axis 1, and bottom 0 has shape \[4\]"):
        one_layer('type: "PReLU"', (4,))


def test_another_number_of_channels_is_refused():
    net = one_layer('type: "PReLU"', (2, 3))
    with pytest.raises(ShapeError, match=r"was made for 3 channels, and bottom 0 now has shape \[2, 4\]"):
        net.forward(x0=np.ones((2, 4)))
