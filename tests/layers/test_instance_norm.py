"""InstanceNorm against PyTorch and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, TRAIN, LayerError, ShapeError


def net_of(options: str, shape, around: str = "", **how):
    return one_layer(f'type: "InstanceNorm" {around} instance_norm_param {{ {options} }}', shape, **how)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("tracks", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 3, 4, 5), (2, 3, 4, 2, 3)])
def test_agrees_with_torch(shape, affine, tracks, phase, dtype, rng):
    import torch

    kind = {3: torch.nn.InstanceNorm1d, 4: torch.nn.InstanceNorm2d, 5: torch.nn.InstanceNorm3d}[len(shape)]
    theirs = kind(3, eps=float(np.float32(1e-3)), momentum=0.25, affine=affine, track_running_stats=tracks)
    theirs = theirs.to(torch.float64 if dtype == "f8" else torch.float32).train(phase == TRAIN)
    flags = f"affine: {str(affine).lower()} track_running_stats: {str(tracks).lower()}"
    net = net_of(f"eps: 1e-3 momentum: 0.25 {flags}", shape, phase=phase, dtype=dtype)
    names = (["weight", "bias"] if affine else []) + (["running_mean", "running_var"] if tracks else [])
    for blob, name in zip(net.params.get("op", []), names, strict=True):
        blob.data[...] = rng.uniform(0.5, 2, 3)
        getattr(theirs, name).data[:] = torch.tensor(blob.data)
    for _ in range(2):
        values, dy = rng.normal(1, 2, (2, *shape)).astype(dtype)
        x = torch.tensor(values, requires_grad=True)
        theirs.zero_grad()
        y = theirs(x)
        y.backward(torch.tensor(dy))
        ours = run(net, values)
        (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    for blob, name in zip(net.params.get("op", []), names, strict=True):
        np.testing.assert_allclose(blob.data, getattr(theirs, name).detach().numpy(), **close)
        if name in ("weight", "bias"):
            np.testing.assert_allclose(blob.diff, getattr(theirs, name).grad.numpy(), **close)


@given(
    affine=st.booleans(),
    tracks=st.booleans(),
    phase=st.sampled_from([TRAIN, TEST]),
    shape=st.sampled_from([(2, 3, 4), (3, 2, 2, 2), (1, 2, 5), (2, 1, 2, 1, 2)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(affine, tracks, phase, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    flags = f"affine: {str(affine).lower()} track_running_stats: {str(tracks).lower()}"
    net = net_of(flags, shape, phase=phase, in_place=in_place, overwritten=overwritten)
    params = {i: rng.uniform(0.5, 2, shape[1]) for i in range(2 if affine else 0)}

    assert gradient_error(net, [2 * spread(rng, shape)], params, seed=seed) < 1e-6


def test_running_statistics_take_no_learning_rate():
    flags = "affine: true track_running_stats: true"
    specs = net_of(flags, (2, 3, 4)).layer_dict["op"].param.param
    assert [spec.lr_mult for spec in specs] == [1, 1, 0, 0]
    with pytest.raises(LayerError, match="blob 2 holds statistics"):
        net_of(flags, (2, 3, 4), around="param { } " * 3)


def test_fillers_are_used():
    net = net_of("affine: true scale_filler { value: 4 } bias_filler { value: 5 }", (2, 3, 4))
    assert [blob.data[0] for blob in net.params["op"]] == [4, 5]


def test_what_does_not_fit_is_refused(rng):
    with pytest.raises(ShapeError, match="channels on axis 1"):
        net_of("", (4,))
    with pytest.raises(LayerError, match="momentum must lie between 0 and 1, found 2"):
        net_of("momentum: 2", (2, 3, 4))
    net = net_of("affine: true", (2, 3, 4))
    with pytest.raises(ShapeError, match="made for 3 channels"):
        run(net, rng.normal(size=(2, 4, 4)))
