"""Softmax and SoftmaxWithLoss: axes, labels, divisors, the second top, dialects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import one_layer, run, run_backward

from caffenorm import TEST, CaffenormError, LayerError, Net, ShapeError
from caffenorm.gradient_check import check_layer

SHAPE = (4, 3, 2)


def body(options: str = "", around: str = "") -> str:
    return f'type: "SoftmaxWithLoss" {around} {options}'


def log_softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def draw(shape, axis, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.integers(0, shape[axis], [d for a, d in enumerate(shape) if a != axis])


# --- Softmax ---


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple),
    data=st.data(),
    in_place=st.booleans(),
    overwritten=st.booleans(),
)
def test_softmax_over_any_axis(shape, data, in_place, overwritten):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, dy = np.random.default_rng(0).normal(size=(2, *shape))
    net = one_layer(
        f'type: "Softmax" softmax_param {{ axis: {axis} }}', shape, in_place=in_place, overwritten=overwritten
    )

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    expected = np.exp(log_softmax(x, axis))
    factor = -2 if overwritten else 1
    np.testing.assert_allclose(y, factor * expected, rtol=1e-12)
    inner = (dy * expected).sum(axis, keepdims=True)
    np.testing.assert_allclose(dx, factor * expected * (dy - inner), rtol=1e-9, atol=1e-14)


def test_softmax_without_that_axis_is_refused():
    with pytest.raises(ShapeError, match="axis 1 does not exist"):
        one_layer('type: "Softmax"', (3,))


# --- the loss and its divisor ---


@pytest.mark.parametrize(
    ("options", "divisor"),
    [
        ("", 6),  # VALID
        ("normalization: VALID", 6),
        ("normalization: FULL", 8),
        ("normalization: BATCH_SIZE", 4),
        ("normalization: NONE", 1),
        ("normalize: true", 6),
        ("normalize: false", 4),
        ("normalize: false normalization: FULL", 8),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 5", 5),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 0.5", 1),
    ],
)
def test_the_divisor_is_what_loss_param_says(options, divisor):
    x, labels = draw(SHAPE, 1)
    labels[0, 0] = labels[2, 1] = 255
    net = one_layer(body(f"loss_param {{ ignore_label: 255 {options} }}"), SHAPE, labels.shape)

    loss = run(net, x, labels)

    keep = labels != 255
    terms = np.take_along_axis(log_softmax(x), np.where(keep, labels, 0)[:, None, :], 1)[:, 0, :]
    np.testing.assert_allclose(loss, -terms[keep].sum() / divisor, rtol=1e-12)


def test_without_a_label_that_counts_loss_and_gradient_are_0():
    net = one_layer(body("loss_param { ignore_label: 1 }"), SHAPE, (4, 2))
    x = draw(SHAPE, 1)[0]
    assert run(net, x, np.ones((4, 2))) == 0
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, np.zeros(SHAPE))


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple),
    data=st.data(),
    ignore=st.booleans(),
    mode=st.sampled_from(["VALID", "FULL", "BATCH_SIZE", "NONE"]),
    seed=st.integers(0, 99),
)
def test_gradient_is_the_derivative(shape, data, ignore, mode, seed):
    axis = data.draw(st.integers(1, len(shape) - 1))
    ignored = "ignore_label: 0" if ignore else ""
    text = body(
        f"softmax_param {{ axis: {axis - len(shape)} }} loss_param {{ {ignored} normalization: {mode} }}"
    )
    x, labels = draw(shape, axis, seed)
    report = check_layer(text, [shape, labels.shape], inputs=[x, labels], samples=20)
    assert report.ok, str(report)


def test_the_loss_weight_scales_the_gradient():
    x, labels = draw(SHAPE, 1)
    one, weighted = (one_layer(body("", around), SHAPE, labels.shape) for around in ("", "loss_weight: -2.5"))
    for net in (one, weighted):
        run(net, x, labels)
        net.backward()
    np.testing.assert_allclose(weighted.blobs["x0"].diff, -2.5 * one.blobs["x0"].diff, rtol=1e-12)
    np.testing.assert_allclose(weighted.loss, -2.5 * one.loss, rtol=1e-12)


def test_a_hopeless_prediction_costs_at_most_87(rng):
    net = one_layer(body(), (1, 2), (1,))
    assert run(net, np.array([[0, 1000.0]]), np.zeros(1)) == pytest.approx(87.3365447505531)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, [[-1, 1]])


# --- the second top ---


@pytest.mark.parametrize("overwritten", [False, True])
def test_a_second_top_gets_the_probabilities(overwritten):
    x, labels = draw(SHAPE, 1)
    after = 'layer { name: "power" type: "Power" bottom: "y1" top: "y1" power_param { scale: 3 } }'
    text = (
        'force_backward: true input: "x0" input_shape { dim: 4 dim: 3 dim: 2 } '
        'input: "x1" input_shape { dim: 4 dim: 2 } '
        'layer { name: "op" type: "SoftmaxWithLoss" bottom: "x0" bottom: "x1" top: "y0" top: "y1" }'
    )
    net = Net.from_text(text + (after if overwritten else ""), dtype=np.float64)
    plain = one_layer(body(), SHAPE, labels.shape)
    for each in (net, plain):
        each.forward(x0=x, x1=labels)
        each.backward()

    np.testing.assert_allclose(
        net.blobs["y1"].data, np.exp(log_softmax(x)) * (3 if overwritten else 1), rtol=1e-12
    )
    assert net.blobs["y0"].data == plain.blobs["y0"].data
    np.testing.assert_array_equal(net.blobs["x0"].diff, plain.blobs["x0"].diff)


def test_a_loss_weight_of_the_probabilities_is_noted():
    net = one_layer(body("loss_weight: 1 loss_weight: 0.5"), SHAPE, (4, 2), tops=2)
    assert any("probabilities have no gradient" in note for note in net.notes)
    assert not one_layer(body("loss_weight: 1 loss_weight: 0"), SHAPE, (4, 2), tops=2).notes


# --- dialects ---


def test_class_weights_multiply_terms_and_leave_the_divisor():
    x, labels = draw(SHAPE, 1)
    weights = "class_weighting: 0.5 class_weighting: 2 class_weighting: 3"
    options = f"loss_param {{ weight_by_label_freqs: true {weights} }}"
    net = one_layer(body(options), SHAPE, labels.shape)

    loss = run(net, x, labels)

    terms = np.take_along_axis(log_softmax(x), labels[:, None, :], 1)[:, 0, :]
    np.testing.assert_allclose(loss, -(np.array([0.5, 2, 3])[labels] * terms).sum() / 8, rtol=1e-12)
    assert check_layer(body(options), [SHAPE, labels.shape], inputs=[x, labels]).ok


def test_class_weights_must_be_one_a_class():
    options = "loss_param { weight_by_label_freqs: true class_weighting: 1 }"
    with pytest.raises(ShapeError, match="each of the 3 classes, found 1"):
        one_layer(body(options), SHAPE, (4, 2))


def test_label_smoothing_moves_the_gradients_target_and_leaves_the_loss():
    x, labels = draw((4, 5), 1)
    net = one_layer(body("loss_param { label_smoothing: 0.1 }"), (4, 5), (4,))
    plain = one_layer(body(), (4, 5), (4,))

    assert run(net, x, labels) == run(plain, x, labels)
    net.backward()

    target = np.full((4, 5), 0.02)
    target[np.arange(4), labels] = 0.9
    expected = (np.exp(log_softmax(x)) * 0.98 - target) / 4
    np.testing.assert_allclose(net.blobs["x0"].diff, expected, rtol=1e-6)


@pytest.mark.parametrize("layer", ["Softmax", "SoftmaxWithLoss"])
def test_training_options_that_are_not_applied_are_noted(layer):
    shapes = [SHAPE] if layer == "Softmax" else [SHAPE, (4, 2)]
    net = one_layer(f'type: "{layer}" softmax_param {{ axis: 1 hard_ratio: 0.5 }}', *shapes)
    assert [note for note in net.notes if "hard_ratio" in note and "not applied" in note]
    assert len(net.notes) == 1


# --- refusals ---


@pytest.mark.parametrize("bad", [3, -1, 1e9, np.nan])
def test_a_label_that_is_no_class_is_named_with_its_place(bad):
    net = one_layer(body(), SHAPE, (4, 2))
    labels = np.zeros((4, 2))
    labels[2, 1] = bad
    with pytest.raises(
        LayerError, match=rf"label {bad:g} at \[2, 1\] of bottom 1.*0 to 2".replace("+", r"\+")
    ):
        run(net, np.zeros(SHAPE), labels)


@pytest.mark.parametrize(
    ("shapes", "options", "error", "message"),
    [
        ((SHAPE, (3, 2)), "", ShapeError, "agree in their first axis"),
        ((SHAPE, (4, 3)), "", ShapeError, "takes 8 labels, bottom 1 has 12"),
        ((SHAPE, (4, 2)), "softmax_param { axis: 3 }", ShapeError, "axis 3 does not exist"),
        (((), ()), "", ShapeError, "first axis"),
        ((SHAPE, (4, 2)), "loss_param { label_smoothing: 1 }", LayerError, "label_smoothing"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, options, error, message):
    with pytest.raises(error, match=message):
        one_layer(body(options), *shapes)


def test_labels_have_no_gradient():
    net = one_layer(body("", "propagate_down: true propagate_down: true"), SHAPE, (4, 2))
    run(net, np.zeros(SHAPE), np.zeros((4, 2)))
    with pytest.raises(CaffenormError, match="no gradient for bottom 1"):
        net.backward()


def test_runs_in_float32_and_at_test_too():
    x, labels = draw(SHAPE, 1)
    exact = run(one_layer(body(), SHAPE, labels.shape), x, labels)
    found = run(one_layer(body(), SHAPE, labels.shape, dtype="f4", phase=TEST), x, labels)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
