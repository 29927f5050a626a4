"""Group normalisation on the GPU against the CPU in float64."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_norm_arrays import DTYPES, ROUNDING, SUMS, Both, close, dtype_of, parameter_dtype

from caffenorm.errors import ShapeError

EPS = 1e-5
# (outer, channels, inner), groups: layer norm, instance norm, groups; rows in a block and in pieces; channels
# of few values and of many, runs of 16 bytes over one channel, two or more.
CASES = [
    ((5, 12, 1), 1), ((70, 33, 1), 1), ((3, 4, 3), 2), ((4, 6, 7), 6), ((2, 8, 16), 2), ((3, 6, 49), 3),
    ((2, 4, 1156), 4), ((1, 1, 1), 1), ((2, 4, 8192), 2), ((1, 18_433, 1), 1), ((1, 2500, 7), 1),
    ((2, 3, 6000), 1),
]  # fmt: skip
SHIFTS = pytest.mark.parametrize("shift", [0, 1])


def types(name):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = dtype_of(name)
    return dtype, parameter_dtype(dtype)


def inputs(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(1, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    return x, dy, *rng.normal(size=(2, shape[1])).astype(parameter_dtype(dtype))


def statistics(x, groups):
    rows = x.astype(np.float64).reshape(x.shape[0] * groups, -1)
    return rows.mean(1), 1 / np.sqrt(rows.var(1) + EPS)


@pytest.mark.parametrize("name", DTYPES)
@SHIFTS
def test_train(gpu_ops, name, shift):
    dtype, kind = types(name)
    for number, (shape, groups) in enumerate(CASES):
        x, y, gamma, beta = inputs(shape, dtype)
        options = [{}, {"gamma": gamma, "beta": beta}, {"beta": beta}][(number + 1) % 3]
        out = [np.ones(shape[0] * groups, kind) for _ in range(3)]

        found, expected = Both(gpu_ops, shift)(
            "group_norm_train", x, y, *out, groups, EPS, same=(1, 0) if number % 2 else None, **options
        )

        close(found[1], expected[1], ROUNDING[name] * 2, 4)
        for i in (2, 3, 4):
            close(found[i], expected[i], SUMS[name])


@pytest.mark.parametrize("name", DTYPES)
@SHIFTS
def test_backward(gpu_ops, name, shift):
    dtype, kind = types(name)
    for number, (shape, groups) in enumerate(CASES):
        x, dy, gamma, _ = inputs(shape, dtype)
        mean, inv_std = (a.astype(kind) for a in statistics(x, groups))
        options = {"gamma": gamma} if number % 2 else {}
        targets = {"dgamma": np.ones(shape[1], kind), "dbeta": np.ones(shape[1], kind)}
        same = {0: None, 1: (2, 1), 2: (2, 0)}[number % 3]
        rows = np.abs(dy.astype(np.float64)).sum((0, 2)) * 4 + 1

        found, expected = Both(gpu_ops, shift)(
            "group_norm_backward",
            x,
            dy,
            np.zeros_like(x),
            mean,
            inv_std,
            groups,
            same=same,
            **options,
            **targets,
        )

        close(found[2], expected[2], ROUNDING[name] * 4, 4)
        close(found[-2], expected[-2], SUMS[name], rows)
        close(found[-1], expected[-1], SUMS[name], rows)


def test_only_what_is_wanted_is_written(gpu_ops):
    x, dy, gamma, _ = inputs((3, 6, 49), np.dtype("f4"))
    mean, inv_std = (a.astype("f4") for a in statistics(x, 3))

    found, expected = Both(gpu_ops)(
        "group_norm_backward", x, dy, None, mean, inv_std, 3, gamma=gamma, dbeta=gamma.copy()
    )
    close(found[-1], expected[-1], 1e-5, 10)
    found, expected = Both(gpu_ops)(
        "group_norm_backward", x, dy, dy, mean, inv_std, 3, same=(2, 1), gamma=gamma
    )
    close(found[2], expected[2], 1e-5)


@pytest.mark.parametrize(("shape", "groups"), [((4, 6, 100), 2), ((1, 2, 20_000), 1)])
def test_a_large_mean_keeps_five_digits_of_the_variance(gpu_ops, shape, groups):
    x = np.random.default_rng(0).normal(1e4, 1, shape).astype("f4")
    out = [np.ones(shape[0] * groups, "f4") for _ in range(3)]

    found, expected = Both(gpu_ops)("group_norm_train", x, x, *out, groups, EPS)

    np.testing.assert_allclose(found[2], expected[2], rtol=1e-7)
    np.testing.assert_allclose(found[3], expected[3], rtol=1e-5)


def test_faults(gpu_ops):
    x, y, gamma, _ = inputs((2, 6, 5), np.dtype("f4"))
    put = Both(gpu_ops).device
    arrays, four = [put(x), put(y)], [put(np.ones(4, "f4")) for _ in range(3)]

    with pytest.raises(ShapeError, match="do not divide 6"):
        gpu_ops.group_norm_train(*arrays, *four, 4, EPS)
    with pytest.raises(ShapeError, match="mean"):
        gpu_ops.group_norm_train(*arrays, *four, 3, EPS)
    with pytest.raises(ShapeError, match="gamma"):
        gpu_ops.group_norm_train(*arrays, *four, 2, EPS, gamma=put(gamma[:5].copy()))


def test_nothing(gpu_ops):
    x = np.empty((2, 3, 0), "f4")

    found, expected = Both(gpu_ops)("group_norm_train", x, x, *[np.ones(6, "f4") for _ in range(3)], 3, EPS)

    for i in (2, 3, 4):
        close(found[i], expected[i], 1e-6)
