"""Loss ops against float64 definitions and PyTorch; labels that are no class; threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm.backends.cpu import CpuOps

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FLOOR = 1e-20
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-13}


@pytest.fixture
def ops() -> CpuOps:
    return CpuOps(2)


def softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def picked(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """values[o, labels[o, i], i]."""
    return np.take_along_axis(values, labels[:, None, :].astype(int), 1)[:, 0, :]


views = st.tuples(st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 7, 300]))


def scores_and_labels(view: tuple[int, int, int], seed: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, view[1], (view[0], view[2]))
    return rng.normal(size=view).astype(dtype), labels.astype(dtype)


# --- classes ---


@DTYPES
@given(view=views, weighted=st.booleans(), ignore=st.sampled_from([None, 0, 255]), seed=st.integers(0, 99))
def test_log_loss_adds_up_logarithms_of_the_labels_probability(dtype, view, weighted, ignore, seed):
    x, labels = scores_and_labels(view, seed, dtype)
    prob = softmax(x).astype(dtype)
    if ignore == 255:
        labels.reshape(-1)[::2] = 255
    weights = np.linspace(0.5, 2, view[1]).astype(dtype) if weighted else None

    total, counted, bad = CpuOps(2).log_loss(prob, labels, FLOOR, ignore_label=ignore, weights=weights)

    keep = labels != ignore
    terms = -np.log(picked(prob.astype(float), np.where(keep, labels, 0)))
    if weighted:
        terms *= np.linspace(0.5, 2, view[1])[np.where(keep, labels, 0).astype(int)]
    assert (counted, bad) == (keep.sum(), -1)
    np.testing.assert_allclose(total, terms[keep].sum(), rtol=TOLERANCE[dtype], atol=1e-12)


@DTYPES
@given(
    view=views,
    weighted=st.booleans(),
    ignore=st.sampled_from([None, 0, 255]),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
)
def test_softmax_loss_gradient(dtype, view, weighted, ignore, smoothing, seed):
    x, labels = scores_and_labels(view, seed, dtype)
    prob = softmax(x).astype(dtype)
    if ignore == 255:
        labels.reshape(-1)[::2] = 255
    weights = np.linspace(0.5, 2, view[1]).astype(dtype) if weighted else None
    dx = np.full(view, 7, dtype)

    bad = CpuOps(2).softmax_loss_backward(
        prob, labels, dx, 0.25, ignore_label=ignore, weights=weights, smoothing=smoothing
    )

    keep = labels != ignore
    cut = np.where(keep, labels, 0).astype(int)
    target = np.full(view, smoothing / view[1])
    np.put_along_axis(target, cut[:, None, :], 1 - smoothing, 1)
    expected = 0.25 * (prob * target.sum(1, keepdims=True) - target)
    if weighted:
        expected *= np.linspace(0.5, 2, view[1])[cut][:, None, :]
    assert bad == -1
    np.testing.assert_allclose(dx, expected * keep[:, None, :], rtol=1e-5, atol=TOLERANCE[dtype])


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 4, 3), (2, 4, 400)])
def test_softmax_loss_is_torchs_cross_entropy(ops, rng, shape):
    torch = pytest.importorskip("torch")
    x = torch.tensor(rng.normal(size=shape), requires_grad=True)
    labels = torch.tensor(rng.integers(0, shape[1], (shape[0], *shape[2:])))
    loss = torch.nn.functional.cross_entropy(x, labels, ignore_index=2, reduction="sum")
    loss.backward()
    view = (shape[0], shape[1], int(np.prod(shape[2:])))
    prob, cut = softmax(x.detach().numpy()).reshape(view), labels.numpy().astype(float).reshape(view[0], -1)
    dx = np.empty(view)

    total, counted, _ = ops.log_loss(prob, cut, FLOOR, ignore_label=2)
    ops.softmax_loss_backward(prob, cut, dx, 1.0, ignore_label=2)

    assert counted == (cut != 2).sum()
    np.testing.assert_allclose(total, loss.item(), rtol=1e-13)
    np.testing.assert_allclose(dx.reshape(shape), x.grad.numpy(), atol=1e-14)


def test_small_errors_of_a_sure_prediction_are_not_rounded_away(ops):
    prob = np.array([[[1 - 2.0**-24], [2.0**-24]]], np.float32)
    dx = np.empty_like(prob)

    ops.softmax_loss_backward(prob, np.zeros((1, 1), np.float32), dx, 1 / 3)

    np.testing.assert_allclose(dx.ravel(), [-(2.0**-24) / 3, 2.0**-24 / 3], rtol=1e-6)


@DTYPES
def test_probabilities_below_the_floor_are_raised_to_it(ops, dtype):
    prob = np.array([[[0], [1]]], dtype)
    labels = np.zeros((1, 1), dtype)
    dx = np.full_like(prob, 3)

    total, _, _ = ops.log_loss(prob, labels, FLOOR)
    ops.log_loss_backward(prob, labels, dx, 2.0, FLOOR)

    np.testing.assert_allclose(total, 46.0517018598809, rtol=1e-7)
    np.testing.assert_allclose(dx.ravel(), [-2e20, 0], rtol=1e-6)


@DTYPES
@given(view=views, ignore=st.sampled_from([None, 0]), seed=st.integers(0, 99))
def test_infogain_loss_and_gradient(dtype, view, ignore, seed):
    x, labels = scores_and_labels(view, seed, dtype)
    prob = softmax(x).astype(dtype)
    matrix = np.random.default_rng(seed).normal(size=(view[1], view[1])).astype(dtype)
    dx = np.full(view, 7, dtype)
    ops = CpuOps(2)

    total, counted, bad = ops.infogain_loss(prob, labels, matrix, FLOOR, ignore_label=ignore)
    worst = ops.infogain_loss_backward(prob, labels, matrix, dx, 0.5, ignore_label=ignore)

    keep = labels != ignore
    rows = np.moveaxis(matrix.astype(float)[labels.astype(int)], 2, 1)  # (outer, channels, inner)
    expected = -(rows * np.log(prob.astype(float)) * keep[:, None, :])
    assert (counted, bad, worst) == (keep.sum(), -1, -1)
    np.testing.assert_allclose(
        total, expected.sum(), rtol=1e-6, atol=TOLERANCE[dtype] * np.abs(expected).sum()
    )
    slope = 0.5 * (prob * rows.sum(1, keepdims=True) - rows) * keep[:, None, :]
    np.testing.assert_allclose(dx, slope, rtol=1e-5, atol=10 * TOLERANCE[dtype])


@DTYPES
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("classes", [1, 5, 50])
def test_hinge_loss_and_gradient(ops, rng, dtype, squared, classes):
    x = rng.normal(size=(7, classes)).astype(dtype)
    labels = rng.integers(0, classes, 7)
    dx = np.empty_like(x)

    total, bad = ops.hinge_loss(x, labels.astype(dtype), squared)
    ops.hinge_loss_backward(x, labels.astype(dtype), dx, 0.5, squared)

    sign = np.where(np.arange(classes) == labels[:, None], -1.0, 1.0)
    margin = np.maximum(0, 1 + sign * x.astype(float))
    assert bad == -1
    np.testing.assert_allclose(total, (margin**2 if squared else margin).sum(), rtol=1e-6)
    slope = 2 * margin if squared else (margin > 0)
    np.testing.assert_allclose(dx, 0.5 * sign * slope, rtol=1e-6)


def test_an_infinite_score_of_the_label_has_no_hinge(ops):
    x = np.zeros((1, 40))
    x[0, 20] = np.inf
    assert ops.hinge_loss(x, np.full(1, 20.0), False)[0] == 39


def test_a_margin_of_exactly_0_has_no_gradient(ops):
    dx = np.empty((1, 2))
    ops.hinge_loss_backward(np.array([[1.0, -1.0]]), np.zeros(1), dx, 1.0, False)
    np.testing.assert_array_equal(dx, [[0, 0]])


# --- accuracy ---


@DTYPES
@given(view=views, top=st.integers(1, 6), ignore=st.sampled_from([None, 0]), seed=st.integers(0, 99))
def test_accuracy_counts_labels_among_the_best(dtype, view, top, ignore, seed):
    x, labels = scores_and_labels(view, seed, dtype)
    x = np.round(x, 1)  # makes ties
    shares = np.full(view[1], 9, dtype)

    hits, counted, bad = CpuOps(2).accuracy(x, labels, top, ignore_label=ignore, by_class=shares)

    keep = labels != ignore
    rivals = (x >= picked(x, labels)[:, None, :]).sum(1) - 1
    right = (rivals < top) & keep
    assert (hits, counted, bad) == (right.sum(), keep.sum(), -1)
    for label in range(view[1]):
        mine = keep & (labels == label)
        expected = right[mine].sum() / mine.sum() if mine.any() else 0
        np.testing.assert_allclose(shares[label], expected, rtol=1e-6)


@pytest.mark.parametrize("inner", [1, 3])
def test_a_nan_at_the_labels_class_is_a_hit_and_elsewhere_no_rival(ops, inner):
    x = np.zeros((1, 3, inner))
    x[0, 1] = np.nan
    assert ops.accuracy(x, np.full((1, inner), 1.0), 1)[0] == inner
    x[0] = np.array([2, np.nan, 1])[:, None]
    assert ops.accuracy(x, np.zeros((1, inner)), 1)[0] == inner


# --- pairs of arrays ---


@DTYPES
@given(count=st.sampled_from([1, 15, 16, 17, 4096, 4097, 9000]), keep=st.booleans(), seed=st.integers(0, 99))
def test_squared_distance(dtype, count, keep, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, count)).astype(dtype)
    diff = np.empty(count, dtype) if keep else None

    total = CpuOps(2).squared_distance(a, b, diff)

    np.testing.assert_allclose(total, ((a - b).astype(float) ** 2).sum(), rtol=1e-13)
    if diff is not None:
        np.testing.assert_array_equal(diff, a - b)


def test_a_float_sum_is_as_exact_as_its_terms(ops):
    a = np.full(3_000_000, 0.1, np.float32)
    total = ops.squared_distance(a, np.zeros_like(a))
    np.testing.assert_allclose(total, 3_000_000 * float(np.float32(0.1)) ** 2, rtol=1e-12)


@pytest.mark.torch
@DTYPES
def test_sigmoid_cross_entropy_is_torchs(ops, rng, dtype):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=5000) * 5
    x[:4] = [200, -200, 0, 50]
    target = rng.random(5000).round(2)
    x, target = x.astype(dtype), target.astype(dtype)
    tx = torch.tensor(x.astype(float), requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        tx, torch.tensor(target.astype(float)), reduction="sum"
    )
    loss.backward()
    dx = np.empty(5000, dtype)

    total, counted = ops.sigmoid_cross_entropy(x, target)
    ops.sigmoid_cross_entropy_backward(x, target, dx, 1.0)

    assert counted == 5000
    np.testing.assert_allclose(total, loss.item(), rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-6, atol=TOLERANCE[dtype])


def test_sigmoid_cross_entropy_ignores_targets_cut_to_whole_numbers(ops):
    x, target = np.array([1.0, 2, 3, -1]), np.array([0.5, 1.0, -0.9, 1.9])
    dx = np.full(4, 9.0)

    total, counted = ops.sigmoid_cross_entropy(x, target, ignore_label=0)
    ops.sigmoid_cross_entropy_backward(x, target, dx, 1.0, ignore_label=0)

    assert counted == 2
    expected = np.log1p(np.exp(x)) - x * target
    np.testing.assert_allclose(total, expected[[1, 3]].sum(), rtol=1e-13)
    np.testing.assert_array_equal(dx[[0, 2]], [0, 0])
    np.testing.assert_allclose(dx[[1, 3]], 1 / (1 + np.exp(-x[[1, 3]])) - target[[1, 3]], rtol=1e-13)


@DTYPES
@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive_loss_and_gradient(ops, rng, dtype, legacy):
    a, b = rng.normal(size=(2, 40, 3)).astype(dtype)
    similar = (rng.random(40) < 0.5).astype(dtype)
    squared, dx = np.empty(40, dtype), np.empty_like(a)

    total = ops.contrastive_loss(a, b, similar, squared, 2.0, legacy)
    ops.contrastive_loss_backward(a, b, similar, squared, dx, 0.5, 2.0, legacy, 1e-4)

    diff = a.astype(float) - b
    d2 = (diff**2).sum(1)
    gap = np.maximum(0, 2 - (d2 if legacy else np.sqrt(d2)))
    np.testing.assert_allclose(squared, d2, rtol=1e-6)
    np.testing.assert_allclose(total, np.where(similar, d2, gap if legacy else gap**2).sum(), rtol=1e-6)
    slope = -(gap > 0).astype(float) if legacy else -gap / (np.sqrt(d2) + 1e-4)
    expected = 0.5 * np.where(similar, 1, slope)[:, None] * diff
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.torch
@DTYPES
def test_smooth_l1_is_torchs(ops, rng, dtype):
    torch = pytest.importorskip("torch")
    a, b = rng.normal(size=(2, 5000)).astype(dtype)
    ta = torch.tensor(a.astype(float), requires_grad=True)
    loss = torch.nn.functional.smooth_l1_loss(ta, torch.tensor(b.astype(float)), reduction="sum", beta=1 / 9)
    loss.backward()
    dx = np.empty_like(a)

    total = ops.smooth_l1_loss(a, b, 3.0)
    ops.smooth_l1_loss_backward(a, b, dx, 1.0, 3.0)

    np.testing.assert_allclose(total, loss.item(), rtol=1e-6)
    np.testing.assert_allclose(dx, ta.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_smooth_l1_weights(ops, rng):
    a, b, inside, outside = rng.normal(size=(4, 100))
    with_inside, without = np.empty(100), np.empty(100)

    total = ops.smooth_l1_loss(a, b, 1.0, inside=inside, outside=outside)
    ops.smooth_l1_loss_backward(a, b, with_inside, 2.0, 1.0, inside=inside, outside=outside)
    ops.smooth_l1_loss_backward(a, b, without, 2.0, 1.0, inside=inside, outside=outside, weigh_inside=False)

    d = inside * (a - b)
    np.testing.assert_allclose(
        total, (outside * np.where(abs(d) < 1, d * d / 2, abs(d) - 0.5)).sum(), rtol=1e-12
    )
    np.testing.assert_allclose(without, 2 * outside * np.clip(d, -1, 1), rtol=1e-12)
    np.testing.assert_allclose(with_inside, without * inside, rtol=1e-12)


# --- labels that are no class ---

BAD = pytest.mark.parametrize("bad", [-1, 3, 255, 1e30, -1e30, np.nan, np.inf])


@DTYPES
@BAD
def test_the_first_label_that_is_no_class_is_named(ops, dtype, bad):
    prob, dx = np.full((2, 3, 4), 1 / 3, dtype), np.empty((2, 3, 4), dtype)
    labels = np.zeros((2, 4), dtype)
    labels[1, 1] = labels[1, 3] = bad
    matrix = np.eye(3, dtype=dtype)

    found = [
        ops.log_loss(prob, labels, FLOOR)[2],
        ops.log_loss(prob, labels, FLOOR, ignore_label=9)[2],
        ops.log_loss_backward(prob, labels, dx, 1.0, FLOOR),
        ops.softmax_loss_backward(prob, labels, dx, 1.0),
        ops.infogain_loss(prob, labels, matrix, FLOOR)[2],
        ops.infogain_loss_backward(prob, labels, matrix, dx, 1.0),
        ops.accuracy(prob, labels, 1)[2],
        ops.hinge_loss(np.zeros((8, 3), dtype), labels.reshape(-1), False)[1],
        ops.hinge_loss_backward(
            np.zeros((8, 3), dtype), labels.reshape(-1), np.empty((8, 3), dtype), 1.0, False
        ),
    ]

    assert found == [5] * len(found)


def test_labels_are_cut_towards_0(ops):
    prob = np.array([[[0.25], [0.75]]])
    for label, expected in ((-0.9, 0.25), (0.9, 0.25), (1.9, 0.75)):
        total, _, bad = ops.log_loss(prob, np.array([[label]]), FLOOR)
        assert bad == -1
        np.testing.assert_allclose(total, -np.log(expected), rtol=1e-14)


# --- what all ops keep to ---


def everything(ops: CpuOps, dtype: type, inner: int) -> list[np.ndarray]:
    """All results of all ops on arrays that are worth several threads."""
    rng = np.random.default_rng(0)
    outer, channels = (3000 if inner == 1 else 2), 40
    x = rng.normal(size=(outer, channels, inner)).astype(dtype)
    prob = softmax(x).astype(dtype)
    labels = rng.integers(0, channels, (outer, inner)).astype(dtype)
    a, b, c = x.reshape(-1), prob.reshape(-1), np.roll(x.reshape(-1), 1)
    rows, others = x.reshape(-1, channels), prob.reshape(-1, channels)
    row_labels = labels.reshape(-1)
    matrix = rng.normal(size=(channels, channels)).astype(dtype)
    dx, dr, df = np.empty_like(x), np.empty_like(rows), np.empty_like(a)
    shares, distances, diff = np.empty(channels, dtype), np.empty(len(rows), dtype), np.empty_like(a)
    found: list[object] = [
        ops.squared_distance(a, b, diff),
        ops.log_loss(prob, labels, FLOOR, ignore_label=1),
        ops.infogain_loss(prob, labels, matrix, FLOOR),
        ops.sigmoid_cross_entropy(a, b),
        ops.hinge_loss(rows, row_labels, True),
        ops.contrastive_loss(rows, others, row_labels % 2, distances, 5.0, False),
        ops.smooth_l1_loss(a, b, 1.0, inside=b, outside=c),
        ops.accuracy(x, labels, 3, by_class=shares),
    ]
    arrays = [np.asarray(value, float) for value in found] + [diff, distances, shares]
    ops.softmax_loss_backward(prob, labels, dx, 0.3, ignore_label=1)
    arrays.append(dx.copy())
    ops.infogain_loss_backward(prob, labels, matrix, dx, 0.3)
    arrays.append(dx.copy())
    ops.sigmoid_cross_entropy_backward(a, b, df, 0.3)
    arrays.append(df.copy())
    ops.smooth_l1_loss_backward(a, b, df, 0.3, 1.0, inside=b, outside=c)
    arrays.append(df.copy())
    ops.hinge_loss_backward(rows, row_labels, dr, 0.3, False)
    arrays.append(dr.copy())
    ops.contrastive_loss_backward(rows, others, row_labels % 2, distances, dr, 0.3, 5.0, False, 1e-4)
    arrays.append(dr.copy())
    return arrays


@DTYPES
@pytest.mark.parametrize("inner", [1, 1000])
def test_threads_change_no_bit(dtype, inner):
    alone = everything(CpuOps(1), dtype, inner)
    for threads in (2, 3, 4):
        for ours, reference in zip(everything(CpuOps(threads), dtype, inner), alone, strict=True):
            np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize("view", [(0, 3, 4), (2, 3, 0), (0, 3, 1)])
def test_nothing_to_add_up_is_0(ops, view):
    prob, labels, dx = np.zeros(view), np.zeros((view[0], view[2])), np.zeros(view)
    assert ops.log_loss(prob, labels, FLOOR) == (0, 0, -1)
    assert ops.infogain_loss(prob, labels, np.eye(3), FLOOR) == (0, 0, -1)
    assert ops.accuracy(prob, labels, 1, by_class=np.ones(3)) == (0, 0, -1)
    assert ops.softmax_loss_backward(prob, labels, dx, 1.0) == -1
    assert ops.sigmoid_cross_entropy(np.zeros(0), np.zeros(0)) == (0, 0)
    assert ops.squared_distance(np.zeros(0), np.zeros(0), np.zeros(0)) == 0
    assert ops.hinge_loss(np.zeros((0, 3)), np.zeros(0), False) == (0, -1)


def test_arrays_that_do_not_fit_are_refused_before_anything_is_read(ops):
    prob, labels, dx = np.zeros((2, 3, 4)), np.zeros((2, 4)), np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="labels of shape"):
        ops.log_loss(prob, np.zeros((2, 5)), FLOOR)
    with pytest.raises(ValueError, match="weights"):
        ops.log_loss(prob, labels, FLOOR, weights=np.ones(2))
    with pytest.raises(ValueError, match="dx"):
        ops.softmax_loss_backward(prob, labels, dx[:1], 1.0)
    with pytest.raises(ValueError, match="matrix"):
        ops.infogain_loss(prob, labels, np.eye(2), FLOOR)
    with pytest.raises(ValueError, match="by_class"):
        ops.accuracy(prob, labels, 1, by_class=np.ones(2))
    with pytest.raises(ValueError, match="b: 2 values, expected 3"):
        ops.squared_distance(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="target"):
        ops.sigmoid_cross_entropy(np.zeros(3), np.zeros(2))


@DTYPES
def test_nan_passes_where_caffes_does(ops, dtype):
    nan = np.array([np.nan], dtype)
    assert np.isnan(ops.squared_distance(nan, np.ones(1, dtype)))
    assert np.isnan(ops.sigmoid_cross_entropy(nan, np.ones(1, dtype))[0])
    assert np.isnan(ops.smooth_l1_loss(nan, np.ones(1, dtype), 1.0))
    assert np.isnan(ops.log_loss(nan.reshape(1, 1, 1), np.zeros((1, 1), dtype), FLOOR)[0])
    assert ops.hinge_loss(nan.reshape(1, 1), np.zeros(1, dtype), False)[0] == 0  # max(0, NaN) in Caffe
