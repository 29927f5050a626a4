"""BN: the layers of SegNet and PSPNet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, TRAIN, LayerError, ShapeError

SHAPE = (4, 3, 5, 6)
AXES = (0, 2, 3)
SEGNET = 'scale_filler { type: "constant" value: 1 } shift_filler { type: "constant" value: 0 }'
PSPNET = 'slope_filler { type: "constant" value: 1 } bias_filler { type: "constant" value: 0 }'


def net_of(options: str, shape=SHAPE, around: str = "", **how):
    return one_layer(f'type: "BN" {around} bn_param {{ {options} }}', shape, **how)


def channels(values) -> np.ndarray:
    return np.reshape(values, (1, -1, 1, 1))


# --- recognised by fields ---


@pytest.mark.parametrize(
    ("options", "around", "blobs"),
    [
        (SEGNET, "", 2),
        ("bn_mode: INFERENCE", "", 2),
        ("var_eps: 1e-3", "", 2),
        (PSPNET, "", 4),
        ("frozen: true", "", 4),
        ("momentum: 0.5", "", 4),
        ("", "param { } param { }", 2),
        ("", "param { } param { } param { } param { }", 4),
        ("", "", 4),
    ],
)
def test_fields_tell_the_fork(options, around, blobs):
    net = net_of(options, around=around)
    assert [blob.shape for blob in net.params["op"]] == [(1, 3, 1, 1)] * blobs
    (note,) = net.notes
    assert ("SegNet" if blobs == 2 else "PSPNet") in note


def test_fields_of_both_are_refused():
    with pytest.raises(LayerError, match=r"SegNet's layer \(scale_filler\) and of PSPNet's \(momentum\)"):
        net_of("scale_filler { value: 1 } momentum: 0.9")


@pytest.mark.parametrize(
    "option", ["moving_average: true", "across_spatial: false", "axis: 2", "icnet: true"]
)
def test_options_that_are_not_known_well_enough_are_refused(option):
    with pytest.raises(LayerError, match=option.split(":")[0]):
        net_of(option)


def test_fillers_that_are_not_given_fill_with_0(rng):
    assert not run(net_of("bn_mode: LEARN"), rng.normal(size=SHAPE)).any()


# --- SegNet ---


@pytest.mark.torch
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_segnet_learn_normalises_by_the_batch_in_both_phases(phase, dtype, rng):
    import torch

    net = net_of(SEGNET, phase=phase, dtype=dtype)
    values, dy = rng.normal(1, 2, (2, *SHAPE)).astype(dtype)
    gamma, beta = rng.uniform(0.5, 2, 3).astype(dtype), rng.normal(size=3).astype(dtype)
    for blob, value in zip(net.params["op"], (gamma, beta), strict=True):
        blob.data[...] = channels(value)
    x, weight, bias = (torch.tensor(v, requires_grad=True) for v in (values, gamma, beta))
    y = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=1e-9)
    y.backward(torch.tensor(dy))

    ours = run(net, values)
    (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    np.testing.assert_allclose(net.params["op"][0].diff.ravel(), weight.grad.numpy(), **close)
    np.testing.assert_allclose(net.params["op"][1].diff.ravel(), bias.grad.numpy(), **close)


def test_segnet_further_tops_are_the_batchs_statistics(rng):
    net = net_of(SEGNET, tops=3)
    x = rng.normal(1, 2, SHAPE)

    run(net, x)

    np.testing.assert_allclose(net.blobs["y1"].data, channels(x.mean(AXES)), rtol=1e-10)
    np.testing.assert_allclose(net.blobs["y2"].data, channels(x.var(AXES)), rtol=1e-10)


@pytest.mark.parametrize("options", ["bn_mode: INFERENCE", PSPNET])
def test_other_forms_have_one_top(options):
    with pytest.raises(LayerError, match="tops 1 and 2"):
        net_of(options, tops=2)


def test_segnet_inference_multiplies_and_adds_exactly(rng):
    net = net_of("bn_mode: INFERENCE", dtype="f4")
    gamma, beta = rng.normal(size=(2, 3)).astype("f4")
    for blob, value in zip(net.params["op"], (gamma, beta), strict=True):
        blob.data[...] = channels(value)
    x = rng.normal(1, 2, SHAPE).astype("f4")

    np.testing.assert_array_equal(run(net, x), x * channels(gamma) + channels(beta))


# --- PSPNet ---


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("in_place", [False, True])
def test_pspnet_agrees_with_torch(in_place, dtype, rng):
    import torch

    net = net_of(f"{PSPNET} momentum: 0.75 eps: 1e-3", in_place=in_place, dtype=dtype)
    theirs = torch.nn.BatchNorm2d(3, momentum=0.25, eps=float(np.float32(1e-3)))
    theirs = theirs.to(torch.float64 if dtype == "f8" else torch.float32)
    theirs.running_var.zero_()  # PSPNet's starts at 0
    for _ in range(3):
        values, dy = rng.normal(1, 2, (2, *SHAPE)).astype(dtype)
        x = torch.tensor(values, requires_grad=True)
        theirs.zero_grad()
        y = theirs(x)
        y.backward(torch.tensor(dy))
        ours = run(net, values)
        (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    expected = theirs.weight.grad, theirs.bias.grad
    for blob, value in zip(net.params["op"][:2], expected, strict=True):
        np.testing.assert_allclose(blob.diff.ravel(), value.numpy(), **close)
    for blob, value in zip(net.params["op"][2:], (theirs.running_mean, theirs.running_var), strict=True):
        np.testing.assert_allclose(blob.data.ravel(), value.numpy(), **close)


@pytest.mark.parametrize(
    ("phase", "options"), [(TEST, PSPNET), (TEST, "frozen: true"), (TRAIN, "frozen: true")]
)
def test_pspnet_uses_running_averages_as_they_are_in_test_or_frozen(phase, options, rng):
    net = net_of(options, phase=phase)
    gamma, beta, mean, var = rng.normal(size=3), rng.normal(size=3), rng.normal(size=3), rng.uniform(1, 2, 3)
    for blob, value in zip(net.params["op"], (gamma, beta, mean, var), strict=True):
        blob.data[...] = channels(value)
    x, dy = rng.normal(size=(2, *SHAPE))

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    inv_std = 1 / np.sqrt(channels(var) + float(np.float32(1e-5)))
    np.testing.assert_allclose(
        y, channels(gamma) * (x - channels(mean)) * inv_std + channels(beta), rtol=1e-10
    )
    np.testing.assert_allclose(dx, dy * channels(gamma) * inv_std, rtol=1e-10)
    np.testing.assert_array_equal(net.params["op"][2].data, channels(mean))


def test_pspnet_caffe_engine_stores_the_biased_variance(rng):
    x = rng.normal(size=SHAPE)
    for engine, ddof in (("CAFFE", 0), ("CUDNN", 1), ("DEFAULT", 1)):
        net = net_of(f"{PSPNET} momentum: 0.5 engine: {engine}")
        run(net, x)
        np.testing.assert_allclose(net.params["op"][3].data.ravel(), x.var(AXES, ddof=ddof) / 2, rtol=1e-10)


def test_pspnet_starting_variance_is_0_and_1_where_frozen():
    assert not net_of(PSPNET).params["op"][3].data.any()
    assert (net_of("frozen: true").params["op"][3].data == 1).all()


@pytest.mark.parametrize(
    ("options", "rates"), [(PSPNET, [(2, 3), (2, 3), (0, 0), (0, 0)]), ("frozen: true", [(0, 0)] * 4)]
)
def test_pspnet_rates_are_forced(options, rates):
    net = net_of(options, around="param { lr_mult: 2 decay_mult: 3 } " * 4)
    assert [(s.lr_mult, s.decay_mult) for s in net.layer_dict["op"].param.param] == rates


# --- all forms ---


@given(
    options=st.sampled_from(
        [SEGNET, "bn_mode: INFERENCE", "var_eps: 0.01", PSPNET, "frozen: true", "eps: 0.1"]
    ),
    phase=st.sampled_from([TRAIN, TEST]),
    shape=st.sampled_from([(4, 3), (2, 2, 3), (3, 1, 2, 2), (2, 2, 1, 2, 2)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(options, phase, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    net = net_of(options, shape, phase=phase, in_place=in_place, overwritten=overwritten)
    for blob in net.params["op"][2:]:
        blob.data[...] = rng.uniform(1, 2, blob.shape)
    affine = {i: rng.uniform(0.5, 2, (1, shape[1], 1, 1)) for i in range(2)}

    assert gradient_error(net, [2 * spread(rng, shape)], affine, seed=seed) < 1e-6


@pytest.mark.parametrize("options", [SEGNET, PSPNET])
def test_one_axis_is_refused(options):
    with pytest.raises(ShapeError, match="channels on axis 1"):
        net_of(options, (4,))


@pytest.mark.parametrize("momentum", ["-0.1", "1.5"])
def test_momentum_outside_0_to_1_is_refused(momentum):
    with pytest.raises(LayerError, match="momentum must lie between 0 and 1"):
        net_of(f"momentum: {momentum}")
