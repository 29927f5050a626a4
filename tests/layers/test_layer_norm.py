"""LayerNorm against PyTorch and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import ShapeError


def net_of(options: str, shape, **how):
    return one_layer(f'type: "LayerNorm" layer_norm_param {{ {options} }}', shape, **how)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("affine", "bias"), [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("shape", "axes"), [((4, 6), 1), ((3, 6, 5), 2), ((3, 6, 5), 1), ((2, 4, 3, 5), 3)])
def test_agrees_with_torch(shape, axes, affine, bias, dtype, rng):
    import torch

    last = shape[-axes:]
    theirs = torch.nn.LayerNorm(last, eps=float(np.float32(1e-3)), elementwise_affine=affine, bias=bias)
    theirs = theirs.to(torch.float64 if dtype == "f8" else torch.float32)
    sizes = " ".join(f"normalized_shape: {size}" for size in last)
    flags = f"elementwise_affine: {str(affine).lower()} bias: {str(bias).lower()}"
    net = net_of(f"{sizes} eps: 1e-3 {flags}", shape, dtype=dtype)
    names = [name for name in ("weight", "bias") if getattr(theirs, name) is not None]
    for blob, name in zip(net.params.get("op", []), names, strict=True):
        blob.data[...] = rng.uniform(0.5, 2, last)
        getattr(theirs, name).data[:] = torch.tensor(blob.data)
    values, dy = rng.normal(1, 2, (2, *shape)).astype(dtype)
    x = torch.tensor(values, requires_grad=True)
    y = theirs(x)
    y.backward(torch.tensor(dy))

    ours = run(net, values)
    (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    for blob, name in zip(net.params.get("op", []), names, strict=True):
        np.testing.assert_allclose(blob.diff, getattr(theirs, name).grad.numpy(), **close)


@given(
    axis=st.sampled_from([0, 1, -1, -2]),
    affine=st.sampled_from(["", "bias: false", "elementwise_affine: false"]),
    shape=st.sampled_from([(3, 4), (2, 3, 3), (2, 2, 2, 2)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(axis, affine, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    net = net_of(f"axis: {axis} eps: 0.01 {affine}", shape, in_place=in_place, overwritten=overwritten)
    params = {i: rng.uniform(0.5, 2, shape[axis:]) for i in range(len(net.params.get("op", [])))}

    assert gradient_error(net, [2 * spread(rng, shape)], params, seed=seed) < 1e-6


def test_without_parameters_all_axes_from_1_on_are_normalised(rng):
    net = net_of("", (3, 4, 5))
    y = run(net, rng.normal(2, 3, (3, 4, 5)))
    assert [blob.shape for blob in net.params["op"]] == [(4, 5), (4, 5)]
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-12)


def test_fillers_are_used():
    net = net_of("scale_filler { value: 4 } bias_filler { value: 5 }", (2, 3))
    assert [blob.data[0] for blob in net.params["op"]] == [4, 5]


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ("axis: 2", (3, 4), "axis 2 does not exist"),
        ("normalized_shape: 5", (3, 4), r"sizes \[5\], and bottom 0 has shape \[3, 4\]"),
        ("normalized_shape: 3 normalized_shape: 3 normalized_shape: 4", (3, 4), r"sizes \[3, 3, 4\]"),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ShapeError, match=message):
        net_of(options, shape)


def test_new_shapes_must_keep_the_axes_that_have_parameters(rng):
    net = net_of("axis: -1", (3, 4))
    assert run(net, rng.normal(size=(7, 4))).shape == (7, 4)
    with pytest.raises(ShapeError, match=r"sizes \[4\], and bottom 0 has shape \[7, 5\]"):
        run(net, rng.normal(size=(7, 5)))
    assert run(net_of("elementwise_affine: false", (3, 4)), rng.normal(size=(7, 5))).shape == (7, 5)
