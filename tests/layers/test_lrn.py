"""LRN: both regions against their definition, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run

from caffenorm import TEST, CaffenormError, LayerError, ShapeError

torch = pytest.importorskip("torch")


def body(options: str) -> str:
    return f'type: "LRN" lrn_param {{ {options} }}'


@given(
    size=st.sampled_from([1, 3, 5, 7]), alpha=st.sampled_from([1e-4, 0.5]), beta=st.sampled_from([0.75, 0.4])
)
def test_across_channels_is_torchs(size, alpha, beta):
    rng = np.random.default_rng(0)
    net = one_layer(body(f"local_size: {size} alpha: {alpha} beta: {beta} k: 2"), (2, 6, 3, 4))
    x = rng.normal(size=(2, 6, 3, 4))

    expected = torch.nn.functional.local_response_norm(torch.tensor(x), size, alpha, beta, 2).numpy()

    np.testing.assert_allclose(run(net, x), expected, rtol=1e-6)  # alpha and beta are float32 in a prototxt
    assert gradient_error(net, [x]) < 1e-7


@given(size=st.sampled_from([1, 3, 5, 99]), alpha=st.sampled_from([1e-4, 0.5]), k=st.sampled_from([1, 3]))
def test_within_a_channel_divides_by_the_whole_window_and_has_no_k(size, alpha, k):
    rng = np.random.default_rng(0)
    options = f"norm_region: WITHIN_CHANNEL local_size: {size} alpha: {alpha} k: {k}"
    net = one_layer(body(options), (2, 3, 5, 4))
    x = rng.normal(size=(2, 3, 5, 4))

    mean = torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(torch.tensor(x) ** 2, ((size - 1) // 2,) * 4), size, stride=1
    )

    np.testing.assert_allclose(run(net, x), x * (1 + alpha * mean.numpy()) ** -0.75, rtol=1e-6)
    assert gradient_error(net, [x]) < 1e-7


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_a_net_without_backward_gives_the_same(region, rng):
    x = rng.normal(size=(2, 6, 3, 4))
    options = body(f"norm_region: {region} alpha: 0.5")

    learning = run(one_layer(options, x.shape), x)
    frozen = run(one_layer(options, x.shape, phase=TEST, force_backward=False), x)

    np.testing.assert_array_equal(learning, frozen)


def test_other_numbers_of_axes(rng):
    x = rng.normal(size=(4, 6))
    y = run(one_layer(body("alpha: 0.5"), (4, 6)), x)

    np.testing.assert_allclose(
        y, torch.nn.functional.local_response_norm(torch.tensor(x)[..., None], 5, 0.5)[..., 0], rtol=1e-6
    )
    with pytest.raises(ShapeError, match=r"4 axes, \(N, C, H, W\), found shape \[4, 6\]"):
        one_layer(body("norm_region: WITHIN_CHANNEL"), (4, 6))
    with pytest.raises(ShapeError, match="2 axes or more"):
        one_layer(body(""), (4,))


def test_bad_options_are_refused():
    with pytest.raises(LayerError, match="local_size must be odd, so that a window has a middle; found 4"):
        one_layer(body("local_size: 4"), (1, 2, 3, 4))
    with pytest.raises(CaffenormError, match="cannot work in place"):
        one_layer(body(""), (1, 2, 3, 4), in_place=True)
