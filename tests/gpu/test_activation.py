"""Activation ops on the GPU against the CPU's, which are held to definitions and to PyTorch."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_on_both import CPU, assert_same

from caffenorm.backends.interface.activation import Backward, Forward

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
PARAMS = {
    "relu": [(0.0,), (0.2,), (-0.5,)],
    "clipped_relu": [(0.1, -1.0, 1.5)],
    "elu": [(0.7, 1.3)],
    "elu_of_x": [(-0.7, 1.3)],
    "swish": [(1.0,), (1.5,)],
    "clip": [(-0.5, 1.0)],
    "threshold": [(0.3,)],
    "power": [(1.0, 2.0, 0.5), (2.0, 2.0, 0.5), (-1.0, 2.0, 0.5), (3.0, 0.5, 0.1), (0.5, 0.5, 9.0)],
    "exp": [(0.6, 0.3)],
    "log": [(0.6, 9.0, 1.4)],
}
SIZES = (1, 3, 1023, 1030)


def values(size: int, dtype: Any, seed: int = 0) -> np.ndarray:
    """Numbers around 0, with what is special in front."""
    x = np.random.default_rng(seed).normal(0, 2, size).astype(dtype)
    special = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan], dtype)
    if size > len(special):
        x[: len(special)] = special
    return x


@DTYPES
@pytest.mark.parametrize("function", get_args(Forward))
def test_functions_are_the_cpus(gpu_ops: Any, function: str, dtype: Any) -> None:
    for params in PARAMS.get(function, [()]):
        for size in SIZES:
            x = values(size, dtype)
            assert_same(gpu_ops, "activate", function, x, np.empty_like(x), *params, rtol=_error(dtype))
            options = {"alias": {2: 1}, "aligned": False, "rtol": _error(dtype)}
            assert_same(gpu_ops, "activate", function, x, x, *params, **options)


@DTYPES
@pytest.mark.parametrize("function", get_args(Backward))
def test_gradients_are_the_cpus(gpu_ops: Any, function: str, dtype: Any) -> None:
    for params in PARAMS.get(function, [()]):
        for size in SIZES:
            s, dy = values(size, dtype), values(size, dtype, 1)[::-1].copy()
            options: dict[str, Any] = {"rtol": _error(dtype)}
            assert_same(gpu_ops, "activate_backward", function, s, dy, np.empty_like(s), *params, **options)
            options |= {"alias": {3: 2}, "aligned": False}
            assert_same(gpu_ops, "activate_backward", function, s, dy, dy, *params, **options)


def _error(dtype: Any) -> float:
    return 3e-6 if dtype is np.float32 else 1e-12


@pytest.mark.parametrize("function", ["relu", "sigmoid", "swish"])
def test_half_values_are_computed_in_float(gpu_ops: Any, function: str) -> None:
    x = values(1030, np.float16)
    expected = np.empty(1030, np.float32)
    CPU.activate(function, x.astype(np.float32), expected, 1.0)
    y = gpu_ops.xp.empty(1030, np.float16)

    gpu_ops.activate(function, gpu_ops.xp.asarray(x), y, 1.0)

    np.testing.assert_allclose(
        gpu_ops.xp.asnumpy(y).astype("f4"), expected.astype("f2").astype("f4"), rtol=1e-3
    )


@DTYPES
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.sampled_from([1, 255, 1024, 1025, 5000]), seed=st.integers(0, 2**64 - 1), ratio=st.floats(0, 1)
)
def test_masks_are_the_cpus(gpu_ops: Any, dtype: Any, size: int, seed: int, ratio: float) -> None:
    x = np.arange(1, size + 1).astype(dtype)

    assert_same(gpu_ops, "random_mask", x, np.empty_like(x), seed, ratio, 2.5, rtol=0)


def test_what_does_not_fit_is_refused(gpu_ops: Any) -> None:
    xp = gpu_ops.xp
    x, y = xp.zeros(3, np.float32), xp.zeros(2, np.float32)

    with pytest.raises(ValueError, match="arrays of 2 and 3 values"):
        gpu_ops.activate("relu", x, y)
    with pytest.raises(ValueError, match="arrays of 2 and 3 values"):
        gpu_ops.activate_backward("relu", x, x, y)
    with pytest.raises(ValueError, match="arrays of 2 and 3 values"):
        gpu_ops.random_mask(x, y, 0, 0.5, 2.0)
    with pytest.raises(KeyError):
        gpu_ops.activate("no such function", x, x)
    with pytest.raises(TypeError, match="float64 and float32"):
        gpu_ops.activate("relu", x, xp.zeros(3, np.float64))
    gpu_ops.activate("relu", x[:0], x[:0])
