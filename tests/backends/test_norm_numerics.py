"""Batch normalisation of difficult numbers: far from 0, leaping, constant, NaN, inf, none; bad arrays."""

from __future__ import annotations

import numpy as np
import pytest
from norm_cases import two_pass

from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Rows of several lengths, columns, columns of few channels.
KINDS = pytest.mark.parametrize(
    "shape", [(32, 3, 3136), (64, 5, 49), (2, 3, 90_000), (4096, 40, 1), (9000, 3, 1)]
)
INF, NAN = np.inf, np.nan


def statistics(x):
    mean, var = np.full((2, x.shape[1]), 7, x.dtype)
    CpuOps(2).batch_norm_statistics(x, mean, var)
    return mean, var


def train(x, eps=1e-5, **options):
    y, (mean, var, inv_std) = np.full_like(x, 7), np.full((3, x.shape[1]), 7, x.dtype)
    CpuOps(2).batch_norm_train(x, y, mean, var, inv_std, eps, **options)
    return y, mean, var, inv_std


@KINDS
@pytest.mark.parametrize(("offset", "digits"), [(0, 1e-6), (1e4, 1e-5), (-1e6, 1e-5)])
def test_variance_of_data_far_from_zero(shape, offset, digits):
    x = np.random.default_rng(0).normal(offset, 1, shape).astype(np.float32)
    expected_mean, expected_var = two_pass(x)

    mean, var = statistics(x)

    np.testing.assert_allclose(var, expected_var, rtol=digits)
    np.testing.assert_allclose(mean, expected_mean, rtol=1.2e-7, atol=1e-7)


@KINDS
@pytest.mark.parametrize("first", ["value", "row", "half"])
def test_variance_of_data_that_leaps(shape, first):
    """What comes first tells nothing of the rest: zeros in front of values about 1e4."""
    x = np.random.default_rng(1).normal(1e4, 1, shape).astype(np.float32)
    if first == "value":
        x[0, :, 0] = 0
    elif first == "row":
        x[0] = 0
    else:
        x[: max(1, shape[0] // 2)] = 0
    _, expected = two_pass(x)

    _, var = statistics(x)

    np.testing.assert_allclose(var, expected, rtol=1e-5)


@KINDS
def test_a_ramp_keeps_its_variance(shape):
    x = np.linspace(-1e3, 1e6, np.prod(shape), dtype=np.float32).reshape(shape)

    mean, var = statistics(x)

    np.testing.assert_allclose(var, two_pass(x)[1], rtol=1e-5)
    np.testing.assert_allclose(mean, two_pass(x)[0], rtol=1e-6)


@DTYPES
@KINDS
def test_constant_channels_have_no_variance_at_all(dtype, shape):
    x = np.broadcast_to(np.array([1e5, 0.1, -3.3] + [7] * 40)[: shape[1], None], shape).astype(
        dtype, order="C"
    )

    y, mean, var, inv_std = train(x)

    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(mean, x[0, :, 0])
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(inv_std, np.asarray(1 / np.sqrt(1e-5), dtype))


@DTYPES
def test_without_eps_a_constant_is_not_a_number(dtype):
    y, _, var, inv_std = train(np.full((4, 2, 20), 3, dtype), eps=0.0)

    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(inv_std, INF)
    assert np.isnan(y).all()


@DTYPES
def test_one_value_is_its_own_mean(dtype):
    y, mean, var, _ = train(np.array([[[5], [-2]]], dtype))

    np.testing.assert_array_equal(mean, [5, -2])
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(y, 0)


@DTYPES
@KINDS
@pytest.mark.parametrize("at", [0, -1])
def test_nan_and_infinity_stay_in_their_channel(dtype, shape, at):
    x = np.random.default_rng(2).normal(size=shape).astype(dtype)
    clean, *_ = train(x)
    x[at, 0, at], x[at, 1, at] = NAN, INF

    with np.errstate(invalid="ignore"):
        y, mean, var, inv_std = train(x, gamma=np.ones(shape[1], dtype), slope=0.0)
        clean = np.maximum(clean, 0)

    np.testing.assert_array_equal(mean[:2], [NAN, INF])
    np.testing.assert_array_equal(np.isnan([var, inv_std]).sum(0), [2, 2] + [0] * (shape[1] - 2))
    assert np.isnan(y[:, :2]).all()
    np.testing.assert_array_equal(y[:, 2:], clean[:, 2:])


def test_infinities_of_both_signs_have_no_mean():
    x = np.zeros((2, 1, 40), np.float32)
    x[0, 0, 3], x[1, 0, 30] = INF, -INF

    mean, var = statistics(x)

    assert np.isnan(mean).all()
    assert np.isnan(var).all()


def test_a_variance_that_overflows_is_infinite_and_its_output_zero():
    x = np.random.default_rng(3).normal(0, 1e25, (4, 2, 100)).astype(np.float32)

    y, mean, var, inv_std = train(x)

    np.testing.assert_array_equal(var, INF)
    np.testing.assert_array_equal(inv_std, 0)
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_allclose(mean, two_pass(x)[0], rtol=1e-4)


@DTYPES
def test_the_activation_treats_zero_nan_and_infinity_as_caffe_does(dtype):
    """max(z, 0) + slope * min(z, 0), and (z > 0) + slope * (z <= 0) as its derivative."""
    z, slope = np.array([[[2, 0, -2, NAN, INF, -INF] * 4]], dtype), dtype(0.5)
    zero, one = np.zeros(1, dtype), np.ones(1, dtype)
    y, dx, dslope = np.zeros_like(z), np.zeros_like(z), np.zeros(1, dtype)

    ops = CpuOps(1)
    ops.batch_norm_apply(z, y, zero, one, slope=0.5)
    ops.batch_norm_backward(z, np.full_like(z, 3), dx, zero, one, slope=0.5, use_global_stats=True)
    ops.batch_norm_backward(
        z[:, :, :3].copy(), np.full((1, 1, 3), 3, dtype), None, zero, one, slope=slope * one, dslope=dslope
    )

    np.testing.assert_array_equal(y[0, 0, :6], np.array([2, 0, -1, NAN, INF, -INF]))
    np.testing.assert_array_equal(dx[0, 0, :6], [3, 1.5, 1.5, 0, 3, 1.5])
    np.testing.assert_array_equal(dslope, -6)


def test_relu_of_minus_infinity_is_not_a_number_as_in_caffe():
    z, y = np.full((1, 1, 5), -INF, np.float32), np.zeros((1, 1, 5), np.float32)

    CpuOps(1).batch_norm_apply(z, y, np.zeros(1, np.float32), np.ones(1, np.float32), slope=0.0)

    assert np.isnan(y).all()


@DTYPES
@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5), (4, 3, 0)])
def test_empty_arrays(dtype, shape):
    x, ops = np.zeros(shape, dtype), CpuOps(2)
    dgamma = np.ones(shape[1], dtype)

    y, mean, var, inv_std = train(x)
    ops.batch_norm_apply(x, y, mean, inv_std)
    ops.batch_norm_backward(x, y, y, mean, inv_std, dgamma=dgamma)
    sums = np.ones((2, shape[1]))
    ops.batch_norm_backward_sums(x, y, mean, inv_std, *sums)
    moments = np.ones((2, shape[1]))
    ops.batch_norm_moments(x, *moments)

    for zeros in (mean, var, sums, moments):
        np.testing.assert_array_equal(zeros, 0)
    np.testing.assert_array_equal(dgamma, 1)


def test_inverse_std_in_place():
    var = np.array([4, 0, 1], np.float32)

    CpuOps(1).inverse_std(var, var, 0.0)

    np.testing.assert_array_equal(var, [0.5, INF, 1])


X, C = np.zeros((2, 3, 4), np.float32), np.zeros(3, np.float32)
WRONG = np.zeros((2, 3, 5), np.float32)
BAD = {
    "y": lambda ops: ops.batch_norm_train(X, WRONG, C, C, C, 1e-5),
    "x_hat": lambda ops: ops.batch_norm_apply(X, X, C, C, x_hat=WRONG),
    "mean": lambda ops: ops.batch_norm_apply(X, X, C[:2], C),
    "inv_std": lambda ops: ops.batch_norm_train(X, X, C, C, C[:2], 1e-5),
    "var": lambda ops: ops.batch_norm_statistics(X, C, C[:2]),
    "gamma": lambda ops: ops.batch_norm_apply(X, X, C, C, gamma=np.zeros(4, np.float32)),
    "beta": lambda ops: ops.batch_norm_apply(X, X, C, C, beta=C[:1]),
    "slope": lambda ops: ops.batch_norm_apply(X, X, C, C, slope=C[:2]),
    "dy": lambda ops: ops.batch_norm_backward(X, WRONG, X, C, C),
    "dx": lambda ops: ops.batch_norm_backward(X, X, WRONG, C, C),
    "dgamma": lambda ops: ops.batch_norm_backward(X, X, X, C, C, dgamma=C[:2]),
    "dslope": lambda ops: ops.batch_norm_backward(X, X, X, C, C, slope=0.0, dslope=C[:2]),
    "m2": lambda ops: ops.batch_norm_moments(X, np.zeros(3), np.zeros(2)),
    "sum_g": lambda ops: ops.batch_norm_backward_sums(X, X, C, C, np.zeros(2), np.zeros(3)),
    "mean_g_x_hat": lambda ops: ops.batch_norm_backward_apply(X, X, X, C, C, np.zeros(3), np.zeros(4)),
}


@pytest.mark.parametrize("name", BAD)
def test_an_array_that_does_not_fit_is_named(name):
    with pytest.raises(ShapeError, match=f"^{name} has"):
        BAD[name](CpuOps(1))


def test_other_types_and_layouts_are_refused():
    ops = CpuOps(1)
    with pytest.raises(TypeError, match="float16"):
        ops.batch_norm_statistics(X.astype(np.float16), C, C)
    with pytest.raises(ValueError, match="dtype"):
        ops.batch_norm_statistics(X, C.astype(np.float64), C)
    with pytest.raises(ValueError, match="contiguous"):
        ops.batch_norm_statistics(X[:, :, ::2], C, C)
    with pytest.raises(ValueError, match="dimensions"):
        ops.batch_norm_statistics(X[0], C, C)
