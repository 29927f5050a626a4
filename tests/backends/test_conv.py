"""Conv ops: convolution, its adjoint and gradient against PyTorch in float64; products against NumPy."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffenorm import ShapeError, _kernels
from caffenorm.backends.cpu import CpuOps

torch = pytest.importorskip("torch")
CONVOLVE = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
LARGEST_SIZE = {1: 150, 2: 24, 3: 8}
# Sums of float32 products differ in their last bits; the largest of the array sets the scale.
TOLERANCE = {"f4": 2e-5, "f8": 1e-13}


@dataclass(frozen=True)
class Case:
    """Shapes and options of a convolution."""

    x: tuple[int, ...]
    weights: tuple[int, ...]
    groups: int
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    dtype: str

    @property
    def out_size(self) -> tuple[int, ...]:
        axes = zip(self.x[2:], self.weights[2:], self.stride, self.pad, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    @property
    def y(self) -> tuple[int, ...]:
        return (self.x[0], self.weights[0], *self.out_size)

    def plan(self, ops):
        return ops.plan_convolution(
            self.x,
            self.weights,
            self.out_size,
            groups=self.groups,
            stride=self.stride,
            pad=self.pad,
            dilation=self.dilation,
            dtype=np.dtype(self.dtype),
        )


@st.composite
def cases(draw, most_axes: int = 3):
    axes = draw(st.integers(1, most_axes))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.sampled_from([1, 2, 3, 17]))
    outputs = groups * draw(st.sampled_from([1, 2, 7, 8, 9, 33]))
    kernel, stride, pad, dilation = per_axis(1, 4), per_axis(1, 4), per_axis(0, 3), per_axis(1, 3)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(
        draw(st.integers(max(1, e - 2 * p), max(LARGEST_SIZE[axes], e)))
        for e, p in zip(extent, pad, strict=True)
    )
    images = draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    weights = (outputs, channels // groups, *kernel)
    return Case((images, channels, *size), weights, groups, stride, pad, dilation, dtype)


def forward(ops, case, x, weights, **ending):
    plan = case.plan(ops)
    packed = np.empty(plan.packed_count, case.dtype)
    ops.pack_weights(plan, weights, packed)
    y = np.full(case.y, np.nan, case.dtype)
    ops.convolve(plan, x, packed, y, **ending)
    return y


def adjoint(ops, case, y, weights, **ending):
    plan = case.plan(ops)
    packed = np.empty(plan.transposed_packed_count, case.dtype)
    ops.pack_weights(plan, weights, packed, transposed=True)
    x = np.full(case.x, np.nan, case.dtype)
    ops.convolve_transposed(plan, y, packed, x, **ending)
    return x


def gradient(ops, case, x, dy):
    dweights = np.zeros(case.weights, case.dtype)
    ops.convolve_gradient(case.plan(ops), x, dy, dweights)
    return dweights


def torch_results(case, x, weights, dy):
    """y, dx and dweights in float64."""
    x64 = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    weights64 = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    options = {"stride": case.stride, "padding": case.pad, "dilation": case.dilation, "groups": case.groups}
    y = CONVOLVE[len(case.stride)](x64, weights64, **options)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    return y.detach().numpy(), x64.grad.numpy(), weights64.grad.numpy()


def arrays(case, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape).astype(case.dtype) for shape in (case.x, case.weights, case.y))


def assert_near(found, expected):
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[found.dtype.str[1:]] * scale)


@given(case=cases())
@settings(max_examples=150)
def test_convolution_and_its_gradients_are_those_of_torch(case):
    x, weights, dy = arrays(case)
    ops = CpuOps(2)

    y, dx, dweights = torch_results(case, x, weights, dy)

    assert_near(forward(ops, case, x, weights), y)
    assert_near(adjoint(ops, case, dy, weights), dx)
    assert_near(gradient(ops, case, x, dy), dweights)


# Shapes that take the other ways through the kernels: several blocks of depth, stretches of columns and
# blocks of rows, images in several chunks, groups of one row.
LARGE = [
    Case((1, 70, 9, 9), (70, 70, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4"),
    Case((2, 5, 60, 61), (3, 5, 3, 3), 1, (2, 1), (1, 2), (1, 1), "f4"),
    Case((40, 6, 64, 64), (2, 6, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4"),
    Case((3, 64, 40, 40), (64, 1, 3, 3), 64, (1, 1), (1, 1), (1, 1), "f4"),
    Case((2, 9, 8000), (132, 3, 7), 3, (2,), (3,), (1,), "f8"),
    Case((2, 300, 5, 5), (20, 300, 5, 5), 1, (1, 1), (0, 0), (1, 1), "f8"),
    Case((1, 4, 3, 3), (5, 4, 9, 9), 1, (8, 8), (4, 4), (1, 1), "f8"),
    # one to four columns more than whole panels
    Case((1, 70, 7, 7), (20, 70, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4"),
    Case((1, 600, 50), (9, 600, 1), 1, (1,), (0,), (1,), "f4"),
    Case((1, 600, 27), (9, 600, 1), 1, (1,), (0,), (1,), "f8"),
    Case((1, 70, 14, 14), (8, 70, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4"),
]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: "x".join(map(str, case.x + case.weights)))
def test_large_convolutions_are_those_of_torch(case):
    x, weights, dy = arrays(case)
    ops = CpuOps(2)

    y, dx, dweights = torch_results(case, x, weights, dy)

    assert_near(forward(ops, case, x, weights), y)
    assert_near(adjoint(ops, case, dy, weights), dx)
    assert_near(gradient(ops, case, x, dy), dweights)


@given(
    case=cases(most_axes=2),
    slope=st.sampled_from([None, 0.0, 0.25]),
    biased=st.booleans(),
    more=st.booleans(),
)
def test_bias_more_and_slope_are_what_follows_the_sum(case, slope, biased, more):
    x, weights, dy = arrays(case)
    ops, rng = CpuOps(1), np.random.default_rng(1)
    for function, start, shape in ((forward, x, case.y), (adjoint, dy, case.x)):
        bias = rng.normal(size=shape[1]).astype(case.dtype) if biased else None
        added = rng.normal(size=shape).astype(case.dtype) if more else None

        found = function(ops, case, start, weights, bias=bias, more=added, slope=slope)

        expected = function(ops, case, start, weights)
        if biased:
            expected = expected + bias.reshape(-1, *(1,) * (len(shape) - 2))
        if more:
            expected = expected + added
        if slope is not None:
            expected = np.where(expected > 0, expected, expected * expected.dtype.type(slope))
        np.testing.assert_array_equal(found, expected)


def test_more_may_be_the_result_itself():
    case = Case((2, 3, 9, 9), (20, 3, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4")
    x, weights, before = arrays(case)
    ops, plan = CpuOps(2), case.plan(CpuOps(2))
    packed = np.empty(plan.packed_count, "f4")
    ops.pack_weights(plan, weights, packed)
    y = before.copy()

    ops.convolve(plan, x, packed, y, more=y)

    np.testing.assert_array_equal(y, forward(ops, case, x, weights) + before)


@given(case=cases())
def test_threads_do_not_change_a_bit(case):
    x, weights, dy = arrays(case)
    one, four = CpuOps(1), CpuOps(4)

    np.testing.assert_array_equal(forward(one, case, x, weights), forward(four, case, x, weights))
    np.testing.assert_array_equal(adjoint(one, case, dy, weights), adjoint(four, case, dy, weights))
    np.testing.assert_array_equal(gradient(one, case, x, dy), gradient(four, case, x, dy))


@pytest.mark.parametrize("case", LARGE, ids=lambda case: "x".join(map(str, case.x + case.weights)))
def test_threads_do_not_change_a_bit_of_large_convolutions(case):
    x, weights, dy = arrays(case)
    one, three = CpuOps(1), CpuOps(3)

    np.testing.assert_array_equal(forward(one, case, x, weights), forward(three, case, x, weights))
    np.testing.assert_array_equal(adjoint(one, case, dy, weights), adjoint(three, case, dy, weights))
    np.testing.assert_array_equal(gradient(one, case, x, dy), gradient(three, case, x, dy))


@given(case=cases(most_axes=2), seed=st.integers(0, 9))
def test_a_nan_reaches_only_the_windows_over_it(case, seed):
    """Packing and vectors read neighbours, padding and what lies beyond: none of it may reach a result."""
    x, weights, dy = arrays(case)
    ops, rng = CpuOps(2), np.random.default_rng(seed)
    place = tuple(int(rng.integers(n)) for n in x.shape)
    at = tuple(int(rng.integers(n)) for n in dy.shape)
    one_hot, one_hot_dy = np.zeros_like(x), np.zeros_like(dy)
    one_hot[place], one_hot_dy[at] = 1, 1
    ones = np.ones_like(weights)
    x[place], dy[at] = np.nan, np.nan

    np.testing.assert_array_equal(
        np.isnan(forward(ops, case, x, weights)), torch_results(case, one_hot, ones, dy)[0] > 0
    )
    np.testing.assert_array_equal(
        np.isnan(adjoint(ops, case, dy, weights)), torch_results(case, x, ones, one_hot_dy)[1] > 0
    )


def test_gradient_of_the_weights_adds_up():
    case = Case((2, 3, 9, 9), (4, 3, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f8")
    x, _, dy = arrays(case)
    ops, dweights = CpuOps(2), np.ones(case.weights)

    ops.convolve_gradient(case.plan(ops), x, dy, dweights)

    np.testing.assert_allclose(dweights, 1 + gradient(ops, case, x, dy), rtol=1e-13)


def test_an_empty_batch_gives_an_empty_result():
    case = Case((0, 3, 9, 9), (4, 3, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4")
    x, weights, dy = arrays(case)
    ops = CpuOps(2)

    assert forward(ops, case, x, weights).shape == case.y
    assert adjoint(ops, case, dy, weights).shape == case.x
    assert not gradient(ops, case, x, dy).any()


def test_arrays_of_another_size_are_refused():
    case = Case((1, 3, 9, 9), (4, 3, 3, 3), 1, (1, 1), (1, 1), (1, 1), "f4")
    x, weights, dy = arrays(case)
    ops, plan = CpuOps(1), case.plan(CpuOps(1))
    packed = np.empty(plan.packed_count, "f4")

    with pytest.raises(ShapeError, match=r"the input has shape \[1, 3, 9, 8\], 216 values; expected 243"):
        ops.convolve(plan, np.zeros((1, 3, 9, 8), "f4"), packed, dy)
    with pytest.raises(ShapeError, match="the result has shape"):
        ops.convolve(plan, x, packed, np.zeros((1, 4, 9, 8), "f4"))
    with pytest.raises(ShapeError, match="weights"):
        ops.pack_weights(plan, weights[:2], packed)
    with pytest.raises(ValueError, match="bias: 3 values, expected 4"):
        ops.convolve(plan, x, packed, dy, bias=np.zeros(3, "f4"))


# --- products of matrices ---

SIZES = st.sampled_from([1, 2, 3, 5, 8, 17, 64, 65, 130])


@given(
    rows=SIZES,
    columns=SIZES,
    depth=st.sampled_from([1, 3, 16, 31, 600, 1500]),
    transpose_a=st.booleans(),
    transpose_b=st.booleans(),
    ending=st.sampled_from(["plain", "accumulate", "bias", "slope", "bias and slope"]),
    dtype=st.sampled_from(["f4", "f8"]),
)
def test_products_are_numpys(rows, columns, depth, transpose_a, transpose_b, ending, dtype):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(depth, rows) if transpose_a else (rows, depth)).astype(dtype)
    b = rng.normal(size=(columns, depth) if transpose_b else (depth, columns)).astype(dtype)
    bias = rng.normal(size=columns).astype(dtype) if "bias" in ending else None
    slope = 0.5 if "slope" in ending else None
    before = rng.normal(size=(rows, columns)).astype(dtype)
    results = []
    for threads in (1, 3):
        out = before.copy()
        options = {"accumulate": ending == "accumulate", "bias": bias, "slope": slope}
        CpuOps(threads).multiply(a, b, out, transpose_a=transpose_a, transpose_b=transpose_b, **options)
        results.append(out)

    expected = (a.T if transpose_a else a).astype("f8") @ (b.T if transpose_b else b).astype("f8")
    if ending == "accumulate":
        expected += before
    if bias is not None:
        expected += bias
    if slope is not None:
        expected = np.where(expected > 0, expected, slope * expected)
    assert_near(results[0], expected)
    np.testing.assert_array_equal(*results)


def test_a_product_over_nothing_is_zero():
    out = np.ones((3, 5), "f4")

    CpuOps(2).multiply(np.zeros((3, 0), "f4"), np.zeros((0, 5), "f4"), out)

    assert not out.any()


def test_matrices_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 4\) and \(5, 2\) have no product of shape \(3, 2\)"):
        CpuOps(1).multiply(np.zeros((3, 4)), np.zeros((5, 2)), np.zeros((3, 2)))


# --- builds ---


@pytest.mark.parametrize("build", _kernels.available_builds())
def test_every_build_convolves(build, monkeypatch):
    """Builds may differ in their last bits, and have other tiles."""
    try:
        kernels = importlib.import_module(f"caffenorm._kernels.{build}.conv")
    except ModuleNotFoundError:
        pytest.skip(f"conv is not compiled for {build}")
    conv = importlib.import_module("caffenorm.backends.cpu.conv")
    monkeypatch.setattr(conv, "_k", kernels)
    for table, name in (("_PACK", "pack"), ("_CONVOLVE", "convolve"), ("_GRADIENT", "add_gradient")):
        kernel = getattr(kernels, name)
        monkeypatch.setattr(conv, table, {np.dtype("f4"): kernel["float"], np.dtype("f8"): kernel["double"]})
    for case in LARGE:
        x, weights, dy = arrays(case)
        y, dx, dweights = torch_results(case, x, weights, dy)

        assert_near(forward(CpuOps(2), case, x, weights), y)
        assert_near(adjoint(CpuOps(2), case, dy, weights), dx)
        assert_near(gradient(CpuOps(2), case, x, dy), dweights)


def test_cases_cover_the_ways_through_the_kernels():
    """The cases above stay as large as the blocks that they are meant to exceed."""
    depths = [math.prod(case.weights[1:]) for case in LARGE]
    columns = [math.prod(case.out_size) for case in LARGE]

    assert max(depths) > 2 * 512
    assert max(columns) > 2 * 1024
    assert any(case.weights[1] == 1 for case in LARGE)
    assert any(case.x[0] * math.prod(case.x[1:]) * 4 > 1 << 21 for case in LARGE)


@pytest.mark.parametrize("what", ["out_size", "stride", "dilation"])
def test_sizes_below_one_are_an_error(what):
    given = {"out_size": (1, 1), "stride": (1, 1), "dilation": (1, 1), what: (0, 1)}
    out_size = given.pop("out_size")

    with pytest.raises(ShapeError, match=rf"{what} of a convolution is \[0, 1\]"):
        CpuOps(1).plan_convolution(
            (1, 2, 3, 3), (4, 2, 3, 3), out_size, groups=1, pad=(0, 0), dtype=np.dtype("f4"), **given
        )
