"""Tensor ops against NumPy in float64 and PyTorch; ties, special values, aliases, threads and builds."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import _kernels
from caffenorm.backends.cpu import CpuOps

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EPS = {np.float32: 6e-7, np.float64: 2e-15}
views = st.tuples(st.integers(1, 4), st.integers(1, 40), st.sampled_from([1, 2, 7, 255, 256, 300]))


def normal(shape, dtype, seed=0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(dtype)


# --- softmax ---


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@DTYPES
@given(view=views, scale=st.sampled_from([1e-3, 1, 30, 1e4]), in_place=st.booleans(), seed=st.integers(0, 99))
def test_softmax_is_exact_to_some_units(dtype, view, scale, in_place, seed):
    x = normal(view, dtype, seed, scale)
    expected = softmax(x.astype(np.longdouble))

    y = x.copy() if in_place else np.full(view, 7, dtype)
    CpuOps(1).softmax(y if in_place else x, y)

    rounded = np.abs(x - x.max(1, keepdims=True)).astype(float)  # the difference is, before its exponential
    allowed = expected.astype(float) * EPS[dtype] * (1 + rounded) + 2e-45
    assert (np.abs(y - expected.astype(float)) <= allowed).all()
    np.testing.assert_allclose(y.sum(1, dtype=float), 1, rtol=1e-6)


@DTYPES
@given(view=views, in_place=st.booleans(), seed=st.integers(0, 99))
def test_softmax_backward_is_the_gradient(dtype, view, in_place, seed):
    y, dy = softmax(normal(view, dtype, seed)).astype(dtype), normal(view, dtype, seed + 1)
    exact, weights = y.astype(np.longdouble), dy.astype(np.longdouble)
    expected = exact * (weights - (exact * weights).sum(1, keepdims=True))

    dx = dy.copy() if in_place else np.full(view, 7, dtype)
    CpuOps(1).softmax_backward(y, dx if in_place else dy, dx)

    np.testing.assert_allclose(dx, expected.astype(float), rtol=0, atol=4 * EPS[dtype])


@DTYPES
@pytest.mark.parametrize("inner", [1, 300])
@pytest.mark.parametrize("place", [0, 5, 17])
def test_nan_and_inf_spoil_their_own_position_alone(dtype, inner, place):
    x = normal((2, 18, inner), dtype)
    for bad in (np.nan, np.inf):
        x[1, place, -1] = bad
        y = np.empty_like(x)
        CpuOps(1).softmax(x, y)
        spoiled = np.isnan(y)
        assert spoiled[1, :, -1].all()
        assert spoiled.sum() == 18


@DTYPES
def test_minus_infinity_has_probability_zero(dtype):
    x = np.array([[[0.0], [-np.inf], [0.0]]], dtype)
    y = np.empty_like(x)
    CpuOps(1).softmax(x, y)
    np.testing.assert_array_equal(y[0, :, 0], [0.5, 0, 0.5])


# --- several arrays to one ---

arrays_of = st.tuples(st.integers(1, 5), st.sampled_from([1, 15, 1023, 1024, 1025, 5000]))


@DTYPES
@given(
    size=arrays_of,
    weighted=st.booleans(),
    slope=st.sampled_from([None, 0.0, 0.25]),
    alias=st.integers(-1, 4),
    seed=st.integers(0, 99),
)
def test_weighted_sum(dtype, size, weighted, slope, alias, seed):
    count, n = size
    arrays = list(normal((count, n), dtype, seed))
    weights = list(np.linspace(-2, 1.5, count)) if weighted else None
    expected = sum(w * a.astype(float) for w, a in zip(weights or [1.0] * count, arrays, strict=True))
    if slope is not None:
        expected = np.where(expected > 0, expected, slope * expected)

    y = arrays[alias] if 0 <= alias < count else np.full(n, 7, dtype)
    CpuOps(1).weighted_sum(arrays, weights, y, slope)

    np.testing.assert_allclose(y, expected, rtol=0, atol=20 * EPS[dtype])


@DTYPES
def test_sums_add_up_from_the_first_array_on(dtype):
    """Caffe's order; in another one the small term would get lost otherwise."""
    arrays = [np.full(100, value, dtype) for value in (1e20, -1e20, 3)]
    y = np.empty(100, dtype)
    CpuOps(1).weighted_sum(arrays, None, y)
    assert (y == 3).all()


@DTYPES
@given(size=arrays_of, alias=st.integers(-1, 4), seed=st.integers(0, 99))
def test_product(dtype, size, alias, seed):
    count, n = size
    arrays = list(normal((count, n), dtype, seed))
    expected = np.prod(np.array(arrays, float), axis=0)

    y = arrays[alias] if 0 <= alias < count else np.full(n, 7, dtype)
    CpuOps(1).product(arrays, y)

    np.testing.assert_allclose(y, expected, rtol=4 * EPS[dtype])


@DTYPES
@given(size=arrays_of, alias=st.integers(-1, 4), seed=st.integers(0, 99))
def test_maximum_names_the_winner(dtype, size, alias, seed):
    count, n = size
    arrays = list(np.random.default_rng(seed).integers(0, 4, (count, n)).astype(dtype))
    expected, number = arrays[0].copy(), np.zeros(n, int)
    for k in range(1, count):
        wins = arrays[k] >= expected if k == 1 else arrays[k] > expected
        expected, number = np.where(wins, arrays[k], expected), np.where(wins, k, number)

    winner, y = np.full(n, -1, np.int32), np.empty(n, dtype)
    CpuOps(1).maximum(arrays, y, winner)
    unasked = arrays[alias] if 0 <= alias < count else np.empty(n, dtype)
    CpuOps(1).maximum(arrays, unasked)

    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, number)
    np.testing.assert_array_equal(unasked, expected)


@DTYPES
def test_the_gradient_of_a_maximum_goes_to_the_winner(dtype):
    dy, winner, dx = normal(50, dtype), np.arange(50, dtype=np.int32) % 3, np.empty(50, dtype)
    dy[1] = np.nan
    for number in range(3):
        CpuOps(1).maximum_backward(dy, winner, number, dx)
        np.testing.assert_array_equal(dx, np.where(winner == number, dy, 0))


@DTYPES
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("offset", [0, 1])
def test_streamed_sums_are_the_same(dtype, count, offset):
    n = (1 << 24) // np.dtype(dtype).itemsize + 1030
    arrays = [normal(n, dtype, seed) for seed in range(count)]
    y = CpuOps(1).empty(n + offset, np.dtype(dtype))[offset:]
    y[...] = 7

    CpuOps(2).weighted_sum(arrays, None, y, 0.0)

    np.testing.assert_array_equal(y, np.maximum(sum(arrays[1:], arrays[0]), 0))


# --- reductions ---

TERMS = {"values": lambda x: x, "sizes": np.abs, "squares": np.square}
SLOPES = {"values": np.ones_like, "sizes": np.sign, "squares": lambda x: 2 * x}


@DTYPES
@pytest.mark.parametrize("terms", TERMS)
@given(
    rows=st.integers(0, 4), size=st.sampled_from([0, 1, 15, 16, 17, 16384, 40_000]), seed=st.integers(0, 9)
)
def test_rows_are_reduced_in_double(dtype, terms, rows, size, seed):
    x = normal((rows, size), dtype, seed) + dtype(3)
    y = np.full(rows, 7, dtype)

    CpuOps(1).reduce_rows(terms, x, y, 0.5)

    np.testing.assert_allclose(y, 0.5 * TERMS[terms](x.astype(float)).sum(1), rtol=EPS[dtype], atol=0)


@DTYPES
@pytest.mark.parametrize("terms", TERMS)
@given(rows=st.integers(1, 4), size=st.sampled_from([1, 15, 17, 20_000]), seed=st.integers(0, 9))
def test_reductions_spread_their_gradient(dtype, terms, rows, size, seed):
    x, dy = normal((rows, size), dtype, seed), normal(rows, dtype, seed + 1)
    x[0, 0] = 0
    dx = np.full_like(x, 7)

    CpuOps(1).reduce_rows_backward(terms, x, dy, dx, 0.5)

    np.testing.assert_allclose(dx, 0.5 * dy[:, None] * SLOPES[terms](x), rtol=EPS[dtype])


# --- largest values ---


@DTYPES
@given(
    view=st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 5)),
    share=st.floats(0, 1),
    distinct=st.booleans(),
    smallest=st.booleans(),
    seed=st.integers(0, 99),
)
def test_top_values_are_sorted_pairs(dtype, view, share, distinct, smallest, seed):
    """As Caffe sorts pairs of value and place: descending, or ascending for the smallest."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=view) if distinct else rng.integers(0, 4, view)).astype(dtype)
    k = max(1, round(share * view[1]))
    places, values = np.full((view[0], k, view[2]), 7, dtype), np.full((view[0], k, view[2]), 7, dtype)

    CpuOps(1).top_values(x, places, values, smallest)

    for o in range(view[0]):
        for i in range(view[2]):
            pairs = sorted(zip(x[o, :, i], range(view[1]), strict=True), reverse=not smallest)[:k]
            np.testing.assert_array_equal(values[o, :, i], [value for value, _ in pairs])
            np.testing.assert_array_equal(places[o, :, i], [place for _, place in pairs])


def test_only_what_is_asked_for_is_given():
    x = np.array([[[1.0], [3.0], [2.0]]])
    places, values = np.empty((1, 2, 1)), np.empty((1, 2, 1))
    CpuOps(1).top_values(x, places, None)
    CpuOps(1).top_values(x, None, values)
    np.testing.assert_array_equal(places.ravel(), [1, 2])
    np.testing.assert_array_equal(values.ravel(), [3, 2])


def test_nan_comes_before_all_numbers():
    x = np.array([[[1.0], [np.nan], [np.inf], [np.nan]]])
    places = np.empty((1, 4, 1))
    for smallest in (False, True):
        CpuOps(1).top_values(x, places, None, smallest)
        np.testing.assert_array_equal(places.ravel(), [3, 1, 0, 2] if smallest else [3, 1, 2, 0])


# --- rows, columns, axes ---


@DTYPES
@given(
    rows=st.integers(1, 9),
    size=st.sampled_from([1, 3, 64, 200]),
    n=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_rows_are_taken_and_added_by_number(dtype, rows, size, n, seed):
    x, index = normal((rows, size), dtype, seed), np.random.default_rng(seed).integers(0, rows, n)
    y = np.full((n, size), 7, dtype)
    CpuOps(1).take_rows(x, index, y)
    np.testing.assert_array_equal(y, x[index])

    dx = normal((rows, size), dtype, seed + 1)
    expected = dx.copy()
    np.add.at(expected, index, y)
    CpuOps(1).add_rows(y, index, dx)
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("bad", [-1, 3, 1 << 40])
def test_rows_that_are_not_there_are_refused(bad):
    x, y, index = np.zeros((3, 2)), np.zeros((2, 2)), np.array([0, bad])
    with pytest.raises(IndexError, match=f"row {bad} at place 1, of 3 rows"):
        CpuOps(1).take_rows(x, index, y)
    with pytest.raises(IndexError, match=f"row {bad} at place 1, of 3 rows"):
        CpuOps(1).add_rows(y, index, x)


@DTYPES
@given(rows=st.integers(0, 5), count=st.sampled_from([0, 1, 17, 20_000]), seed=st.integers(0, 9))
def test_columns_are_copied(dtype, rows, count, seed):
    x, y = normal((rows, count + 3), dtype, seed), np.full((rows, count + 5), 7, dtype)
    expected = y.copy()
    expected[:, 4 : 4 + count] = x[:, 2 : 2 + count]

    CpuOps(1).copy_columns(x, 2, y, 4, count)

    np.testing.assert_array_equal(y, expected)


@DTYPES
@given(
    outer=st.integers(0, 3),
    a=st.sampled_from([1, 3, 31, 32, 33, 70]),
    b=st.sampled_from([1, 2, 32, 65]),
    inner=st.sampled_from([0, 1, 2, 5]),
)
def test_middle_axes_are_exchanged(dtype, outer, a, b, inner):
    x, y = normal((outer, a, b, inner), dtype), np.full((outer, b, a, inner), 7, dtype)
    CpuOps(1).swap_axes(x, y)
    np.testing.assert_array_equal(y, x.transpose(0, 2, 1, 3))


@DTYPES
@pytest.mark.parametrize("size", [0, 1, 20_000])
def test_rows_are_scaled_and_added(dtype, size):
    scale, x, y = normal(3, dtype), normal((3, size), dtype, 1), normal((3, size), dtype, 2)
    out = np.empty_like(x)
    CpuOps(1).scale_add(scale, x, y, out)
    np.testing.assert_array_equal(out, scale[:, None] * x + y)


# --- threads, builds, bad calls ---


def everything(ops, dtype):
    x, dy = normal((3, 37, 4000), dtype), normal((3, 37, 4000), dtype, 1)
    out, found = np.empty_like(x), []
    rows, long = x.reshape(-1, 37), x.reshape(3, -1)
    flat = [x.reshape(-1), dy.reshape(-1), x.reshape(-1)[::-1].copy()]
    winner = np.empty(x.size, np.int32)
    index = np.random.default_rng(2).integers(0, len(rows), len(rows))

    def keep(*arrays):
        found.extend(array.copy() for array in arrays)

    for view in ((3, 37, 4000), (12_000, 37, 1)):
        ops.softmax(x.reshape(view), out.reshape(view))
        keep(out)
        ops.softmax_backward(x.reshape(view), dy.reshape(view), out.reshape(view))
        keep(out)
    ops.weighted_sum(flat, [1.0, 0.3, -0.7], out.reshape(-1), 0.1)
    keep(out)
    ops.product(flat, out.reshape(-1))
    keep(out)
    ops.maximum(flat, out.reshape(-1), winner)
    keep(out, winner)
    ops.maximum_backward(flat[1], winner, 1, out.reshape(-1))
    keep(out)
    sums = np.empty(3, dtype)
    for terms in TERMS:
        ops.reduce_rows(terms, long, sums, 0.3)
        keep(sums)
        ops.reduce_rows_backward(terms, long, sums, out.reshape(3, -1), 0.3)
        keep(out)
    places = np.empty((3, 5, 4000), dtype)
    ops.top_values(x, places, None)
    keep(places)
    gathered, added = np.empty_like(rows), np.zeros_like(rows)
    ops.take_rows(rows, index, gathered)
    ops.add_rows(rows, index, added)
    wide = np.zeros((5, 4000), dtype)
    ops.add_rows(x.reshape(-1, 4000), np.arange(111) % 5, wide)
    ops.copy_columns(long, 1000, out.reshape(3, -1), 0, 100_000)
    keep(gathered, added, wide, out)
    ops.swap_axes(x.reshape(3, 37, 4000, 1), out.reshape(3, 4000, 37, 1))
    keep(out)
    ops.scale_add(sums, long, dy.reshape(3, -1), out.reshape(3, -1))
    keep(out)
    return found


@DTYPES
def test_threads_change_no_bit(dtype):
    alone = everything(CpuOps(1), dtype)
    for threads in (2, 3):
        for ours, reference in zip(everything(CpuOps(threads), dtype), alone, strict=True):
            np.testing.assert_array_equal(ours, reference)


@DTYPES
def test_builds_change_no_bit(dtype, monkeypatch):
    from caffenorm.backends.cpu import tensor

    found = []
    for build in [b for b in _kernels.available_builds() if _kernels._is_compiled(b, "tensor")]:
        module = importlib.import_module(f"caffenorm._kernels.{build}.tensor")
        monkeypatch.setattr(tensor, "kernels", lambda family, module=module: module)
        tensor._kernel.cache_clear()
        found.append(everything(CpuOps(1), dtype))
    tensor._kernel.cache_clear()
    for others in found[1:]:
        for ours, reference in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(ours, reference)


def test_what_does_not_fit_is_refused_before_anything_is_read():
    ops, x, y = CpuOps(1), np.zeros((2, 3, 4)), np.zeros((2, 3, 5))
    with pytest.raises(ValueError, match="arrays of 30 and 24 values"):
        ops.softmax(x, y)
    with pytest.raises(ValueError, match="arrays of 30 and 24 values"):
        ops.softmax_backward(x, x, y)
    for op in (lambda *a: ops.weighted_sum(a[0], None, a[1]), ops.product, ops.maximum):
        with pytest.raises(ValueError, match="arrays of 30 and 24 values"):
            op([x, y], x.copy())
        with pytest.raises(ValueError, match="no operands"):
            op([], x.copy())
    with pytest.raises(ValueError, match="arrays of 1 and 2 values"):
        ops.weighted_sum([x, x], [1.0], x.copy())
    with pytest.raises(ValueError, match="arrays of 2 and 24 values"):
        ops.maximum([x], x.copy(), np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="arrays of 3 and 2 values"):
        ops.reduce_rows("values", np.zeros((2, 5)), np.zeros(3), 1.0)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"{k} of 3 values"):
            ops.top_values(x, np.zeros((2, k, 4)), None)
    with pytest.raises(ValueError, match="3 columns from 2 of 4, to 0 of 4"):
        ops.copy_columns(np.zeros((1, 4)), 2, np.zeros((1, 4)), 0, 3)
    with pytest.raises(ValueError, match="arrays of 4 and 6 values"):
        ops.swap_axes(np.zeros((1, 2, 3, 1)), np.zeros((1, 2, 2, 1)))
    with pytest.raises(ValueError, match="arrays of 3 and 2 values"):
        ops.scale_add(np.zeros(3), np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)))
