"""Eltwise: sums, products and maxima, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward

from caffenorm import LayerError, ShapeError
from caffenorm.net import Net

SHAPE = (2, 3, 4)


def eltwise(options="", bottoms=2, **net):
    return one_layer(f'type: "Eltwise" eltwise_param {{ {options} }}', *[SHAPE] * bottoms, **net)


def inputs(count, seed=0):
    """No two of them nearly equal anywhere, and none near 0."""
    rng = np.random.default_rng(seed)
    steps = rng.permuted(np.tile(np.arange(count)[:, None], (1, 24)), axis=0)
    return [step.reshape(SHAPE) + 0.5 + rng.uniform(0, 0.4, SHAPE) for step in steps]


@given(bottoms=st.integers(2, 5), weighted=st.booleans(), seed=st.integers(0, 99))
def test_sum(bottoms, weighted, seed):
    weights = np.linspace(-2, 1.5, bottoms, dtype="f4").astype("f8") if weighted else np.ones(bottoms)
    options = " ".join(f"coeff: {float(w)!r}" for w in weights) if weighted else ""
    net, xs = eltwise(options, bottoms), inputs(bottoms, seed)

    y = run(net, *xs)
    gradients = run_backward(net, xs[0])

    np.testing.assert_allclose(y, sum(w * x for w, x in zip(weights, xs, strict=True)), rtol=0, atol=1e-13)
    for weight, dx in zip(weights, gradients, strict=True):
        np.testing.assert_allclose(dx, weight * xs[0], rtol=1e-15)


@given(
    bottoms=st.integers(2, 5),
    operation=st.sampled_from(["PROD", "MAX", "PROD stable_prod_grad: false"]),
    overwritten=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradients_are_the_derivative(bottoms, operation, overwritten, seed):
    net = eltwise(f"operation: {operation}", bottoms, overwritten=overwritten)

    assert gradient_error(net, inputs(bottoms, seed), step=1e-6) < 1e-7


@given(bottoms=st.integers(2, 5), seed=st.integers(0, 99))
def test_products_and_maxima(bottoms, seed):
    xs = inputs(bottoms, seed)
    np.testing.assert_allclose(run(eltwise("operation: PROD", bottoms), *xs), np.prod(xs, axis=0), rtol=1e-14)
    np.testing.assert_array_equal(run(eltwise("operation: MAX", bottoms), *xs), np.max(xs, axis=0))


@pytest.mark.parametrize(("values", "winner"), [((1, 1), 1), ((1, 1, 1), 1), ((0, 1, 1), 1), ((0, 0, 1), 2)])
def test_of_equal_values_the_second_wins_and_no_later_one(values, winner):
    net = eltwise("operation: MAX", len(values))
    run(net, *(np.full(SHAPE, value) for value in values))
    for number, dx in enumerate(run_backward(net, np.ones(SHAPE))):
        assert (dx == (number == winner)).all()


def test_the_stable_gradient_of_a_product_takes_zeros():
    net = eltwise("operation: PROD", 3)
    run(net, np.zeros(SHAPE), np.full(SHAPE, 2), np.full(SHAPE, 3))
    assert [dx.flat[0] for dx in run_backward(net, np.ones(SHAPE))] == [6, 0, 0]


def test_the_other_gradient_of_a_product_is_nan_at_zeros():
    net = eltwise("operation: PROD stable_prod_grad: false")
    run(net, np.zeros(SHAPE), np.full(SHAPE, 2))
    first, second = run_backward(net, np.ones(SHAPE))
    assert np.isnan(first).all()
    assert (second == 0).all()


@pytest.mark.parametrize("operation", ["PROD", "MAX", "PROD stable_prod_grad: false"])
def test_bottoms_that_are_overwritten_later_are_kept(operation):
    """A later in-place layer on a factor (whose blob nobody else reads) spoils nothing."""
    text = "force_backward: true\n" + "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ dim: 3 }} }} }}\n'
        for n in "ab"
    )
    text += (
        'layer { name: "copy" type: "Split" bottom: "a" top: "c" top: "d" }\n'
        'layer { name: "op" type: "Eltwise" bottom: "c" bottom: "b" top: "y" '
        f"eltwise_param {{ operation: {operation} }} }}\n"
        'layer { name: "after" type: "Power" bottom: "d" top: "d" power_param { power: 2 } }\n'
    )
    net = Net.from_text(text, 0, dtype=np.float64)
    a, b, dy = np.array([1.0, 2, 3]), np.array([3.0, 1, 2]), np.array([1.0, 10, 100])
    net.forward(a=a, b=b)

    net.backward(y=dy, d=np.zeros(3))

    expected = (dy * (a > b), dy * (b > a)) if operation == "MAX" else (dy * b, dy * a)
    np.testing.assert_allclose(net.blobs["b"].diff, expected[1], rtol=1e-15)
    np.testing.assert_allclose(net.blobs["c"].diff, expected[0], rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "bottoms", "message"),
    [
        ("coeff: 1", 2, r"has 1 coeff for 2 bottoms; give one for each, or none"),
        ("operation: PROD coeff: 1 coeff: 2", 2, "coeff goes with SUM"),
        ("operation: MIN", 2, "operation MIN of a fork is not supported"),
        ("coeff_blob: true", 3, "coeff_blob of a fork is not supported"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options, bottoms, message):
    with pytest.raises(LayerError, match=message):
        eltwise(options, bottoms)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match=r"bottom 1 has shape \[3, 2\], bottom 0 has \[2, 3\]"):
        one_layer('type: "Eltwise"', (2, 3), (3, 2))


def test_in_place_is_refused():
    with pytest.raises(LayerError, match="cannot work in place"):
        eltwise(in_place=True)


def test_empty_blobs_pass():
    for operation in ("SUM", "PROD", "MAX"):
        net = one_layer(f'type: "Eltwise" eltwise_param {{ operation: {operation} }}', (0, 2), (0, 2))
        assert run(net, np.zeros((0, 2)), np.zeros((0, 2))).shape == (0, 2)
        run_backward(net, np.zeros((0, 2)))
