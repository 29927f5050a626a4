"""Reduction and ArgMax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import CaffenormError, LayerError, ShapeError

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
OPERATIONS = {
    "SUM": np.sum,
    "ASUM": lambda x, axis: np.abs(x).sum(axis),
    "SUMSQ": lambda x, axis: np.square(x).sum(axis),
    "MEAN": np.mean,
}


@given(
    shape=shapes,
    operation=st.sampled_from(sorted(OPERATIONS)),
    coeff=st.sampled_from([1.0, -2.5]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_reduction_covers_all_axes_from_axis_on(shape, operation, coeff, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    net = one_layer(
        f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}', shape
    )
    x = spread(np.random.default_rng(seed), shape)
    first = axis % len(shape)

    y = run(net, x)

    expected = coeff * OPERATIONS[operation](x.reshape(*shape[:first], -1), axis=-1)
    assert y.shape == shape[:first]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    assert gradient_error(net, [x]) < 1e-8


def test_the_gradient_of_a_size_is_zero_at_zero():
    net = one_layer('type: "Reduction" reduction_param { operation: ASUM }', (3,))
    run(net, np.array([0.0, 1, -1]))
    np.testing.assert_array_equal(run_backward(net, np.array(2.0))[0], [0, 2, -2])


def test_empty_blobs_sum_up_to_zero():
    for operation in OPERATIONS:
        net = one_layer(f'type: "Reduction" reduction_param {{ operation: {operation} axis: 1 }}', (2, 0))
        np.testing.assert_array_equal(run(net, np.zeros((2, 0))), [0, 0])
        run_backward(net, np.ones(2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("axis: 2", ShapeError, "axis 2 does not exist"),
        ("operation: TOPK", LayerError, "operation TOPK of a fork"),
    ],
)
def test_reductions_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        one_layer(f'type: "Reduction" reduction_param {{ {options} }}', (2, 3))


# --- ArgMax ---


def arg_max(options, shape):
    return one_layer(f'type: "ArgMax" argmax_param {{ {options} }}', shape, force_backward=False)


def sorted_pairs(values, k):
    """Caffe sorts pairs of value and place, the largest first."""
    return sorted(zip(values, range(len(values)), strict=True), reverse=True)[:k]


@given(shape=shapes, ties=st.booleans(), values=st.booleans(), seed=st.integers(0, 99), data=st.data())
def test_arg_max_along_an_axis(shape, ties, values, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, shape).astype(float) if ties else rng.normal(size=shape)

    y = run(arg_max(f"axis: {axis} top_k: {k} out_max_val: {str(values).lower()}", shape), x)

    side = 0 if values else 1
    expected = np.apply_along_axis(lambda row: [pair[side] for pair in sorted_pairs(row, k)], axis, x)
    np.testing.assert_array_equal(y, expected)


@given(shape=shapes, values=st.booleans(), seed=st.integers(0, 99), data=st.data())
def test_arg_max_of_whole_examples(shape, values, seed, data):
    x = np.random.default_rng(seed).integers(0, 5, shape).astype(float)
    rows = x.reshape(shape[0], -1)
    k = data.draw(st.integers(1, rows.shape[1]))

    y = run(arg_max(f"top_k: {k} out_max_val: {str(values).lower()}", shape), x)

    assert y.shape == (shape[0], 2 if values else 1, k, *(1,) * (len(shape) - 3))
    for found, row in zip(y.reshape(len(rows), -1, k), rows, strict=True):
        pairs = sorted_pairs(row, k)
        np.testing.assert_array_equal(found[0], [place for _, place in pairs])
        if values:
            np.testing.assert_array_equal(found[1], [value for value, _ in pairs])


def test_min_first_gives_the_smallest():
    """An option of a fork."""
    y = run(arg_max("axis: 1 top_k: 2 min_first: true", (1, 4)), np.array([[3.0, 1, 2, 1]]))
    np.testing.assert_array_equal(y, [[1, 3]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("axis: 1 top_k: 7", "between 1 and 6"),
        ("top_k: 0", "between 1 and 6, .* found 0"),
        ("axis: 2", "axis 2"),
    ],
)
def test_places_that_are_not_there_are_refused(options, message):
    with pytest.raises(CaffenormError, match=message):
        arg_max(options, (4, 6))


def test_arg_max_has_no_gradient():
    net = one_layer('type: "ArgMax"', (4, 6))
    net.forward(x0=np.zeros((4, 6)))
    with pytest.raises(LayerError, match="has no gradient"):
        net.backward()


def test_a_batch_of_no_examples_has_no_places():
    assert run(arg_max("", (0, 6)), np.zeros((0, 6))).shape == (0, 1, 1)
