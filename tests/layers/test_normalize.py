"""Normalize as SSD and happynear have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import LayerError, ShapeError

SHAPE = (2, 3, 4, 5)


def net_of(options: str, shape=SHAPE, message: str = "norm_param", **how):
    return one_layer(f'type: "Normalize" {message} {{ {options} }}', shape, **how)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("across_spatial", [False, True])
@pytest.mark.parametrize("channel_shared", [False, True])
def test_agrees_with_its_definition_in_torch(channel_shared, across_spatial, dtype, rng):
    import torch

    flags = f"across_spatial: {str(across_spatial).lower()} channel_shared: {str(channel_shared).lower()}"
    net = net_of(f"{flags} eps: 1e-3", dtype=dtype)
    (scale,) = net.params["op"]
    scale.data[...] = rng.uniform(0.5, 2, scale.shape)
    values, dy = rng.normal(1, 2, (2, *SHAPE)).astype(dtype)
    x, w = (torch.tensor(v, requires_grad=True) for v in (values, np.array(scale.data)))
    axes = (1, 2, 3) if across_spatial else (1,)
    norm = (x.pow(2).sum(axes, keepdim=True) + float(np.float32(1e-3))).sqrt()
    y = x / norm * w.view(1, -1, 1, 1)
    y.backward(torch.tensor(dy))

    ours = run(net, values)
    (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    np.testing.assert_allclose(scale.diff, w.grad.numpy(), **close)


@given(
    options=st.sampled_from(
        [
            "",
            "across_spatial: false",
            "channel_shared: false",
            "across_spatial: false channel_shared: false scale_filler { value: 20 }",
            "fix_scale: false",
        ]
    ),
    shape=st.sampled_from([(3, 4), (2, 3, 2), (2, 2, 2, 2), (1, 2, 1, 2, 2)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(options, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    net = net_of(options, shape, in_place=in_place, overwritten=overwritten)
    (scale,) = net.params["op"]
    params = {0: np.array(rng.uniform(0.5, 2, scale.shape))}

    assert gradient_error(net, [spread(rng, shape)], params, seed=seed) < 1e-6


@given(
    kind=st.sampled_from(["L1", "L2"]),
    shape=st.sampled_from([(3, 4), (2, 3, 2), (2, 2, 2, 2)]),
    in_place=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_of_the_form_without_scale_is_the_derivative(kind, shape, in_place, seed):
    rng = np.random.default_rng(seed)
    net = net_of(f'normalize_type: "{kind}"', shape, "normalize_param", in_place=in_place)
    assert gradient_error(net, [spread(rng, shape)], seed=seed) < 1e-6


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_second_top_is_the_norm_and_its_gradient_counts_with_bp_norm(kind, rng):
    x, dnorm = spread(rng, SHAPE), rng.normal(size=(2, 1, 4, 5))
    norm = np.abs(x).sum(1, keepdims=True) if kind == "L1" else np.sqrt((x**2).sum(1, keepdims=True) + 1e-6)
    for counts in (True, False):
        options = f'normalize_type: "{kind}" bp_norm: {str(counts).lower()}'
        net = net_of(options, SHAPE, "normalize_param", tops=2)
        y = run(net, x)
        net.blobs["y1"].diff[...] = dnorm

        (dx,) = run_backward(net, np.zeros(SHAPE))

        np.testing.assert_allclose(y, x / norm, rtol=1e-10)
        np.testing.assert_allclose(net.blobs["y1"].data, norm, rtol=1e-10)
        direction = np.sign(x) if kind == "L1" else x / norm
        np.testing.assert_allclose(dx, dnorm * direction if counts else 0 * x, rtol=1e-10, atol=1e-15)


def test_scale_starts_at_1_or_as_its_filler_says():
    assert net_of("").params["op"][0].data == 1
    assert (net_of("channel_shared: false scale_filler { value: 20 }").params["op"][0].data == [20] * 3).all()


def test_fixed_scale_gets_no_gradient(rng):
    net = net_of("fix_scale: true")
    run(net, rng.normal(size=SHAPE))
    run_backward(net, rng.normal(size=SHAPE))
    assert not net.params["op"][0].diff.any()


@pytest.mark.parametrize(
    ("options", "shape", "message", "error", "says"),
    [
        ("", (4,), "norm_param", ShapeError, "channels on axis 1"),
        ("add_eps_before_sqrt: false", SHAPE, "norm_param", LayerError, "add_eps_before_sqrt"),
        ("fix_gradient: true", SHAPE, "normalize_param", LayerError, "fix_gradient"),
        ('normalize_type: "L3"', SHAPE, "normalize_param", LayerError, 'must be "L1" or "L2", found "L3"'),
        ("} norm_param {", SHAPE, "normalize_param", LayerError, "belong to different layers"),
    ],
)
def test_what_makes_no_sense_is_refused(options, shape, message, error, says):
    with pytest.raises(error, match=says):
        net_of(options, shape, message)


def test_two_tops_belong_to_the_form_without_scale():
    with pytest.raises(LayerError, match="2 tops"):
        net_of("", tops=2)


def test_other_channels_are_refused(rng):
    with pytest.raises(ShapeError, match="scale has 3 channels"):
        run(net_of("channel_shared: false"), rng.normal(size=(2, 4, 4, 5)))
