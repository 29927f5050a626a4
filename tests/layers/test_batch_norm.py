"""BatchNorm as BVLC Caffe has it; the golden cases are in test_golden."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, TRAIN, CaffenormError, LayerError, Net, ShapeError, schema

F4, F8 = np.float32, np.float64
PHASES = st.sampled_from([TRAIN, TEST])


def body(options: str = "", around: str = "") -> str:
    return f'type: "BatchNorm" {around} batch_norm_param {{ {options} }}'


def shapes(most_axes: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """(N, C, ...) with at most 40 values, and two values a channel or more."""
    sizes = st.lists(st.integers(1, 4), min_size=2, max_size=most_axes).map(tuple)
    return sizes.filter(lambda s: np.prod(s) <= 40 and np.prod(s) // s[1] > 1)


def torch_layer(channels: int, axes: int, **options):
    torch = pytest.importorskip("torch")
    kind = {
        2: torch.nn.BatchNorm1d,
        3: torch.nn.BatchNorm1d,
        4: torch.nn.BatchNorm2d,
        5: torch.nn.BatchNorm3d,
    }
    return torch.nn.BatchNorm1d(channels, **options) if axes < 4 else kind[axes](channels, **options)


# --- against PyTorch ---


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 5, 6), (2, 3, 4, 5, 2)])
def test_agrees_with_torch_in_train(shape, in_place, dtype, rng):
    import torch

    net = one_layer(body("moving_average_fraction: 1"), shape, in_place=in_place, dtype=dtype)
    theirs = torch_layer(shape[1], len(shape), affine=False, momentum=None).to(
        torch.float64 if dtype == "f8" else torch.float32
    )
    for _ in range(3):
        values = rng.normal(3, 2, shape).astype(dtype)
        x = torch.tensor(values, requires_grad=True)
        y = theirs(x)
        ours = run(net, values)
    dy = rng.normal(size=shape).astype(dtype)
    y.backward(torch.tensor(dy))
    (dx,) = run_backward(net, dy)

    close = {"rtol": 1e-4, "atol": 2e-6} if dtype == "f4" else {"rtol": 1e-6, "atol": 1e-11}
    np.testing.assert_allclose(ours, y.detach().numpy(), **close)
    np.testing.assert_allclose(dx, x.grad.numpy(), **close)
    mean_sum, var_sum, factor = (blob.data for blob in net.params["op"])
    assert factor == theirs.num_batches_tracked
    np.testing.assert_allclose(mean_sum / factor, theirs.running_mean.numpy(), **close)
    np.testing.assert_allclose(var_sum / factor, theirs.running_var.numpy(), **close)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_agrees_with_torch_in_test(dtype, rng):
    import torch

    shape = (3, 4, 5, 5)
    net = one_layer(body(), shape, phase=TEST, dtype=dtype)
    theirs = torch_layer(4, 4, affine=False).to(torch.float64 if dtype == "f8" else torch.float32).eval()
    theirs.running_mean[:] = torch.tensor(rng.normal(size=4))
    theirs.running_var[:] = torch.tensor(rng.uniform(0.5, 2, 4))
    net.params["op"][0].data[...] = 4 * theirs.running_mean.numpy()
    net.params["op"][1].data[...] = 4 * theirs.running_var.numpy()
    net.params["op"][2].data[...] = 4
    values, dy = rng.normal(size=(2, *shape)).astype(dtype)

    x = torch.tensor(values, requires_grad=True)
    y = theirs(x)
    y.backward(torch.tensor(dy))

    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == "f4" else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(run(net, values), y.detach().numpy(), **close)
    np.testing.assert_allclose(run_backward(net, dy)[0], x.grad.numpy(), **close)


# --- gradients of all combinations of options ---


@given(
    shape=shapes(),
    phase=PHASES,
    use_global_stats=st.sampled_from(["", "use_global_stats: true", "use_global_stats: false"]),
    eps=st.sampled_from([1e-5, 1e-3, 1.0]),
    in_place=st.booleans(),
    overwritten=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_gradient_is_the_derivative(shape, phase, use_global_stats, eps, in_place, overwritten, seed):
    rng = np.random.default_rng(seed)
    options = f"eps: {eps} {use_global_stats}"
    net = one_layer(body(options), shape, phase=phase, in_place=in_place, overwritten=overwritten)
    for blob, values in zip(
        net.params["op"], (rng.normal(size=shape[1]), rng.uniform(1, 3, shape[1]), 2.5), strict=True
    ):
        blob.data[...] = values

    assert gradient_error(net, [3 * spread(rng, shape)], seed=seed) < 1e-6


# --- which statistics, and when they are stored ---


@pytest.mark.parametrize(
    ("phase", "use_global_stats", "by_batch"),
    [
        (TRAIN, None, True),
        (TRAIN, True, False),
        (TRAIN, False, True),
        (TEST, None, False),
        (TEST, True, False),
        (TEST, False, True),
    ],
)
def test_use_global_stats_decides_where_it_is_written(phase, use_global_stats, by_batch, rng):
    option = "" if use_global_stats is None else f"use_global_stats: {str(use_global_stats).lower()}"
    net = one_layer(body(option), (8, 2, 3), phase=phase)
    for blob, value in zip(net.params["op"], (1.0, 6.0, 2.0), strict=True):
        blob.data[...] = value
    x = rng.normal(size=(8, 2, 3))

    y = run(net, x)

    mean = x.mean((0, 2), keepdims=True) if by_batch else 0.5
    var = x.var((0, 2), keepdims=True) if by_batch else 3.0
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + net.layer_dict["op"].eps), rtol=1e-10)
    assert (net.params["op"][2].data != 2) == by_batch


@given(
    fraction=st.sampled_from([0.0, 0.25, 0.999, 1.0]),
    batches=st.integers(1, 4),
    shape=shapes(),
    seed=st.integers(0, 99),
)
def test_stored_statistics_are_decayed_sums(fraction, batches, shape, seed):
    rng = np.random.default_rng(seed)
    net = one_layer(body(f"moving_average_fraction: {fraction}"), shape)
    axes = (0, *range(2, len(shape)))
    data = [rng.normal(1, 2, shape) for _ in range(batches)]

    for x in data:
        run(net, x)

    weights = [float(F4(fraction)) ** (batches - 1 - k) for k in range(batches)]
    mean_sum, var_sum, factor = (blob.data for blob in net.params["op"])
    np.testing.assert_allclose(factor, [sum(weights)], rtol=1e-12)
    np.testing.assert_allclose(
        mean_sum, sum(w * x.mean(axes) for w, x in zip(weights, data, strict=True)), atol=1e-12
    )
    np.testing.assert_allclose(
        var_sum, sum(w * x.var(axes, ddof=1) for w, x in zip(weights, data, strict=True)), atol=1e-12
    )


def test_one_value_a_channel_has_variance_zero_and_no_correction(rng):
    net = one_layer(body(), (1, 5))
    x = rng.normal(size=(1, 5))

    y = run(net, x)
    (dx,) = run_backward(net, rng.normal(size=(1, 5)))

    assert not y.any()
    assert np.abs(dx).max() < 1e-12
    np.testing.assert_array_equal(net.params["op"][0].data, x[0])
    np.testing.assert_array_equal(net.params["op"][1].data, 0)


def test_zero_scale_factor_gives_zero_statistics(rng):
    net = one_layer(body(), (2, 3), phase=TEST)
    net.params["op"][0].data[...] = 7
    net.params["op"][1].data[...] = 7
    x = rng.normal(size=(2, 3))

    y = run(net, x)

    np.testing.assert_allclose(y, x / np.sqrt(float(F4(1e-5))), rtol=1e-12)


def test_the_factor_is_applied_as_a_reciprocal_of_the_nets_dtype(rng):
    net = one_layer(body(), (2, 50), phase=TEST, dtype="f4")
    sums = rng.normal(size=50).astype(F4)
    net.params["op"][0].data[...] = sums
    net.params["op"][2].data[...] = 999.982

    run(net, rng.normal(size=(2, 50)).astype(F4))

    np.testing.assert_array_equal(net.layer_dict["op"].mean, sums * (F4(1) / F4(999.982)))


def test_a_batch_of_nothing_leaves_the_statistics_alone():
    net = one_layer(body(), (4, 3, 2))
    run(net, np.ones((4, 3, 2)))
    before = [blob.data.copy() for blob in net.params["op"]]

    y = run(net, np.ones((0, 3, 2)))
    (dx,) = run_backward(net, np.ones((0, 3, 2)))

    assert y.shape == dx.shape == (0, 3, 2)
    for blob, value in zip(net.params["op"], before, strict=True):
        np.testing.assert_array_equal(blob.data, value)


def test_nan_and_infinity_stay_in_their_channel(rng):
    net = one_layer(body(), (4, 3, 2), dtype="f4")
    x = rng.normal(size=(4, 3, 2)).astype(F4)
    x[1, 0, 0], x[2, 1, 1] = np.nan, np.inf

    y = run(net, x)

    assert np.isnan(y[:, 0]).all()
    assert np.isnan(y[:, 1]).any()
    assert np.isfinite(y[:, 2]).all()


# --- parameters are not learnt ---


def specs(net: Net) -> list[tuple[float, float]]:
    return [(spec.lr_mult, spec.decay_mult) for spec in net.layer_dict["op"].param.param]


def test_missing_param_blocks_are_added_with_lr_mult_0():
    assert specs(one_layer(body(), (2, 3))) == [(0, 1)] * 3
    assert specs(one_layer(body(around="param { lr_mult: 0 decay_mult: 0 }"), (2, 3))) == [
        (0, 0),
        (0, 1),
        (0, 1),
    ]


@pytest.mark.parametrize("blocks", ["param { lr_mult: 1 }", "param { lr_mult: 0 } param { }", "param { }"])
def test_one_or_two_param_blocks_must_say_lr_mult_0(blocks):
    with pytest.raises(LayerError, match=r"holds statistics.*write lr_mult: 0"):
        one_layer(body(around=blocks), (2, 3))


def test_three_param_blocks_are_the_old_form_and_are_set_to_0():
    assert specs(one_layer(body(around="param { } " * 3), (2, 3))) == [(0, 0)] * 3


def test_the_statistics_get_no_gradient(rng):
    net = one_layer(body(), (4, 3))
    run(net, rng.normal(size=(4, 3)))
    for blob in net.params["op"]:
        blob.diff[...] = 5

    net.blobs["y0"].diff[...] = 1
    net.backward()

    assert all((blob.diff == 5).all() for blob in net.params["op"])


# --- shapes ---


def test_one_axis_is_refused():
    with pytest.raises(ShapeError, match=r"channels on axis 1.*\[4\]"):
        one_layer(body(), (4,))


def test_another_number_of_channels_is_refused(rng):
    net = one_layer(body(), (4, 3, 2))
    with pytest.raises(ShapeError, match=r"made for 3 channels.*\[4, 5, 2\]"):
        run(net, rng.normal(size=(4, 5, 2)))


def test_other_batch_and_image_sizes_are_taken(rng):
    net = one_layer(body("moving_average_fraction: 0"), (4, 3, 2))
    for shape in [(2, 3, 5), (9, 3, 1), (1, 3, 40)]:
        x = rng.normal(size=shape)
        y = run(net, x)
        np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-12)
        np.testing.assert_allclose(net.params["op"][1].data, x.var((0, 2), ddof=1), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("moving_average_fraction: 1.5", "between 0 and 1, found 1.5"),
        ("eps: -1", "must not be negative, found -1"),
    ],
)
def test_values_that_make_no_sense_are_refused(options, message):
    with pytest.raises(LayerError, match=message):
        one_layer(body(options), (4, 3))


def test_two_bottoms_are_refused():
    with pytest.raises(CaffenormError, match="bottom"):
        one_layer(body(), (4, 3), (4, 3))


# --- memory ---


def big_copies(net: Net, shape: tuple[int, ...]) -> int:
    """Work space of the layer, in tensors of the input's size."""
    size = int(np.prod(shape)) * net.layer_dict["op"].dtype.itemsize
    return net.layer_dict["op"].scratch_bytes // size


@pytest.mark.parametrize(
    ("in_place", "overwritten", "phase", "copies"),
    [
        (False, False, TRAIN, 0),  # backward reads x from the bottom
        (False, True, TRAIN, 0),
        (True, False, TRAIN, 0),  # the top is x_hat
        (True, True, TRAIN, 1),
        (True, True, TEST, 0),  # fixed statistics: the gradient needs no x
    ],
)
def test_keeps_at_most_one_tensor_of_the_inputs_size(in_place, overwritten, phase, copies, rng):
    shape = (8, 2, 30, 30)
    net = one_layer(body(), shape, in_place=in_place, overwritten=overwritten, phase=phase)
    run(net, rng.normal(size=shape))
    run_backward(net, rng.normal(size=shape))
    assert big_copies(net, shape) == copies


def test_keeps_nothing_where_nobody_asks_for_gradients(rng):
    shape = (8, 2, 30, 30)
    net = one_layer(body(), shape, in_place=True, overwritten=True, force_backward=False)
    run(net, rng.normal(size=shape))
    assert big_copies(net, shape) == 0


# --- notes ---


def test_bvlcs_own_form_has_no_note():
    assert one_layer(body("use_global_stats: true"), (2, 3)).notes == []


def test_engine_alone_is_bvlcs_form():
    net = one_layer(body("engine: CUDNN"), (2, 3))
    assert len(net.params["op"]) == 3
    assert net.layer_dict["op"].form.dialect == "BVLC"
    assert net.layer_dict["op"].param.batch_norm_param.engine == schema.BatchNormParameter.CUDNN
