"""Bias: broadcasting and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import CaffenormError, ShapeError

SHAPE = (2, 3, 4, 2)


def body(options: str = "") -> str:
    return f'type: "Bias" bias_param {{ {options} }}'


@st.composite
def places(draw):
    """A shape, an axis of it, and how many axes a parameter covers from there."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5).map(tuple))
    axis = draw(st.integers(0, len(shape) - 1))
    covered = draw(st.integers(0, len(shape) - axis))
    return shape, axis, covered


@given(
    place=places(),
    form=st.sampled_from(["plain", "negative", "to the end", "bottom"]),
    in_place=st.booleans(),
)
def test_broadcasts_from_axis_on(place, form, in_place):
    shape, axis, covered = place
    covered = len(shape) - axis if form == "to the end" else covered
    rng = np.random.default_rng(1)
    cover = shape[axis : axis + covered]
    written = axis - len(shape) if form == "negative" else axis
    num_axes = -1 if form == "to the end" else covered
    bottoms = (shape, cover) if form == "bottom" else (shape,)
    net = one_layer(body(f"axis: {written} num_axes: {num_axes}"), *bottoms, in_place=in_place)
    x, beta = rng.normal(size=shape), np.array(rng.normal(size=cover))
    if form != "bottom":
        (blob,) = net.params["op"]
        blob.data[...] = beta

    y = run(net, *((x, beta) if form == "bottom" else (x,)))

    np.testing.assert_allclose(y, x + beta.reshape(cover + (1,) * (len(shape) - axis - covered)), rtol=1e-14)


@given(
    place=places(),
    two_bottoms=st.booleans(),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradient_is_the_derivative(place, two_bottoms, in_place, overwritten, seed):
    shape, axis, covered = place
    rng = np.random.default_rng(seed)
    cover = shape[axis : axis + covered]
    bottoms = (shape, cover) if two_bottoms else (shape,)
    net = one_layer(
        body(f"axis: {axis} num_axes: {covered}"), *bottoms, in_place=in_place, overwritten=overwritten
    )
    params = {} if two_bottoms else {0: spread(rng, cover)}

    assert gradient_error(net, [spread(rng, s) for s in bottoms], params, seed=seed) < 1e-7


def test_starts_at_0_or_as_its_filler_says(rng):
    x = rng.normal(size=SHAPE)
    np.testing.assert_array_equal(run(one_layer(body(), SHAPE), x), x)
    np.testing.assert_allclose(run(one_layer(body("filler { value: 2 }"), SHAPE), x), x + 2)


def test_gradient_adds_up_even_for_a_batch_of_one(rng):
    net = one_layer(body(), (1, 3, 2))
    dy = rng.normal(size=(1, 3, 2))
    run(net, dy)
    run_backward(net, dy)

    net.backward()

    np.testing.assert_allclose(net.params["op"][0].diff, 2 * dy.sum((0, 2)), rtol=1e-12)


def test_gradient_of_a_second_bottom_is_written_anew(rng):
    net = one_layer(body(), (4, 3), (3,))
    dy = rng.normal(size=(4, 3))
    run(net, dy, np.ones(3))
    net.blobs["x1"].diff[...] = 99

    dx, dbeta = run_backward(net, dy)

    np.testing.assert_array_equal(dx, dy)
    np.testing.assert_allclose(dbeta, dy.sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "bottoms", "message"),
    [
        ("", [(4,)], "axis 1 does not exist"),
        ("axis: 3", [(4, 6)], "axis 3 does not exist"),
        ("axis: 1 num_axes: 2", [(4, 6)], "beta covers 2 axes from axis 1 on"),
        ("num_axes: -2", [(4, 6)], "num_axes must be"),
        ("", [(4, 6), (4,)], r"beta has shape \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused(options, bottoms, message):
    with pytest.raises(ShapeError, match=message):
        one_layer(body(options), *bottoms)


def test_three_bottoms_are_refused():
    with pytest.raises(CaffenormError, match="bottom"):
        one_layer(body(), SHAPE, (3,), (3,))
