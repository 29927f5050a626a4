"""BatchNorm as forks have it: which fields tell, what is stored, what is computed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, TRAIN, LayerError, ShapeError

F4 = np.float32
EPS = float(F4(1e-5))
AXES = (0, 2, 3)
SHAPE = (4, 3, 5, 6)
NVIDIA, INTEL = "scale_bias: true", "use_weight_bias: true"


def net_of(options: str, shape=SHAPE, around: str = "", **how):
    return one_layer(f'type: "BatchNorm" {around} batch_norm_param {{ {options} }}', shape, **how)


def normalised(x, mean, var, eps=EPS):
    return (x - np.reshape(mean, (1, -1, 1, 1))) / np.sqrt(np.reshape(var, (1, -1, 1, 1)) + eps)


def set_affine(net, rng):
    gamma, beta = rng.uniform(0.5, 2, 3), rng.normal(size=3)
    for blob, value in zip(net.params["op"][3:], (gamma, beta), strict=False):
        blob.data[...] = value
    return gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)


# --- recognised by fields ---


@pytest.mark.parametrize(
    ("options", "dialect", "blobs"),
    [
        ("", "BVLC", 3),
        ("engine: CAFFE", "BVLC", 3),
        ("scale_bias: false", "BVLC", 3),
        (NVIDIA, "NVIDIA", 5),
        ("scale_filler { value: 1 }", "NVIDIA", 5),
        ("bias_filler { value: 0 } engine: CUDNN", "NVIDIA", 5),
        (INTEL, "Intel", 5),
        ("use_weight_bias: true bias_term: false", "Intel", 4),
        ("use_weight_bias: false", "Intel", 3),
        ("bias_term: true", "Intel", 5),
        ("filler { value: 1 } bias_filler { value: 0 }", "Intel", 5),
        ("engine: MKLDNN", "Intel", 5),
        ("engine: MKL2017 use_weight_bias: false", "Intel", 3),
        ("engine: CAFFE filler { value: 1 }", "Intel", 3),
        ("stats_batch_size: 2", "Intel", 3),
        ("relu: true", "Intel", 3),
        ("fused_relu: true", "BVLC", 3),
    ],
)
def test_fields_tell_the_fork(options, dialect, blobs):
    net = net_of(options)
    assert net.layer_dict["op"].form.dialect == dialect
    assert [blob.shape for blob in net.params["op"]] == [(3,), (3,), (1,), (3,), (3,)][:blobs]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (NVIDIA, r"NVIDIA's Caffe: five blobs"),
        (NVIDIA + " use_global_stats: true", r"NVIDIA.*use_global_stats is ignored"),
        (INTEL, r"Intel's Caffe: 5 blobs"),
        (INTEL + " bias_term: false", r"Intel's Caffe: 4 blobs"),
        ("update_global_stats: true", r"update_global_stats, which BVLC Caffe does not know"),
    ],
)
def test_a_note_says_which_was_found(options, said):
    net = net_of(options)
    (note,) = net.notes
    assert note.startswith('layer "op": ')
    assert re.search(said, note)


@pytest.mark.parametrize("option", ["use_alpha_beta: true", "add_eps_before_sqrt: false", "icnet: true"])
def test_options_that_are_not_known_well_enough_are_refused(option):
    with pytest.raises(LayerError, match=f"{option} is an option of a fork"):
        net_of(option)


# --- gradients of all forms ---


@given(
    options=st.sampled_from(
        [
            NVIDIA,
            NVIDIA + " fused_relu: true",
            INTEL,
            INTEL + " bias_term: false",
            INTEL + " relu: true",
            INTEL + " stats_batch_size: 1",
            INTEL + " stats_batch_size: 2 relu: true",
            "stats_batch_size: 2",
            "fused_relu: true",
            "disable_mean: true",
            "disable_variance: true",
            "disable_mean: true disable_variance: true",
            "disable_mean: true fused_relu: true",
            "disable_variance: true fused_relu: true",
        ]
    ),
    use_global_stats=st.sampled_from(["", "use_global_stats: true", "use_global_stats: false"]),
    phase=st.sampled_from([TRAIN, TEST]),
    shape=st.sampled_from([(4, 3), (2, 2, 3), (4, 1, 2, 2), (2, 2, 1, 2, 2)]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(options, use_global_stats, phase, shape, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    net = net_of(
        f"{options} {use_global_stats}", shape, phase=phase, in_place=in_place, overwritten=overwritten
    )
    statistics = (rng.normal(size=shape[1]), rng.uniform(1, 3, shape[1]), 1.0)
    for blob, value in zip(net.params["op"], statistics, strict=False):
        blob.data[...] = value
    affine = {i: rng.uniform(0.5, 2, shape[1]) for i in range(3, len(net.params["op"]))}

    assert gradient_error(net, [2 * spread(rng, shape)], affine, seed=seed) < 1e-6


# --- NVIDIA ---


@pytest.mark.torch
def test_nvidia_agrees_with_torch(rng):
    import torch

    net = net_of(f"{NVIDIA} moving_average_fraction: 0.75")
    gamma, beta = set_affine(net, rng)
    theirs = torch.nn.BatchNorm2d(3, momentum=0.25).double()
    theirs.weight.data, theirs.bias.data = torch.tensor(gamma.ravel()), torch.tensor(beta.ravel())
    first = rng.normal(2, 3, SHAPE)
    theirs.running_mean, theirs.running_var = (
        torch.tensor(first.mean(AXES)),
        torch.tensor(first.var(AXES, ddof=1)),
    )
    run(net, first)  # is taken as it is, which torch has no word for
    for _ in range(3):
        values, dy = rng.normal(2, 3, (2, *SHAPE))
        x = torch.tensor(values, requires_grad=True)
        theirs.zero_grad()
        y = theirs(x)
        y.backward(torch.tensor(dy))
        ours = run(net, values)
        (dx,) = run_backward(net, dy)

    mean, var, one, scale, bias = net.params["op"]
    close = {"rtol": 1e-6, "atol": 1e-10}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    np.testing.assert_allclose(scale.diff, theirs.weight.grad.numpy(), **close)
    np.testing.assert_allclose(bias.diff, theirs.bias.grad.numpy(), **close)
    np.testing.assert_allclose(mean.data, theirs.running_mean.numpy(), **close)
    np.testing.assert_allclose(var.data, theirs.running_var.numpy(), **close)
    assert one.data == 1


def test_nvidia_normalises_by_the_averages_in_test_and_never_divides_them(rng):
    net = net_of(f"{NVIDIA} use_global_stats: false", phase=TEST)
    for blob, value in zip(net.params["op"], (2.0, 3.0, 7.0), strict=False):
        blob.data[...] = value
    gamma, beta = set_affine(net, rng)
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    np.testing.assert_allclose(y, gamma * normalised(x, [2.0] * 3, [3.0] * 3) + beta, rtol=1e-10)


def test_nvidia_first_batch_does_not_replace_loaded_averages(rng):
    net = net_of(f"{NVIDIA} moving_average_fraction: 0.5")
    net.params["op"][0].data[...] = 4
    net.params["op"][1].data[...] = 2
    x = rng.normal(size=SHAPE)

    run(net, x)

    np.testing.assert_allclose(net.params["op"][0].data, 2 + x.mean(AXES) / 2, rtol=1e-10)


def test_nvidia_caffe_engine_stores_the_biased_variance(rng):
    x = rng.normal(size=SHAPE)
    for engine, ddof in (("CAFFE", 0), ("CUDNN", 1), ("DEFAULT", 1)):
        net = net_of(f"{NVIDIA} engine: {engine}")
        run(net, x)
        np.testing.assert_allclose(net.params["op"][1].data, x.var(AXES, ddof=ddof), rtol=1e-10)


def test_nvidia_eps_is_at_least_cudnns(rng):
    assert net_of(f"{NVIDIA} eps: 1e-9").layer_dict["op"].eps == pytest.approx(1e-5, rel=1e-6)
    assert net_of(f"{NVIDIA} eps: 0.5").layer_dict["op"].eps == 0.5


def test_nvidia_rates_are_forced():
    for around in ("", "param { lr_mult: 3 } " * 5, "param { lr_mult: 0 decay_mult: 0 } " * 2):
        specs = net_of(NVIDIA, around=around).layer_dict["op"].param.param
        assert [(spec.lr_mult, spec.decay_mult) for spec in specs] == [(0, 0)] * 3 + [(1, 1)] * 2


def test_nvidia_fillers_are_used():
    net = net_of('scale_filler { type: "constant" value: 5 } bias_filler { type: "constant" value: -1 }')
    assert (net.params["op"][3].data == 5).all()
    assert (net.params["op"][4].data == -1).all()


# --- Intel ---


@pytest.mark.torch
@pytest.mark.parametrize("bias", [True, False])
def test_intel_agrees_with_torch(bias, rng):
    import torch

    net = net_of(f"{INTEL} bias_term: {str(bias).lower()} moving_average_fraction: 1")
    gamma, beta = set_affine(net, rng)
    theirs = torch.nn.BatchNorm2d(3, momentum=None).double()
    theirs.weight.data = torch.tensor(gamma.ravel())
    theirs.bias.data = torch.tensor(beta.ravel() if bias else np.zeros(3))
    for _ in range(2):
        values, dy = rng.normal(2, 3, (2, *SHAPE))
        x = torch.tensor(values, requires_grad=True)
        theirs.zero_grad()
        y = theirs(x)
        y.backward(torch.tensor(dy))
        ours = run(net, values)
        (dx,) = run_backward(net, dy)

    blobs = net.params["op"]
    close = {"rtol": 1e-6, "atol": 1e-10}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    np.testing.assert_allclose(blobs[3].diff, theirs.weight.grad.numpy(), **close)
    np.testing.assert_allclose(blobs[0].data / blobs[2].data, theirs.running_mean.numpy(), **close)
    np.testing.assert_allclose(blobs[1].data / blobs[2].data, theirs.running_var.numpy(), **close)


def test_intel_sub_batches_have_their_own_statistics_stored_in_order(rng):
    net = net_of("stats_batch_size: 2 moving_average_fraction: 0.5")
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    parts = x[:2], x[2:]
    for ours, part in zip((y[:2], y[2:]), parts, strict=True):
        np.testing.assert_allclose(ours, normalised(part, part.mean(AXES), part.var(AXES)), rtol=1e-9)
    mean_sum, var_sum, factor = (blob.data for blob in net.params["op"])
    np.testing.assert_allclose(mean_sum, parts[0].mean(AXES) / 2 + parts[1].mean(AXES), rtol=1e-10)
    np.testing.assert_allclose(
        var_sum, parts[0].var(AXES, ddof=1) / 2 + parts[1].var(AXES, ddof=1), rtol=1e-10
    )
    assert factor == 1.5


def test_intel_sub_batches_must_divide_the_batch():
    with pytest.raises(ShapeError, match="stats_batch_size 3 does not divide the batch of 4"):
        net_of("stats_batch_size: 3")


def test_intel_statistics_take_no_learning_rate():
    with pytest.raises(LayerError, match="write lr_mult: 0"):
        net_of(INTEL, around="param { lr_mult: 1 } " * 5)
    specs = net_of(INTEL, around="param { lr_mult: 0 } " * 3).layer_dict["op"].param.param
    assert len(specs) == 3


@pytest.mark.parametrize("option", ["relu: true", "fused_relu: true"])
def test_relu_inside(option, rng):
    x = rng.normal(size=SHAPE)
    np.testing.assert_array_equal(run(net_of(option), x), np.maximum(run(net_of(""), x), 0))


# --- PSPNet, DeepLab: update_global_stats ---


def test_update_global_stats_keeps_the_mean_and_follows_the_variance(rng):
    net = net_of("use_global_stats: true update_global_stats: true moving_average_fraction: 0.5")
    for blob, value in zip(net.params["op"], (3.0, 8.0, 2.0), strict=True):
        blob.data[...] = value
    x = rng.normal(1, 2, SHAPE)

    y = run(net, x)

    square = ((x - 1.5) ** 2).mean(AXES)
    np.testing.assert_allclose(y, normalised(x, [1.5] * 3, square), rtol=1e-9)
    mean_sum, var_sum, factor = (blob.data for blob in net.params["op"])
    assert factor == 2
    np.testing.assert_allclose(mean_sum, 3)
    np.testing.assert_allclose(var_sum, 4 + square * 120 / 119, rtol=1e-10)


def test_update_global_stats_has_the_gradient_of_fixed_statistics(rng):
    net = net_of("use_global_stats: true update_global_stats: true")
    x, dy = rng.normal(1, 2, (2, *SHAPE))
    run(net, x)

    (dx,) = run_backward(net, dy)

    np.testing.assert_allclose(dx, dy / np.sqrt((x**2).mean(AXES).reshape(1, -1, 1, 1) + EPS), rtol=1e-9)


@pytest.mark.parametrize(("phase", "options"), [(TEST, "use_global_stats: true"), (TEST, ""), (TRAIN, "")])
def test_update_global_stats_matters_only_with_stored_statistics_in_train(phase, options, rng):
    x = rng.normal(size=SHAPE)
    plain = net_of(options, phase=phase)
    with_option = net_of(f"{options} update_global_stats: true", phase=phase)
    np.testing.assert_array_equal(run(with_option, x), run(plain, x))
    np.testing.assert_array_equal(with_option.params["op"][1].data, plain.params["op"][1].data)


# --- happynear: disable_mean, disable_variance ---


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("variance", [True, False])
def test_what_is_disabled_is_neither_used_nor_stored(mean, variance, rng):
    options = f"disable_mean: {str(not mean).lower()} disable_variance: {str(not variance).lower()}"
    net = net_of(options + " moving_average_fraction: 0.5")
    for blob, value in zip(net.params["op"], (6.0, 8.0, 2.0), strict=True):
        blob.data[...] = value
    x = rng.normal(1, 2, SHAPE)
    centre = x.mean(AXES) if mean else np.zeros(3)
    square = ((x - centre.reshape(1, -1, 1, 1)) ** 2).mean(AXES) if variance else np.full(3, 1 - EPS)

    y = run(net, x)

    np.testing.assert_allclose(y, normalised(x, centre, square), rtol=1e-9)
    mean_sum, var_sum, factor = (blob.data for blob in net.params["op"])
    assert factor == 2
    np.testing.assert_allclose(mean_sum, 3 + centre if mean else 6, rtol=1e-10)
    np.testing.assert_allclose(var_sum, 4 + square * 120 / 119 if variance else 8, rtol=1e-10)


@pytest.mark.parametrize(
    ("option", "mean", "var"), [("disable_mean", 0, 4), ("disable_variance", 3, 1 - EPS)]
)
def test_what_is_disabled_is_not_used_of_what_is_stored(option, mean, var, rng):
    net = net_of(f"{option}: true", phase=TEST)
    for blob, value in zip(net.params["op"], (6.0, 8.0, 2.0), strict=True):
        blob.data[...] = value
    x = rng.normal(1, 2, SHAPE)

    np.testing.assert_allclose(run(net, x), normalised(x, [mean] * 3, [var] * 3), rtol=1e-9)
