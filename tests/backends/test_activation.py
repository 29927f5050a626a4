"""Activation ops against float64 definitions and PyTorch; special values, threads, builds, random masks."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import _kernels
from caffenorm.backends.cpu import CpuOps

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
INF, NAN = np.inf, np.nan


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


# Function, parameters, float64 definition, and the worst error allowed in units in the last place of float32.
DEFINITIONS = [
    ("relu", (0.25,), lambda x: leaky(x, 0.25), 0.5),
    ("clipped_relu", (0.25, -1.0, 6.0), lambda x: np.clip(leaky(x, 0.25), -1, 6), 0.5),
    ("elu", (1.0, 1.0), lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 2),
    ("elu", (0.3, 2.0), lambda x: 2 * np.where(x > 0, x, np.float32(0.3) * np.expm1(np.minimum(x, 0))), 3),
    ("sigmoid", (), sigmoid, 3),
    ("tanh", (), np.tanh, 2),
    ("swish", (1.0,), lambda x: x * sigmoid(x), 4),
    ("bnll", (), lambda x: np.logaddexp(x, 0), 3),
    ("abs", (), np.abs, 0),
    ("clip", (-0.5, 2.0), lambda x: np.clip(x, -0.5, 2), 0),
    ("threshold", (0.5,), lambda x: np.where(x > 0.5, 1.0, 0.0), 0),
    ("exp", (1.0, 0.0), np.exp, 1.1),
]
NAMES = [f"{name}{list(params)}" for name, params, _, _ in DEFINITIONS]


def apply(function, x, *params, threads=1):
    y = np.full_like(x, 7)
    CpuOps(threads).activate(function, x, y, *params)
    return y


def gradient(function, s, dy, *params, threads=1):
    dx = np.full_like(s, 7)
    CpuOps(threads).activate_backward(function, s, dy, dx, *params)
    return dx


def all_sizes(dtype, seed=0):
    """Numbers of every order of magnitude and both signs, and the neighbourhood of 0 and 1."""
    rng = np.random.default_rng(seed)
    largest = 38 if dtype == np.float32 else 300
    sizes = 10.0 ** rng.uniform(-largest, largest, 4000)
    near = rng.normal(size=40_000) * rng.choice([0.01, 0.3, 1, 10, 80], 40_000)
    x = np.concatenate([sizes, -sizes, near]).astype(dtype)
    return x[np.isfinite(x)]


@pytest.mark.parametrize(("function", "params", "definition", "units"), DEFINITIONS, ids=NAMES)
def test_floats_are_as_near_as_said(function, params, definition, units):
    x = all_sizes(np.float32)

    y = apply(function, x, *params)

    with np.errstate(over="ignore"):
        expected = definition(x.astype(np.float64))
        unit = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    finite = np.abs(expected) < np.finfo(np.float32).max
    subnormal = 104 * 2.0**-149 if function == "swish" else 0  # x times a sigmoid that has few bits left
    assert (np.abs(y[finite] - expected[finite]) <= (units + 1e-3) * unit[finite] + subnormal).all()
    np.testing.assert_array_equal(y[~finite], np.sign(expected[~finite]) * INF)


@pytest.mark.parametrize(("function", "params", "definition", "_units"), DEFINITIONS, ids=NAMES)
def test_doubles_are_exact_to_some_units(function, params, definition, _units):
    x = np.clip(all_sizes(np.float64), -600, 600)

    y = apply(function, x, *params)

    if params and params[0] == 0.3:
        params_exact = 2 * np.where(x > 0, x, 0.3 * np.expm1(np.minimum(x, 0)))
        np.testing.assert_allclose(y, params_exact, rtol=1e-14)
    else:
        np.testing.assert_allclose(y, definition(x), rtol=1e-14)


@DTYPES
def test_powers(dtype):
    x = np.linspace(0.1, 3, 50).astype(dtype)
    base = 0.5 * x.astype(np.float64) + 2
    for power in (1, 2, -1, 0.5, 3, -1.7):
        y = apply("power", x, power, 0.5, 2.0)
        np.testing.assert_allclose(y, base**power, rtol=1e-6 if dtype == np.float32 else 1e-14)


@DTYPES
def test_logarithms(dtype):
    x = np.linspace(0.1, 3, 50).astype(dtype)

    y = apply("log", x, 2.0, 0.5, 1 / np.log(10))

    np.testing.assert_allclose(
        y, np.log10(2 * x.astype(float) + 0.5), rtol=1e-6 if dtype == np.float32 else 1e-14, atol=1e-7
    )


SPECIAL = {
    ("relu", (0.5,)): [(-INF, -INF), (INF, INF), (-2, -1), (0, 0)],
    ("relu", (0.0,)): [(INF, INF), (-2, 0), (0, 0), (-INF, NAN)],  # Caffe's 0 * -inf
    ("clipped_relu", (0.0, -INF, 6.0)): [(INF, 6), (7, 6), (3, 3), (-1, 0)],
    ("elu", (1.5, 1.0)): [(-INF, -1.5), (INF, INF), (0, 0)],
    ("sigmoid", ()): [(-INF, 0), (INF, 1), (0, 0.5)],
    ("tanh", ()): [(-INF, -1), (INF, 1), (0, 0)],
    ("bnll", ()): [(-INF, 0), (INF, INF), (100, 100)],
    ("abs", ()): [(-INF, INF), (-0.0, 0)],
    ("clip", (-1.0, 1.0)): [(-INF, -1), (INF, 1)],
    ("threshold", (0.0,)): [(-INF, 0), (INF, 1), (0, 0)],
    ("exp", (1.0, 0.0)): [(-INF, 0), (INF, INF), (1000, INF), (-1000, 0), (0, 1)],
    ("log", (1.0, 0.0, 1.0)): [(0, -INF), (-1, NAN), (INF, INF), (1, 0)],
    ("power", (-1.0, 1.0, 0.0)): [(0, INF), (INF, 0), (-INF, 0)],
    ("power", (0.5, 1.0, 0.0)): [(-1, NAN), (INF, INF), (0, 0)],
}


@DTYPES
@pytest.mark.parametrize(("function", "params"), SPECIAL)
def test_infinities_have_their_limits(dtype, function, params):
    given, expected = np.array(SPECIAL[function, params], dtype).T
    np.testing.assert_array_equal(apply(function, np.repeat(given, 40), *params), np.repeat(expected, 40))


@DTYPES
@pytest.mark.parametrize(
    "function",
    ["relu", "clipped_relu", "elu", "sigmoid", "tanh", "swish", "bnll", "abs", "clip", "power", "exp", "log"],
)
@pytest.mark.parametrize("place", [0, 3, 16, 36])
def test_nan_passes_and_stays_alone(dtype, function, place):
    x = np.full(37, 1.5, dtype)
    x[place] = np.nan

    y = apply(function, x, 0.5, 0.5, 2.0)

    assert np.isnan(y[place])
    assert np.isnan(y).sum() == 1


# --- gradients ---

GRADIENTS = [
    ("relu", "x", (0.25,), lambda t, x: t.nn.functional.leaky_relu(x, 0.25)),
    ("relu", "y", (0.25,), lambda t, x: t.nn.functional.leaky_relu(x, 0.25)),
    ("clipped_relu", "y", (0.0, -INF, 1.2), lambda t, x: t.clamp(x, 0, 1.2)),
    ("elu", "y", (0.7, 1.3), lambda t, x: 1.3 * t.nn.functional.elu(x, 0.7)),
    ("elu_of_x", "x", (-0.7, 1.3), lambda t, x: 1.3 * t.where(x > 0, x, -0.7 * t.expm1(x))),
    ("sigmoid", "y", (), lambda t, x: t.sigmoid(x)),
    ("tanh", "y", (), lambda t, x: t.tanh(x)),
    ("swish", "x", (1.7,), lambda t, x: x * t.sigmoid(1.7 * x)),
    ("bnll", "x", (), lambda t, x: t.logaddexp(x, t.zeros_like(x))),
    ("abs", "x", (), lambda t, x: x.abs()),
    ("clip", "x", (-0.5, 1.1), lambda t, x: x.clamp(-0.5, 1.1)),
    ("power", "x", (1.0, 0.5, 9.0), lambda t, x: 0.5 * x + 9),
    ("power", "x", (2.0, 0.5, 9.0), lambda t, x: (0.5 * x + 9) ** 2),
    ("power", "x", (-1.0, 0.5, 9.0), lambda t, x: 1 / (0.5 * x + 9)),
    ("power", "x", (0.3, 0.5, 9.0), lambda t, x: (0.5 * x + 9) ** 0.3),
    ("exp", "y", (0.4, 0.0), lambda t, x: t.exp(0.4 * x)),
    ("log", "x", (0.5, 9.0, 2.0), lambda t, x: 2 * t.log(0.5 * x + 9)),
]


@pytest.mark.torch
@DTYPES
@pytest.mark.parametrize(("function", "reads", "params", "torchs"), GRADIENTS)
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients_are_torchs(dtype, function, reads, params, torchs, in_place):
    torch = importlib.import_module("torch")
    rng = np.random.default_rng(3)
    x, dy = rng.normal(size=(2, 301)) * 2
    leaf = torch.tensor(x, requires_grad=True)
    y = torchs(torch, leaf)
    y.backward(torch.tensor(dy))
    s = (x if reads == "x" else y.detach().numpy()).astype(dtype)

    dx = dy.astype(dtype)
    CpuOps(1).activate_backward(function, s, dx if in_place else dy.astype(dtype), dx, *params)

    tolerance = {"rtol": 2e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(dx, leaf.grad.numpy(), **tolerance)


@DTYPES
def test_gradients_at_kinks_are_caffes(dtype):
    dy = np.full(3, 2, dtype)
    at = np.array([-1, 0, 1], dtype)
    np.testing.assert_array_equal(gradient("relu", at, dy, 0.5), [1, 1, 2])
    np.testing.assert_array_equal(gradient("elu_of_x", at * 0, dy, 0.5, 1.0), [1, 1, 1])
    np.testing.assert_array_equal(gradient("elu", at * 0, dy, 0.5, 1.0), [1, 1, 1])
    np.testing.assert_array_equal(gradient("abs", at, dy), [-2, 0, 2])
    np.testing.assert_array_equal(gradient("clip", at, dy, -1.0, 1.0), [2, 2, 2])
    np.testing.assert_array_equal(gradient("clipped_relu", at, dy, 0.5, -INF, 1.0), [1, 1, 0])


# --- shapes, places, threads, builds ---


@DTYPES
@given(count=st.integers(0, 200), start=st.integers(0, 17), in_place=st.booleans())
def test_any_length_and_alignment(dtype, count, start, in_place):
    rng = np.random.default_rng(count)
    base = rng.normal(size=300).astype(dtype)
    x = base[start : start + count]
    target = base.copy() if in_place else np.full(300, 7, dtype)
    y = target[start : start + count]

    CpuOps(1).activate("relu", y if in_place else x, y, 0.5)

    np.testing.assert_array_equal(y, leaky(x, dtype(0.5)))
    np.testing.assert_array_equal(target[:start], base[:start] if in_place else 7)
    np.testing.assert_array_equal(target[start + count :], base[start + count :] if in_place else 7)


def everything(ops, dtype, count=100_000):
    rng = np.random.default_rng(5)
    x, dy, y = rng.normal(size=(3, count)).astype(dtype)
    found = []
    for name, params, *_ in [*DEFINITIONS, ("power", (0.3, 1.0, 9.0)), ("log", (1.0, 9.0, 1.0))]:
        ops.activate(name, x, y, *params)
        found.append(y.copy())
    for name, _, params, _ in GRADIENTS:
        ops.activate_backward(name, x, dy, y, *params)
        found.append(y.copy())
    ops.random_mask(x, y, 9, 0.3, 2.0)
    return [*found, y.copy()]


@DTYPES
def test_threads_change_no_bit(dtype):
    alone = everything(CpuOps(1), dtype)
    for threads in (2, 3):
        for ours, reference in zip(everything(CpuOps(threads), dtype), alone, strict=True):
            np.testing.assert_array_equal(ours, reference)


@DTYPES
def test_builds_change_no_bit(dtype, monkeypatch):
    from caffenorm.backends.cpu import activation

    found = []
    builds = [b for b in _kernels.available_builds() if _kernels._is_compiled(b, "activation")]
    for build in builds:
        module = importlib.import_module(f"caffenorm._kernels.{build}.activation")
        monkeypatch.setattr(activation, "kernels", lambda family, module=module: module)
        activation._forward.cache_clear()
        activation._backward.cache_clear()
        found.append(everything(CpuOps(1), dtype, 5000))
    activation._forward.cache_clear()
    activation._backward.cache_clear()
    for others in found[1:]:
        for ours, reference in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(ours, reference)


def aligned(count, dtype):
    return CpuOps(1).empty(count, np.dtype(dtype))


@DTYPES
@pytest.mark.parametrize("offset", [0, 1])
def test_streamed_results_are_the_same(dtype, offset):
    count = (1 << 24) // np.dtype(dtype).itemsize + 1030
    x, y, dx = (aligned(count + offset, dtype)[offset:] for _ in range(3))
    x[...] = np.random.default_rng(0).normal(size=count)
    y[...] = dx[...] = 7

    CpuOps(2).activate("relu", x, y, 0.5)
    CpuOps(2).activate_backward("relu", x, y, dx, 0.5)

    np.testing.assert_array_equal(y, leaky(x, dtype(0.5)))
    np.testing.assert_array_equal(dx, np.where(x > 0, y, dtype(0.5) * y))


def test_what_does_not_fit_is_refused_before_anything_is_read():
    ops = CpuOps(1)
    with pytest.raises(ValueError, match="arrays of 2 and 3 values"):
        ops.activate("relu", np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="arrays of 2 and 3 values"):
        ops.activate_backward("relu", np.zeros(3), np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="arrays of 4 and 3 values"):
        ops.random_mask(np.zeros(3), np.zeros(4), 1, 0.5, 2.0)
    with pytest.raises(ValueError, match="no function 99"):
        _kernels.kernels("activation").forward["double"](99, np.zeros(3), np.zeros(3), 0, 0, 0, 1)


# --- random masks ---

WORDS = [  # Random123's known answers of philox4x32-10: counter, key, result
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
]


def philox(counter, key):
    """Philox4x32-10 in plain Python, from the paper."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        low = 0xFFFFFFFF
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & low, (p0 >> 32) ^ c[3] ^ k1, p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return tuple(c)


@pytest.mark.parametrize(("counter", "key", "words"), WORDS)
def test_the_reference_generator_gives_its_known_answers(counter, key, words):
    assert philox(counter, key) == words


@DTYPES
def test_masks_follow_from_seed_and_index(dtype):
    seed, ratio = 0x0123456789ABCDEF, 0.3
    places = [0, 1, 255, 256, 1023, 1024, 1500, 2047, 2999]
    x = np.ones(3000, dtype)

    y = np.empty_like(x)
    CpuOps(1).random_mask(x, y, seed, ratio, 1.5)

    key = (seed & 0xFFFFFFFF, seed >> 32)
    words = [philox((p // 1024 * 256 + p % 256, 0, 0, 0), key)[p % 1024 // 256] for p in places]
    np.testing.assert_array_equal(y[places], [1.5 if word >= ratio * 2**32 else 0 for word in words])


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9])
def test_masks_drop_their_share(ratio):
    y = apply_mask(np.ones(200_000, np.float32), 11, ratio, 3.0)

    assert set(np.unique(y)) <= {0.0, 3.0}
    assert abs((y == 0).mean() - ratio) < 5e-3
    together = (y[1:] == 0) & (y[:-1] == 0)
    assert abs(together.mean() - ratio**2) < 5e-3


def apply_mask(x, seed, ratio, scale):
    y = np.empty_like(x)
    CpuOps(1).random_mask(x, y, seed, ratio, scale)
    return y


def test_a_ratio_of_nearly_one_drops_nearly_all():
    assert apply_mask(np.ones(100_000, np.float32), 1, 1 - 1e-12, 1.0).sum() == 0


def test_another_seed_gives_another_mask():
    x = np.ones(10_000, np.float32)
    assert abs((apply_mask(x, 1, 0.5, 1.0) != apply_mask(x, 2, 0.5, 1.0)).mean() - 0.5) < 0.03


@DTYPES
def test_the_mask_of_a_gradient_is_that_of_the_values(dtype):
    x = np.random.default_rng(1).normal(size=5000).astype(dtype) + 10

    kept = apply_mask(x, 4, 0.4, 2.0) != 0

    np.testing.assert_array_equal(apply_mask(x * 0 + 1, 4, 0.4, 2.0), np.where(kept, 2, 0))
    again = x.copy()
    CpuOps(1).random_mask(again, again, 4, 0.4, 2.0)
    np.testing.assert_array_equal(again, np.where(kept, x * 2, 0))
