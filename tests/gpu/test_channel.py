"""Channel ops on the GPU against the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from device_arrays import to_device
from gpu_norm_arrays import DTYPES, ROUNDING, SHAPES, SUMS, Both, close, dtype_of, parameter_dtype

from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError

SHIFTS = pytest.mark.parametrize("shift", [0, 1])


def types(name):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = dtype_of(name)
    return dtype, parameter_dtype(dtype)


def inputs(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, *shape)).astype(dtype)
    return x, dy, *rng.normal(size=(2, shape[1])).astype(parameter_dtype(dtype))


def written(shape, x, dy, gamma, beta, one):
    """Ops that write an array, and the position of it."""
    return [
        ("scale_channels", (x, gamma, dy), 2),
        ("scale_channels", (x, gamma, dy, beta), 2),
        ("add_channels", (x, beta, dy), 2),
        ("scale_backward_input", (dy, gamma, x), 2),
        ("prelu_forward", (x, gamma, dy), 2),
        ("prelu_forward", (x, one, dy), 2),
        ("prelu_backward", (x, dy, gamma, np.zeros_like(dy)), 3),
        ("prelu_backward", (x, dy, one, np.zeros_like(dy)), 3),
    ]


@pytest.mark.parametrize("name", ["float32", "float64"])
@SHIFTS
def test_arrays_are_the_bits_of_the_cpu(gpu_ops, name, shift):
    dtype, _ = types(name)
    for shape in SHAPES:
        x, dy, gamma, beta = inputs(shape, dtype)
        for op, args, place in written(shape, x, dy, gamma, beta, gamma[:1].copy()):
            device, host = [Both(gpu_ops, shift).device(a) for a in args], [a.copy() for a in args]

            getattr(gpu_ops, op)(*device)

            getattr(CpuOps(1), op)(*host)
            np.testing.assert_array_equal(device[place].get(), host[place], err_msg=f"{op} {shape}")


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_arrays_of_half_types(gpu_ops, name):
    dtype, _ = types(name)
    for shape in SHAPES[::2]:
        x, dy, gamma, beta = inputs(shape, dtype)
        for op, args, place in written(shape, x, dy, gamma, beta, gamma[:1].copy()):
            found, expected = Both(gpu_ops)(op, *args)

            close(found[place], expected[place], ROUNDING[name])


@pytest.mark.parametrize("place", [0, 1])
def test_in_place(gpu_ops, place):
    for shape in SHAPES[::3]:
        x, dy, gamma, beta = inputs(shape, np.dtype("f4"))

        found, expected = Both(gpu_ops)("scale_channels", x, gamma, x, beta, same=(2, 0))
        close(found[2], expected[2], 1e-6, 1)
        found, expected = Both(gpu_ops)("prelu_backward", x, dy, gamma, dy, same=(3, place))
        close(found[3], expected[3], 1e-6, 1)


@pytest.mark.parametrize("name", DTYPES)
@SHIFTS
@pytest.mark.parametrize("single", [False, True])
def test_sums(gpu_ops, name, shift, single):
    dtype, kind = types(name)
    for shape in SHAPES:
        x, dy, *_ = inputs(shape, dtype)
        out = np.full(1 if single else shape[1], 7, kind)
        axes = (0, 1, 2) if single else (0, 2)
        size = np.abs(x.astype(np.float64) * dy.astype(np.float64)).sum(axes) + 7
        for accumulate in (False, True):
            found, expected = Both(gpu_ops, shift)("channel_dot", x, dy, out, accumulate)
            close(found[2], expected[2], SUMS[name], size)
            found, expected = Both(gpu_ops, shift)("channel_sum", x, out, accumulate)
            close(found[1], expected[1], SUMS[name], np.abs(x.astype(np.float64)).sum(axes) + 7)
        found, expected = Both(gpu_ops, shift)("prelu_backward_slope", x, dy, out)
        close(found[2], expected[2], SUMS[name], size)


def test_a_dot_of_an_array_with_itself(gpu_ops):
    x, *_ = inputs((3, 4, 100), np.dtype("f4"))
    device, out = to_device(gpu_ops, x), to_device(gpu_ops, np.ones(4, "f4"))

    gpu_ops.channel_dot(device, device, out, False)

    np.testing.assert_allclose(out.get(), (x.astype(np.float64) ** 2).sum((0, 2)), rtol=1e-6)


def test_a_nan_in_what_is_not_read_does_not_matter(gpu_ops):
    x = np.ones((2, 3, 40), "f4")
    dy = np.full_like(x, np.nan)
    dy[:, 1] = 2

    found, _ = Both(gpu_ops)("channel_sum", dy, np.zeros(3, "f4"), False)

    np.testing.assert_array_equal(found[1], [np.nan, 160, np.nan])
    found, _ = Both(gpu_ops)("prelu_backward", dy, x, np.ones(3, "f4"), np.zeros_like(x))
    np.testing.assert_array_equal(found[3], np.where(np.isnan(dy), 0, 1))


def test_one_value_and_one_channel_may_be_meant(gpu_ops):
    x = np.arange(24, dtype="f4").reshape(4, 1, 6)

    found, expected = Both(gpu_ops)("channel_sum", x, np.zeros(1, "f4"), False)

    assert found[1][0] == expected[1][0] == 276


def test_faults_and_nothing(gpu_ops):
    put = Both(gpu_ops).device
    x, y, gamma = put(np.ones((2, 3, 4), "f4")), put(np.ones((2, 3, 5), "f4")), put(np.ones(3, "f4"))
    empty = put(np.ones((2, 3, 0), "f4"))

    with pytest.raises(ShapeError, match="y has shape 2 x 3 x 5, expected 2 x 3 x 4"):
        gpu_ops.scale_channels(x, gamma, y)
    with pytest.raises(ShapeError, match="out has 2 values"):
        gpu_ops.channel_sum(x, put(np.ones(2, "f4")), True)
    with pytest.raises(ShapeError, match="slope"):
        gpu_ops.prelu_forward(x, put(np.ones(2, "f4")), x)
    gpu_ops.scale_channels(empty, gamma, empty)
    gpu_ops.channel_sum(empty, gamma, True)
    np.testing.assert_array_equal(gamma.get(), 1)
    gpu_ops.channel_sum(empty, gamma, False)
    np.testing.assert_array_equal(gamma.get(), 0)
