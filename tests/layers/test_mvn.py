"""MVN and Axpy."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import ShapeError

SHAPE = (2, 3, 4, 5)


def mvn(options="", shape=SHAPE, **net):
    return one_layer(f'type: "MVN" mvn_param {{ {options} }}', shape, **net)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_values_are_normalised(across, divides, in_place):
    x = spread(np.random.default_rng(0), SHAPE) * 3 + 7
    axes = (1, 2, 3) if across else (2, 3)
    options = f"across_channels: {str(across).lower()} normalize_variance: {str(divides).lower()} eps: 0.125"

    y = run(mvn(options, in_place=in_place), x)

    expected = x - x.mean(axes, keepdims=True)
    if divides:
        expected /= x.std(axes, keepdims=True) + 0.125
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)


def test_a_fork_adds_eps_to_the_variance():
    x = spread(np.random.default_rng(0), SHAPE)
    y = run(mvn("eps: 0.5 add_eps_before_sqrt: true"), x)
    centred = x - x.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(y, centred / np.sqrt(x.var((2, 3), keepdims=True) + 0.5), rtol=1e-12)


@given(
    across=st.booleans(),
    divides=st.booleans(),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 9),
)
def test_gradient_is_the_derivative_where_eps_is_nothing(across, divides, in_place, overwritten, seed):
    options = f"across_channels: {str(across).lower()} normalize_variance: {str(divides).lower()} eps: 0"
    net = mvn(options, in_place=in_place, overwritten=overwritten)
    assert gradient_error(net, [spread(np.random.default_rng(seed), SHAPE)]) < 1e-7


def test_the_gradient_leaves_eps_out_of_the_deviations_derivative():
    """Caffe's gradient; the derivative has y * (std + eps) / std in its last term."""
    x, dy = np.random.default_rng(0).normal(size=(2, *SHAPE))
    net, axes = mvn("eps: 0.5"), (2, 3)
    y = run(net, x)
    (dx,) = run_backward(net, dy)
    inner = dy - dy.mean(axes, keepdims=True) - y * (y * dy).mean(axes, keepdims=True)
    np.testing.assert_allclose(dx, inner / (x.std(axes, keepdims=True) + 0.5), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "top"), [((2, 3), (2, 3, 1, 1)), ((4,), (4, 1, 1, 1)), ((1, 2, 3, 1, 2), (1, 2, 3, 1, 2))]
)
def test_the_top_has_at_least_four_axes(shape, top):
    assert mvn(shape=shape).blobs["y0"].shape == top


def test_constant_channels_give_zero():
    assert (run(mvn(), np.full(SHAPE, 5.0)) == 0).all()


def test_a_bottom_without_axes_is_refused():
    with pytest.raises(ShapeError, match="needs at least one axis"):
        mvn(shape=())


def test_empty_blobs_pass():
    net = mvn(shape=(0, 3, 2, 2))
    run(net, np.zeros((0, 3, 2, 2)))
    run_backward(net, np.zeros((0, 3, 2, 2)))


# --- Axpy ---


@pytest.mark.torch
@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy_is_a_channelwise_multiple_plus_another(scale):
    torch = importlib.import_module("torch")
    rng = np.random.default_rng(0)
    given = [rng.normal(size=shape) for shape in (scale, SHAPE, SHAPE)]
    a, x, y = leaves = [torch.tensor(value, requires_grad=True) for value in given]
    expected, dy = a.reshape(2, 3, 1, 1) * x + y, rng.normal(size=SHAPE)
    expected.backward(torch.tensor(dy))
    net = one_layer('type: "Axpy"', scale, SHAPE, SHAPE)

    np.testing.assert_allclose(run(net, *given), expected.detach().numpy(), rtol=1e-14)
    for dx, leaf in zip(run_backward(net, dy), leaves, strict=True):
        np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "shapes", [((2, 3), SHAPE, (2, 3, 4, 4)), ((2, 4), SHAPE, SHAPE), ((2, 3, 4, 1), SHAPE, SHAPE)]
)
def test_axpy_of_other_shapes_is_refused(shapes):
    with pytest.raises(ShapeError, match=r"takes a \(N, C\), x and y \(N, C, ...\)"):
        one_layer('type: "Axpy"', *shapes)
