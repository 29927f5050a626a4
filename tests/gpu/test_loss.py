"""Loss ops on the GPU: the same as on the CPU; bad labels are named, and read nothing."""

from __future__ import annotations

import numpy as np
import pytest
from device_arrays import to_device, unset
from emulation import emulated_cupy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffenorm.backends.cpu import CpuOps

CPU = CpuOps(1)
FLOOR = 1e-20
TOLERANCE = {"f4": 2e-6, "f8": 1e-13}
DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VIEWS = st.tuples(st.integers(1, 40), st.integers(1, 12), st.sampled_from([1, 2, 7, 300]))
IGNORED = st.sampled_from([None, 0, 255])


def random(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def probabilities(view, dtype, seed=0):
    e = np.exp(np.random.default_rng(seed).normal(size=view) * 3)
    return (e / e.sum(1, keepdims=True)).astype(dtype)


def labels_of(view, dtype, ignored, seed=0):
    """Classes, not all whole, some of them the ignored one."""
    labels = np.random.default_rng(seed).integers(0, view[1], (view[0], view[2])).astype(dtype)
    if ignored == 255:
        labels.reshape(-1)[::3] = 255
    return labels + np.asarray(0.25, dtype)


def close(found, expected, dtype, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def both(gpu_ops, call, *arrays, out=None):
    """call(ops, *arrays, out) on both sides: (CPU's numbers, its out, the GPU's numbers, its out)."""
    expected = None if out is None else np.full(out[0], np.nan, out[1])
    numbers = call(CPU, *arrays, expected)
    on_device = [None if array is None else to_device(gpu_ops, array, 1) for array in arrays]
    made = None if out is None else unset(gpu_ops, *out)
    found = call(gpu_ops, *on_device, made)
    return numbers, expected, found, None if made is None else gpu_ops.xp.asnumpy(made)


# --- classes ---


@DTYPES
@few
@given(view=VIEWS, weighted=st.booleans(), ignored=IGNORED)
def test_log_loss_is_the_cpus(gpu_ops, dtype, view, weighted, ignored):
    prob, labels = probabilities(view, dtype), labels_of(view, dtype, ignored)
    prob.reshape(-1)[::5] = 0  # raised to the floor
    weights = np.linspace(0.5, 2, view[1]).astype(dtype) if weighted else None

    expected, _, found, _ = both(
        gpu_ops,
        lambda ops, p, t, w, _: ops.log_loss(p, t, FLOOR, ignore_label=ignored, weights=w),
        *(prob, labels, weights),
    )

    assert found[1:] == expected[1:]
    close(found[0], expected[0], dtype)


@DTYPES
@few
@given(view=VIEWS)
def test_log_loss_backward_is_the_cpus(gpu_ops, dtype, view):
    prob, labels = probabilities(view, dtype), labels_of(view, dtype, None)

    _, expected, bad, found = both(
        gpu_ops,
        lambda ops, p, t, dx: ops.log_loss_backward(p, t, dx, 0.5, FLOOR),
        prob,
        labels,
        out=(view, dtype),
    )

    assert bad == -1
    close(found, expected, dtype)


@DTYPES
@few
@given(view=VIEWS, weighted=st.booleans(), ignored=IGNORED, smoothing=st.sampled_from([0.0, 0.1]))
def test_softmax_loss_backward_is_the_cpus(gpu_ops, dtype, view, weighted, ignored, smoothing):
    prob, labels = probabilities(view, dtype), labels_of(view, dtype, ignored)
    weights = np.linspace(0.5, 2, view[1]).astype(dtype) if weighted else None

    _, expected, _, found = both(
        gpu_ops,
        lambda ops, p, t, w, dx: ops.softmax_loss_backward(
            p, t, dx, 0.5, ignore_label=ignored, weights=w, smoothing=smoothing
        ),
        *(prob, labels, weights),
        out=(view, dtype),
    )

    close(found, expected, dtype)


@DTYPES
@few
@given(view=VIEWS, ignored=IGNORED)
def test_infogain_is_the_cpus(gpu_ops, dtype, view, ignored):
    prob, labels, matrix = (
        probabilities(view, dtype),
        labels_of(view, dtype, ignored),
        random((view[1],) * 2, dtype),
    )

    expected, _, found, _ = both(
        gpu_ops,
        lambda ops, p, t, m, _: ops.infogain_loss(p, t, m, FLOOR, ignore_label=ignored),
        *(prob, labels, matrix),
    )
    _, slopes, _, found_slopes = both(
        gpu_ops,
        lambda ops, p, t, m, dx: ops.infogain_loss_backward(p, t, m, dx, 0.5, ignore_label=ignored),
        *(prob, labels, matrix),
        out=(view, dtype),
    )

    assert found[1:] == expected[1:]
    close(found[0], expected[0], dtype, scale=prob.size)
    close(found_slopes, slopes, dtype, scale=view[1])


@DTYPES
@few
@given(num=st.integers(1, 60), classes=st.integers(1, 40), squared=st.booleans())
def test_hinge_is_the_cpus(gpu_ops, dtype, num, classes, squared):
    x, labels = random((num, classes), dtype), labels_of((num, classes, 1), dtype, None).reshape(-1)
    x[0, 0] = np.nan

    expected, _, found, _ = both(gpu_ops, lambda ops, x, t, _: ops.hinge_loss(x, t, squared), x, labels)
    _, slopes, _, found_slopes = both(
        gpu_ops,
        lambda ops, x, t, dx: ops.hinge_loss_backward(x, t, dx, 0.5, squared),
        x,
        labels,
        out=(x.shape, dtype),
    )

    assert found[1] == -1
    close(found[0], expected[0], dtype)
    close(found_slopes, slopes, dtype)


@few
@given(view=VIEWS, ignored=IGNORED, top_k=st.integers(1, 4), seed=st.integers(0, 9))
def test_accuracy_is_the_cpus(gpu_ops, view, ignored, top_k, seed):
    scores = np.random.default_rng(seed).integers(0, 5, view).astype("f4")  # with ties
    scores.reshape(-1)[:: 1 + scores.size // 5] = np.nan
    labels = labels_of(view, "f4", ignored, seed)

    expected, shares, found, found_shares = both(
        gpu_ops,
        lambda ops, x, t, by: ops.accuracy(x, t, top_k, ignore_label=ignored, by_class=by),
        *(scores, labels),
        out=((view[1],), "f4"),
    )

    assert found == expected
    np.testing.assert_array_equal(found_shares, shares)
    assert (
        gpu_ops.accuracy(to_device(gpu_ops, scores), to_device(gpu_ops, labels), top_k, ignore_label=ignored)
        == found
    )


@pytest.mark.parametrize("wrong", [-1.0, 3.0, np.nan, np.inf, 1e30])
def test_the_first_bad_label_is_named_and_reads_nothing(gpu_ops, wrong):
    prob, matrix = (
        to_device(gpu_ops, probabilities((9, 3, 700), "f4")),
        to_device(gpu_ops, np.eye(3, dtype="f4")),
    )
    labels = np.ones((9, 700), "f4")
    labels[2, 30] = labels[8, 699] = wrong
    given_labels, dx = to_device(gpu_ops, labels), unset(gpu_ops, (9, 3, 700), "f4")

    assert gpu_ops.log_loss(prob, given_labels, FLOOR) == (0.0, 0, 1430)
    assert gpu_ops.infogain_loss(prob, given_labels, matrix, FLOOR) == (0.0, 0, 1430)
    assert gpu_ops.accuracy(prob, given_labels, 1) == (0, 0, 1430)
    rows, row_labels = prob.reshape(2100 * 3, 3), to_device(gpu_ops, np.resize(labels, 6300))
    assert gpu_ops.hinge_loss(rows, row_labels, False) == (0.0, 1430)
    gpu_ops.softmax_loss_backward(prob, given_labels, dx, 1.0)
    assert not gpu_ops.xp.asnumpy(dx)[2, :, 30].any()
    gpu_ops.infogain_loss_backward(prob, given_labels, matrix, dx, 1.0)
    assert not gpu_ops.xp.asnumpy(dx)[8, :, 699].any()
    gpu_ops.log_loss_backward(prob, given_labels, dx, 1.0, FLOOR)
    assert not gpu_ops.xp.asnumpy(dx)[8, :, 699].any()


def test_labels_of_another_shape_are_an_error(gpu_ops):
    prob, labels = unset(gpu_ops, (2, 3, 4), "f4"), unset(gpu_ops, (2, 3), "f4")

    with pytest.raises(ValueError, match=r"labels of shape \(2, 3\) for \(2, 4\) positions"):
        gpu_ops.log_loss(prob, labels, FLOOR)


# --- two arrays ---


@DTYPES
@few
@given(count=st.sampled_from([1, 3, 1000, 1025, 5000]), ignored=st.sampled_from([None, 1]))
def test_elementwise_losses_are_the_cpus(gpu_ops, dtype, count, ignored):
    a, b = random(count, dtype) * 4, random(count, dtype, 1)
    target = np.random.default_rng(2).integers(0, 2, count).astype(dtype)

    expected, diff, found, found_diff = both(
        gpu_ops, lambda ops, a, b, d: ops.squared_distance(a, b, d), a, b, out=((count,), dtype)
    )
    close(found, expected, dtype)
    np.testing.assert_array_equal(found_diff, diff)

    expected, _, found, _ = both(
        gpu_ops, lambda ops, x, t, _: ops.sigmoid_cross_entropy(x, t, ignore_label=ignored), a, target
    )
    assert found[1] == expected[1]
    close(found[0], expected[0], dtype)
    _, slopes, _, found_slopes = both(
        gpu_ops,
        lambda ops, x, t, dx: ops.sigmoid_cross_entropy_backward(x, t, dx, 0.5, ignore_label=ignored),
        *(a, target),
        out=((count,), dtype),
    )
    close(found_slopes, slopes, dtype)


@DTYPES
@few
@given(
    count=st.sampled_from([1, 1000, 3001]), inside=st.booleans(), outside=st.booleans(), weigh=st.booleans()
)
def test_smooth_l1_is_the_cpus(gpu_ops, dtype, count, inside, outside, weigh):
    a, b = random(count, dtype), random(count, dtype, 1)
    a[0] = np.nan if count > 1 else a[0]
    w_in, w_out = (
        (random(count, dtype, 2) if inside else None),
        (random(count, dtype, 3) if outside else None),
    )

    expected, _, found, _ = both(
        gpu_ops,
        lambda ops, a, b, i, o, _: ops.smooth_l1_loss(a, b, 1.5, inside=i, outside=o),
        a,
        b,
        w_in,
        w_out,
    )
    _, slopes, _, found_slopes = both(
        gpu_ops,
        lambda ops, a, b, i, o, dx: ops.smooth_l1_loss_backward(
            a, b, dx, 0.5, 1.5, inside=i, outside=o, weigh_inside=weigh
        ),
        *(a, b, w_in, w_out),
        out=((count,), dtype),
    )

    close(found, expected, dtype, scale=count)
    close(found_slopes, slopes, dtype)


@DTYPES
@few
@given(num=st.integers(1, 30), dim=st.sampled_from([1, 2, 300]), legacy=st.booleans())
def test_contrastive_is_the_cpus(gpu_ops, dtype, num, dim, legacy):
    a, b = random((num, dim), dtype) / dim, random((num, dim), dtype, 1) / dim
    similar = np.random.default_rng(2).integers(0, 2, num).astype(dtype)

    expected, squared, found, found_squared = both(
        gpu_ops,
        lambda ops, a, b, s, q: ops.contrastive_loss(a, b, s, q, 1.0, legacy),
        a,
        b,
        similar,
        out=((num,), dtype),
    )
    _, slopes, _, found_slopes = both(
        gpu_ops,
        lambda ops, a, b, s, q, dx: ops.contrastive_loss_backward(a, b, s, q, dx, 0.5, 1.0, legacy, 1e-4),
        *(a, b, similar, squared),
        out=((num, dim), dtype),
    )

    close(found, expected, dtype)
    close(found_squared, squared, dtype)
    close(found_slopes, slopes, dtype)


def test_a_sum_reads_back_once_and_a_gradient_never(gpu_ops):
    if gpu_ops.xp is not emulated_cupy:
        pytest.skip("counts what the emulation is asked for")
    prob, labels = (
        to_device(gpu_ops, probabilities((4, 3, 50), "f4")),
        to_device(gpu_ops, np.ones((4, 50), "f4")),
    )
    emulated_cupy.events.clear()

    gpu_ops.log_loss(prob, labels, FLOOR)

    assert emulated_cupy.events["to_host"] == 1
    emulated_cupy.events.clear()
    gpu_ops.softmax_loss_backward(prob, labels, prob, 1.0)
    assert not {"to_host", "to_device", "synchronise"} & set(emulated_cupy.events)


def test_nothing_to_add_up_is_0(gpu_ops):
    none, labels, flat = np.empty((0, 3, 2), "f4"), np.empty((0, 2), "f4"), np.empty(0, "f4")

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


def test_what_does_not_fit_is_refused(gpu_ops):
    xp = gpu_ops.xp
    prob, labels = (xp.asarray(array) for array in (probabilities((2, 3, 4), "f4"), np.zeros((2, 4), "f4")))
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
