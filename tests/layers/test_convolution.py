"""Convolution: how prototxts describe it, shapes, shared weights, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import CaffenormError, LayerError, Net, ShapeError

torch = pytest.importorskip("torch")
CONVOLVE = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
SHAPE = (2, 4, 7, 9)


def body(options: str, kind: str = "Convolution", filler: str = "gaussian") -> str:
    fillers = f'weight_filler {{ type: "{filler}" std: 0.5 }} bias_filler {{ value: 0.5 }}'
    return f'type: "{kind}" convolution_param {{ {options} {fillers} }}'


def by_torch(net: Net, x, **options):
    """What torch makes of the input with the net's weights."""
    weights, *bias = (torch.tensor(blob.data.copy()) for blob in net.params["op"])
    convolve = CONVOLVE[weights.dim() - 2]
    return convolve(torch.tensor(x), weights, bias[0] if bias else None, **options).numpy()


FORMS = {
    "kernel_size: 3": {},
    "kernel_size: 3 kernel_size: 3": {},
    "kernel_h: 2 kernel_w: 5": {},
    "kernel_size: 2 kernel_size: 5": {},
    "kernel_size: 3 pad: 2": {"padding": 2},
    "kernel_size: 3 pad: 2 pad: 1": {"padding": (2, 1)},
    "kernel_size: 3 pad_h: 1 pad_w: 2": {"padding": (1, 2)},
    "kernel_size: 3 pad_w: 2": {"padding": (0, 2)},
    "kernel_size: 3 stride: 2": {"stride": 2},
    "kernel_size: 3 stride: 2 stride: 3": {"stride": (2, 3)},
    "kernel_size: 3 stride_h: 3 stride_w: 1": {"stride": (3, 1)},
    "kernel_size: 3 dilation: 2": {"dilation": 2},
    "kernel_size: 3 dilation: 1 dilation: 3": {"dilation": (1, 3)},
    "kernel_size: 3 group: 2": {"groups": 2},
    "kernel_size: 3 bias_term: false": {},
    "kernel_size: 3 engine: CUDNN force_nd_im2col: true": {},
    # forks
    "kernel_size: 3 hole: 2": {"dilation": 2},
    "kernel_size: 3 hole_h: 2 hole_w: 3": {"dilation": (2, 3)},
    "kernel_size: 3 kstride: 3": {"dilation": 3},
    "kernel_size: 3 filter_stride: 2": {"dilation": 2},
    "kernel_size: 3 dilation_h: 1 dilation_w: 2": {"dilation": (1, 2)},
    "kernel_size: 3 dilation: 2 hole: 2": {"dilation": 2},
    "kernel_shape { dim: 2 dim: 3 } pad_shape { dim: 1 dim: 0 }": {"padding": (1, 0)},
    "kernel_size: 3 stride_shape { dim: 1 dim: 2 }": {"stride": (1, 2)},
    'kernel_size: 3 engine: MKLDNN conv_algorithm: "winograd"': {},
}


@pytest.mark.parametrize("options", FORMS)
def test_every_form_of_the_options_is_read(options, rng):
    net = one_layer(body(f"num_output: 6 {options}"), SHAPE)
    x = rng.normal(size=SHAPE)

    np.testing.assert_allclose(run(net, x), by_torch(net, x, **FORMS[options]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "pads"),
    [
        ("pad_t: 2 pad_l: 1 pad_b: 0 pad_r: 3", ((2, 0), (1, 3))),
        ("stride: 2 tf_pad: SAME pad: 3", ((1, 1), (1, 1))),
        ("stride: 3 tf_pad: SAME", ((1, 1), (0, 0))),
        ("tf_pad: VALID pad: 1", ((0, 0), (0, 0))),
    ],
)
def test_pads_of_each_side(options, pads, rng):
    net = one_layer(body(f"num_output: 3 kernel_size: 3 {options}"), SHAPE)
    x = rng.normal(size=SHAPE)
    stride = 2 if "stride: 2" in options else 3 if "stride: 3" in options else 1

    expected = by_torch(net, np.pad(x, [(0, 0), (0, 0), *pads]), stride=stride)

    np.testing.assert_allclose(run(net, x), expected, rtol=1e-10, atol=1e-12)
    assert gradient_error(net, [x]) < 1e-7


def test_tensorflows_pads_put_the_odd_one_behind(rng):
    net = one_layer(body("num_output: 1 kernel_size: 3 stride: 2 tf_pad: SAME"), (1, 1, 6, 8))
    x = rng.normal(size=(1, 1, 6, 8))

    np.testing.assert_allclose(
        run(net, x), by_torch(net, np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)]), stride=2), rtol=1e-10
    )


@pytest.mark.parametrize("axis", [1, -3, -1, 2, 0])
def test_axes_before_axis_are_the_batch(axis, rng):
    net = one_layer(body(f"num_output: 6 kernel_size: 2 axis: {axis}"), SHAPE)
    x = rng.normal(size=SHAPE)
    first = axis % 4
    weights, bias = (blob.data.copy() for blob in net.params["op"])
    spatial = SHAPE[first + 1 :]

    if spatial:
        seen = torch.tensor(x.reshape(-1, *SHAPE[first:]))
        expected = CONVOLVE[len(spatial)](seen, torch.tensor(weights), torch.tensor(bias)).numpy()
    else:
        expected = x.reshape(-1, SHAPE[first]) @ weights.T + bias

    y = run(net, x)
    assert y.shape == (*SHAPE[:first], 6, *(n - 1 for n in spatial))
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)


def test_three_spatial_axes_and_the_fields_of_video_nets(rng):
    shape = (1, 2, 6, 7, 8)
    options = (
        "num_output: 3 kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 1 pad: 1 temporal_pad: 0"
    )
    net = one_layer(body(options), shape)
    x = rng.normal(size=shape)

    assert net.params["op"][0].shape == (3, 2, 2, 3, 3)
    np.testing.assert_allclose(
        run(net, x), by_torch(net, x, stride=(1, 2, 2), padding=(0, 1, 1)), rtol=1e-10, atol=1e-12
    )


def test_depthwise_convolution_has_a_group_a_channel(rng):
    net = one_layer(body("num_output: 8 kernel_size: 3 group: 2", "DepthwiseConvolution"), SHAPE)
    x = rng.normal(size=SHAPE)

    assert net.params["op"][0].shape == (8, 1, 3, 3)
    np.testing.assert_allclose(run(net, x), by_torch(net, x, groups=4), rtol=1e-10, atol=1e-12)


def test_convolution_depthwise_keeps_the_channels_whatever_num_output_says(rng):
    net = one_layer(body("num_output: 99 kernel_size: 3 group: 7", "ConvolutionDepthwise"), SHAPE)
    x = rng.normal(size=SHAPE)

    assert net.params["op"][0].shape == (4, 1, 3, 3)
    np.testing.assert_allclose(run(net, x), by_torch(net, x, groups=4), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_relu_of_the_same_layer(slope, rng):
    net = one_layer(body(f"num_output: 3 kernel_size: 3 relu: true negative_slope: {slope}"), SHAPE)
    x = rng.normal(size=SHAPE)
    z = by_torch(net, x)

    np.testing.assert_allclose(run(net, x), np.where(z > 0, z, slope * z), rtol=1e-10, atol=1e-12)
    assert gradient_error(net, [x], {0: spread(rng, (3, 4, 3, 3))}) < 1e-6


def test_a_kernel_beyond_the_input_by_less_than_a_stride_sees_zeros(rng):
    """Caffe's division rounds towards zero, so one output is left."""
    net = one_layer(body("num_output: 2 kernel_size: 4 stride: 2"), (1, 1, 3, 3))
    x = rng.normal(size=(1, 1, 3, 3))

    y = run(net, x)

    np.testing.assert_allclose(y, by_torch(net, np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)])), rtol=1e-10)
    assert gradient_error(net, [x]) < 1e-7


# --- weights ---


def test_changed_weights_are_seen(rng):
    """The kernels read a copy of the weights in another order, which must not stay behind."""
    net = one_layer(body("num_output: 3 kernel_size: 3"), SHAPE, dtype="f4")
    x = rng.normal(size=SHAPE).astype("f4")
    first = run(net, x)
    kept = net.params["op"][0].data

    kept *= 2
    net.params["op"][1].data[...] = 0
    second = run(net, x)
    kept *= 2
    third = run(net, x)
    del kept
    fourth = run(net, x)
    net.params["op"][0].data[...] = 0

    np.testing.assert_allclose(second, 2 * (first - 0.5), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(third, 2 * second)
    np.testing.assert_array_equal(fourth, third)
    assert not run(net, x).any()


def test_weights_stay_through_a_reshape(rng):
    net = one_layer(body("num_output: 3 kernel_size: 3 stride: 2 pad: 1"), SHAPE)
    for shape in (SHAPE, (1, 4, 12, 5), (3, 4, 4, 4), SHAPE):
        x = rng.normal(size=shape)
        net.blobs["x0"].reshape(shape)
        expected = by_torch(net, x, stride=2, padding=1)
        np.testing.assert_allclose(run(net, x), expected, rtol=1e-10, atol=1e-12)


def test_bottoms_share_the_weights_and_their_gradients_add_up(rng):
    net = one_layer(body("num_output: 3 kernel_size: 3"), SHAPE, SHAPE, tops=2)
    x = [rng.normal(size=SHAPE) for _ in range(2)]
    seeds = [rng.normal(size=(2, 3, 5, 7)) for _ in range(2)]

    run(net, *x)
    for name, dy in zip(("y0", "y1"), seeds, strict=True):
        net.blobs[name].diff[...] = dy
    net.clear_param_diffs()
    net.backward()

    for i in range(2):
        np.testing.assert_allclose(net.blobs[f"y{i}"].data, by_torch(net, x[i]), rtol=1e-10, atol=1e-12)
    both = [torch.tensor(blob.data.copy(), requires_grad=True) for blob in net.params["op"]]
    total = sum(
        (CONVOLVE[2](torch.tensor(a), *both) * torch.tensor(b)).sum() for a, b in zip(x, seeds, strict=True)
    )
    total.backward()
    for blob, expected in zip(net.params["op"], both, strict=True):
        np.testing.assert_allclose(blob.diff, expected.grad.numpy(), rtol=1e-10)


def test_frozen_parameters_get_no_gradient(rng):
    text = body("num_output: 3 kernel_size: 3") + " param { lr_mult: 0 } param { lr_mult: 0 }"
    net = one_layer(text, SHAPE, force_backward=False)
    x = rng.normal(size=SHAPE)

    run(net, x)
    run_backward(net, rng.normal(size=(2, 3, 5, 7)))

    assert not any(blob.diff.any() for blob in net.params["op"])


@given(
    axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_gradient_is_the_derivative(axes, groups, kernel, stride, pad, dilation, seed):
    rng = np.random.default_rng(seed)
    shape = (2, 2, *(int(n) for n in rng.integers(dilation * (kernel - 1) + 1, 7, size=axes)))
    options = f"num_output: 4 kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation}"
    net = one_layer(body(f"{options} group: {groups}"), shape)
    weights, bias = net.params["op"]
    values = {0: rng.normal(size=weights.shape), 1: rng.normal(size=bias.shape)}

    assert gradient_error(net, [rng.normal(size=shape)], values, seed=seed) < 1e-7


# --- what is refused ---

BAD = [
    ("num_output: 2", LayerError, "needs a kernel_size, or kernel_h and kernel_w"),
    ("kernel_size: 3", LayerError, "num_output must be given"),
    ("num_output: 0 kernel_size: 3", LayerError, "num_output must be given, and be 1 or more"),
    ("num_output: 2 kernel_size: 0", LayerError, "kernel must be 1 or more, found 0 x 0"),
    ("num_output: 2 kernel_h: 3", LayerError, "kernel must be 1 or more, found 3 x 0"),
    ("num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3", LayerError, "both kernel_size and kernel_h"),
    ("num_output: 2 kernel_size: 3 stride: 0", LayerError, "stride must be 1 or more, found 0 x 0"),
    ("num_output: 2 kernel_size: 3 stride: 1 stride_w: 2", LayerError, "both stride and stride_w"),
    ("num_output: 2 kernel_size: 3 dilation: 0", LayerError, "dilation must be 1 or more"),
    ("num_output: 2 kernel_size: 3 dilation: 2 hole: 3", LayerError, "names of the same thing and differ"),
    ("num_output: 2 kernel_size: 3 pad: 1 pad_h: 1", LayerError, "both pad and pad_h"),
    ("num_output: 2 kernel_size: 3 pad_shape { dim: -1 dim: 0 }", LayerError, "a pad must be 0 or more"),
    ("num_output: 2 kernel_shape { dim: 3 }", LayerError, "kernel_shape has 1 dims for 2 spatial axes"),
    ("num_output: 2 kernel_size: [1, 2, 3]", LayerError, "given 3 times for 2 spatial axes"),
    (
        "num_output: 2 kernel_size: 3 kernel_depth: 3",
        LayerError,
        "kernel_depth is for 3 spatial axes, here are 2",
    ),
    ("num_output: 2 kernel_size: 3 group: 0", LayerError, "group must be 1 or more"),
    ("num_output: 2 kernel_size: 3 group: 3", ShapeError, "4 channels, which 3 groups do not divide"),
    ("num_output: 3 kernel_size: 3 group: 2", LayerError, "num_output is 3, which 2 groups do not divide"),
    ("num_output: 2 kernel_size: 8", ShapeError, r"the kernel spans 8 x 8, more than the input of 7 x 9"),
    ("num_output: 2 kernel_size: 3 dilation: 9 pad: 1", ShapeError, r"spans 19 x 19"),
    ("num_output: 2 kernel_size: 3 axis: 4", ShapeError, "axis 4 does not exist"),
    ("num_output: 2 kernel_size: 3 binary: 1", LayerError, "binary weights"),
    (
        "num_output: 4000000000 kernel_size: 4000000000 pad: 2000000000",
        ShapeError,
        "more than any memory holds",
    ),
]


@pytest.mark.parametrize(("options", "error", "pattern"), BAD)
def test_bad_options_are_refused(options, error, pattern):
    with pytest.raises(error, match=pattern):
        one_layer(body(options, filler="constant"), SHAPE)


def test_a_huge_pad_is_refused_before_memory_is_taken():
    with pytest.raises(ShapeError, match="this machine has"):
        one_layer(body("num_output: 2 kernel_size: 3 pad: 1000000"), SHAPE)


def test_depthwise_outputs_must_be_a_multiple_of_the_channels():
    with pytest.raises(LayerError, match="multiple of the 4 channels, found 6"):
        one_layer(body("num_output: 6 kernel_size: 3", "DepthwiseConvolution"), SHAPE)


def test_fields_for_two_axes_are_refused_for_three():
    with pytest.raises(LayerError, match="kernel_h and kernel_w are for 2 spatial axes, here are 3"):
        one_layer(body("num_output: 2 kernel_h: 1 kernel_w: 1"), (1, 2, 3, 3, 3))
    with pytest.raises(LayerError, match="pad_t, pad_l, pad_b and pad_r are for 2"):
        one_layer(body("num_output: 2 kernel_size: 1 pad_l: 1"), (1, 2, 3, 3, 3))


def test_bottoms_of_different_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"bottom 1 has \[2, 4, 7, 8\], bottom 0 has \[2, 4, 7, 9\]"):
        one_layer(body("num_output: 2 kernel_size: 3"), SHAPE, (2, 4, 7, 8), tops=2)


def test_another_number_of_channels_is_refused_later():
    net = one_layer(body("num_output: 2 kernel_size: 3"), SHAPE)
    net.blobs["x0"].reshape(2, 5, 7, 9)
    with pytest.raises(ShapeError, match="the weights are for 4 channels on axis 1 of 4"):
        net.reshape()


def test_in_place_is_refused():
    with pytest.raises(CaffenormError, match="cannot work in place"):
        one_layer(body("num_output: 4 kernel_size: 1"), SHAPE, in_place=True)
