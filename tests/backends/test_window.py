"""Window ops against their definitions in float64, and against PyTorch where it means the same."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffenorm import ShapeError, _kernels
from caffenorm.backends.cpu import CpuOps

torch = pytest.importorskip("torch")
LOWEST = float(np.finfo(np.float32).min)
TOLERANCE = {"f4": 2e-5, "f8": 1e-13}


@dataclass(frozen=True)
class Case:
    """Planes and the windows over them."""

    planes: int
    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    pad_after: tuple[int, ...]
    count_pads: bool
    dtype: str

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


@st.composite
def cases(draw, inside: bool = False):
    """Any windows; with `inside` those of which each has a value of its plane."""
    axes = draw(st.integers(1, 3))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    size, kernel, stride = per_axis(1, 12 if axes > 1 else 70), per_axis(1, 5), per_axis(1, 4)
    pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    pad_after = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    most = [(n + p - 1) // s + 1 for n, p, s in zip(size, pad, stride, strict=True)]
    out = tuple(draw(st.integers(1, m if inside else m + 2)) for m in most)
    dtype = draw(st.sampled_from(["f4", "f8"]))
    return Case(
        draw(st.integers(1, 3)), size, out, kernel, stride, pad, pad_after, draw(st.booleans()), dtype
    )


def windows(case):
    """For each output place its window: slices of a plane, and the positions an average divides by."""
    for place in np.ndindex(case.out):
        slices, count = [], 1
        for axis, o in enumerate(place):
            start = o * case.stride[axis] - case.pad[axis]
            end = start + case.kernel[axis]
            low, high = max(start, 0), min(end, case.size[axis])
            slices.append(slice(low, max(low, high)))
            reach = min(end, case.size[axis] + case.pad_after[axis]) - start
            count *= reach if case.count_pads and low < high else max(0, high - low)
        yield place, tuple(slices), count


def values(case, seed=0, ties=True):
    """Values of which some are equal, so that it matters which of them is taken."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=case.x)
    return np.round(x * 2 if ties else x * 1e6).astype(case.dtype) / case.x[0]


def assert_near(found, expected):
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[found.dtype.str[1:]] * scale)


# --- pooling ---


def max_pool(ops, case, x, with_index=True):
    y, index = np.full(case.y, np.nan, case.dtype), np.full(case.y, -7, np.int32)
    ops.max_pool(case.plan(ops), x, y, index if with_index else None)
    return y, index


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_max_takes_the_first_of_the_largest(case, seed):
    x = values(case, seed)
    y, index = max_pool(CpuOps(2), case, x)
    numbers = np.arange(math.prod(case.size)).reshape(case.size)
    for plane in range(case.planes):
        for place, window, _ in windows(case):
            inside = x[plane][window]
            if not inside.size:
                assert (y[plane][place], index[plane][place]) == (np.float32(LOWEST), -1)
                continue
            assert y[plane][place] == inside.max()
            assert index[plane][place] == numbers[window].reshape(-1)[inside.argmax()]
    np.testing.assert_array_equal(max_pool(CpuOps(1), case, x, with_index=False)[0], y)


@given(case=cases(inside=True), seed=st.integers(0, 99))
def test_gradient_of_max_goes_where_the_value_stood(case, seed):
    x = values(case, seed)
    ops, rng = CpuOps(2), np.random.default_rng(seed)
    dy, dx = rng.normal(size=case.y).astype(case.dtype), np.full(case.x, np.nan, case.dtype)
    _, index = max_pool(ops, case, x)

    ops.max_pool_backward(case.plan(ops), dy, index, dx)

    expected = np.zeros((case.planes, math.prod(case.size)))
    for plane, place in itertools.product(range(case.planes), np.ndindex(case.out)):
        expected[plane, index[plane][place]] += dy[plane][place]
    assert_near(dx, expected.reshape(case.x))


def test_gradient_of_an_empty_window_goes_nowhere():
    case = Case(1, (3,), (3,), (1,), (2,), (0,), (0,), True, "f4")
    ops, dx = CpuOps(1), np.full((1, 3), np.nan, "f4")
    y, index = max_pool(ops, case, np.array([[1, 2, 3]], "f4"))

    ops.max_pool_backward(case.plan(ops), np.array([[5, 6, 7]], "f4"), index, dx)

    np.testing.assert_array_equal(y, np.array([[1, 3, LOWEST]], "f4"))
    np.testing.assert_array_equal(index, [[0, 2, -1]])
    np.testing.assert_array_equal(dx, [[5, 0, 6]])


def test_max_never_takes_a_nan():
    case = Case(1, (2, 20), (1, 19), (2, 2), (1, 1), (0, 0), (0, 0), True, "f4")
    x = np.full((1, 2, 20), np.nan, "f4")
    x[0, 1, 7], x[0, 0, 12] = -3, np.inf

    y, index = max_pool(CpuOps(1), case, x)

    expected, places = np.full(19, LOWEST, "f4"), np.full(19, -1)
    expected[6:8], places[6:8] = -3, 27
    expected[11:13], places[11:13] = np.inf, 12
    np.testing.assert_array_equal(y.reshape(-1), expected)
    np.testing.assert_array_equal(index.reshape(-1), places)


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_average_divides_by_the_positions_of_a_window(case, seed):
    x = values(case, seed, ties=False)
    ops, y = CpuOps(2), np.full(case.y, np.nan, case.dtype)

    ops.average_pool(case.plan(ops), x, y)

    expected = np.zeros(case.y)
    for place, window, count in windows(case):
        if count:
            sums = x[(slice(None), *window)].reshape(case.planes, -1).sum(axis=1, dtype="f8")
            expected[(slice(None), *place)] = sums / count
    assert_near(y, expected)


@given(case=cases(), seed=st.integers(0, 99))
def test_gradient_of_average_is_its_adjoint(case, seed):
    x, rng = values(case, seed, ties=False), np.random.default_rng(seed)
    ops, y = CpuOps(2), np.empty(case.y, case.dtype)
    dy, dx = rng.normal(size=case.y).astype(case.dtype), np.full(case.x, np.nan, case.dtype)

    ops.average_pool(case.plan(ops), x, y)
    ops.average_pool_backward(case.plan(ops), dy, dx)

    left, right = np.sum(dy.astype("f8") * y), np.sum(dx.astype("f8") * x)
    scale = float(np.abs(dy.astype("f8") * y).sum()) + 1e-300
    assert abs(left - right) <= 10 * TOLERANCE[case.dtype] * scale


@pytest.mark.parametrize("kernel", [(7, 7), (9, 8), (3, 7)])
def test_whole_rows_are_averaged(kernel):
    """Windows over whole rows are neighbours in memory, and summed as such."""
    out = (7 - min(kernel[0], 7) + 1, 1)
    case = Case(40, (7, 7), out, kernel, (1, 1), (0, 0), (0, 0), True, "f4")
    x, y = values(case, ties=False), np.empty(case.y, "f4")

    CpuOps(2).average_pool(case.plan(CpuOps(1)), x, y)

    rows = min(kernel[0], 7)
    expected = [x[:, i : i + rows].reshape(40, -1).mean(axis=1, dtype="f8") for i in range(out[0])]
    assert_near(y, np.stack(expected, axis=1)[..., None])


@pytest.mark.parametrize("method", ["max", "average"])
def test_pooling_is_torchs(method, rng):
    x = rng.normal(size=(2, 3, 13, 18)).astype("f4")
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    function = {"max": torch.nn.functional.max_pool2d, "average": torch.nn.functional.avg_pool2d}[method]
    expected = function(torch.tensor(x), **options).numpy()
    pads = ((1, 1), (1, 1))
    case = Case(6, (13, 18), expected.shape[2:], (3, 3), (2, 2), *pads, True, "f4")
    ops, y = CpuOps(2), np.empty_like(expected)

    if method == "max":
        ops.max_pool(case.plan(ops), x, y, None)
    else:
        ops.average_pool(case.plan(ops), x, y)

    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)


def test_planes_of_four_axes_are_refused():
    with pytest.raises(ShapeError, match="1 to 3 axes, found 4"):
        Case(1, *((1,) * 4 for _ in range(6)), True, "f4").plan(CpuOps(1))


def test_planes_whose_places_fit_no_int32_are_refused():
    case = Case(1, (1 << 16, 1 << 15), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), True, "f4")
    with pytest.raises(ShapeError, match="too large for pooling"):
        case.plan(CpuOps(1))


def test_arrays_that_are_no_planes_are_refused():
    case = Case(2, (4, 4), (2, 2), (2, 2), (2, 2), (0, 0), (0, 0), True, "f4")
    ops = CpuOps(1)

    with pytest.raises(ValueError, match="31 and 8 values are no planes of 16 and 4"):
        ops.max_pool(case.plan(ops), np.zeros(31, "f4"), np.zeros(8, "f4"), None)
    with pytest.raises(ValueError, match="index: 7 values, expected 8"):
        ops.max_pool(case.plan(ops), np.zeros(32, "f4"), np.zeros(8, "f4"), np.zeros(7, "i4"))


def test_a_place_outside_the_plane_is_not_written_to():
    case = Case(1, (4,), (2,), (2,), (2,), (0,), (0,), True, "f4")
    ops, dx = CpuOps(1), np.full(4, np.nan, "f4")

    ops.max_pool_backward(case.plan(ops), np.ones(2, "f4"), np.array([4, 1], "i4"), dx)

    np.testing.assert_array_equal(dx, [0, 1, 0, 0])


# --- stochastic pooling ---


def test_stochastic_takes_the_first_value_that_reaches_the_share():
    case = Case(1, (4,), (1,), (4,), (1,), (0,), (0,), True, "f8")
    ops, x = CpuOps(1), np.array([[1.0, 0, 3, 4]])
    found = []
    for draw in (0.0, 0.125, 0.126, 0.5, 0.51, 1.0):
        y, index = np.empty((1, 1)), np.empty((1, 1), np.int32)
        ops.stochastic_pool(case.plan(ops), x, np.array([[draw]]), y, index)
        found.append((float(y[0, 0]), int(index[0, 0])))

    assert found == [(1, 0), (1, 0), (3, 2), (3, 2), (4, 3), (4, 3)]


def test_stochastic_takes_the_last_value_where_no_sum_is_reached():
    case = Case(1, (3,), (1,), (3,), (1,), (0,), (0,), True, "f4")
    ops, y, index = CpuOps(1), np.empty((1, 1), "f4"), np.empty((1, 1), np.int32)

    ops.stochastic_pool(case.plan(ops), np.array([[1, np.nan, 2]], "f4"), np.array([[0.5]], "f4"), y, index)

    assert (float(y[0, 0]), int(index[0, 0])) == (2, 2)


@given(case=cases(), seed=st.integers(0, 99))
def test_stochastic_draws_as_numpy_would(case, seed):
    x, rng = np.abs(values(case, seed)), np.random.default_rng(seed)
    draws = rng.random(case.y).astype(case.dtype)
    ops, y, index = CpuOps(2), np.empty(case.y, case.dtype), np.empty(case.y, np.int32)

    ops.stochastic_pool(case.plan(ops), x, draws, y, index)

    numbers = np.arange(math.prod(case.size)).reshape(case.size)
    for plane in range(case.planes):
        for place, window, _ in windows(case):
            inside = x[plane][window].reshape(-1)
            if not inside.size:
                assert index[plane][place] == -1
                continue
            sums = np.cumsum(inside, dtype=case.dtype)
            chosen = int(np.argmax(sums >= draws[plane][place] * sums[-1]))
            assert y[plane][place] == inside[chosen]
            assert index[plane][place] == numbers[window].reshape(-1)[chosen]


@given(case=cases(), seed=st.integers(0, 99))
def test_weighted_mean_and_its_gradient(case, seed):
    x, rng = values(case, seed), np.random.default_rng(seed)
    dy = rng.normal(size=case.y).astype(case.dtype)
    ops, y, dx = CpuOps(2), np.full(case.y, np.nan, case.dtype), np.full(case.x, np.nan, case.dtype)

    ops.weighted_pool(case.plan(ops), x, y)
    ops.weighted_pool_backward(case.plan(ops), x, dy, dx)

    expected, gradient = np.zeros(case.y), np.zeros(case.x)
    for plane in range(case.planes):
        for place, window, _ in windows(case):
            inside = x[plane][window].astype("f8")
            if x[plane][window].sum() > 1e-3:
                mean = (inside**2).sum() / inside.sum()
                expected[plane][place] = mean
                gradient[plane][window] += dy[plane][place] * (2 * inside - mean) / inside.sum()
            elif abs(x[plane][window].sum()) > 0:
                return  # sums near 0 are above it or not by rounding
    np.testing.assert_allclose(y, expected, rtol=1e-3 if case.dtype == "f4" else 1e-9)
    np.testing.assert_allclose(dx, gradient, rtol=1e-2, atol=1e-2 if case.dtype == "f4" else 1e-6)


# --- local response normalisation ---

LRN = {
    "size": st.sampled_from([1, 3, 5, 9, 1001]),
    "alpha": st.sampled_from([1e-4, 0.3, 2.0]),
    "beta": st.sampled_from([0.5, 0.75, 1.0, 0.6, -1.5]),
    "k": st.sampled_from([1.0, 2.5]),
    "dtype": st.sampled_from(["f4", "f8"]),
}


def lrn_definition(x, size, alpha, beta, k, axes):
    """y and its gradient's function in float64 with torch's derivatives; windows over `axes`."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    squares = x * x
    for axis in axes:
        reach = min((size - 1) // 2, x.shape[axis])
        parts = [
            torch.narrow(
                squares, axis, max(0, i - reach), min(x.shape[axis], i + reach + 1) - max(0, i - reach)
            ).sum(dim=axis)
            for i in range(x.shape[axis])
        ]
        squares = torch.stack(parts, dim=axis)
    return x, x * (k + alpha / size ** len(axes) * squares) ** -beta


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.sampled_from([1, 7, 130, 300])), **LRN)
def test_lrn_across_channels_and_its_gradient(shape, size, alpha, beta, k, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    ops, y, scale, dx, plain = CpuOps(2), *(np.full(shape, np.nan, dtype) for _ in range(4))

    ops.lrn_across(x, y, scale, size, alpha, beta, k)
    ops.lrn_across_backward(x, scale, dy, dx, size, alpha, beta)
    CpuOps(1).lrn_across(x, plain, None, size, alpha, beta, k)

    given_x, expected = lrn_definition(x, size, alpha, beta, k, [1])
    expected.backward(torch.tensor(dy, dtype=torch.float64))
    assert_near(y, expected.detach().numpy())
    assert_near(dx, given_x.grad.numpy())
    np.testing.assert_array_equal(plain, y)


@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.sampled_from([1, 7, 33])), **LRN)
def test_lrn_within_channels_and_its_gradient(shape, size, alpha, beta, k, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    ops, y, scale, dx = CpuOps(2), *(np.full(shape, np.nan, dtype) for _ in range(3))

    ops.lrn_within(x, y, scale, size, alpha, beta, k)
    ops.lrn_within_backward(x, scale, dy, dx, size, alpha, beta)

    given_x, expected = lrn_definition(x, size, alpha, beta, k, [1, 2])
    expected.backward(torch.tensor(dy, dtype=torch.float64))
    assert_near(y, expected.detach().numpy())
    assert_near(dx, given_x.grad.numpy())


def test_an_infinity_stays_within_its_window(rng):
    """A running sum would carry it on."""
    x = rng.normal(size=(1, 9, 5)).astype("f4")
    x[0, 2, 3] = np.inf
    y = np.empty_like(x)

    CpuOps(1).lrn_across(x, y, None, 3, 1.0, 0.75, 1.0)

    assert np.isfinite(np.delete(y, 2, axis=1)).all()
    np.testing.assert_array_equal(y[0, 1:4, 3], [0, np.nan, 0])


def test_lrn_arrays_of_other_shapes_are_refused():
    x = np.zeros((1, 3, 4), "f4")

    with pytest.raises(ValueError, match="y has 5 values on axis 2, x has 4"):
        CpuOps(1).lrn_across(x, np.zeros((1, 3, 5), "f4"), None, 3, 1.0, 0.75, 1.0)


# --- im2col ---


@st.composite
def patches(draw):
    axes = draw(st.integers(1, 4))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, stride, pad, dilation = per_axis(1, 3), per_axis(1, 3), per_axis(0, 4), per_axis(1, 3)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(draw(st.integers(1, 7)), e - 2 * p) for e, p in zip(extent, pad, strict=True))
    sizes = zip(size, extent, stride, pad, strict=True)
    out = tuple((n + 2 * p - e) // s + 1 for n, e, s, p in sizes)
    return size, out, kernel, stride, pad, dilation


@given(case=patches(), channels=st.integers(1, 5), dtype=st.sampled_from(["f4", "f8"]))
def test_columns_hold_what_each_tap_meets(case, channels, dtype):
    size, out, kernel, stride, pad, dilation = case
    x = np.random.default_rng(0).normal(size=(channels, *size)).astype(dtype)
    ops, columns = CpuOps(2), np.full((channels, *kernel, *out), np.nan, dtype)
    plan = ops.plan_patches(size, out, kernel=kernel, stride=stride, pad=pad, dilation=dilation)

    ops.im2col(plan, x, columns)

    padded = np.pad(x, [(0, 0), *((p, p) for p in pad)])
    for tap in np.ndindex(kernel):
        taken = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        np.testing.assert_array_equal(columns[(slice(None), *tap)], padded[(slice(None), *taken)])


@given(case=patches(), channels=st.integers(1, 5))
def test_col2im_is_the_adjoint(case, channels):
    size, out, kernel, stride, pad, dilation = case
    rng = np.random.default_rng(0)
    x, columns = rng.normal(size=(channels, *size)), rng.normal(size=(channels, *kernel, *out))
    ops, found, dx = CpuOps(2), np.empty_like(columns), np.full_like(x, np.nan)
    plan = ops.plan_patches(size, out, kernel=kernel, stride=stride, pad=pad, dilation=dilation)

    ops.im2col(plan, x, found)
    ops.col2im(plan, columns, dx)

    np.testing.assert_allclose(np.sum(dx * x), np.sum(columns * found), rtol=1e-10, atol=1e-10)


# --- threads and builds ---


def all_results(kernels, threads, dtype):
    """Every kernel's result on arrays large enough for several threads."""
    rng = np.random.default_rng(3)
    name = {"f4": "float", "f8": "double"}[dtype]
    x = rng.normal(size=(70, 31, 33)).astype(dtype)
    plan = kernels.Pooling((31, 33), (16, 17), (3, 3), (2, 2), (1, 1), (1, 1), True)
    work = np.empty(1 << 22, np.uint8)
    y, index, dx = np.empty((70, 16, 17), dtype), np.empty(70 * 16 * 17, np.int32), np.empty_like(x)
    draws, dy = rng.random(y.size).astype(dtype), rng.normal(size=y.size).astype(dtype)
    flat = x.reshape(-1)
    results = []

    def note(*found):
        results.extend(array.copy() for array in found)

    kernels.max_pool[name](plan, flat, y.reshape(-1), index, threads, work)
    kernels.max_pool_backward[name](plan, dy, index, dx.reshape(-1), threads)
    note(y, index, dx)
    kernels.average_pool[name](plan, flat, y.reshape(-1), threads, work)
    kernels.average_pool_backward[name](plan, dy, dx.reshape(-1), threads, work)
    note(y, dx)
    kernels.stochastic_pool[name](plan, flat, draws, y.reshape(-1), index, threads)
    note(y, index)
    kernels.weighted_pool[name](plan, np.abs(flat), y.reshape(-1), threads)
    kernels.weighted_pool_backward[name](plan, np.abs(flat), dy, dx.reshape(-1), threads)
    note(y, dx)
    scale, space = np.empty_like(x), work.view(dtype)
    views = [array.reshape(7, 10, -1) for array in (x, np.empty_like(x), scale, dx)]
    kernels.lrn_across[name](*views[:3], 5, 0.3, 0.75, 1.0, threads)
    kernels.lrn_across_backward[name](*views[:3], views[3], 5, 0.3, 0.75, threads, space)
    note(*views)
    full = np.empty_like(x)
    kernels.lrn_within[name](x, full, scale, 5, 0.3, 0.6, 1.0, threads, space)
    kernels.lrn_within_backward[name](x, scale, full, dx, 5, 0.3, 0.6, threads, space)
    note(full, dx)
    global_plan = kernels.Pooling((31, 33), (1, 1), (31, 33), (1, 1), (0, 0), (0, 0), True)
    mean = np.empty(70, dtype)
    kernels.average_pool[name](global_plan, flat, mean, threads, work)
    note(mean)
    patch = kernels.Patches((31, 33), (29, 31), (3, 3), (1, 1), (0, 0), (1, 1))
    columns = np.empty(70 * 9 * 29 * 31, dtype)
    kernels.im2col[name](patch, flat, columns, threads)
    kernels.col2im[name](patch, columns, dx.reshape(-1), threads)
    note(columns, dx)
    return results


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_threads_do_not_change_a_bit(dtype):
    kernels = _kernels.kernels("window")

    for one, three in zip(all_results(kernels, 1, dtype), all_results(kernels, 3, dtype), strict=True):
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("build", _kernels.available_builds()[1:])
def test_builds_give_the_same_bits(build, dtype):
    try:
        other = importlib.import_module(f"caffenorm._kernels.{build}.window")
    except ModuleNotFoundError:
        pytest.skip(f"window is not compiled for {build}")

    pairs = zip(all_results(_kernels.kernels("window"), 2, dtype), all_results(other, 2, dtype), strict=True)
    for best, found in pairs:
        np.testing.assert_array_equal(best, found)
