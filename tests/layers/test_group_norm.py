"""GroupNorm and the forks' GN against PyTorch and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import LayerError, ShapeError


def net_of(options: str, shape, kind: str = "GroupNorm", **how):
    name = "gn_param" if kind == "GN" else "group_norm_param"
    return one_layer(f'type: "{kind}" {name} {{ {options} }}', shape, **how)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 6), 2), ((3, 6, 5), 3), ((2, 4, 3, 5), 1), ((2, 4, 3, 2, 2), 4)]
)
def test_agrees_with_torch(shape, groups, affine, dtype, rng):
    import torch

    theirs = torch.nn.GroupNorm(groups, shape[1], eps=float(np.float32(1e-3)), affine=affine)
    theirs = theirs.to(torch.float64 if dtype == "f8" else torch.float32)
    net = net_of(f"num_groups: {groups} eps: 1e-3 affine: {str(affine).lower()}", shape, dtype=dtype)
    names = ("weight", "bias") if affine else ()
    for blob, name in zip(net.params.get("op", []), names, strict=True):
        blob.data[...] = rng.uniform(0.5, 2, shape[1])
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


@pytest.mark.parametrize(
    ("options", "kind", "groups", "blobs"),
    [
        ("num_groups: 4", "GroupNorm", 4, [(64,), (64,)]),
        ("num_groups: 4 affine: false", "GroupNorm", 4, []),
        ("group: 4 scale_filler { value: 1 }", "GroupNorm", 4, [(1, 64, 1, 1)] * 2),
        ("group_num: 16", "GroupNorm", 16, []),
        ("group_num: 16 affine: true", "GroupNorm", 16, [(1, 64, 1, 1)] * 2),
        ("group_ratio: 0.125", "GroupNorm", 8, []),
        ("", "GroupNorm", 32, []),
        ("num_groups: 8 slope_filler { value: 1 }", "GN", 8, [(1, 64, 1, 1)] * 2),
        ("channels_per_group: 16", "GN", 4, [(1, 64, 1, 1)] * 2),
    ],
)
def test_all_names_of_the_number_of_groups(options, kind, groups, blobs):
    net = net_of(options, (2, 64, 3), kind)
    assert net.layer_dict["op"].groups == groups
    assert [blob.shape for blob in net.params.get("op", [])] == blobs


@given(
    groups=st.sampled_from([1, 2, 4]),
    affine=st.booleans(),
    shape=st.sampled_from([(3, 4), (2, 4, 3), (1, 4, 2, 2), (2, 4, 1, 2, 1)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(groups, affine, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    options = f"num_groups: {groups} eps: 0.01 affine: {str(affine).lower()}"
    net = net_of(options, shape, in_place=in_place, overwritten=overwritten)
    params = {i: rng.uniform(0.5, 2, 4) for i in range(2 if affine else 0)}

    assert gradient_error(net, [2 * spread(rng, shape)], params, seed=seed) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("num_groups: 4", "num_groups 4 does not divide 6 channels"),
        ("num_groups: 0", "num_groups 0 does not divide"),
        ("channels_per_group: 4", "channels_per_group 4 does not divide"),
        ("channels_per_group: 0", "channels_per_group 0 does not divide"),
        ("group_ratio: 0.01", "group_ratio 0.01 does not divide"),
        ("", "group_num 32 does not divide"),
    ],
)
def test_groups_that_do_not_divide_the_channels_are_refused(options, message):
    with pytest.raises(ShapeError, match=message):
        net_of(options, (2, 6, 3))


def test_the_number_of_groups_is_given_once():
    with pytest.raises(LayerError, match="given twice, by num_groups and group"):
        net_of("num_groups: 2 group: 2", (2, 4, 3))


def test_one_axis_and_other_channels_are_refused(rng):
    with pytest.raises(ShapeError, match="channels on axis 1"):
        net_of("num_groups: 1", (4,))
    with pytest.raises(ShapeError, match="made for 4 channels"):
        run(net_of("num_groups: 2", (2, 4, 3)), rng.normal(size=(2, 6, 3)))


def test_a_batch_of_nothing_is_passed_on():
    net = net_of("num_groups: 2", (2, 4, 3))
    assert run(net, np.ones((0, 4, 3))).shape == (0, 4, 3)
    assert run_backward(net, np.ones((0, 4, 3)))[0].shape == (0, 4, 3)
