"""Window ops on the GPU: the same as on the CPU, whatever the shapes, the strides and the alignment."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from device_arrays import to_device, unset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffenorm import ShapeError
from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.gpu import cuda

TOLERANCE = {"f4": 2e-5, "f8": 1e-13}
LOWEST = float(np.finfo(np.float32).min)
CPU = CpuOps(1)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Case:
    """Planes and the windows over them; `shift` values before an aligned address the arrays begin."""

    planes: int
    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    pad_after: tuple[int, ...]
    count_pads: bool = True
    dtype: str = "f4"
    shift: int = 0

    def plan(self, ops):
        return ops.plan_pooling(
            self.size,
            self.out,
            kernel=self.kernel,
            stride=self.stride,
            pad=self.pad,
            pad_after=self.pad_after,
            count_pads=self.count_pads,
        )

    @property
    def x(self):
        return (self.planes, *self.size)

    @property
    def y(self):
        return (self.planes, *self.out)

    def values(self, shape, seed=0, ties=False):
        values = np.random.default_rng(seed).normal(size=shape)
        return (np.round(values * 2) / 2 if ties else values).astype(self.dtype)


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    size, stride = per_axis(1, {1: 300, 2: 20, 3: 9}[axes]), per_axis(1, 4)
    # From 128 positions on a window is a large one.
    kernel = per_axis(1, {1: 200, 2: 14, 3: 7}[axes]) if draw(st.booleans()) else per_axis(1, 4)
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    pad_after = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    # A window more than fits may lie outside.
    most = [(n + p - 1) // s + 2 for n, p, s in zip(size, pad, stride, strict=True)]
    out = tuple(draw(st.integers(1, m)) for m in most)
    dtype, shift = draw(st.sampled_from(["f4", "f8"])), draw(st.integers(0, 3))
    planes, counts = draw(st.integers(1, 5)), draw(st.booleans())
    return Case(planes, size, out, kernel, stride, pad, pad_after, counts, dtype, shift)


def whole(size, planes=2, dtype="f4", shift=0):
    """One window over each plane."""
    ones, zeros = (1,) * len(size), (0,) * len(size)
    return Case(planes, size, ones, size, ones, zeros, zeros, True, dtype, shift)


def assert_near(found, expected):
    found = found.get()
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[found.dtype.str[1:]] * scale)


def test_places_beyond_32_bits_are_divided(gpu_ops):
    text = """template <typename T>
    __global__ void quotients(T* out, index_t a, index_t b) {
        const Division d = divide(a, b);
        out[0] = d.quotient;
        out[1] = d.rest;
    }"""
    source = f"{cuda._inlined('window.cuh', set())}\n{text}"
    name = "quotients<long long>"
    module = gpu_ops.xp.RawModule(code=source, options=("--std=c++17",), name_expressions=[name])
    kernel, out = module.get_function(name), gpu_ops.xp.empty(2, dtype=np.int64)
    sizes = [1, 3, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 10**12]

    for a, b in itertools.product([0, 5, *sizes, 2**40 + 12345], sizes):
        kernel((1,), (1,), (out, np.int64(a), np.int64(b)))

        assert tuple(out.get()) == divmod(a, b)


# --- max ---


def cpu_max(case, x):
    y, index = np.empty(case.y, case.dtype), np.empty(case.y, np.int32)
    CPU.max_pool(case.plan(CPU), x, y, index)
    return y, index


def check_max(ops, case, x):
    y, index = unset(ops, case.y, case.dtype, case.shift), unset(ops, case.y, np.int32, case.shift)
    alone = unset(ops, case.y, case.dtype)
    on_device = to_device(ops, x, case.shift)

    ops.max_pool(case.plan(ops), on_device, y, index)
    ops.max_pool(case.plan(ops), on_device, alone, None)

    expected, places = cpu_max(case, x)
    np.testing.assert_array_equal(y.get(), expected)
    np.testing.assert_array_equal(index.get(), places)
    np.testing.assert_array_equal(alone.get(), expected)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_max_and_its_places_are_the_cpus(gpu_ops, case, seed):
    check_max(gpu_ops, case, case.values(case.x, seed, ties=True))


@pytest.mark.parametrize("size", [(3,), (2, 2), (6, 6), (11, 12), (40, 41), (5, 6, 7)])
@pytest.mark.parametrize("fill", [np.nan, -np.inf, LOWEST, np.inf])
def test_max_without_a_value_above_the_lowest(gpu_ops, size, fill):
    case = whole(size)
    x = np.full(case.x, fill, "f4")
    x[1].reshape(-1)[::2] = LOWEST

    check_max(gpu_ops, case, x)


@pytest.mark.parametrize("size", [(5, 5), (13, 17), (50, 60)])
@pytest.mark.parametrize("shift", [0, 1])
def test_max_passes_over_nan_and_takes_the_first_of_equal_ones(gpu_ops, size, shift):
    case = whole(size, shift=shift)
    x = case.values(case.x, ties=True)
    x[:, ::3, 1::2] = np.nan
    x[0, 2:, 1:] = 7

    check_max(gpu_ops, case, x)


def check_max_gradient(ops, case, seed=0):
    _, index = cpu_max(case, case.values(case.x, seed, ties=True))
    dy, expected = case.values(case.y, seed + 1), np.empty(case.x, case.dtype)
    dx = unset(ops, case.x, case.dtype, case.shift)

    arrays = (to_device(ops, dy, case.shift), to_device(ops, index))
    ops.max_pool_backward(case.plan(ops), *arrays, dx)

    CPU.max_pool_backward(case.plan(CPU), dy, index, expected)
    np.testing.assert_array_equal(dx.get(), expected)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_gradient_of_max_is_the_cpus_bit_by_bit(gpu_ops, case, seed):
    check_max_gradient(gpu_ops, case, seed)


# --- average ---


def check_average(ops, case, seed=0):
    x, dy = case.values(case.x, seed), case.values(case.y, seed + 1)
    y, dx = (unset(ops, shape, case.dtype, case.shift) for shape in (case.y, case.x))

    ops.average_pool(case.plan(ops), to_device(ops, x, case.shift), y)
    ops.average_pool_backward(case.plan(ops), to_device(ops, dy, case.shift), dx)

    expected, expected_dx = np.empty(case.y, case.dtype), np.empty(case.x, case.dtype)
    CPU.average_pool(case.plan(CPU), x, expected)
    CPU.average_pool_backward(case.plan(CPU), dy, expected_dx)
    assert_near(y, expected)
    assert_near(dx, expected_dx)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_average_and_its_gradient_are_the_cpus(gpu_ops, case, seed):
    check_average(gpu_ops, case, seed)


@pytest.mark.parametrize("size", [(5, 6), (7, 7), (11, 12), (31, 33), (64, 64), (6, 7, 8)])
@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_whole_planes_are_averaged(gpu_ops, size, shift, dtype):
    case = whole(size, planes=5, dtype=dtype, shift=shift)
    x, y = case.values(case.x), unset(gpu_ops, case.y, dtype)

    gpu_ops.average_pool(case.plan(gpu_ops), to_device(gpu_ops, x, shift), y)

    assert_near(y, x.astype("f8").reshape(5, -1).mean(1).reshape(case.y))


@pytest.fixture
def small_grids(monkeypatch):
    """Grids of two blocks, which go on to all other planes and windows."""
    monkeypatch.setattr("caffenorm.backends.gpu.planes._MOST_ROWS", 2)
    monkeypatch.setattr("caffenorm.backends.gpu.window._MOST_BLOCKS", 2)


def test_blocks_go_on_to_further_planes(gpu_ops, small_grids):
    case = Case(700, (3, 3), (2, 2), (2, 2), (1, 1), (0, 0), (0, 0))

    check_all(gpu_ops, case)


@pytest.mark.parametrize("size", [(12, 12), (33, 40)])
def test_blocks_go_on_to_further_windows(gpu_ops, small_grids, size):
    check_all(gpu_ops, whole(size, planes=37))


# --- stochastic ---


def check_stochastic(ops, case, seed=0):
    x = case.values(case.x, seed)
    x = np.where(x < -1, x, np.abs(x))  # negative ones and NaN, too
    x.reshape(-1)[seed % x.size] = np.nan if seed % 2 else 0
    draws = np.random.default_rng(seed).random(case.y).astype(case.dtype)
    y, index = unset(ops, case.y, case.dtype), unset(ops, case.y, np.int32)

    arrays = (to_device(ops, x, case.shift), to_device(ops, draws))
    ops.stochastic_pool(case.plan(ops), *arrays, y, index)

    expected, places = np.empty(case.y, case.dtype), np.empty(case.y, np.int32)
    CPU.stochastic_pool(case.plan(CPU), x, draws, expected, places)
    np.testing.assert_array_equal(index.get(), places)
    np.testing.assert_array_equal(y.get(), expected)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_stochastic_pooling_draws_what_the_cpu_draws(gpu_ops, case, seed):
    check_stochastic(gpu_ops, case, seed)


@pytest.mark.parametrize(("draw", "place"), [(0.0, 0), (0.25, 1), (0.3, 2), (0.5, 2), (0.75, 3), (1.0, 3)])
def test_the_value_that_just_reaches_the_share_is_drawn(gpu_ops, draw, place):
    case = whole((4,), planes=1)
    y, index = unset(gpu_ops, case.y, "f4"), unset(gpu_ops, case.y, np.int32)
    arrays = (np.array([[0, 1, 1, 2]], "f4"), np.full(case.y, draw, "f4"))

    gpu_ops.stochastic_pool(case.plan(gpu_ops), *(to_device(gpu_ops, a) for a in arrays), y, index)

    assert index.get().item() == place


def check_weighted(ops, case, seed=0):
    x, dy = np.maximum(case.values(case.x, seed), 0), case.values(case.y, seed + 1)
    y, dx = (unset(ops, shape, case.dtype) for shape in (case.y, case.x))
    on_device = to_device(ops, x, case.shift)

    ops.weighted_pool(case.plan(ops), on_device, y)
    ops.weighted_pool_backward(case.plan(ops), on_device, to_device(ops, dy), dx)

    expected, expected_dx = np.empty(case.y, case.dtype), np.empty(case.x, case.dtype)
    CPU.weighted_pool(case.plan(CPU), x, expected)
    CPU.weighted_pool_backward(case.plan(CPU), x, dy, expected_dx)
    assert_near(y, expected)
    assert_near(dx, expected_dx)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_weighted_pooling_and_its_gradient_are_the_cpus(gpu_ops, case, seed):
    check_weighted(gpu_ops, case, seed)


def check_all(ops, case):
    check_max(ops, case, case.values(case.x, ties=True))
    check_max_gradient(ops, case)
    check_average(ops, case)
    check_stochastic(ops, case)
    check_weighted(ops, case)


def test_arrays_of_other_counts_are_refused(gpu_ops):
    case = whole((4, 4))
    x, y, index = (unset(gpu_ops, s, d) for s, d in ((case.x, "f4"), ((3, 1, 1), "f4"), (case.y, "i4")))
    plan = case.plan(gpu_ops)

    with pytest.raises(ValueError, match="are no planes of 16 and 1"):
        gpu_ops.max_pool(plan, x, y, None)
    with pytest.raises(ValueError, match="index: 2 values, expected 3"):
        gpu_ops.max_pool(plan, unset(gpu_ops, (3, 4, 4), "f4"), y, index)
    with pytest.raises(ShapeError, match="1 to 3 axes, found 4"):
        whole((1, 1, 1, 1)).plan(gpu_ops)


def test_no_planes_are_no_work(gpu_ops):
    case = whole((4, 4), planes=0)
    x, y, index = (unset(gpu_ops, s, d) for s, d in ((case.x, "f4"), (case.y, "f4"), (case.y, "i4")))
    plan = case.plan(gpu_ops)

    gpu_ops.max_pool(plan, x, y, index)
    gpu_ops.max_pool_backward(plan, y, index, x)
    gpu_ops.average_pool(plan, x, y)
    gpu_ops.average_pool_backward(plan, y, x)
    gpu_ops.stochastic_pool(plan, x, y, y, index)
    gpu_ops.weighted_pool(plan, x, y)
    gpu_ops.weighted_pool_backward(plan, x, y, x)


# --- local response normalisation ---

LRN_SIZES = st.sampled_from([1, 3, 5, 7, 9, 13])
BETAS = st.sampled_from([0.75, 0.5, 1.0, 0.6])


def lrn_arrays(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype) * 2, rng.normal(size=shape).astype(dtype)


def check_lrn(ops, region, shape, dtype, shift, size, beta, seed):
    x, dy = lrn_arrays(shape, dtype, seed)
    on_device = to_device(ops, x, shift)
    y, scale, dx, alone = (unset(ops, shape, dtype, shift) for _ in range(4))

    forward, backward = (getattr(ops, f"lrn_{region}{ending}") for ending in ("", "_backward"))
    forward(on_device, y, scale, size, 0.7, beta, 1.5)
    backward(on_device, scale, to_device(ops, dy, shift), dx, size, 0.7, beta)
    if region == "across":
        forward(on_device, alone, None, size, 0.7, beta, 1.5)
        np.testing.assert_array_equal(alone.get(), y.get())

    expected = [np.empty(shape, dtype) for _ in range(3)]
    getattr(CPU, f"lrn_{region}")(x, *expected[:2], size, 0.7, beta, 1.5)
    getattr(CPU, f"lrn_{region}_backward")(x, expected[1], dy, expected[2], size, 0.7, beta)
    for found, wanted in zip((y, scale, dx), expected, strict=True):
        assert_near(found, wanted)


@few
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.sampled_from([1, 5, 33, 70])),
    dtype=st.sampled_from(["f4", "f8"]),
    shift=st.integers(0, 3),
    size=LRN_SIZES,
    beta=BETAS,
    seed=st.integers(0, 99),
)
def test_lrn_across_channels_is_the_cpus(gpu_ops, shape, dtype, shift, size, beta, seed):
    check_lrn(gpu_ops, "across", shape, dtype, shift, size, beta, seed)


def test_lrn_takes_strips_of_channels_where_there_are_positions(gpu_ops):
    check_lrn(gpu_ops, "across", (1, 37, 4099), "f4", 1, 5, 0.75, 0)


@pytest.mark.parametrize("size", [3, 9])
def test_a_large_value_does_not_spoil_the_sums_behind_it(gpu_ops, size):
    x = np.ones((1, 40, 1), "f4")
    x[0, 10], x[0, 20] = 1e18, np.inf
    y, scale = unset(gpu_ops, x.shape, "f4"), unset(gpu_ops, x.shape, "f4")

    gpu_ops.lrn_across(to_device(gpu_ops, x), y, scale, size, 1.0, 0.75, 1.0)

    expected, expected_scale = np.empty_like(x), np.empty_like(x)
    CPU.lrn_across(x, expected, expected_scale, size, 1.0, 0.75, 1.0)
    np.testing.assert_allclose(y.get(), expected, rtol=1e-5)
    np.testing.assert_allclose(scale.get(), expected_scale, rtol=1e-5)
    assert scale.get()[0, 30, 0] == pytest.approx(2.0)


@few
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 15), st.integers(1, 20)),
    dtype=st.sampled_from(["f4", "f8"]),
    shift=st.integers(0, 3),
    size=LRN_SIZES,
    beta=BETAS,
    seed=st.integers(0, 99),
)
def test_lrn_within_channels_is_the_cpus(gpu_ops, shape, dtype, shift, size, beta, seed):
    check_lrn(gpu_ops, "within", shape, dtype, shift, size, beta, seed)


def test_lrn_within_channels_works_in_slices(gpu_ops, monkeypatch):
    monkeypatch.setattr("caffenorm.backends.gpu.window._LRN_WORK_BYTES", 1000)

    check_lrn(gpu_ops, "within", (7, 9, 10), "f4", 0, 3, 0.75, 0)


def test_lrn_refuses_other_shapes(gpu_ops):
    x, y = unset(gpu_ops, (1, 2, 3), "f4"), unset(gpu_ops, (1, 2, 4), "f4")

    with pytest.raises(ValueError, match="y has 4 values on axis 2, x has 3"):
        gpu_ops.lrn_across(x, y, None, 3, 1.0, 0.75, 1.0)


def test_nothing_to_normalise_is_no_work(gpu_ops):
    x = unset(gpu_ops, (0, 2, 3), "f4")

    gpu_ops.lrn_across(x, x, x, 3, 1.0, 0.75, 1.0)
    gpu_ops.lrn_across_backward(x, x, x, x, 3, 1.0, 0.75)
    gpu_ops.lrn_within(x, x, x, 3, 1.0, 0.75, 1.0)
    gpu_ops.lrn_within_backward(x, x, x, x, 3, 1.0, 0.75)


# --- im2col ---


@st.composite
def patches(draw, most_axes=3):
    axes = draw(st.integers(1, most_axes))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, stride, pad, dilation = per_axis(1, 3), per_axis(1, 3), per_axis(0, 3), per_axis(1, 3)
    size, out = per_axis(1, {1: 300, 2: 12, 3: 6, 4: 4}[axes]), per_axis(1, {1: 200, 2: 9, 3: 5, 4: 3}[axes])
    return size, out, {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation}


def check_patches(ops, shapes, channels, dtype, shift, seed):
    size, out, windows = shapes
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(channels, *size)).astype(dtype)
    d = rng.normal(size=(channels, *windows["kernel"], *out)).astype(dtype)
    plan, cpu_plan = (each.plan_patches(size, out, **windows) for each in (ops, CPU))
    columns, dx = unset(ops, d.shape, dtype, shift), unset(ops, x.shape, dtype, shift)

    ops.im2col(plan, to_device(ops, x, shift), columns)
    ops.col2im(plan, to_device(ops, d, shift), dx)

    expected, expected_dx = np.empty_like(d), np.empty_like(x)
    CPU.im2col(cpu_plan, x, expected)
    CPU.col2im(cpu_plan, d, expected_dx)
    np.testing.assert_array_equal(columns.get(), expected)
    np.testing.assert_array_equal(dx.get(), expected_dx)


@few
@given(
    shapes=patches(),
    channels=st.integers(1, 5),
    dtype=st.sampled_from(["f4", "f8"]),
    shift=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_columns_are_the_cpus_bit_by_bit(gpu_ops, shapes, channels, dtype, shift, seed):
    check_patches(gpu_ops, shapes, channels, dtype, shift, seed)


def test_four_axes_have_columns_too(gpu_ops):
    windows = {"kernel": (2, 1, 3, 2), "stride": (1, 2, 1, 2), "pad": (1, 0, 2, 1), "dilation": (2, 1, 1, 1)}

    check_patches(gpu_ops, ((3, 4, 5, 3), (2, 2, 6, 2), windows), 3, "f4", 0, 0)


def test_columns_of_other_counts_are_refused(gpu_ops):
    one = dict.fromkeys(("kernel", "stride", "dilation"), (1,))
    plan = gpu_ops.plan_patches((4,), (4,), pad=(0,), **one)

    with pytest.raises(ValueError, match="8 and 4 values are no channels of 4 and 4"):
        gpu_ops.im2col(plan, unset(gpu_ops, (2, 4), "f4"), unset(gpu_ops, (1, 4), "f4"))
    gpu_ops.im2col(plan, unset(gpu_ops, (0, 4), "f4"), unset(gpu_ops, (0, 4), "f4"))
    gpu_ops.col2im(plan, unset(gpu_ops, (0, 4), "f4"), unset(gpu_ops, (0, 4), "f4"))


def test_places_fit_int32(gpu_ops):
    with pytest.raises(ShapeError, match="too large for pooling"):
        whole((1 << 16, 1 << 15)).plan(gpu_ops)
    assert math.prod((1 << 16, 1 << 15)) == 2**31


def test_columns_of_further_channels(gpu_ops, small_grids):
    windows = {"kernel": (2, 3), "stride": (1, 2), "pad": (1, 1), "dilation": (1, 2)}

    check_patches(gpu_ops, ((4, 5), (5, 2), windows), 90, "f4", 0, 0)


def test_a_plan_made_on_one_stream_is_waited_for_on_another(gpu_ops, monkeypatch):
    if gpu_ops.xp.__name__ == "cupy":
        pytest.skip("CuPy's streams can not be watched")
    case = whole((4, 4))
    x, y, plan = unset(gpu_ops, case.x, "f4"), unset(gpu_ops, case.y, "f4"), case.plan(gpu_ops)
    waited = []
    monkeypatch.setattr(gpu_ops.xp.cuda.Stream, "wait_event", lambda self, event: waited.append(event))

    gpu_ops.average_pool(plan, x, y)
    assert not waited
    with gpu_ops.xp.cuda.Stream():
        gpu_ops.average_pool(plan, x, y)

    assert waited == [plan.numbers._uploaded]
