"""Accuracy: ties, top_k, ignored labels, shares by class."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import one_layer, run

from caffenorm import LayerError, ShapeError

SCORES = np.array([[1, 3, 2], [3, 1, 2], [1, 2, 3], [2, 2, 1], [9, 0, 0.0]])
LABELS = np.array([1, 2, 0, 0, 0])


def body(options: str = "") -> str:
    return f'type: "Accuracy" accuracy_param {{ {options} }}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", 2 / 5),  # the tie of row 3 counts as a miss
        ("top_k: 2", 4 / 5),
        ("top_k: 3", 1),
        ("ignore_label: 0", 1 / 2),
        ("denominator: 10", 2 / 10),
    ],
)
def test_share_of_labels_among_the_best(options, expected):
    assert run(one_layer(body(options), SCORES.shape, LABELS.shape), SCORES, LABELS) == pytest.approx(
        expected
    )


def test_a_second_top_has_the_share_of_each_class():
    net = one_layer(body(), SCORES.shape, LABELS.shape, tops=2)
    run(net, SCORES, np.array([1, 2, 0, 0, 0]))
    np.testing.assert_allclose(net.blobs["y1"].data, [1 / 3, 1, 0])
    run(net, SCORES, np.array([1, 1, 1, 1, 1]))
    np.testing.assert_allclose(net.blobs["y1"].data, [0, 1 / 5, 0])  # 0 where a class has no examples


def test_positions_count_one_by_one():
    scores = np.moveaxis(SCORES.reshape(1, 5, 3), 2, 1)
    assert run(one_layer(body(), (1, 3, 5), (1, 5)), scores, LABELS.reshape(1, 5)) == pytest.approx(2 / 5)
    assert run(one_layer(body("axis: -1"), (1, 5, 3), (1, 5)), SCORES[None], LABELS[None]) == pytest.approx(
        2 / 5
    )


def test_without_labels_that_count_it_is_0():
    net = one_layer(body("ignore_label: 7"), SCORES.shape, LABELS.shape)
    assert run(net, SCORES, np.full(5, 7)) == 0


def test_force_backward_passes_it_by():
    net = one_layer(body(), SCORES.shape, LABELS.shape)
    run(net, SCORES, LABELS)
    net.backward()


def test_but_a_gradient_that_is_asked_for_is_refused():
    net = one_layer(
        'type: "Accuracy" loss_weight: 1 propagate_down: true propagate_down: false', (5, 3), (5,)
    )
    run(net, SCORES, LABELS)
    with pytest.raises(LayerError, match="nothing learns from an accuracy"):
        net.backward()


def test_a_label_that_is_no_class_is_named():
    net = one_layer(body(), SCORES.shape, LABELS.shape)
    with pytest.raises(LayerError, match=r"label 3 at \[4\].*ignore_label"):
        run(net, SCORES, np.array([0, 0, 0, 0, 3]))


@pytest.mark.parametrize(
    ("options", "shapes", "error", "message"),
    [
        ("top_k: 4", ((5, 3), (5,)), LayerError, "from 1 to the 3 classes"),
        ("top_k: 0", ((5, 3), (5,)), LayerError, "from 1 to the 3 classes"),
        ("", ((5, 3), (4,)), ShapeError, "takes 5 labels, bottom 1 has 4"),
        ("axis: 2", ((5, 3), (5,)), ShapeError, "axis 2 does not exist"),
        ("min_is_better: true", ((5, 3), (5,)), LayerError, "min_is_better"),
    ],
)
def test_what_does_not_fit_is_refused(options, shapes, error, message):
    with pytest.raises(error, match=message):
        one_layer(body(options), *shapes)
