"""The other losses: values against definitions, gradients against differences, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import one_layer, run

from caffenorm import CaffenormError, LayerError, ShapeError, WeightsError
from caffenorm.gradient_check import check_layer
from caffenorm.weights import write_blob


def checked(body, inputs, **options):
    inputs = [np.asarray(value, float) for value in inputs]
    report = check_layer(body, [value.shape for value in inputs], inputs=inputs, **options)
    assert report.ok, str(report)
    return report


# --- EuclideanLoss ---


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 3)), ((4, 6), (4, 2, 3)), ((5,), (5,)), ((2, 1, 3, 2, 2),) * 2]
)
def test_euclidean_loss(rng, shapes):
    a, b = (rng.normal(size=shape) for shape in shapes)
    loss = run(one_layer('type: "EuclideanLoss"', *shapes), a, b)
    np.testing.assert_allclose(loss, ((a.ravel() - b.ravel()) ** 2).sum() / (2 * shapes[0][0]), rtol=1e-12)
    assert len(checked('type: "EuclideanLoss"', [a, b]).checks) == 2


def test_euclidean_loss_of_no_examples_is_0():
    net = one_layer('type: "EuclideanLoss"', (2, 3), (2, 3))
    for name in ("x0", "x1"):
        net.blobs[name].reshape(0, 3)
    net.forward()
    net.backward()
    assert net.blobs["y0"].data == 0


# --- SigmoidCrossEntropyLoss ---


@pytest.mark.parametrize(
    ("options", "divisor"),
    [
        ("", 4),
        ("normalization: VALID", 10),
        ("normalization: FULL", 12),
        ("normalization: NONE", 1),
        ("normalize: true", 10),
        ("normalize: false", 4),
    ],
)
def test_sigmoid_cross_entropy_loss(rng, options, divisor):
    x, target = rng.normal(size=(4, 3)), rng.random((4, 3))
    target[0, 1] = target[3, 2] = 255
    body = f'type: "SigmoidCrossEntropyLoss" loss_param {{ ignore_label: 255 {options} }}'

    loss = run(one_layer(body, (4, 3), (4, 3)), x, target)

    p = 1 / (1 + np.exp(-x))
    terms = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    np.testing.assert_allclose(loss, terms[target != 255].sum() / divisor, rtol=1e-12)
    checked(body, [x, target])


# --- HingeLoss ---


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 2, 1), (3, 2, 1, 1, 2)])
def test_hinge_loss(rng, norm, shape):
    x, labels = rng.normal(size=shape), rng.integers(0, 4, shape[0])
    body = f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}'

    loss = run(one_layer(body, shape, labels.shape), x, labels)

    sign = np.where(np.arange(4) == labels[:, None], -1, 1)
    margin = np.maximum(0, 1 + sign * x.reshape(shape[0], 4))
    np.testing.assert_allclose(loss, (margin if norm == "L1" else margin**2).sum() / shape[0], rtol=1e-12)
    checked(body, [x, labels])


def test_hinge_loss_leaves_the_gradient_of_its_bottom_alone_in_forward(rng):
    net = one_layer('type: "HingeLoss"', (5, 4), (5,))
    net.blobs["x0"].diff[...] = 7
    run(net, rng.normal(size=(5, 4)), np.zeros(5))
    np.testing.assert_array_equal(net.blobs["x0"].diff, np.full((5, 4), 7))


# --- ContrastiveLoss ---


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 1, 1)])
def test_contrastive_loss(rng, legacy, shape):
    a, b, similar = rng.normal(size=shape), rng.normal(size=shape), np.arange(8) % 2
    options = f"margin: 5 legacy_version: {str(legacy).lower()}"
    body = f'type: "ContrastiveLoss" contrastive_loss_param {{ {options} }}'

    loss = run(one_layer(body, shape, shape, (8,)), a, b, similar)

    d = np.sqrt(((a - b).reshape(8, 3) ** 2).sum(1))
    apart = np.maximum(5 - d**2, 0) if legacy else np.maximum(5 - d, 0) ** 2
    np.testing.assert_allclose(loss, np.where(similar, d**2, apart).sum() / 16, rtol=1e-12)


def test_contrastive_gradient_is_the_derivative_but_for_caffes_guard(rng):
    a, b, similar = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), np.arange(8) % 2
    body = 'type: "ContrastiveLoss" contrastive_loss_param { margin: 5 }'
    near = check_layer(body, [a.shape, b.shape, (8,)], inputs=[a, b, similar])
    assert not near.ok  # distance + 1e-4 is what it divides by, as in Caffe
    checked(body, [a, b, similar], tolerance=1e-3)
    checked(body, [a, b, np.ones(8)])
    checked(
        'type: "ContrastiveLoss" contrastive_loss_param { margin: 9 legacy_version: true }', [a, b, similar]
    )


def test_contrastive_gradient_of_equal_points_is_0():
    net = one_layer('type: "ContrastiveLoss"', (2, 3), (2, 3), (2,))
    run(net, np.ones((2, 3)), np.ones((2, 3)), np.array([0, 1]))
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, np.zeros((2, 3)))


# --- InfogainLoss ---


def infogain(x, labels, matrix, divisor):
    e = np.exp(x - x.max(1, keepdims=True))
    rows = np.moveaxis(matrix[labels], -1, 1)
    return -(rows * np.log(e / e.sum(1, keepdims=True))).sum() / divisor


@pytest.mark.parametrize("matrix_shape", [(3, 3), (1, 1, 3, 3)])
def test_infogain_loss_with_the_matrix_as_a_bottom(rng, matrix_shape):
    x, labels, matrix = rng.normal(size=(2, 3, 4)), rng.integers(0, 3, (2, 4)), rng.normal(size=(3, 3))
    net = one_layer('type: "InfogainLoss"', x.shape, labels.shape, matrix_shape)
    loss = run(net, x, labels, matrix.reshape(matrix_shape))
    np.testing.assert_allclose(loss, infogain(x, labels, matrix, 8), rtol=1e-12)
    net.backward()  # under force_backward; the matrix gets no gradient
    report = checked('type: "InfogainLoss"', [x, labels, matrix])
    assert [check.what for check in report.checks] == ["bottom 0"]


def test_infogain_loss_with_the_matrix_in_a_file(rng, tmp_path):
    x, labels, matrix = rng.normal(size=(5, 3)), rng.integers(0, 3, 5), rng.normal(size=(3, 3))
    write_blob(tmp_path / "gains.binaryproto", matrix.reshape(1, 1, 3, 3))
    body = f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path / "gains.binaryproto"}" }}'

    loss = run(one_layer(body, x.shape, labels.shape), x, labels)

    np.testing.assert_allclose(loss, infogain(x, labels, matrix, 5), rtol=1e-6)
    checked(body, [x, labels])


def test_infogain_loss_looks_beside_the_prototxt_for_its_file(rng, tmp_path):
    from caffenorm import Net

    write_blob(tmp_path / "gains.binaryproto", np.eye(3))
    (tmp_path / "net.prototxt").write_text(
        'input: "x" input_shape { dim: 2 dim: 3 } input: "t" input_shape { dim: 2 } layer { name: "loss" '
        'type: "InfogainLoss" bottom: "x" bottom: "t" infogain_loss_param { source: "gains.binaryproto" } }'
    )
    net = Net(tmp_path / "net.prototxt")
    net.forward()
    assert net.loss == pytest.approx(np.log(3))


def test_infogain_loss_gives_the_probabilities_too(rng):
    x, labels = rng.normal(size=(5, 3)), rng.integers(0, 3, 5)
    net = one_layer('type: "InfogainLoss"', x.shape, labels.shape, (3, 3), tops=2)
    run(net, x, labels, np.eye(3))
    e = np.exp(x)
    np.testing.assert_allclose(net.blobs["y1"].data, e / e.sum(1, keepdims=True), rtol=1e-12)


def test_infogain_loss_without_a_usable_matrix_is_refused(tmp_path):
    shapes = (5, 3), (5,)
    with pytest.raises(LayerError, match="there is neither"):
        one_layer('type: "InfogainLoss"', *shapes)
    with pytest.raises(ShapeError, match="3 x 3 values"):
        one_layer('type: "InfogainLoss"', *shapes, (5, 5))
    with pytest.raises(WeightsError, match="no such file"):
        one_layer(f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path}/no" }}', *shapes)
    with pytest.raises(LayerError, match="write normalization"):
        one_layer('type: "InfogainLoss" loss_param { normalize: true }', *shapes, (3, 3))


# --- MultinomialLogisticLoss ---


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1, 1), (5, 2, 2)])
def test_multinomial_logistic_loss(rng, shape):
    p, labels = rng.random(shape) + 0.1, rng.integers(0, 4, 5)
    loss = run(one_layer('type: "MultinomialLogisticLoss"', shape, (5,)), p, labels)
    np.testing.assert_allclose(loss, -np.log(p.reshape(5, 4)[np.arange(5), labels]).mean(), rtol=1e-12)
    checked('type: "MultinomialLogisticLoss"', [p, labels])


# --- SmoothL1Loss ---


def smooth(d, sigma=1.0):
    return np.where(abs(d) < 1 / sigma**2, (sigma * d) ** 2 / 2, abs(d) - 0.5 / sigma**2)


def test_smooth_l1_loss_of_ssd_counts_by_itself(rng):
    a, b, w = rng.normal(size=(3, 4, 5))
    net = one_layer('type: "SmoothL1Loss"', a.shape, b.shape, w.shape)
    loss = run(net, a, b, w)
    np.testing.assert_allclose(loss, smooth(w * (a - b)).sum() / 4, rtol=1e-12)
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, np.clip(w * (a - b), -1, 1) / 4, rtol=1e-12)
    checked('type: "SmoothL1Loss"', [a, b])


def test_smooth_l1_loss_of_region_detectors_counts_where_it_has_a_weight(rng):
    a, b, inside, outside = rng.normal(size=(4, 6, 5))
    body = 'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 3 }'
    unweighted = one_layer(body, *[a.shape] * 4, force_backward=False)
    assert any("does not count" in note for note in unweighted.notes)
    loss = run(unweighted, a, b, inside, outside)
    np.testing.assert_allclose(loss, (outside * smooth(inside * (a - b), 3)).sum() / 6, rtol=1e-12)
    assert unweighted.loss == 0
    net = one_layer(body + " loss_weight: 1", *[a.shape] * 4)
    run(net, a, b, inside, outside)
    assert net.loss == pytest.approx(float(loss))
    assert not net.notes
    checked(body + " loss_weight: 1", [a, b, inside, outside])


def test_smooth_l1_loss_of_four_bottoms_is_region_detectors(rng):
    net = one_layer('type: "SmoothL1Loss"', *[(4, 5)] * 4, force_backward=False)
    run(net, *rng.normal(size=(4, 4, 5)))
    assert net.loss == 0


def test_smooth_l1_loss_gives_its_target_a_gradient_where_that_is_computed(rng):
    body = 'type: "SmoothL1Loss" propagate_down: true propagate_down: true'
    net = one_layer(body, (4, 5), (4, 5), force_backward=False)
    run(net, *rng.normal(size=(2, 4, 5)))
    net.backward()
    np.testing.assert_array_equal(net.blobs["x1"].diff, -net.blobs["x0"].diff)
    assert net.blobs["x1"].diff.any()


# --- what all have in common ---

LABELLED = ("HingeLoss", "MultinomialLogisticLoss")


@pytest.mark.parametrize("loss", LABELLED)
def test_a_label_that_is_no_class_is_named(loss):
    net = one_layer(f'type: "{loss}"', (3, 4), (3, 1))
    with pytest.raises(LayerError, match=r"label 4 at \[1, 0\] of bottom 1 is no class.*0 to 3$"):
        run(net, np.ones((3, 4)), np.array([[0], [4], [9]]))


@pytest.mark.parametrize(
    ("body", "shapes", "message"),
    [
        ("EuclideanLoss", ((4, 3), (3, 4)), "agree in their first axis"),
        ("EuclideanLoss", ((4, 3), (4, 4)), "same number of values"),
        ("SigmoidCrossEntropyLoss", ((4, 3), (4, 2)), "same number of values"),
        ("HingeLoss", ((4, 3), (4, 2)), "4 examples, bottom 1 8 labels"),
        ("MultinomialLogisticLoss", ((4, 3), (4, 2)), "4 examples"),
        ("ContrastiveLoss", ((4, 3), (4, 2), (4,)), r"must both be \(N, C\)"),
        ("ContrastiveLoss", ((4, 3, 2), (4, 3, 2), (4,)), r"must both be \(N, C\)"),
        ("ContrastiveLoss", ((4, 3), (4, 3), (3,)), "each of 4 pairs"),
        ("SmoothL1Loss", ((4, 3), (4, 3), (4, 2)), "bottoms 0 and 2"),
    ],
)
def test_bottoms_that_do_not_fit_are_refused(body, shapes, message):
    with pytest.raises(ShapeError, match=message):
        one_layer(f'type: "{body}"', *shapes)


def test_a_sigma_of_0_is_refused():
    with pytest.raises(LayerError, match="sigma"):
        one_layer('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 0 }', (2, 2), (2, 2))


@pytest.mark.parametrize(
    ("loss", "shapes", "bottom"),
    [
        ("SigmoidCrossEntropyLoss", ((4, 3), (4, 3)), 1),
        ("HingeLoss", ((4, 3), (4,)), 1),
        ("MultinomialLogisticLoss", ((4, 3), (4,)), 1),
        ("ContrastiveLoss", ((4, 3), (4, 3), (4,)), 2),
        ("InfogainLoss", ((4, 3), (4,), (3, 3)), 2),
        ("SmoothL1Loss", ((4, 3), (4, 3), (4, 3)), 2),
    ],
)
def test_targets_have_no_gradient(loss, shapes, bottom):
    net = one_layer(f'type: "{loss}" {"propagate_down: true " * len(shapes)}', *shapes)
    net.forward()
    with pytest.raises(CaffenormError, match=f"no gradient for bottom [1-{bottom}]"):
        net.backward()


@given(
    loss=st.sampled_from(["EuclideanLoss", "SigmoidCrossEntropyLoss", "HingeLoss", "SmoothL1Loss"]),
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple),
    weight=st.sampled_from([1.0, -0.5]),
    seed=st.integers(0, 99),
)
def test_gradients_are_derivatives_for_any_shape(loss, shape, weight, seed):
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape[1:]))
    target = rng.integers(0, count, shape[0]) if loss == "HingeLoss" else rng.random(shape)
    checked(f'type: "{loss}" loss_weight: {weight}', [rng.normal(size=shape), target], samples=20)
