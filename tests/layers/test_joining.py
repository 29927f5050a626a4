"""Concat, Slice, Split and Silence: values, gradients, shared memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward

from caffenorm import LayerError, Net, ShapeError


@st.composite
def cuts(draw):
    """A shape, an axis of it, and where the axis is cut."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    shape[axis] = sum(sizes)
    return tuple(shape), axis, sizes, draw(st.booleans())


def parts_of(array, axis, sizes):
    return np.split(array, np.cumsum(sizes)[:-1], axis)


@given(cut=cuts(), seed=st.integers(0, 99))
def test_concat_joins_along_an_axis(cut, seed):
    shape, axis, sizes, negative = cut
    whole, dy = np.random.default_rng(seed).normal(size=(2, *shape))
    parts = parts_of(whole, axis, sizes)
    written = axis - len(shape) if negative else axis
    net = one_layer(f'type: "Concat" concat_param {{ axis: {written} }}', *(part.shape for part in parts))

    np.testing.assert_array_equal(run(net, *parts), whole)
    for dx, expected in zip(run_backward(net, dy), parts_of(dy, axis, sizes), strict=True):
        np.testing.assert_array_equal(dx, expected)


@given(cut=cuts(), seed=st.integers(0, 99))
def test_slice_cuts_along_an_axis(cut, seed):
    shape, axis, sizes, negative = cut
    whole, dy = np.random.default_rng(seed).normal(size=(2, *shape))
    written = axis - len(shape) if negative else axis
    points = " ".join(f"slice_point: {point}" for point in np.cumsum(sizes)[:-1])
    net = one_layer(f'type: "Slice" slice_param {{ axis: {written} {points} }}', shape, tops=len(sizes))

    net.forward(x0=whole)
    for name, part in zip(net.top_names["op"], parts_of(whole, axis, sizes), strict=True):
        np.testing.assert_array_equal(net.blobs[name].data, part)
    for name, part in zip(net.top_names["op"], parts_of(dy, axis, sizes), strict=True):
        net.blobs[name].diff[...] = part
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, dy)


def test_slices_are_equal_without_points():
    net = one_layer('type: "Slice"', (2, 6), tops=3)
    assert [net.blobs[name].shape for name in net.top_names["op"]] == [(2, 2)] * 3


def test_old_names_of_the_axis():
    joined = one_layer('type: "Concat" concat_param { concat_dim: 2 }', (1, 2, 3), (1, 2, 1))
    cut = one_layer('type: "Slice" slice_param { slice_dim: 0 }', (4, 2), tops=2)
    assert joined.blobs["y0"].shape == (1, 2, 4)
    assert cut.blobs["y0"].shape == (2, 2)


@pytest.mark.parametrize("kind", ["Concat", "Slice"])
def test_a_single_part_is_the_same_memory(kind):
    net = one_layer(f'type: "{kind}"', (2, 3))
    run(net, np.ones((2, 3)))
    net.blobs["y0"].data[...] = 5
    net.blobs["y0"].diff[...] = 6
    net.backward()
    assert (net.blobs["x0"].data == 5).all()
    assert (net.blobs["x0"].diff == 6).all()


def test_concat_leaves_out_gradients_that_nobody_wants():
    net = one_layer(
        'type: "Concat" loss_weight: 1 propagate_down: true propagate_down: false',
        (1, 2),
        (1, 1),
        force_backward=False,
    )
    run(net, np.ones((1, 2)), np.ones((1, 1)))
    net.blobs["x1"].diff[...] = 9
    first, second = run_backward(net, np.array([[1.0, 2, 3]]))
    np.testing.assert_array_equal(first, [[1, 2]])
    assert second == 9


@pytest.mark.parametrize(
    ("options", "shapes", "error", "message"),
    [
        (
            "",
            ((4, 6), (3, 6)),
            ShapeError,
            r"bottom 1 has shape \[3, 6\], bottom 0 has \[4, 6\]; they may differ on axis 1",
        ),
        ("", ((4, 6), (4, 6, 1)), ShapeError, "bottom 1 has shape"),
        ("", ((4,),), ShapeError, "axis 1 does not exist"),
        ("axis: -3", ((4, 6),), ShapeError, "axis -3 does not exist"),
        ("axis: 1 concat_dim: 1", ((4, 6),), LayerError, "both axis and the old concat_dim"),
        ("concat_dim: 2", ((4, 6),), ShapeError, "concat_dim 2 does not exist"),
    ],
)
def test_blobs_that_do_not_join_are_refused(options, shapes, error, message):
    with pytest.raises(error, match=message):
        one_layer(f'type: "Concat" concat_param {{ {options} }}', *shapes)


@pytest.mark.parametrize(
    ("options", "tops", "error", "message"),
    [
        ("", 4, ShapeError, "axis 1 of size 6 does not divide into 4 equal parts"),
        ("slice_point: 2", 3, LayerError, r"has 1 slice_point\(s\) for 3 top\(s\); give 2, or none"),
        ("slice_point: 3 slice_point: 2", 3, ShapeError, "must rise, within axis 1 of size 6"),
        ("slice_point: 2 slice_point: 2", 3, ShapeError, "must rise"),
        ("slice_point: 0", 2, ShapeError, "must rise"),
        ("slice_point: 6", 2, ShapeError, "must rise"),
        ("axis: 2", 2, ShapeError, "axis 2 does not exist"),
        ("axis: 1 slice_dim: 1", 2, LayerError, "both axis and the old slice_dim"),
    ],
)
def test_cuts_that_do_not_work_are_refused(options, tops, error, message):
    with pytest.raises(error, match=message):
        one_layer(f'type: "Slice" slice_param {{ {options} }}', (4, 6), tops=tops)


@pytest.mark.parametrize("kind", ["Concat", "Slice", "Split"])
def test_in_place_is_refused(kind):
    with pytest.raises(LayerError, match="cannot work in place"):
        one_layer(f'type: "{kind}"', (2, 3), in_place=True)


@pytest.mark.parametrize("tops", [1, 2, 5])
def test_split_shares_values_and_adds_gradients(tops):
    net = one_layer('type: "Split"', (2, 3), tops=tops)
    x = np.random.default_rng(0).normal(size=(2, 3))
    net.forward(x0=x)
    for number, name in enumerate(net.top_names["op"]):
        np.testing.assert_array_equal(net.blobs[name].data, x)
        net.blobs[name].diff[...] = x * 10**number
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, x * (10**tops - 1) / 9, rtol=1e-14)
    net.blobs["x0"].data[...] = 7
    assert all((net.blobs[name].data == 7).all() for name in net.top_names["op"])


def test_a_blob_with_several_readers_gets_the_sum_of_their_gradients():
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
    layer { name: "a" type: "Power" bottom: "x" top: "a" power_param { scale: 2 } }
    layer { name: "b" type: "Power" bottom: "x" top: "b" power_param { scale: 3 } }
    """
    net = Net.from_text(text)
    net.forward(x=np.ones(2))
    net.backward(a=np.ones(2), b=np.ones(2))
    np.testing.assert_array_equal(net.blobs["x"].diff, [5, 5])


def test_silence_has_no_outputs_and_a_gradient_of_zero():
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
    layer { name: "a" type: "Power" bottom: "x" top: "a" }
    layer { name: "op" type: "Silence" bottom: "a" }
    """
    net = Net.from_text(text)
    assert net.forward(x=np.ones(2)) == {}
    net.blobs["a"].diff[...] = 7
    net.backward()
    assert (net.blobs["x"].diff == 0).all()


def test_gradients_of_joins_are_the_derivative():
    rng = np.random.default_rng(0)
    net = one_layer('type: "Concat"', (2, 3, 2), (2, 1, 2))
    assert gradient_error(net, [rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 1, 2))]) < 1e-8
