"""Channel ops against float64 definitions; places, special values, threads, builds, ill-shaped arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_cases import SHAPES, Guarded, builds, same_bits, shapes, use_build

from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
DTYPE = st.sampled_from([np.float32, np.float64])
INF, NAN = np.inf, np.nan


def numbers(shape, dtype, seed, count=2, offset=1):
    """Guarded arrays of that shape, their float64 values, and a maker of more."""
    make, rng = Guarded(dtype, offset), np.random.default_rng(seed)
    arrays = [make(rng.normal(size=shape)) for _ in range(count)]
    return make, rng, arrays, [np.asarray(a, np.float64) for a in arrays]


def close(found, expected, dtype, sizes=1.0):
    """`sizes`: of what was added up."""
    error = np.abs(np.asarray(found, np.float64) - expected)
    assert (error <= (2e-6 if dtype == np.float32 else 4e-15) * (np.abs(expected) + sizes)).all()


@given(shapes(), DTYPE, st.integers(0, 3), st.integers(0, 99), st.integers(1, 3), st.booleans())
def test_scale_and_add(shape, dtype, offset, seed, threads, in_place):
    make, rng, (x,), (exact,) = numbers(shape, dtype, seed, 1, offset)
    gamma, beta = make(rng.normal(size=shape[1])), make(rng.normal(size=shape[1]))
    g, b, ops = np.asarray(gamma, np.float64)[:, None], np.asarray(beta, np.float64)[:, None], CpuOps(threads)

    def result(op):
        operand = make(x)
        y = operand if in_place else make(np.zeros(shape))
        op(operand, y)
        return y

    close(result(lambda x, y: ops.scale_channels(x, gamma, y)), g * exact, dtype)
    close(result(lambda x, y: ops.scale_channels(x, gamma, y, beta)), g * exact + b, dtype)
    close(result(lambda x, y: ops.add_channels(x, beta, y)), exact + b, dtype)
    close(result(lambda x, y: ops.scale_backward_input(x, gamma, y)), g * exact, dtype)
    make.check()


@given(shapes(), DTYPE, st.integers(0, 3), st.integers(0, 99), st.integers(1, 3), st.booleans())
def test_sums_and_products(shape, dtype, offset, seed, threads, accumulate):
    make, _, (a, b), (x, y) = numbers(shape, dtype, seed, 2, offset)
    total, dot, ops = make(np.ones(shape[1])), make(np.ones(shape[1])), CpuOps(threads)

    ops.channel_sum(a, total, accumulate)
    ops.channel_dot(a, b, dot, accumulate)

    close(total, x.sum((0, 2)) + accumulate, dtype, np.abs(x).sum((0, 2)) + 1)
    close(dot, (x * y).sum((0, 2)) + accumulate, dtype, np.abs(x * y).sum((0, 2)) + 1)
    make.check()


@given(shapes(), DTYPE, st.integers(0, 3), st.integers(0, 99), st.integers(1, 3), st.booleans(),
       st.sampled_from(["dx", "x", "dy"]))  # fmt: skip
def test_prelu(shape, dtype, offset, seed, threads, shared, place):
    make, rng, (x, dy), (exact, exact_dy) = numbers(shape, dtype, seed, 2, offset)
    slope = make(rng.normal(size=1 if shared else shape[1]))
    s, ops = np.asarray(slope, np.float64)[:, None], CpuOps(threads)
    y, dslope = make(np.zeros(shape)), make(np.ones(slope.shape))
    out = {"dx": make(np.zeros(shape)), "x": make(x), "dy": make(dy)}
    operand, gradient = (out[place] if place == name else array for name, array in (("x", x), ("dy", dy)))
    negative = exact_dy * np.minimum(exact, 0)
    axes = None if shared else (0, 2)

    ops.prelu_forward(x, slope, y)
    ops.prelu_backward_slope(x, dy, dslope)
    ops.prelu_backward(operand, gradient, slope, out[place])

    close(y, np.where(exact > 0, exact, s * exact), dtype)
    close(out[place], np.where(exact > 0, exact_dy, s * exact_dy), dtype)
    close(dslope, negative.sum(axes) + 1, dtype, np.abs(negative).sum(axes) + 1)
    make.check()


@DTYPES
@pytest.mark.parametrize("shape", [(4, 3, 40), (40, 3, 1)])
def test_prelu_treats_zero_and_nan_as_caffe_does(dtype, shape):
    x, dy, y, dx = np.zeros((4, *shape), dtype)
    x[0, 0, 0], x[1, 0, 0], x[2, 0, 0], dy[...] = NAN, INF, -INF, 3
    slope, dslope, ops = np.full(3, 0.5, dtype), np.zeros(3, dtype), CpuOps(1)

    ops.prelu_forward(x, slope, y)
    ops.prelu_backward(x, dy, slope, dx)
    ops.prelu_backward_slope(x, dy, dslope)

    np.testing.assert_array_equal(y[:3, 0, 0], [NAN, INF, -INF])
    np.testing.assert_array_equal(dx[:4, 0, 0], [0, 3, 1.5, 1.5])
    np.testing.assert_array_equal(dslope, [NAN, 0, 0])


@DTYPES
@pytest.mark.parametrize("shape", [(4, 3, 400), (40, 3, 1)])
def test_nan_and_infinity_stay_in_their_channel(dtype, shape):
    a, ones, out = np.ones(shape, dtype), np.ones(shape, dtype), np.zeros(3, dtype)
    a[-1, 0, -1], a[0, 1, 0] = NAN, INF

    CpuOps(2).channel_sum(a, out, False)
    np.testing.assert_array_equal(out, [NAN, INF, shape[0] * shape[2]])
    CpuOps(2).channel_dot(a, ones, out, False)
    np.testing.assert_array_equal(out, [NAN, INF, shape[0] * shape[2]])


def everything(ops, dtype):
    found, rng = [], np.random.default_rng(3)
    for shape in SHAPES:
        x, dy, y = rng.normal(size=(3, *shape)).astype(dtype)
        gamma, beta, total, dot, dslope = rng.normal(size=(5, shape[1])).astype(dtype)
        one = np.zeros(1, dtype)
        ops.channel_sum(x, total, True)
        ops.channel_dot(x, dy, dot, False)
        ops.prelu_backward_slope(x, dy, dslope)
        ops.prelu_backward_slope(x, dy, one)
        found += [total, dot, dslope, one]
        for op in (
            lambda x, y, g=gamma, b=beta: ops.scale_channels(x, g, y, b),
            lambda x, y, b=beta: ops.add_channels(x, b, y),
            lambda x, y, g=gamma: ops.prelu_forward(x, g, y),
            lambda x, y, g=gamma, dy=dy: ops.prelu_backward(x, dy, g, y),
        ):
            op(x, y)
            found.append(y.copy())
    return found


@DTYPES
def test_threads_and_builds_change_no_bit(dtype, monkeypatch):
    alone = everything(CpuOps(1), dtype)

    assert same_bits(everything(CpuOps(2), dtype), alone)
    assert same_bits(everything(CpuOps(4), dtype), alone)
    for build in builds():
        use_build(build, monkeypatch)
        assert same_bits(everything(CpuOps(3), dtype), alone), build


@DTYPES
@pytest.mark.parametrize("offset", [0, 1])
def test_large_results_that_bypass_the_caches_are_the_same(dtype, offset):
    shape = (3, 4, 400_000)
    x, y = (CpuOps(1).empty(4_800_000 + offset, np.dtype(dtype))[offset:].reshape(shape) for _ in range(2))
    x[...] = np.random.default_rng(0).normal(size=shape)
    gamma = np.arange(1, 5).astype(dtype)

    CpuOps(2).scale_channels(x, gamma, y)

    np.testing.assert_array_equal(y, x * gamma[:, None])


@DTYPES
@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5), (4, 3, 0)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_empty_arrays(dtype, shape, accumulate):
    x, ops, c = np.zeros(shape, dtype), CpuOps(2), np.ones(shape[1], dtype)
    total, dot = np.ones((2, shape[1]), dtype)

    ops.scale_channels(x, c, x, c)
    ops.add_channels(x, c, x)
    ops.channel_sum(x, total, accumulate)
    ops.channel_dot(x, x, dot, accumulate)
    ops.prelu_forward(x, c, x)
    ops.prelu_backward(x, x, c, x)

    np.testing.assert_array_equal([total, dot], float(accumulate))


X, WRONG, C = np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), np.zeros(3)
BAD = [
    ("y", lambda ops: ops.scale_channels(X, C, WRONG)),
    ("gamma", lambda ops: ops.scale_channels(X, C[:2], X)),
    ("beta", lambda ops: ops.add_channels(X, np.zeros(4), X)),
    ("b", lambda ops: ops.channel_dot(X, WRONG, C, False)),
    ("out", lambda ops: ops.channel_sum(X, C[:2], False)),
    ("slope", lambda ops: ops.prelu_forward(X, C[:2], X)),
    ("slope", lambda ops: ops.prelu_forward(X, C[:0], X)),
    ("dx", lambda ops: ops.prelu_backward(X, X, C, WRONG)),
    ("dy", lambda ops: ops.prelu_backward(X, WRONG, C, X)),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_an_array_that_does_not_fit_is_named(name, call):
    with pytest.raises(ShapeError, match=f"^{name} has"):
        call(CpuOps(1))


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="int64"):
        CpuOps(1).scale_channels(X.astype(np.int64), C, X)
    with pytest.raises(ValueError, match="dtype"):
        CpuOps(1).scale_channels(X, C.astype(np.float32), X)
