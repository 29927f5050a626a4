"""caffenorm.functional against PyTorch, and what it does with arrays that do not fit."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import ConfigError, ShapeError
from caffenorm import functional as F  # noqa: N812  # the usual short name

DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])


def close(dtype: str) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-10, "atol": 1e-12}


def leaves(*arrays):
    """The arrays as torch tensors that get a gradient."""
    import torch

    return [torch.tensor(array, requires_grad=True) for array in arrays]


def compare(dtype, ours, theirs) -> None:
    for mine, expected in zip(ours, theirs, strict=True):
        value = expected.detach().numpy() if hasattr(expected, "detach") else expected
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, value, **close(dtype))


# --- against PyTorch ---


@DTYPES
@pytest.mark.torch
@pytest.mark.parametrize("slope", [None, 0.0, 0.1])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)])
def test_batch_norm(shape, slope, dtype, rng):
    import torch

    x, dy = rng.normal(2, 3, (2, *shape)).astype(dtype)
    gamma, beta = rng.normal(size=(2, 3)).astype(dtype)
    tx, tg, tb = leaves(x, gamma, beta)
    ty = torch.nn.functional.batch_norm(tx, None, None, tg, tb, training=True, eps=1e-3)
    ty = ty if slope is None else torch.nn.functional.leaky_relu(ty, slope)
    ty.backward(torch.tensor(dy))

    y, mean, var, inv_std = F.batch_norm(x, gamma, beta, eps=1e-3, slope=slope)
    gradients = F.batch_norm_backward(dy, x, mean, inv_std, gamma, beta, slope=slope)

    axes = (0, *range(2, len(shape)))
    compare(dtype, (y, *gradients), (ty, tx.grad, tg.grad, tb.grad))
    compare(dtype, (mean, var), (x.mean(axes), x.var(axes)))


@DTYPES
@pytest.mark.torch
def test_batch_norm_by_given_statistics(dtype, rng):
    import torch

    x, dy = rng.normal(2, 3, (2, 4, 3, 5, 5)).astype(dtype)
    gamma, beta, mean = rng.normal(size=(3, 3)).astype(dtype)
    var = rng.uniform(1, 2, 3).astype(dtype)
    tx, tg, tb = leaves(x, gamma, beta)
    ty = torch.nn.functional.batch_norm(tx, torch.tensor(mean), torch.tensor(var), tg, tb, eps=1e-3)
    ty.backward(torch.tensor(dy))

    y, same_mean, same_var, inv_std = F.batch_norm(x, gamma, beta, mean=mean, var=var, eps=1e-3)
    gradients = F.batch_norm_backward(dy, x, mean, inv_std, gamma, fixed_statistics=True)

    compare(dtype, (y, *gradients), (ty, tx.grad, tg.grad, tb.grad))
    compare(dtype, (same_mean, same_var), (mean, var))


@DTYPES
@pytest.mark.torch
@pytest.mark.parametrize(("shape", "groups"), [((4, 6), 2), ((3, 6, 5), 6), ((2, 4, 3, 5), 1)])
def test_group_norm(shape, groups, dtype, rng):
    import torch

    x, dy = rng.normal(2, 3, (2, *shape)).astype(dtype)
    gamma, beta = rng.normal(size=(2, shape[1])).astype(dtype)
    tx, tg, tb = leaves(x, gamma, beta)
    ty = torch.nn.functional.group_norm(tx, groups, tg, tb, eps=1e-3)
    ty.backward(torch.tensor(dy))

    y, mean, var, inv_std = F.group_norm(x, groups, gamma, beta, eps=1e-3)

    compare(dtype, (y, *F.group_norm_backward(dy, x, mean, inv_std, gamma)), (ty, tx.grad, tg.grad, tb.grad))
    rows = x.reshape(shape[0], groups, -1)
    compare(dtype, (mean, var), (rows.mean(2), rows.var(2)))


@DTYPES
@pytest.mark.torch
def test_instance_norm(dtype, rng):
    import torch

    x, dy = rng.normal(2, 3, (2, 4, 3, 5, 5)).astype(dtype)
    gamma, beta = rng.normal(size=(2, 3)).astype(dtype)
    tx, tg, tb = leaves(x, gamma, beta)
    ty = torch.nn.functional.instance_norm(tx, None, None, tg, tb, eps=1e-3)
    ty.backward(torch.tensor(dy))

    y, mean, var, inv_std = F.instance_norm(x, gamma, beta, eps=1e-3)

    compare(
        dtype, (y, *F.instance_norm_backward(dy, x, mean, inv_std, gamma)), (ty, tx.grad, tg.grad, tb.grad)
    )
    compare(dtype, (mean, var), (x.mean((2, 3)), x.var((2, 3))))


@DTYPES
@pytest.mark.torch
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_layer_norm(axis, dtype, rng):
    import torch

    x, dy = rng.normal(2, 3, (2, 4, 3, 5)).astype(dtype)
    gamma, beta = rng.normal(size=(2, *x.shape[axis:])).astype(dtype)
    tx, tg, tb = leaves(x, gamma, beta)
    ty = torch.nn.functional.layer_norm(tx, x.shape[axis:], tg, tb, eps=1e-3)
    ty.backward(torch.tensor(dy))

    y, mean, var, inv_std = F.layer_norm(x, gamma, beta, axis=axis, eps=1e-3)
    gradients = F.layer_norm_backward(dy, x, mean, inv_std, gamma, axis=axis)

    compare(dtype, (y, *gradients), (ty, tx.grad, tg.grad, tb.grad))
    axes = tuple(range(axis % 3, 3))
    compare(dtype, (mean, var), (x.mean(axes), x.var(axes)))


@DTYPES
@pytest.mark.torch
@pytest.mark.parametrize("shared", [False, True])
def test_prelu(shared, dtype, rng):
    import torch

    x, dy = rng.normal(size=(2, 4, 3, 5)).astype(dtype)
    slope = rng.uniform(0.1, 0.5, 1 if shared else 3).astype(dtype)
    tx, ts = leaves(x, slope)
    ty = torch.nn.functional.prelu(tx, ts)
    ty.backward(torch.tensor(dy))

    compare(dtype, (F.prelu(x, slope), *F.prelu_backward(dy, x, slope)), (ty, tx.grad, ts.grad))


@DTYPES
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple),
    start=st.integers(0, 4),
    covered=st.integers(0, 5),
    negative=st.booleans(),
)
def test_scale_and_bias_broadcast_from_axis_on(shape, start, covered, negative, dtype):
    axis = start % len(shape)
    cover = shape[axis : axis + covered]
    rng = np.random.default_rng(5)
    x, dy = rng.normal(size=(2, *shape)).astype(dtype)
    gamma, beta = (np.array(value) for value in rng.normal(size=(2, *cover)).astype(dtype))
    broad = (*cover, *[1] * (len(shape) - axis - len(cover)))
    axes = (*range(axis), *range(axis + len(cover), len(shape)))
    place = {"axis": axis - len(shape) if negative else axis}

    y, shifted = F.scale(x, gamma, beta, **place), F.bias(x, beta, **place)
    dx, dgamma, dbeta = F.scale_backward(dy, x, gamma, **place)

    compare(dtype, (y, shifted), (x * gamma.reshape(broad) + beta.reshape(broad), x + beta.reshape(broad)))
    compare(dtype, (dx, dgamma, dbeta), (dy * gamma.reshape(broad), (dy * x).sum(axes), dy.sum(axes)))
    compare(dtype, (F.bias_backward(dy, cover, **place),), (dy.sum(axes),))


# --- out ---


def calls(x, dy):
    """Every function that takes `out`: (name, input it may overwrite, call)."""
    one, stats = np.ones(3, x.dtype), F.batch_norm(x)
    rows = F.group_norm(x, 1)
    return [
        ("batch_norm", x, lambda v, out: F.batch_norm(v, one, out=out)[0]),
        ("batch_norm given", x, lambda v, out: F.batch_norm(v, mean=one, var=one, out=out)[0]),
        (
            "batch_norm_backward",
            dy,
            lambda v, out: F.batch_norm_backward(v, x, stats.mean, stats.inv_std, one, out=out)[0],
        ),
        ("group_norm", x, lambda v, out: F.group_norm(v, 3, out=out)[0]),
        (
            "group_norm_backward",
            dy,
            lambda v, out: F.group_norm_backward(v, x, rows.mean, rows.inv_std, out=out)[0],
        ),
        ("instance_norm", x, lambda v, out: F.instance_norm(v, out=out)[0]),
        ("layer_norm", x, lambda v, out: F.layer_norm(v, out=out)[0]),
        (
            "layer_norm_backward",
            dy,
            lambda v, out: F.layer_norm_backward(v, x, rows.mean[:, 0], rows.inv_std[:, 0], out=out)[0],
        ),
        ("scale", x, lambda v, out: F.scale(v, 2 * one, one, out=out)),
        ("scale_backward", dy, lambda v, out: F.scale_backward(v, x, 2 * one, out=out)[0]),
        ("bias", x, lambda v, out: F.bias(v, one, out=out)),
        ("prelu", x, lambda v, out: F.prelu(v, 0.1 * one, out=out)),
        ("prelu_backward", dy, lambda v, out: F.prelu_backward(v, x, 0.1 * one, out=out)[0]),
    ]


COUNT = 13


@DTYPES
@pytest.mark.parametrize("index", range(COUNT))
def test_out_takes_the_result_and_may_be_the_input(index, dtype, rng):
    x, dy = rng.normal(size=(2, 4, 3, 5)).astype(dtype)
    assert len(calls(x, dy)) == COUNT
    _, source, call = calls(x, dy)[index]
    expected = call(source, None)

    given_memory = np.full_like(source, np.nan)
    assert call(source, given_memory) is given_memory
    np.testing.assert_array_equal(given_memory, expected)
    overwritten = source.copy()
    assert call(overwritten, overwritten) is overwritten
    np.testing.assert_array_equal(overwritten, expected)


@pytest.mark.parametrize("index", range(COUNT))
def test_arrays_that_are_not_contiguous_are_copied(index, rng):
    x, dy = np.asfortranarray(rng.normal(size=(2, 4, 3, 5)))
    reversed_x, reversed_dy = rng.normal(size=(2, 5, 3, 4)).transpose(0, 3, 2, 1)
    for a, b in ((x, dy), (reversed_x, reversed_dy)):
        _, source, call = calls(a, b)[index]
        _, plain, plain_call = calls(np.ascontiguousarray(a), np.ascontiguousarray(b))[index]
        before = source.copy()
        np.testing.assert_array_equal(call(source, None), plain_call(plain, None))
        np.testing.assert_array_equal(source, before)


@pytest.mark.parametrize("index", range(COUNT))
def test_out_must_fit(index, rng):
    x, dy = rng.normal(size=(2, 4, 3, 5))
    _, source, call = calls(x, dy)[index]
    frozen = np.empty((4, 3, 5))
    frozen.setflags(write=False)
    overlapping = np.empty(2 * source.size)
    shifted = overlapping[3 : 3 + source.size].reshape(source.shape)
    shifted[...] = source
    for wrong, error, says in [
        (np.empty((4, 3, 6)), ShapeError, r"float64 array of shape \[4, 3, 5\], found float64 \[4, 3, 6\]"),
        (np.empty((4, 3, 5), "f4"), ShapeError, "found float32"),
        ([], ShapeError, "found list"),
        (np.empty((5, 3, 4)).T, ConfigError, "C-contiguous"),
        (frozen, ConfigError, "writeable"),
    ]:
        with pytest.raises(error, match=says):
            call(source, wrong)
    with pytest.raises(ConfigError, match="overlaps"):
        call(shifted, overlapping[: source.size].reshape(source.shape))


# --- what does not fit ---

X = np.ones((4, 3, 5))
C = np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: F.batch_norm([[1.0, 2.0]]), ConfigError, "x must be a NumPy array, found list"),
        (lambda: F.batch_norm(X.astype("f2")), ConfigError, "x must be float32 or float64, found float16"),
        (lambda: F.batch_norm(X.astype(int)), ConfigError, "found int64"),
        (lambda: F.batch_norm(X.astype(">f8")), ConfigError, "found >f8"),
        (lambda: F.batch_norm(X, C.astype("f4")), ConfigError, "x is float64, gamma is float32"),
        (lambda: F.batch_norm(X, np.ones(4)), ShapeError, r"gamma must have shape \[3\], found \[4\]"),
        (lambda: F.batch_norm(np.ones(4)), ShapeError, r"channels on axis 1, found shape \[4\]"),
        (lambda: F.batch_norm(X, mean=C), ConfigError, "mean and var go together"),
        (lambda: F.batch_norm(np.ones((0, 3, 5))), ShapeError, r"\[0, 3, 5\] has no values"),
        (lambda: F.batch_norm_backward(X[:2], X, C, C), ShapeError, "dy must have shape"),
        (lambda: F.batch_norm_backward(X, X, np.ones(2), C), ShapeError, "mean must have shape"),
        (lambda: F.group_norm(X, 2), ShapeError, "2 groups do not divide 3 channels"),
        (lambda: F.group_norm(X, 0), ShapeError, "0 groups do not divide"),
        (
            lambda: F.group_norm_backward(X, X, np.ones((4, 2)), np.ones((4, 2))),
            ShapeError,
            "mean has 8 values",
        ),
        (
            lambda: F.group_norm_backward(X, X, np.ones((4, 1)), np.ones((4, 3))),
            ShapeError,
            "inv_std must have",
        ),
        (lambda: F.layer_norm(X, axis=3), ShapeError, "axis 3 does not exist"),
        (lambda: F.layer_norm(X, C), ShapeError, r"gamma must have shape \[3, 5\]"),
        (lambda: F.scale(X, np.ones(5)), ShapeError, r"gamma has shape \[5\]"),
        (lambda: F.scale(X, C, np.ones(2)), ShapeError, "beta must have shape"),
        (lambda: F.scale_backward(X[:1], X, C), ShapeError, "dy must have shape"),
        (lambda: F.bias(X, np.ones(5)), ShapeError, r"beta has shape \[5\]"),
        (lambda: F.bias_backward(X, (5,)), ShapeError, r"beta has shape \[5\]"),
        (lambda: F.prelu(X, np.ones(2)), ShapeError, r"slope must have shape \[3\] or \[1\]"),
        (lambda: F.prelu(np.ones(4), np.ones(1)), ShapeError, "channels on axis 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_arrays_without_values_pass_where_no_statistics_are_taken():
    empty = np.ones((0, 3, 5))
    assert F.batch_norm(empty, mean=C, var=C).y.shape == (0, 3, 5)
    assert F.scale(empty, C).shape == F.bias(empty, C).shape == F.prelu(empty, C).shape == (0, 3, 5)
    assert not F.scale_backward(empty, empty, C).dgamma.any()
    assert not F.bias_backward(empty, (3,)).any()
    assert not F.batch_norm_backward(empty, empty, C, C, C).dgamma.any()


def test_its_example_runs():
    assert doctest.testmod(F).failed == 0
    assert doctest.testmod(F).attempted > 0


def test_all_names_exist():
    assert all(callable(getattr(F, name)) for name in F.__all__)
