"""Deconvolution: shapes, values and gradients of the transposed convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run

from caffenorm import LayerError, ShapeError

torch = pytest.importorskip("torch")
DECONVOLVE = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}
SHAPE = (2, 4, 5, 6)


def body(options: str, filler: str = "gaussian") -> str:
    fillers = f'weight_filler {{ type: "{filler}" std: 0.5 }} bias_filler {{ value: 0.5 }}'
    return f'type: "Deconvolution" convolution_param {{ {options} {fillers} }}'


@given(
    axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 5),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_torch(axes, groups, kernel, stride, pad, dilation, seed):
    rng = np.random.default_rng(seed)
    shape = (2, 2, *(int(n) for n in rng.integers(2, 5, size=axes)))
    if any(stride * (n - 1) + dilation * (kernel - 1) + 1 <= 2 * pad for n in shape[2:]):
        return
    options = f"num_output: 4 kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation}"
    net = one_layer(body(f"{options} group: {groups}"), shape)
    weights, bias = (torch.tensor(blob.data.copy()) for blob in net.params["op"])
    x = rng.normal(size=shape)

    y = run(net, x)

    assert tuple(weights.shape) == (2, 4 // groups, *(kernel,) * axes)
    expected = DECONVOLVE[axes](
        torch.tensor(x), weights, bias, stride=stride, padding=pad, dilation=dilation, groups=groups
    )
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-10, atol=1e-12)
    values = {0: rng.normal(size=tuple(weights.shape)), 1: rng.normal(size=(4,))}
    assert gradient_error(net, [x], values, seed=seed) < 1e-7


def test_bilinear_upsampling_by_a_large_stride(rng):
    """The last layer of the fully convolutional nets: one kernel a class, 32 pixels apart."""
    options = "num_output: 3 group: 3 kernel_size: 64 stride: 32 pad: 16 bias_term: false"
    net = one_layer(body(options, "bilinear"), (1, 3, 4, 5), dtype="f4")
    x = rng.normal(size=(1, 3, 4, 5)).astype("f4")

    y = run(net, x)

    weights = torch.tensor(net.params["op"][0].data)
    expected = DECONVOLVE[2](torch.tensor(x), weights, stride=32, padding=16, groups=3).numpy()
    assert y.shape == (1, 3, 128, 160)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_relu_of_the_same_layer(rng):
    net = one_layer(body("num_output: 3 kernel_size: 3 stride: 2 relu: true negative_slope: 0.5"), SHAPE)
    x = rng.normal(size=SHAPE)
    weights, bias = (torch.tensor(blob.data.copy()) for blob in net.params["op"])

    y = run(net, x)

    z = DECONVOLVE[2](torch.tensor(x), weights, bias, stride=2).numpy()
    np.testing.assert_allclose(y, np.where(z > 0, z, 0.5 * z), rtol=1e-10, atol=1e-12)
    assert gradient_error(net, [x]) < 1e-6


def test_axes_before_axis_are_the_batch(rng):
    net = one_layer(body("num_output: 3 kernel_size: 2 stride: 2 axis: 2"), SHAPE)
    x = rng.normal(size=SHAPE)
    weights, bias = (torch.tensor(blob.data.copy()) for blob in net.params["op"])

    y = run(net, x)

    expected = DECONVOLVE[1](torch.tensor(x.reshape(8, 5, 6)), weights, bias, stride=2).numpy()
    np.testing.assert_allclose(y, expected.reshape(2, 4, 3, 12), rtol=1e-10, atol=1e-12)


def test_pads_that_leave_nothing_are_refused():
    with pytest.raises(ShapeError, match="pads of 3 x 3 leave nothing of the output: an input of 5 x 6"):
        one_layer(body("num_output: 2 kernel_size: 1 pad: 3"), SHAPE)


def test_groups_must_divide_both_sides():
    with pytest.raises(ShapeError, match="4 channels, which 3 groups do not divide"):
        one_layer(body("num_output: 3 kernel_size: 2 group: 3"), SHAPE)
    with pytest.raises(LayerError, match="num_output is 3, which 2 groups do not divide"):
        one_layer(body("num_output: 3 kernel_size: 2 group: 2"), SHAPE)
