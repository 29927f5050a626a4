"""Kernels broken on purpose do not pass: their results differ from the CPU's, or the emulation objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation import emulated_cupy
from emulation.driver import EmulationError
from ops_on_both import assert_same

from caffenorm.backends.gpu import GpuOps, cuda

TRIES = 6  # a missing barrier shows in some orders of the threads, which differ from launch to launch


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(ops: Any) -> None:
    x = normal(20, 300, 1)
    assert_same(ops, "softmax", x, x.copy())


def softmax_of_columns(ops: Any) -> None:
    x = normal(2, 5, 40)
    assert_same(ops, "softmax", x, x.copy())


def sums_of_rows(ops: Any) -> None:
    assert_same(ops, "reduce_rows", "squares", normal(100, 200), normal(100), 1.0)


def transposition(ops: Any) -> None:
    x = normal(10, 40, 70, 1)
    assert_same(ops, "swap_axes", x, np.empty((10, 70, 40, 1), np.float32))


def top_values(ops: Any) -> None:
    x = normal(10, 300, 1)
    assert_same(ops, "top_values", x, np.empty((10, 3, 1), "f4"), np.empty((10, 3, 1), "f4"))


def tail(ops: Any) -> None:
    x = normal(1031)
    assert_same(ops, "activate", "sigmoid", x, np.zeros_like(x))


def log_loss(ops: Any) -> None:
    labels = np.arange(14, dtype=np.float32).reshape(2, 7) % 3
    assert_same(ops, "log_loss", np.abs(normal(2, 3, 7)) + 1, labels, 1e-20)


def batch_norm(ops: Any) -> None:
    for view in ((2, 3, 700), (300, 5, 1), (3, 2, 9000)):
        mean, var, inv_std = (np.empty(view[1], np.float32) for _ in range(3))
        x = normal(*view)
        assert_same(ops, "batch_norm_train", x, np.empty_like(x), mean, var, inv_std, 1e-5, rtol=1e-5)
        assert_same(ops, "channel_dot", x, normal(*view, seed=1), mean, False, rtol=1e-4)


def global_pooling(ops: Any) -> None:
    sizes = {"kernel": (40, 40), "stride": (1, 1), "pad": (0, 0), "pad_after": (0, 0), "count_pads": False}
    plan = ops.plan_pooling((40, 40), (1, 1), **sizes)
    x = normal(1, 6, 40, 40)
    y = ops.xp.empty((1, 6, 1, 1), np.float32)

    ops.max_pool(plan, ops.xp.asarray(x), y, ops.xp.empty((1, 6, 1, 1), np.int32))

    np.testing.assert_array_equal(ops.xp.asnumpy(y), x.max((2, 3), keepdims=True))


BARRIER = "__syncthreads();  // until "
MUTATIONS: list[tuple[Callable[[Any], None], str, str]] = [
    # indices
    (softmax, "start + c * inner", "start + c * inner / 2"),
    (softmax_of_columns, "position / inner * channels * inner", "position / inner * inner"),
    (transposition, "tile[threadIdx.x][c]", "tile[c][threadIdx.x]"),
    (tail, "pack_size<T>() + thread_index(); i < count;", "pack_size<T>() + thread_index(); i < 0;"),
    (log_loss, "channels + channel) * inner", "channels + channel + 1) * inner"),
    (sums_of_rows, "task / chunks * size", "task / chunks * (size + 1)"),
    (sums_of_rows, "lanes = 16; lanes > 0", "lanes = 8; lanes > 0"),
    # barriers
    (softmax, BARRIER + "all warps' values are there", ""),
    (softmax, BARRIER + "all warps' sums are there", ""),
    (sums_of_rows, BARRIER + "nobody reads what `shared` held before", ""),
    (sums_of_rows, BARRIER + "all warps' sums are there", "if (lane) __syncthreads();"),
    (transposition, BARRIER + "the tile before has been written", ""),
    (transposition, BARRIER + "the tile is read", ""),
    (top_values, BARRIER + "nobody reads the rank before", ""),
    (top_values, BARRIER + "all warps' best are there", ""),
    (log_loss, BARRIER + "all warps' values are there", ""),
    (batch_norm, BARRIER + "all warps' moments are there", ""),
    (batch_norm, BARRIER + "all warps' sums are there", ""),
    (global_pooling, BARRIER + "all warps' values are there", ""),
]  # fmt: skip


def check_often(check: Callable[[Any], None], ops: GpuOps) -> None:
    for _ in range(TRIES):
        check(ops)


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _, _ in MUTATIONS), ids=lambda c: c.__name__)
def test_the_kernels_as_they_are_pass(check: Callable[[Any], None]) -> None:
    check_often(check, GpuOps(0, emulated_cupy))


@pytest.mark.parametrize(
    ("check", "text", "broken"),
    MUTATIONS,
    ids=[f"{check.__name__}-{text[-24:].strip()}" for check, text, _ in MUTATIONS],
)
def test_broken_kernels_fail(
    check: Callable[[Any], None], text: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_of, seen = cuda.source_of, []

    def broken_source(family: str) -> str:
        source = source_of(family)
        seen.append(text in source)
        return source.replace(text, broken)

    monkeypatch.setattr(cuda, "source_of", broken_source)
    ops = GpuOps(0, emulated_cupy)

    with pytest.raises((AssertionError, EmulationError)):
        check_often(check, ops)
    assert any(seen), "the kernel has changed, and this text is in it no more"
