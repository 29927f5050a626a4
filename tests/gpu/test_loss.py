"""Loss ops on the GPU against the CPU's, which are held to definitions and to PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_on_both import assert_same, run_on_both

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
VIEWS = pytest.mark.parametrize("view", [(1, 2, 1), (70, 5, 1), (3, 40, 1), (2, 3, 7), (2, 4, 700)])
FLOOR = 1e-20


def scores(view: Any, dtype: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positive numbers, and labels with fractions, which are cut off."""
    rng = np.random.default_rng(seed)
    prob = rng.random(view).astype(dtype)
    prob.reshape(-1)[0] = 0
    labels = rng.integers(0, view[1], (view[0], view[2])).astype(dtype)
    return prob, labels + dtype(0.25)


@DTYPES
@VIEWS
@pytest.mark.parametrize("ignore", [None, 1, 255])
def test_losses_of_classes(gpu_ops: Any, dtype: Any, view: Any, ignore: int | None) -> None:
    prob, labels = scores(view, dtype)
    if ignore == 255:
        labels.reshape(-1)[::2] = 255
    dx = np.empty_like(prob)
    weights = np.random.default_rng(1).random(view[1]).astype(dtype)
    matrix = np.random.default_rng(2).random((view[1], view[1])).astype(dtype)

    for given in (None, weights):
        assert_same(gpu_ops, "log_loss", prob, labels, FLOOR, ignore_label=ignore, weights=given)
        for smoothing in (0.0, 0.1):
            assert_same(gpu_ops, "softmax_loss_backward", prob, labels, dx, 0.7, ignore_label=ignore,
                        weights=given, smoothing=smoothing)  # fmt: skip
    assert_same(gpu_ops, "infogain_loss", prob, labels, matrix, FLOOR, ignore_label=ignore)
    assert_same(
        gpu_ops, "infogain_loss_backward", prob, labels, matrix, dx, 0.7, ignore_label=ignore, rtol=1e-5
    )
    if ignore != 255:
        assert_same(gpu_ops, "log_loss_backward", prob, labels, dx, 0.7, 1e-3)


@DTYPES
@VIEWS
@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("ignore", [None, 0])
def test_accuracy(gpu_ops: Any, dtype: Any, view: Any, by_class: bool, ignore: int | None) -> None:
    x, labels = scores(view, dtype)
    x = np.round(4 * x)
    x.reshape(-1)[-1] = np.nan
    shares = np.full(view[1], 9, dtype) if by_class else None

    for top_k in (1, 2):
        for _ in range(2):  # the counts begin at 0 each time
            assert_same(gpu_ops, "accuracy", x, labels, top_k, ignore_label=ignore, by_class=shares)


@DTYPES
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 37)])
def test_hinge_loss(gpu_ops: Any, dtype: Any, squared: bool, shape: Any) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    labels = np.random.default_rng(1).integers(0, shape[1], shape[0]).astype(dtype)
    x[0, 0] = np.nan

    assert_same(gpu_ops, "hinge_loss", x, labels, squared)
    assert_same(gpu_ops, "hinge_loss_backward", x, labels, np.empty_like(x), 0.3, squared)


@pytest.mark.parametrize("bad", [-1.0, 4.0, np.nan, 1e20])
@pytest.mark.parametrize("place", [0, 700, 1399])
def test_the_first_label_that_is_no_class_is_named_and_nothing_is_written(
    gpu_ops: Any, bad: float, place: int
) -> None:
    prob, labels = scores((2, 4, 700), np.float32)
    labels.reshape(-1)[place:] = bad
    dx, matrix = np.full_like(prob, 7), np.ones((4, 4), "f4")

    for name, args in {
        "log_loss": (prob, labels, FLOOR),
        "log_loss_backward": (prob, labels, dx, 1.0, FLOOR),
        "softmax_loss_backward": (prob, labels, dx, 1.0),
        "infogain_loss": (prob, labels, matrix, FLOOR),
        "infogain_loss_backward": (prob, labels, matrix, dx, 1.0),
        "accuracy": (prob, labels, 1),
        "hinge_loss_backward": (prob[0].T, labels[0], dx[0].T, 1.0, False) if place < 700 else None,
    }.items():
        if args is None:
            continue
        args = tuple(
            np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value for value in args
        )
        on_cpu, on_gpu = run_on_both(gpu_ops, name, *args)
        assert on_gpu[0] == on_cpu[0], name
        for cpu, gpu in zip(on_cpu[1:], on_gpu[1:], strict=True):
            np.testing.assert_array_equal(gpu, cpu)


@DTYPES
@pytest.mark.parametrize("size", [1, 100, 5000])
def test_losses_of_two_arrays(gpu_ops: Any, dtype: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    a, b, inside, outside = (rng.normal(size=size).astype(dtype) for _ in range(4))
    target, dx = rng.integers(0, 3, size).astype(dtype), np.empty(size, dtype)

    assert_same(gpu_ops, "squared_distance", a, b)
    assert_same(gpu_ops, "squared_distance", a, b, dx, aligned=False)
    for ignore in (None, 2):
        assert_same(gpu_ops, "sigmoid_cross_entropy", a, target, ignore_label=ignore)
        assert_same(gpu_ops, "sigmoid_cross_entropy_backward", a, target, dx, 0.3, ignore_label=ignore)
    for weights in ({}, {"inside": inside}, {"inside": inside, "outside": outside}):
        assert_same(gpu_ops, "smooth_l1_loss", a, b, 1.3, **weights)
        for weigh in (True, False):
            assert_same(gpu_ops, "smooth_l1_loss_backward", a, b, dx, 0.3, 1.3, weigh_inside=weigh, **weights,
                        rtol=1e-5)  # fmt: skip


@DTYPES
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (3, 300)])
def test_contrastive_loss(gpu_ops: Any, dtype: Any, legacy: bool, shape: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 0.4, shape).astype(dtype), rng.normal(0, 0.4, shape).astype(dtype)
    similar = rng.integers(0, 2, shape[0]).astype(dtype)
    squared = ((a - b) ** 2).sum(1)

    assert_same(gpu_ops, "contrastive_loss", a, b, similar, np.empty_like(squared), 1.0, legacy)
    dx, numbers = np.empty_like(a), (0.3, 1.0, legacy, 1e-4)
    assert_same(gpu_ops, "contrastive_loss_backward", a, b, similar, squared, dx, *numbers, rtol=1e-5)


def test_nothing_to_add_up_is_0(gpu_ops: Any) -> None:
    none, labels = np.empty((0, 3, 2), "f4"), np.empty((0, 2), "f4")
    flat = np.empty(0, "f4")

    for name, args in {
        "log_loss": (none, labels, FLOOR),
        "softmax_loss_backward": (none, labels, none, 1.0),
        "accuracy": (none, labels, 1),
        "squared_distance": (flat, flat),
        "sigmoid_cross_entropy": (flat, flat),
        "smooth_l1_loss": (flat, flat, 1.0),
    }.items():
        on_device = [gpu_ops.xp.asarray(v) if isinstance(v, np.ndarray) else v for v in args]
        assert getattr(gpu_ops, name)(*on_device) in (0.0, (0.0, 0), (0.0, 0, -1), -1)


def test_what_does_not_fit_is_refused(gpu_ops: Any) -> None:
    xp = gpu_ops.xp
    prob, labels = (xp.asarray(array) for array in scores((2, 3, 4), np.float32))
    flat = xp.zeros(3, np.float32)

    with pytest.raises(ValueError, match="labels of shape"):
        gpu_ops.log_loss(prob, labels[:1], FLOOR)
    with pytest.raises(ValueError, match="weights: 2 values, expected 3"):
        gpu_ops.log_loss(prob, labels, FLOOR, weights=flat[:2])
    with pytest.raises(ValueError, match="dx"):
        gpu_ops.softmax_loss_backward(prob, labels, prob[:1], 1.0)
    with pytest.raises(ValueError, match="rows of the matrix"):
        gpu_ops.infogain_loss(prob, labels, xp.zeros((2, 3), np.float32), FLOOR)
    with pytest.raises(ValueError, match="by_class"):
        gpu_ops.accuracy(prob, labels, 1, by_class=flat[:2])
    with pytest.raises(ValueError, match="b: 2 values, expected 3"):
        gpu_ops.squared_distance(flat, flat[:2])
    with pytest.raises(TypeError, match="float64 and float32"):
        gpu_ops.squared_distance(flat, xp.zeros(3, np.float64))
