"""Dropout: masks, scales, phases, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import one_layer, run, run_backward

from caffenorm import TEST, TRAIN, LayerError, set_random_seed

SHAPE = (100, 200)
ONES = np.ones(SHAPE)


def dropout(options="", **net):
    return one_layer(f'type: "Dropout" dropout_param {{ {options} }}', SHAPE, **net)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("in_place", [False, True])
def test_training_drops_a_share_and_scales_the_rest(ratio, in_place):
    y = run(dropout(f"dropout_ratio: {ratio}", in_place=in_place), ONES)

    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - ratio)], rtol=1e-6)
    assert abs((y == 0).mean() - ratio) < 0.02


@pytest.mark.parametrize("in_place", [False, True])
def test_the_gradient_has_the_mask_of_the_last_forward(in_place):
    net = dropout(in_place=in_place, overwritten=True)
    run(net, ONES)
    y = run(net, ONES)

    (dx,) = run_backward(net, ONES)

    np.testing.assert_array_equal(dx, y)


def test_every_forward_draws_anew():
    net = dropout()
    assert (run(net, ONES) != run(net, ONES)).any()


def test_a_seed_repeats_the_masks():
    net = dropout()
    found = []
    for _ in range(2):
        set_random_seed(5)
        found.append([run(net, ONES), run(net, ONES)])
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("in_place", [False, True])
def test_testing_changes_nothing(in_place):
    net = dropout(phase=TEST, in_place=in_place)
    x = np.random.default_rng(0).normal(size=SHAPE)
    np.testing.assert_array_equal(run(net, x), x)
    np.testing.assert_array_equal(run_backward(net, x)[0], x)


def test_a_ratio_of_zero_changes_nothing():
    np.testing.assert_array_equal(run(dropout("dropout_ratio: 0"), ONES), ONES)


def test_nothing_is_kept_between_forward_and_backward():
    net = dropout()
    run(net, ONES)
    assert net.layer_dict["op"].scratch_bytes == 0


def test_without_scale_train_the_scale_is_applied_in_testing():
    """An option of forks."""
    options = "dropout_ratio: 0.25 scale_train: false"
    assert set(np.unique(run(dropout(options, phase=TRAIN), ONES))) == {0, 1}
    test = dropout(options, phase=TEST)
    assert (run(test, ONES) == 0.75).all()
    assert (run_backward(test, ONES)[0] == 0.75).all()


def test_sample_weights_test_drops_in_testing_too():
    """An option of SegNet."""
    assert set(np.unique(run(dropout("sample_weights_test: true", phase=TEST), ONES))) == {0, 2}


def test_random_seed_gives_a_layer_masks_of_its_own():
    """An option of NVIDIA's fork."""
    first, second = dropout("random_seed: 7"), dropout("random_seed: 7")
    set_random_seed(1)
    y = run(first, ONES)
    set_random_seed(2)
    np.testing.assert_array_equal(run(second, ONES), y)


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5, "nan"])
def test_ratios_that_are_no_share_are_refused(ratio):
    with pytest.raises(LayerError, match="dropout_ratio must be 0 or more and less than 1"):
        dropout(f"dropout_ratio: {ratio}")


def test_sqrt_scale_is_refused():
    with pytest.raises(LayerError, match="sqrt_scale is not supported"):
        dropout("sqrt_scale: true")
