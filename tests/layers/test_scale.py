"""Scale: broadcasting, gradients, and where Caffe replaces the multiplier's gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import CaffenormError, ShapeError

SHAPE = (2, 3, 4, 2)


def body(options: str = "", around: str = "") -> str:
    return f'type: "Scale" {around} scale_param {{ {options} }}'


def expanded(value: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """`value` with the axes that NumPy needs to broadcast it over `shape` from `axis` on."""
    return value.reshape(value.shape + (1,) * (len(shape) - axis - value.ndim))


@st.composite
def places(draw):
    """A shape, an axis of it, and how many axes a parameter covers from there."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5).map(tuple))
    axis = draw(st.integers(0, len(shape) - 1))
    covered = draw(st.integers(0, len(shape) - axis))
    return shape, axis, covered


# --- forward ---


@given(
    place=places(),
    negative=st.booleans(),
    to_the_end=st.booleans(),
    bias=st.booleans(),
    in_place=st.booleans(),
)
def test_broadcasts_from_axis_on(place, negative, to_the_end, bias, in_place):
    shape, axis, covered = place
    if to_the_end:
        covered = len(shape) - axis
    rng = np.random.default_rng(1)
    written = axis - len(shape) if negative else axis
    num_axes = -1 if to_the_end else covered
    net = one_layer(
        body(f"axis: {written} num_axes: {num_axes} bias_term: {str(bias).lower()}"), shape, in_place=in_place
    )
    gamma, beta = rng.normal(size=(2, *shape[axis : axis + covered]))
    x = rng.normal(size=shape)
    for blob, value in zip(net.params["op"], (gamma, beta), strict=False):
        assert blob.shape == shape[axis : axis + covered]
        blob.data[...] = value

    y = run(net, x)

    expected = x * expanded(gamma, axis, shape) + (expanded(beta, axis, shape) if bias else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)


@given(place=places(), bias=st.booleans(), in_place=st.booleans())
def test_second_bottom_is_the_multiplier(place, bias, in_place):
    shape, axis, covered = place
    rng = np.random.default_rng(2)
    cover = shape[axis : axis + covered]
    options = f"axis: {axis} num_axes: 99 bias_term: {str(bias).lower()}"  # num_axes is not used
    net = one_layer(body(options), shape, cover, in_place=in_place)
    x, gamma, beta = rng.normal(size=shape), rng.normal(size=cover), rng.normal(size=cover)
    if bias:
        (blob,) = net.params["op"]
        blob.data[...] = beta

    y = run(net, x, gamma)

    expected = x * expanded(gamma, axis, shape) + (expanded(beta, axis, shape) if bias else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)


def test_starts_as_the_identity(rng):
    net = one_layer(body("bias_term: true"), SHAPE)
    x = rng.normal(size=SHAPE)
    np.testing.assert_array_equal(run(net, x), x)


def test_fillers_are_used(rng):
    net = one_layer(body("filler { value: 3 } bias_term: true bias_filler { value: -1 }"), SHAPE)
    x = rng.normal(size=SHAPE)
    np.testing.assert_allclose(run(net, x), 3 * x - 1)


def test_axis_means_nothing_to_a_scalar_second_bottom(rng):
    x, gamma = rng.normal(size=SHAPE), np.array(2.5)
    np.testing.assert_array_equal(run(one_layer(body("axis: 9"), SHAPE, ()), x, gamma), 2.5 * x)


def test_min_value_and_max_value_keep_the_multiplier_in_bounds(rng):
    net = one_layer(body("min_value: -0.5 max_value: 2"), SHAPE)
    net.params["op"][0].data[...] = [-3, 1, 5]
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    np.testing.assert_array_equal(net.params["op"][0].data, [-0.5, 1, 2])
    np.testing.assert_allclose(y, x * np.reshape([-0.5, 1, 2], (1, 3, 1, 1)))


# --- gradients ---


@given(
    place=places(),
    bias=st.booleans(),
    two_bottoms=st.booleans(),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(place, bias, two_bottoms, in_place, overwritten, seed):
    shape, axis, covered = place
    rng = np.random.default_rng(seed)
    cover = shape[axis : axis + covered]
    options = f"axis: {axis} num_axes: {covered} bias_term: {str(bias).lower()}"
    bottoms = (shape, cover) if two_bottoms else (shape,)
    net = one_layer(body(options), *bottoms, in_place=in_place, overwritten=overwritten)
    params = {i: spread(rng, cover) for i in range(len(net.params.get("op", [])))}

    assert gradient_error(net, [spread(rng, s) for s in bottoms], params, seed=seed) < 1e-7


def replaces(net, shape) -> bool:
    """Whether a second backward replaces the multiplier's gradient instead of adding to it."""
    rng = np.random.default_rng(3)
    x, dy = spread(rng, shape), spread(rng, shape)
    run(net, x)
    run_backward(net, dy)
    once = [blob.diff.copy() for blob in net.params["op"]]
    net.blobs[next(iter(net.outputs))].diff[...] = dy
    net.backward()
    gamma, beta = net.params["op"]
    np.testing.assert_allclose(beta.diff, 2 * once[1], rtol=1e-12)
    if np.allclose(gamma.diff, once[0], rtol=1e-12):
        return True
    np.testing.assert_allclose(gamma.diff, 2 * once[0], rtol=1e-12)
    return False


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((4, 3, 2), "", False),
        ((1, 3, 2), "", True),  # a batch of one: nothing stands in front of the axis
        ((4, 3, 2), "axis: 0 num_axes: 2", True),
        ((4, 3, 2), "axis: 0 num_axes: -1", True),  # as many values as the input
        ((4, 3, 2), "axis: 1 num_axes: -1", False),
        ((4, 3, 2), "num_axes: 0", False),  # one value that is scaled adds up
        ((1, 1, 6), "", False),
        ((1, 1, 1), "", True),  # ... but not where it is the only value of the input
    ],
)
def test_where_caffe_replaces_the_multipliers_gradient_so_do_we(shape, options, expected):
    assert replaces(one_layer(body(f"bias_term: true {options}"), shape), shape) == expected


def test_gradient_of_a_second_bottom_is_written_anew(rng):
    net = one_layer(body(), (4, 3), (3,))
    x, gamma, dy = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(4, 3))
    run(net, x, gamma)
    net.blobs["x1"].diff[...] = 99

    _, dgamma = run_backward(net, dy)

    np.testing.assert_allclose(dgamma, (dy * x).sum(0), rtol=1e-12)


def test_frozen_parameters_get_no_gradient(rng):
    text = body("bias_term: true", "param { lr_mult: 0 } param { lr_mult: 0 }")
    net = one_layer(text, (4, 3), force_backward=False)
    layer = net.layer_dict["op"]
    assert layer.param_propagate_down == [False, False]


# --- memory ---


@pytest.mark.parametrize(
    ("in_place", "options", "around", "force", "copies"),
    [
        (False, "", "", True, 0),
        (True, "", "", True, 1),
        (True, "", "", False, 0),  # nobody asks for a gradient
    ],
)
def test_keeps_x_only_where_it_is_overwritten_and_needed(in_place, options, around, force, copies, rng):
    net = one_layer(body(options, around), SHAPE, in_place=in_place, force_backward=force)
    run(net, rng.normal(size=SHAPE))
    assert net.layer_dict["op"].scratch_bytes // (8 * np.prod(SHAPE)) == copies


# --- refusals ---


@pytest.mark.parametrize(
    ("options", "bottoms", "message"),
    [
        ("", [(4,)], "axis 1 does not exist"),
        ("axis: 2", [(4, 6)], "axis 2 does not exist"),
        ("axis: -3", [(4, 6)], "axis -3 does not exist"),
        ("axis: 2 num_axes: 3", [SHAPE], "covers 3 axes from axis 2 on"),
        ("num_axes: -2", [(4, 6)], "num_axes must be"),
        ("", [SHAPE, (4,)], r"gamma has shape \[4\]"),
        ("axis: 3", [SHAPE, (2, 2)], r"gamma has shape \[2, 2\]"),
    ],
)
def test_what_does_not_fit_is_refused(options, bottoms, message):
    with pytest.raises(ShapeError, match=message):
        one_layer(body(options), *bottoms)


def test_three_bottoms_are_refused():
    with pytest.raises(CaffenormError, match="bottom"):
        one_layer(body(), SHAPE, (3,), (3,))


def test_new_shapes_must_fit_the_multiplier(rng):
    net = one_layer(body(), SHAPE)
    assert run(net, rng.normal(size=(5, 3, 1, 1))).shape == (5, 3, 1, 1)
    with pytest.raises(ShapeError, match=r"gamma has shape \[3\]"):
        run(net, rng.normal(size=(5, 4, 1, 1)))
