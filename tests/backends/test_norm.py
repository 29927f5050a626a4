"""Batch normalisation ops against float64 definitions and PyTorch; places, threads, builds."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_cases import SHAPES, Guarded, act, builds, same_bits, shapes, two_pass, use_build

from caffenorm.backends.cpu import CpuOps

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
OPTIONS = {
    "shape": shapes(),
    "dtype": st.sampled_from([np.float32, np.float64]),
    "affine": st.sampled_from(["", "gamma", "beta", "gamma beta"]),
    "slope": st.sampled_from([None, "number", "array"]),
    "offset": st.integers(0, 3),
    "seed": st.integers(0, 999),
}
EPS = 1e-3


def tolerance(dtype, of=1.0):
    return of * (3e-6 if dtype == np.float32 else 1e-13)


def parameters(channels, affine, slope, make, rng):
    """Keyword arguments of the ops, and (gamma, beta, slope) as float64 values one a channel."""
    values = {"gamma": rng.normal(size=channels), "beta": rng.normal(size=channels)}
    given_ = {name: make(values[name]) for name in affine.split()}
    slopes = None if slope is None else 0.25 if slope == "number" else make(rng.normal(size=channels))
    gamma = np.asarray(given_.get("gamma", np.ones(channels)), np.float64)[:, None]
    beta = np.asarray(given_.get("beta", np.zeros(channels)), np.float64)[:, None]
    return {**given_, "slope": slopes}, (gamma, beta, slopes)


def train(x, eps=EPS, threads=1, **options):
    """y, mean, var and inv_std, of arrays of their own."""
    y, (mean, var, inv_std) = np.full_like(x, 7), np.full((3, x.shape[1]), 7, x.dtype)
    CpuOps(threads).batch_norm_train(x, y, mean, var, inv_std, eps, **options)
    return y, mean, var, inv_std


@given(**OPTIONS, threads=st.integers(1, 3), in_place=st.booleans(), keep=st.booleans())
def test_train_is_the_definition(shape, dtype, affine, slope, offset, seed, threads, in_place, keep):
    make, rng = Guarded(dtype, offset), np.random.default_rng(seed)
    x = make(rng.normal(rng.normal(), 2, shape))
    options, (gamma, beta, slopes) = parameters(shape[1], affine, slope, make, rng)
    mean, var = two_pass(x)
    x_hat = (x.astype(np.float64) - mean[:, None]) / np.sqrt(var + EPS)[:, None]
    expected = act(gamma * x_hat + beta, slopes)
    y = x if in_place else make(np.zeros(shape))
    found = [make(np.zeros(shape[1])) for _ in range(3)]
    hat = make(np.zeros(shape)) if keep else None

    CpuOps(threads).batch_norm_train(x, y, *found, EPS, **options, x_hat=hat)

    np.testing.assert_allclose(found[0], mean, rtol=tolerance(dtype), atol=tolerance(dtype, 2))
    np.testing.assert_allclose(
        found[1], var, rtol=tolerance(dtype, 2), atol=0 if shape[0] * shape[2] > 1 else 1e-30
    )
    np.testing.assert_allclose(found[2], 1 / np.sqrt(var + EPS), rtol=tolerance(dtype, 2))
    np.testing.assert_allclose(y, expected, rtol=tolerance(dtype, 3), atol=tolerance(dtype, 40))
    if keep:
        np.testing.assert_allclose(hat, x_hat, rtol=tolerance(dtype, 3), atol=tolerance(dtype, 20))
    make.check()


@given(**OPTIONS, threads=st.integers(1, 3))
def test_apply_with_the_batch_statistics_is_train(shape, dtype, affine, slope, offset, seed, threads):
    make, rng = Guarded(dtype, offset), np.random.default_rng(seed)
    x = make(rng.normal(1, 2, shape))
    options, _ = parameters(shape[1], affine, slope, make, rng)
    y, mean, _, inv_std = train(x, **options)
    hat, in_place = make(np.zeros(shape)), make(x)

    CpuOps(threads).batch_norm_apply(in_place, in_place, mean, inv_std, **options, x_hat=hat)

    np.testing.assert_array_equal(in_place, y)
    np.testing.assert_array_equal(hat, (x - mean[:, None]) * inv_std[:, None])
    make.check()


def definition_of_gradients(torch, x, dy, gamma, beta, slopes, given_statistics):
    """dx, dgamma, dbeta, dslope by PyTorch's autograd from the formulas, in float64."""

    def leaf(a):
        return torch.tensor(np.asarray(a, np.float64), requires_grad=True)

    x, gamma, beta = leaf(x), leaf(gamma), leaf(beta)
    mean = x.mean((0, 2))[:, None]
    var = ((x - mean) ** 2).mean((0, 2))[:, None]
    if given_statistics:
        mean, var = mean.detach(), var.detach()
    z = gamma * (x - mean) / torch.sqrt(var + EPS) + beta
    slope = leaf(np.broadcast_to(np.reshape(1.0 if slopes is None else slopes, (-1, 1)), gamma.shape))
    torch.where(z > 0, z, slope * z).backward(torch.from_numpy(np.asarray(dy, np.float64)))
    return [leaf.grad.numpy() for leaf in (x, gamma, beta, slope)], z.detach().numpy()


@pytest.mark.torch
@given(**OPTIONS, threads=st.integers(1, 3), place=st.sampled_from(["dx", "x", "dy"]), hat=st.booleans(),
       given_statistics=st.booleans())  # fmt: skip
def test_backward_is_the_derivative(
    shape, dtype, affine, slope, offset, seed, threads, place, hat, given_statistics
):
    torch = importlib.import_module("torch")
    make, rng = Guarded(dtype, offset), np.random.default_rng(seed)
    x, dy = make(rng.normal(1, 2, shape)), make(rng.normal(size=shape))
    options, values = parameters(shape[1], affine, slope, make, rng)
    (dx, *sums), z = definition_of_gradients(torch, x, dy, *values, given_statistics)
    clear = np.abs(z) > 1e-4  # where rounding cannot move z to the other side of the kink
    kept = make(np.zeros(shape))
    _, mean, _, inv_std = train(x, **options, x_hat=kept)
    operand = kept if hat else x
    out = {"dx": make(np.zeros(shape)), "x": operand, "dy": dy}[place]
    found = [make(np.ones(shape[1])) for _ in range(3)]
    rows = np.abs(np.asarray(dy, np.float64)).sum((0, 2)) + 1

    CpuOps(threads).batch_norm_backward(
        operand, dy, out, mean, inv_std, **options, dgamma=found[0], dbeta=found[1],
        dslope=None if slope is None else found[2], use_global_stats=given_statistics, x_is_hat=hat,
    )  # fmt: skip

    if slope is None or clear.all():
        np.testing.assert_allclose(out, dx, rtol=tolerance(dtype, 10), atol=tolerance(dtype, 3e2))
        for ours, sum_ in zip(found[: 2 if slope is None else 3], sums, strict=False):
            assert (np.abs(ours - 1 - sum_[:, 0]) <= tolerance(dtype, 30) * rows).all()
    make.check()


@DTYPES
def test_backward_agrees_with_small_steps(dtype):
    """A numeric derivative, without PyTorch."""
    rng = np.random.default_rng(0)
    x, dy, step = rng.normal(1, 2, (4, 3, 5)), rng.normal(size=(4, 3, 5)), 1e-5
    gamma = rng.normal(size=3)

    def loss(x):
        mean, var = two_pass(x)
        return (dy * gamma[:, None] * (x - mean[:, None]) / np.sqrt(var + EPS)[:, None]).sum()

    expected = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[i] = step
        expected[i] = (loss(x + nudge) - loss(x - nudge)) / (2 * step)
    x, dy, gamma = x.astype(dtype), dy.astype(dtype), gamma.astype(dtype)
    _, mean, _, inv_std = train(x)
    dx = np.zeros_like(x)

    CpuOps(1).batch_norm_backward(x, dy, dx, mean, inv_std, gamma=gamma)

    np.testing.assert_allclose(dx, expected, atol=1e-6 if dtype == np.float32 else 1e-8)


# --- the parts that processes exchange ---


@given(shape=shapes(), parts=st.integers(1, 4), dtype=OPTIONS["dtype"], seed=st.integers(0, 99))
def test_moments_of_parts_make_those_of_the_whole(shape, parts, dtype, seed):
    x = np.random.default_rng(seed).normal(3, 2, (shape[0] * parts, *shape[1:])).astype(dtype)
    pieces, count = np.split(x, parts), shape[0] * shape[2]
    means, m2s = np.zeros((2, parts, shape[1]))

    for piece, mean, m2 in zip(pieces, means, m2s, strict=True):
        CpuOps(2).batch_norm_moments(piece, mean, m2)

    mean, var = two_pass(x)
    np.testing.assert_allclose(means.mean(0), mean, rtol=tolerance(dtype), atol=tolerance(dtype))
    np.testing.assert_allclose(
        (m2s + count * (means - means.mean(0)) ** 2).sum(0) / (count * parts),
        var,
        rtol=tolerance(dtype, 2),
        atol=1e-30,
    )


@given(**OPTIONS)
def test_backward_in_two_halves_is_backward(shape, dtype, affine, slope, offset, seed):
    make, rng = Guarded(dtype, offset), np.random.default_rng(seed)
    x, dy = make(rng.normal(1, 2, shape)), make(rng.normal(size=shape))
    options, _ = parameters(shape[1], affine, slope, make, rng)
    _, mean, _, inv_std = train(x, **options)
    dx, halves, (dgamma, dbeta) = np.zeros_like(x), make(np.zeros(shape)), np.zeros((2, shape[1]), dtype)
    sum_g, sum_g_x_hat = np.zeros((2, shape[1]))
    count = shape[0] * shape[2]
    ops = CpuOps(2)

    ops.batch_norm_backward(x, dy, dx, mean, inv_std, **options, dgamma=dgamma, dbeta=dbeta)
    ops.batch_norm_backward_sums(x, dy, mean, inv_std, sum_g, sum_g_x_hat, **options)
    ops.batch_norm_backward_apply(x, dy, halves, mean, inv_std, sum_g / count, sum_g_x_hat / count, **options)

    assert same_bits([sum_g.astype(dtype), sum_g_x_hat.astype(dtype)], [dbeta, dgamma])
    np.testing.assert_allclose(halves, dx, rtol=tolerance(dtype), atol=tolerance(dtype))
    make.check()


# --- threads and builds ---


def everything(ops, dtype):
    """The results of all ops on all shapes."""
    found, rng = [], np.random.default_rng(7)
    for shape in SHAPES:
        x, dy = rng.normal(rng.choice([0, 1e3]), 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
        gamma, beta, slopes = rng.normal(size=(3, shape[1])).astype(dtype)
        for slope in (None, 0.25, slopes):
            y, x_hat, dx = np.zeros((3, *shape), dtype)
            mean, var, inv_std, *sums = np.zeros((6, shape[1]), dtype)
            wanted = dict(zip(("dgamma", "dbeta", "dslope"), sums[: 2 if slope is None else 3], strict=False))
            options = {"gamma": gamma, "beta": beta, "slope": slope}
            ops.batch_norm_train(x, y, mean, var, inv_std, EPS, **options, x_hat=x_hat)
            ops.batch_norm_backward(x, dy, dx, mean, inv_std, **options, **wanted)
            found += [y, x_hat, dx, mean, var, inv_std, *sums]
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
@pytest.mark.parametrize("shape", [(3, 4, 400_000), (1100, 4096, 1)])
@pytest.mark.parametrize("offset", [0, 1])
def test_large_results_that_bypass_the_caches_are_the_same(dtype, shape, offset):
    size = np.prod(shape)
    x, y, dx = (CpuOps(1).empty(size + offset, np.dtype(dtype))[offset:].reshape(shape) for _ in range(3))
    x[...] = np.random.default_rng(0).normal(1, 2, size).reshape(shape)
    mean, var, inv_std = np.zeros((3, shape[1]), dtype)
    ops, rows = CpuOps(2), slice(1, 2)

    ops.batch_norm_train(x, y, mean, var, inv_std, EPS)
    ops.batch_norm_backward(x, y, dx, mean, inv_std, use_global_stats=True)

    expected = (x[rows] - mean[:, None]) * inv_std[:, None]
    np.testing.assert_array_equal(y[rows], expected)
    np.testing.assert_array_equal(dx[rows], expected * inv_std[:, None])
