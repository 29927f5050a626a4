"""Stored statistics: the ops of the family statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import _kernels
from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError

DTYPES = st.sampled_from([np.float32, np.float64])


def vectors(count, channels, dtype, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2, (count, channels)).astype(dtype)


@given(
    dtype=DTYPES,
    channels=st.integers(0, 70),
    keep=st.sampled_from([0.0, 0.25, 0.999, 1.0]),
    weights=st.sampled_from([(1.0, 1.0), (1.0, 1.1), (0.001, 0.0011)]),
    counts=st.booleans(),
)
def test_store_rounds_each_product_and_sum_to_the_dtype(dtype, channels, keep, weights, counts):
    mean, var, stored_mean, stored_var = vectors(4, channels, dtype)
    factor = np.array([3.7], dtype)
    k, wm, wv = (dtype(value) for value in (keep, *weights))
    expected = k * stored_mean + wm * mean, k * stored_var + wv * var, k * factor + dtype(1)

    CpuOps(1).store_statistics(mean, var, stored_mean, stored_var, factor if counts else None, keep, *weights)

    np.testing.assert_array_equal(stored_mean, expected[0])
    np.testing.assert_array_equal(stored_var, expected[1])
    assert factor == (expected[2] if counts else dtype(3.7))


@given(dtype=DTYPES, channels=st.integers(0, 70), factor=st.sampled_from([1.0, 3.0, 999.982, -2.0]))
def test_read_multiplies_by_the_reciprocal(dtype, channels, factor):
    mean_sum, var_sum, mean, var = vectors(4, channels, dtype)
    reciprocal = dtype(1) / dtype(factor)

    CpuOps(1).read_statistics(mean_sum, var_sum, np.array([factor], dtype), mean, var)

    np.testing.assert_array_equal(mean, reciprocal * mean_sum)
    np.testing.assert_array_equal(var, reciprocal * var_sum)


@pytest.mark.parametrize(("factor", "expected"), [(0.0, 0.0), (-0.0, 0.0), (np.inf, 0.0), (np.nan, np.nan)])
def test_read_by_a_factor_that_is_no_number_of_batches(factor, expected):
    mean, var = np.full((2, 3), 7.0)
    CpuOps(1).read_statistics(np.ones(3), np.ones(3), np.array([factor]), mean, var)
    np.testing.assert_array_equal(mean, expected)
    np.testing.assert_array_equal(var, expected)


def test_all_builds_give_the_same_bits():
    found = []
    for build in _kernels.available_builds():
        module = pytest.importorskip(f"caffenorm._kernels.{build}.statistics")
        mean, var, stored_mean, stored_var, read_mean, read_var = vectors(6, 1001, np.float32)
        factor = np.array([3.7], np.float32)
        module.store_statistics["float"](mean, var, stored_mean, stored_var, factor, 0.999, 1.0, 1.001)
        module.read_statistics["float"](stored_mean, stored_var, factor, read_mean, read_var)
        found.append(np.concatenate([stored_mean, stored_var, factor, read_mean, read_var]).tobytes())
    assert len(set(found)) == 1


def test_what_does_not_fit_is_refused():
    two, three, one = np.ones(2), np.ones(3), np.ones(1)
    ops = CpuOps(1)
    for arrays in [(two, three, two, two), (two, two, three, two), (two, two, two, three)]:
        with pytest.raises(ShapeError, match="has 3 values, expected 2"):
            ops.store_statistics(*arrays, one, 1.0)
        mean, var, mean_sum, var_sum = arrays
        with pytest.raises(ShapeError, match="has 3 values, expected 2"):
            ops.read_statistics(mean_sum, var_sum, one, mean, var)
    with pytest.raises(ShapeError, match="factor has 2 values"):
        ops.store_statistics(two, two, two, two, two, 1.0)
    with pytest.raises((TypeError, ValueError)):
        ops.store_statistics(two, two, two.astype(np.float32), two, one, 1.0)
    with pytest.raises(TypeError, match="expected float32 or float64"):
        ops.store_statistics(two.astype(int), two, two, two, one, 1.0)
