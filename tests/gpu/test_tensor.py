"""Tensor ops on the GPU against the CPU's, which are held to definitions and to PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_on_both import assert_same, run_on_both

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
few = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
VIEWS = [(1, 1, 1), (3, 5, 1), (2, 300, 1), (2, 7, 5), (3, 4, 40), (1, 3, 1100), (700, 2, 1)]


def normal(shape: Any, dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(dtype)


@DTYPES
@pytest.mark.parametrize("view", VIEWS)
def test_softmax(gpu_ops: Any, dtype: Any, view: Any) -> None:
    x, dy = normal(view, dtype), normal(view, dtype, 1)

    assert_same(gpu_ops, "softmax", x, np.empty_like(x))
    assert_same(gpu_ops, "softmax", x, x, alias={1: 0}, aligned=False)
    assert_same(
        gpu_ops, "softmax_backward", x, dy, np.empty_like(x), rtol=2e-5 if dtype is np.float32 else 1e-12
    )
    assert_same(
        gpu_ops, "softmax_backward", x, dy, dy, alias={2: 1}, rtol=2e-5 if dtype is np.float32 else 1e-12
    )


@pytest.mark.parametrize("inner", [1, 40])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_softmax_of_what_is_not_finite_spoils_its_own_position_alone(
    gpu_ops: Any, special: float, inner: int
) -> None:
    x = normal((2, 5, inner), np.float32)
    x[0, 2, 0] = special

    assert_same(gpu_ops, "softmax", x, np.empty_like(x))


@DTYPES
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 17])
def test_arrays_are_combined(gpu_ops: Any, dtype: Any, count: int) -> None:
    arrays = [np.round(normal(1030, dtype, seed)) for seed in range(count)]
    arrays[0][5] = np.nan
    weights = [0.5 * k - 1 for k in range(count)]
    y = np.empty(1030, dtype)

    assert_same(gpu_ops, "weighted_sum", arrays, weights, y, rtol=1e-5)
    assert_same(gpu_ops, "weighted_sum", arrays, None, y, 0.1, rtol=1e-5)
    assert_same(gpu_ops, "product", arrays, y, rtol=1e-5)
    assert_same(gpu_ops, "maximum", arrays, y, rtol=0)
    assert_same(gpu_ops, "maximum", arrays, y, np.empty(1030, np.int32), rtol=0, aligned=False)


@pytest.mark.parametrize("number", [0, 3, 10, 16])
def test_a_combination_may_be_written_over_any_operand(gpu_ops: Any, number: int) -> None:
    xp = gpu_ops.xp
    arrays = [normal(300, np.float32, seed) for seed in range(17)]
    on_device = [xp.asarray(array) for array in arrays]

    gpu_ops.weighted_sum(on_device, None, on_device[number])

    np.testing.assert_allclose(xp.asnumpy(on_device[number]), np.sum(arrays, 0), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_maximum_goes_to_the_winner(gpu_ops: Any) -> None:
    dy, winner = normal(1030, np.float32), np.random.default_rng(0).integers(0, 3, 1030).astype(np.int32)

    assert_same(gpu_ops, "maximum_backward", dy, winner, 2, np.empty_like(dy), rtol=0)


@DTYPES
@pytest.mark.parametrize("terms", ["values", "sizes", "squares"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (700, 2), (2, 40000), (3, 0)])
def test_rows_are_reduced(gpu_ops: Any, dtype: Any, terms: str, shape: Any) -> None:
    x, dy = normal(shape, dtype), normal(shape[0], dtype, 1)
    x.reshape(-1)[::7] = 0

    assert_same(gpu_ops, "reduce_rows", terms, x, np.empty(shape[0], dtype), 0.3)
    assert_same(gpu_ops, "reduce_rows_backward", terms, x, dy, np.empty_like(x), 0.3)


@DTYPES
@pytest.mark.parametrize("view", [(3, 5, 1), (2, 300, 1), (2, 7, 5), (2, 9, 40)])
@pytest.mark.parametrize("smallest", [False, True])
def test_top_values(gpu_ops: Any, dtype: Any, view: Any, smallest: bool) -> None:
    x = np.random.default_rng(0).integers(0, 6, view).astype(dtype)
    x[0, 3, 0] = np.nan
    x[0, 1, 0] = np.nan
    for k in (1, 2, min(view[1], 9)):
        out = np.empty((view[0], k, view[2]), dtype)
        assert_same(gpu_ops, "top_values", x, out, out.copy(), smallest, rtol=0)
        assert_same(gpu_ops, "top_values", x, None, out, smallest, rtol=0)
        assert_same(gpu_ops, "top_values", x, out, None, smallest, rtol=0)


@DTYPES
@few
@given(rows=st.integers(1, 6), size=st.sampled_from([1, 3, 70]), n=st.integers(0, 9), seed=st.integers(0, 99))
def test_rows_are_taken_and_added(gpu_ops: Any, dtype: Any, rows: int, size: int, n: int, seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, rows, n)

    assert_same(gpu_ops, "take_rows", normal((rows, size), dtype), index, np.empty((n, size), dtype), rtol=0)
    assert_same(gpu_ops, "add_rows", normal((n, size), dtype), index, normal((rows, size), dtype, 1), rtol=0)


def test_numbers_of_no_row_read_and_write_nothing(gpu_ops: Any) -> None:
    x, y = gpu_ops.xp.asarray(normal((3, 4), np.float32)), gpu_ops.xp.zeros((5, 4), np.float32)
    ones, index = gpu_ops.xp.ones((5, 4), np.float32), gpu_ops.xp.asarray(np.array([1, -1, 3, 2**40, 0]))

    gpu_ops.take_rows(x, index, y)
    gpu_ops.add_rows(ones, index, x)

    before = normal((3, 4), np.float32)
    np.testing.assert_array_equal(
        gpu_ops.xp.asnumpy(y), np.stack([before[1], *np.zeros((3, 4), "f4"), before[0]])
    )
    np.testing.assert_array_equal(gpu_ops.xp.asnumpy(x), before + np.array([[1], [1], [0]], "f4"))


def test_whole_numbers_of_another_size_are_refused(gpu_ops: Any) -> None:
    xp = gpu_ops.xp
    x = xp.zeros((3, 4), np.float32)

    with pytest.raises(TypeError, match="index holds int32, it must be int64"):
        gpu_ops.take_rows(x, xp.zeros(3, np.int32), x)
    with pytest.raises(TypeError, match="winner holds int64, it must be int32"):
        gpu_ops.maximum([x, x], x, xp.zeros(12, np.int64))


@DTYPES
@few
@given(rows=st.integers(1, 4), count=st.sampled_from([0, 1, 5, 600]), seed=st.integers(0, 9))
def test_columns_are_copied(gpu_ops: Any, dtype: Any, rows: int, count: int, seed: int) -> None:
    x, y = normal((rows, count + 3), dtype, seed), normal((rows, count + 2), dtype, seed + 1)

    assert_same(gpu_ops, "copy_columns", x, 2, y, 1, count, rtol=0)


@DTYPES
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 1), (2, 33, 70, 1), (3, 4, 5, 6), (1, 64, 32, 1)])
def test_middle_axes_are_exchanged(gpu_ops: Any, dtype: Any, shape: Any) -> None:
    outer, a, b, inner = shape

    assert_same(gpu_ops, "swap_axes", normal(shape, dtype), np.empty((outer, b, a, inner), dtype), rtol=0)


@DTYPES
def test_rows_are_scaled_and_added(gpu_ops: Any, dtype: Any) -> None:
    x, y = normal((3, 401), dtype), normal((3, 401), dtype, 1)

    assert_same(gpu_ops, "scale_add", normal(3, dtype, 2), x, y, np.empty_like(x))
    assert_same(gpu_ops, "scale_add", normal(3, dtype, 2), x, y, y, alias={3: 2}, aligned=False)


def test_what_does_not_fit_is_refused_as_on_the_cpu(gpu_ops: Any) -> None:
    x = normal((2, 3, 4), np.float32)
    wrong = {
        "softmax": (x, np.empty((2, 3, 5), "f4")),
        "softmax_backward": (x, x, np.empty((2, 3, 5), "f4")),
        "weighted_sum": ([], None, x),
        "product": ([x, x[:1]], x),
        "maximum": ([x], x, np.empty(3, np.int32)),
        "maximum_backward": (x, np.empty(3, np.int32), 0, x),
        "reduce_rows": ("values", x[0], np.empty(4, "f4"), 1.0),
        "top_values": (x, np.empty((2, 4, 4), "f4"), None),
        "copy_columns": (x[0], 2, x[1], 0, 3),
        "swap_axes": (x[None], np.empty((1, 3, 2, 5), "f4")),
        "scale_add": (np.empty(3, "f4"), x[0][:2], x[0][:2], x[0][:2]),
    }
    for name, args in wrong.items():
        with pytest.raises(ValueError) as on_cpu:  # noqa: PT011 (the message is compared below)
            run_on_both(gpu_ops, name, *args)
        on_device = [_on(gpu_ops, value) for value in args]
        with pytest.raises(ValueError) as on_gpu:  # noqa: PT011
            getattr(gpu_ops, name)(*on_device)
        assert str(on_gpu.value) == str(on_cpu.value)


def _on(gpu_ops: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_on(gpu_ops, part) for part in value]
    return gpu_ops.xp.asarray(value) if isinstance(value, np.ndarray) else value
