"""Instance, group and layer norm ops against PyTorch's autograd of the definition; threads, builds."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_cases import Guarded, builds, same_bits, use_build

from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EPS = 1e-3
# (samples, groups, channels a group, inner): runs and weighted, short and long, few and many rows.
SHAPES = [
    (1, 1, 1, 1), (2, 3, 2, 1), (130, 1, 100, 1), (3, 1, 768, 1), (2, 2, 700, 9), (9, 40, 1, 15),
    (2, 4, 3, 16), (3, 6, 1, 49), (2, 32, 2, 196), (2, 1, 3, 5000), (1, 2, 1, 9000), (1, 1, 1, 140_000),
    (70, 3, 11, 4),
]  # fmt: skip
CASES = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(1, 60)),
    st.sampled_from(SHAPES[:-2]),
)


def definition(torch, x, dy, groups, gamma, beta):
    """y, mean, var and the gradients of x, gamma and beta, in float64."""

    def leaf(a):
        return torch.tensor(np.asarray(a, np.float64), requires_grad=True)

    x, gamma, beta = leaf(x), leaf(gamma), leaf(beta)
    rows = x.reshape(x.shape[0] * groups, -1)
    mean = rows.mean(1)
    var = ((rows - mean[:, None]) ** 2).mean(1)
    x_hat = ((rows - mean[:, None]) / torch.sqrt(var + EPS)[:, None]).reshape(x.shape)
    y = gamma[:, None] * x_hat + beta[:, None]
    y.backward(torch.from_numpy(np.asarray(dy, np.float64)))
    return [t.detach().numpy() for t in (y, mean, var, x.grad, gamma.grad, beta.grad)]


@pytest.mark.torch
@given(
    case=CASES,
    dtype=st.sampled_from([np.float32, np.float64]),
    affine=st.sampled_from(["", "g", "b", "gb"]),
    offset=st.integers(0, 3),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
    place=st.sampled_from(["", "x", "dy"]),
)
def test_forward_and_backward_are_the_definition(case, dtype, affine, offset, seed, threads, place):
    samples, groups, each, inner = case
    shape, rows = (samples, groups * each, inner), samples * groups
    make, rng, ops = Guarded(dtype, offset), np.random.default_rng(seed), CpuOps(threads)
    x, dy = make(rng.normal(1, 2, shape)), make(rng.normal(size=shape))
    gamma = make(rng.normal(size=shape[1])) if "g" in affine else None
    beta = make(rng.normal(size=shape[1])) if "b" in affine else None
    y, mean, var, dx, dgamma, dbeta = definition(
        importlib.import_module("torch"), x, dy, groups, np.ones(shape[1]) if gamma is None else gamma,
        np.zeros(shape[1]) if beta is None else beta,
    )  # fmt: skip
    found_y = make(x)
    statistics = [make(np.zeros(rows)) for _ in range(3)]
    sums = [make(np.ones(shape[1])) for _ in range(2)]

    ops.group_norm_train(found_y if place else x, found_y, *statistics, groups, EPS, gamma=gamma, beta=beta)
    out = {"": make(np.zeros(shape)), "x": x, "dy": dy}[place]
    sizes = np.abs(dy.astype(np.float64)).sum((0, 2)) + 1
    ops.group_norm_backward(
        x, dy, out, statistics[0], statistics[2], groups, gamma=gamma, dgamma=sums[0], dbeta=sums[1]
    )

    unit = 1e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(statistics[0], mean, rtol=5 * unit, atol=5 * unit)
    np.testing.assert_allclose(statistics[1], var, rtol=5 * unit, atol=1e-30)
    np.testing.assert_allclose(statistics[2], 1 / np.sqrt(var + EPS), rtol=5 * unit)
    np.testing.assert_allclose(found_y, y, rtol=5 * unit, atol=100 * unit)
    np.testing.assert_allclose(out, dx, rtol=30 * unit, atol=1000 * unit)
    assert (np.abs(sums[0] - 1 - dgamma) <= 100 * unit * sizes).all()
    assert (np.abs(sums[1] - 1 - dbeta) <= 5 * unit * sizes).all()
    make.check()


@DTYPES
def test_sums_alone_leave_everything_else(dtype):
    x, dy = np.random.default_rng(0).normal(size=(2, 3, 4, 30)).astype(dtype)
    mean, var, inv_std, dgamma, dbeta = np.zeros(12, dtype), *np.zeros((4, 12), dtype)
    ops, before = CpuOps(2), dy.copy()
    ops.group_norm_train(x, np.zeros_like(x), mean, var, inv_std, 4, EPS)

    ops.group_norm_backward(x, dy, None, mean, inv_std, 4, dbeta=dbeta[:4], dgamma=dgamma[:4])

    np.testing.assert_array_equal(dy, before)
    np.testing.assert_allclose(dbeta[:4], dy.sum((0, 2)), atol=1e-5)


def everything(ops, dtype):
    found, rng = [], np.random.default_rng(3)
    for samples, groups, each, inner in SHAPES:
        shape = (samples, groups * each, inner)
        x, dy, y, dx = rng.normal(1, 2, (4, *shape)).astype(dtype)
        gamma, beta, dgamma, dbeta = rng.normal(size=(4, shape[1])).astype(dtype)
        mean, var, inv_std = np.zeros((3, samples * groups), dtype)
        ops.group_norm_train(x, y, mean, var, inv_std, groups, EPS, gamma=gamma, beta=beta)
        ops.group_norm_backward(x, dy, dx, mean, inv_std, groups, gamma=gamma, dgamma=dgamma, dbeta=dbeta)
        found += [y, mean, var, inv_std, dx, dgamma, dbeta]
    return found


@DTYPES
def test_threads_and_builds_change_no_bit(dtype, monkeypatch):
    alone = everything(CpuOps(1), dtype)

    assert same_bits(everything(CpuOps(2), dtype), alone)
    assert same_bits(everything(CpuOps(4), dtype), alone)
    for build in builds():
        use_build(build, monkeypatch)
        assert same_bits(everything(CpuOps(3), dtype), alone), build


@pytest.mark.parametrize("inner", [1, 64])
def test_variance_of_rows_far_from_zero(inner):
    x = np.random.default_rng(0).normal(1e4, 1, (6, 512, inner)).astype(np.float32)
    mean, var, inv_std = np.zeros((3, 6), np.float32)

    CpuOps(2).group_norm_train(x, np.zeros_like(x), mean, var, inv_std, 1, EPS)

    np.testing.assert_allclose(var, x.astype(np.float64).var((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("inner", [3, 30])
def test_nan_stays_in_its_group(inner):
    x = np.random.default_rng(0).normal(size=(2, 6, inner)).astype(np.float32)
    clean, y = np.zeros((2, *x.shape), np.float32)
    mean, var, inv_std = np.zeros((3, 6), np.float32)
    CpuOps(1).group_norm_train(x, clean, mean, var, inv_std, 3, EPS)
    x[0, 2, 1] = np.nan

    CpuOps(1).group_norm_train(x, y, mean, var, inv_std, 3, EPS)

    assert np.isnan(y[0, 2:4]).all()
    y[0, 2:4] = clean[0, 2:4]
    np.testing.assert_array_equal(y, clean)


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 4, 0), (3, 0, 5)])
def test_empty_arrays(shape):
    x, (mean, var, inv_std) = np.zeros(shape), np.ones((3, shape[0] * 2))

    CpuOps(2).group_norm_train(x, x, mean, var, inv_std, 2, EPS)
    CpuOps(2).group_norm_backward(x, x, x, mean, inv_std, 2, dgamma=np.zeros(shape[1]))

    np.testing.assert_array_equal([mean, var], 0)


def test_what_does_not_fit_is_refused():
    x, rows, ops = np.zeros((2, 4, 3)), np.zeros(4), CpuOps(1)
    with pytest.raises(ShapeError, match="3 groups do not divide 4 channels"):
        ops.group_norm_train(x, x, rows, rows, rows, 3, EPS)
    with pytest.raises(ShapeError, match="0 groups"):
        ops.group_norm_train(x, x, rows, rows, rows, 0, EPS)
    with pytest.raises(ShapeError, match="var has 3 values, expected 4"):
        ops.group_norm_train(x, x, rows, rows[:3], rows, 2, EPS)
    with pytest.raises(ShapeError, match="gamma has 3 values, expected 4"):
        ops.group_norm_train(x, x, rows, rows, rows, 2, EPS, gamma=rows[:3])
    with pytest.raises(ShapeError, match="2 x 4 x 2"):
        ops.group_norm_backward(x, x[:, :, :2].copy(), x, rows, rows, 2)
    with pytest.raises(ShapeError, match="dgamma has 1 values, expected 4"):
        ops.group_norm_backward(x, x, x, rows, rows, 2, dgamma=rows[:1])
