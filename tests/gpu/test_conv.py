"""Conv ops on the GPU: the CPU's results by columns and cuBLAS, by kernels of our own, and by PyTorch."""

from __future__ import annotations

import contextlib
import types
from dataclasses import dataclass, replace

import numpy as np
import pytest
from device_arrays import to_device, unset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffenorm import TEST, DeviceError, Net, ShapeError
from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.gpu import conv, conv_plan, conv_torch, depthwise, gemm

TOLERANCE = {"f4": 2e-5, "f8": 1e-13}
CPU = CpuOps(1)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Case:
    """Shapes and options of a convolution; `shift` values behind an aligned address the arrays begin."""

    x: tuple[int, ...]
    weights: tuple[int, ...]
    groups: int
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    dtype: str = "f4"
    shift: int = 0
    engine: str = "CAFFE"
    behind: int = 0  # positions that the pads behind x exceed those before it

    @property
    def out_size(self):
        axes = zip(self.x[2:], self.weights[2:], self.stride, self.pad, self.dilation, strict=True)
        return tuple((n + 2 * p + self.behind - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    @property
    def y(self):
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
            engine=self.engine,
        )

    def values(self, shape, seed):
        return np.random.default_rng(seed).normal(size=shape).astype(self.dtype)


@st.composite
def cases(draw, depthwise: bool = False):
    axes = draw(st.integers(1, 3))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    groups = draw(st.sampled_from([2, 3, 5] if depthwise else [1, 1, 2, 3]))
    channels = groups if depthwise else groups * draw(st.sampled_from([1, 2, 3, 7]))
    outputs = groups * draw(st.sampled_from([1, 2, 5]))
    kernel, stride, pad, dilation = per_axis(1, 4), per_axis(1, 3), per_axis(0, 3), per_axis(1, 3)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(
        draw(st.integers(max(1, e - 2 * p), max({1: 40, 2: 12, 3: 6}[axes], e)))
        for e, p in zip(extent, pad, strict=True)
    )
    weights = (outputs, channels // groups, *kernel)
    dtype, shift = draw(st.sampled_from(["f4", "f8"])), draw(st.integers(0, 3))
    images = draw(st.integers(1, 4))
    return Case((images, channels, *size), weights, groups, stride, pad, dilation, dtype, shift)


# One a way through the code: 1x1, kernels that cover x, strides, groups, several axes, depthwise.
WAYS = [
    Case((3, 5, 6, 7), (4, 5, 1, 1), 1, (1, 1), (0, 0), (1, 1)),
    Case((2, 6, 5, 5), (4, 3, 1, 1), 2, (1, 1), (0, 0), (1, 1)),
    Case((2, 6, 5, 5), (4, 3, 1, 1), 2, (2, 1), (0, 0), (1, 1)),
    Case((3, 5, 6, 7), (4, 5, 1, 1), 1, (1, 1), (1, 0), (1, 1)),
    Case((5, 4, 3, 4), (6, 2, 3, 4), 2, (1, 1), (0, 0), (1, 1)),
    Case((5, 4, 3, 4), (6, 4, 2, 3), 1, (1, 1), (0, 0), (2, 1)),
    Case((5, 4, 4, 4), (6, 2, 3, 3), 2, (2, 2), (0, 1), (1, 2), "f8"),
    Case((4, 6, 9, 9), (8, 3, 3, 3), 2, (2, 2), (1, 1), (1, 1)),
    Case((1, 6, 9, 9), (9, 2, 3, 3), 3, (1, 1), (2, 2), (2, 2), "f8", 1),
    Case((2, 3, 30), (7, 3, 5), 1, (3,), (2,), (1,), "f8", 3),
    Case((2, 4, 4, 5, 6), (4, 2, 2, 1, 3), 2, (1, 2, 1), (1, 0, 1), (1, 1, 1)),
    Case((3, 4, 9, 10), (8, 1, 3, 3), 4, (1, 1), (1, 1), (1, 1), "f4", 1),
    Case((3, 4, 9, 10), (4, 1, 3, 5), 4, (2, 1), (1, 2), (1, 1), "f8"),
    Case((3, 1, 9, 10), (4, 1, 3, 3), 1, (2, 1), (1, 1), (1, 1)),
    Case((2, 2, 19, 18), (4, 1, 3, 3), 2, (1, 1), (1, 1), (1, 1)),
    Case((2, 3, 7, 7), (4, 3, 3, 3), 1, (2, 2), (0, 0), (1, 1), behind=2),
    Case((2, 3, 7, 7), (3, 1, 3, 3), 3, (2, 2), (0, 0), (1, 1), behind=2),
    Case((1, 2, 3, 3, 3, 3), (3, 2, 2, 1, 2, 3), 1, (1, 1, 2, 1), (0, 1, 0, 1), (1, 1, 1, 1), "f8"),
]
each_way = pytest.mark.parametrize("case", WAYS, ids=lambda c: "x".join(map(str, c.x + c.weights)))


def assert_near(found, expected):
    found = found.get()
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[found.dtype.str[1:]] * scale)


def on_cpu(case, name, start, weights, shape, **ending):
    plan, transposed = case.plan(CPU), name == "convolve_transposed"
    packed = np.empty(plan.transposed_packed_count if transposed else plan.packed_count, case.dtype)
    CPU.pack_weights(plan, weights, packed, transposed=transposed)
    result = np.empty(shape, case.dtype)
    getattr(CPU, name)(plan, start, packed, result, **ending)
    return result


def check_products(ops, case, seed=0):
    """y, x's gradient and the weights' gradient, which adds to what is there."""
    x, weights, dy = (case.values(s, seed + i) for i, s in enumerate((case.x, case.weights, case.y)))
    before = case.values(case.weights, seed + 3)
    plan = case.plan(ops)
    packed, turned = (unset(ops, (n,), case.dtype) for n in (plan.packed_count, plan.transposed_packed_count))
    y, dx = unset(ops, case.y, case.dtype, case.shift), unset(ops, case.x, case.dtype, case.shift)
    dweights = to_device(ops, before, case.shift)
    xs, dys, ws = (to_device(ops, a, case.shift) for a in (x, dy, weights))

    ops.pack_weights(plan, ws, packed)
    ops.pack_weights(plan, ws, turned, transposed=True)
    ops.convolve(plan, xs, packed, y)
    ops.convolve_transposed(plan, dys, turned, dx)
    ops.convolve_gradient(plan, xs, dys, dweights)

    expected = before.copy()
    CPU.convolve_gradient(case.plan(CPU), x, dy, expected)
    assert_near(y, on_cpu(case, "convolve", x, weights, case.y))
    assert_near(dx, on_cpu(case, "convolve_transposed", dy, weights, case.x))
    assert_near(dweights, expected)


@few
@given(case=cases(), seed=st.integers(0, 99))
def test_convolution_and_its_gradients_are_the_cpus(gpu_ops, case, seed):
    check_products(gpu_ops, case, seed)


@few
@given(case=cases(depthwise=True), seed=st.integers(0, 99))
def test_depthwise_convolution_and_its_gradients_are_the_cpus(gpu_ops, case, seed):
    check_products(gpu_ops, case, seed)


@each_way
def test_each_way_through_the_code_gives_the_cpus_results(gpu_ops, case):
    check_products(gpu_ops, case)


@each_way
@pytest.mark.parametrize("limit", [1, 2000])
def test_columns_are_made_piece_by_piece(gpu_ops, case, limit, monkeypatch):
    monkeypatch.setattr(conv_plan, "COLUMN_BYTES", limit)

    check_products(gpu_ops, case)


def test_one_position_is_one_product_a_piece(gpu_ops, monkeypatch):
    case = Case((50, 4, 3, 4), (6, 2, 3, 4), 2, (1, 1), (0, 0), (1, 1))
    products = []
    monkeypatch.setattr(conv, "gemm", lambda *args, **how: products.append(how) or gemm.gemm(*args, **how))

    check_products(gpu_ops, case)

    assert [how["count"] for how in products] == [2, 2, 2]


def test_pieces_are_images_then_channels(gpu_ops, monkeypatch):
    case = Case((5, 4, 6, 6), (4, 2, 3, 3), 2, (1, 1), (1, 1), (1, 1))
    channel = 9 * 36 * 4
    pieces = lambda: [(p.image, p.images, p.channel, p.channels) for p in case.plan(gpu_ops).pieces]  # noqa: E731

    monkeypatch.setattr(conv_plan, "COLUMN_BYTES", 8 * channel)
    assert pieces() == [(0, 2, 0, 4), (2, 2, 0, 4), (4, 1, 0, 4)]
    monkeypatch.setattr(conv_plan, "COLUMN_BYTES", 3 * channel)
    assert pieces()[:2] == [(0, 1, 0, 2), (0, 1, 2, 2)]
    monkeypatch.setattr(conv_plan, "COLUMN_BYTES", channel)
    assert pieces()[:5] == [(0, 1, 0, 1), (0, 1, 1, 1), (0, 1, 2, 1), (0, 1, 3, 1), (1, 1, 0, 1)]


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 99])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_images_are_made_side_by_side(gpu_ops, parts, groups, monkeypatch):
    case = Case((4, 4, 7, 7), (6, 4 // groups, 3, 3), groups, (1, 1), (1, 1), (1, 1), "f8")
    monkeypatch.setattr(conv, "_PART_BYTES", parts * int(np.prod(case.weights)) * 8)

    check_products(gpu_ops, case)


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
def test_depthwise_gradients_are_added_in_parts(gpu_ops, most, monkeypatch):
    monkeypatch.setattr(depthwise, "_BLOCKS_EACH", 100)
    monkeypatch.setattr(depthwise, "_MOST_PARTS", most)

    check_products(gpu_ops, Case((5, 2, 7, 9), (2, 1, 3, 3), 2, (1, 1), (1, 1), (1, 1)))


@each_way
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(("biased", "added", "slope"), [(1, 0, None), (1, 1, 0.0), (0, 1, 0.25), (0, 0, 0.1)])
def test_bias_more_and_slope_end_a_product(gpu_ops, case, shift, biased, added, slope):
    weights, plan = case.values(case.weights, 0), case.plan(gpu_ops)
    for name, start, shape in (("convolve", case.x, case.y), ("convolve_transposed", case.y, case.x)):
        values, bias, more = (case.values(s, i) for i, s in enumerate((start, shape[1:2], shape)))
        bias[0] = np.nan
        ending = {"bias": bias if biased else None, "more": more if added else None}
        devices = {k: None if a is None else to_device(gpu_ops, a, shift) for k, a in ending.items()}
        result = unset(gpu_ops, shape, case.dtype, shift)

        arrays = (to_device(gpu_ops, a, shift) for a in (values, weights))
        getattr(gpu_ops, name)(plan, *arrays, result, **devices, slope=slope)

        assert_near(result, on_cpu(case, name, values, weights, shape, **ending, slope=slope))


@each_way
def test_more_may_be_the_results_own_array(gpu_ops, case):
    weights, plan = case.values(case.weights, 0), case.plan(gpu_ops)
    for name, start, shape in (("convolve", case.x, case.y), ("convolve_transposed", case.y, case.x)):
        values, more = case.values(start, 1), case.values(shape, 2)
        result = to_device(gpu_ops, more)

        arrays = (to_device(gpu_ops, a) for a in (values, weights))
        getattr(gpu_ops, name)(plan, *arrays, result, more=result, slope=0.0)

        assert_near(result, on_cpu(case, name, values, weights, shape, more=more, slope=0.0))


def test_no_images_are_no_work_and_no_gradient(gpu_ops):
    case = Case((0, 2, 5, 5), (3, 2, 3, 3), 1, (1, 1), (0, 0), (1, 1))

    check_products(gpu_ops, case)
    check_products(gpu_ops, replace(case, x=(0, 3, 5, 5), weights=(3, 1, 3, 3), groups=3))


def test_arrays_of_other_counts_are_refused(gpu_ops):
    case = Case((1, 2, 5, 5), (3, 2, 3, 3), 1, (1, 1), (0, 0), (1, 1))
    plan, x, y = case.plan(gpu_ops), unset(gpu_ops, case.x, "f4"), unset(gpu_ops, case.y, "f4")
    weights, few_values = unset(gpu_ops, case.weights, "f4"), unset(gpu_ops, (2,), "f4")

    with pytest.raises(ShapeError, match=r"the input has shape \[2\], 2 values; expected 50"):
        gpu_ops.convolve(plan, few_values, weights, y)
    with pytest.raises(ShapeError, match="the packed array"):
        gpu_ops.convolve_transposed(plan, y, few_values, x)
    with pytest.raises(ShapeError, match="the bias has shape"):
        gpu_ops.convolve(plan, x, weights, y, bias=few_values)
    with pytest.raises(ShapeError, match="the array to add"):
        gpu_ops.convolve(plan, x, weights, y, more=few_values)
    with pytest.raises(ShapeError, match="the weights' gradient"):
        gpu_ops.convolve_gradient(plan, x, y, few_values)


# --- products of matrices ---


@few
@given(
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
    turned=st.tuples(st.booleans(), st.booleans()),
    how=st.sampled_from(["plain", "accumulate", "biased", "active", "both"]),
    dtype=st.sampled_from(["f4", "f8"]),
    shift=st.integers(0, 3),
)
def test_products_are_numpys(gpu_ops, sizes, turned, how, dtype, shift):
    rows, columns, depth = sizes
    rng = np.random.default_rng(0)
    a, b, bias = (rng.normal(size=s).astype(dtype) for s in ((rows, depth), (depth, columns), (columns,)))
    before = rng.normal(size=(rows, columns)).astype(dtype)
    out = to_device(gpu_ops, before if how == "accumulate" else np.full_like(before, np.nan), shift)
    slope = 0.25 if how in ("active", "both") else None

    gpu_ops.multiply(
        to_device(gpu_ops, np.ascontiguousarray(a.T) if turned[0] else a, shift),
        to_device(gpu_ops, np.ascontiguousarray(b.T) if turned[1] else b, shift),
        out,
        transpose_a=turned[0],
        transpose_b=turned[1],
        accumulate=how == "accumulate",
        bias=to_device(gpu_ops, bias, shift) if how in ("biased", "both") else None,
        slope=slope,
    )

    expected = a.astype("f8") @ b.astype("f8")
    if how == "accumulate":
        expected += before
    if how in ("biased", "both"):
        expected += bias
    if slope is not None:
        expected = np.where(expected > 0, expected, slope * expected)
    assert_near(out, expected)


def test_matrices_that_do_not_fit_are_refused(gpu_ops):
    a, b = unset(gpu_ops, (2, 3), "f4"), unset(gpu_ops, (4, 2), "f4")

    with pytest.raises(ShapeError, match=r"matrices \(2, 3\) and \(4, 2\) have no product"):
        gpu_ops.multiply(a, b, unset(gpu_ops, (2, 2), "f4"))


def test_sides_that_cublas_cannot_count_are_refused(gpu_ops):
    one = gemm.Matrices(unset(gpu_ops, (1,), "f4"), 0, 1)

    with pytest.raises(ShapeError, match="more than cuBLAS takes"):
        gemm.gemm(gpu_ops.device, (2**31, 1, 1), one, one, one)


@pytest.mark.parametrize(("variable", "dtype", "name"), [
    (None, "f4", "CUBLAS_COMPUTE_32F"),
    ("0", "f4", "CUBLAS_COMPUTE_32F"),
    ("1", "f4", "CUBLAS_COMPUTE_32F_FAST_TF32"),
    ("1", "f8", "CUBLAS_COMPUTE_64F"),
])  # fmt: skip
def test_tf32_is_used_only_where_it_is_asked_for(gpu_ops, variable, dtype, name, monkeypatch):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUPY_TF32", variable)
    types_ = gpu_ops.device.xp.cuda.cublas

    found = gemm._compute_type.__wrapped__(gpu_ops.device, np.dtype(dtype))

    assert found == getattr(types_, name)


# --- PyTorch ---


class TorchOnTheHost:
    """PyTorch with a CUDA that takes notes: the emulated device's memory is the host's."""

    def __init__(self, torch):
        self.notes = []
        note = lambda *key: self.notes.append(key) or key  # noqa: E731
        self.cuda = types.SimpleNamespace(
            is_available=lambda: True,
            ExternalStream=lambda pointer, device: note("external", pointer, device),
            default_stream=lambda device: note("default", device),
            device=lambda index: contextlib.nullcontext(),
            stream=lambda stream: contextlib.nullcontext(note("stream", stream)),
        )
        self._torch = torch

    def __getattr__(self, name):
        return getattr(self._torch, name)

    def from_dlpack(self, array):
        """Notes how cuDNN is set, too."""
        cudnn = self._torch.backends.cudnn
        self.notes.append(("set", cudnn.deterministic, cudnn.conv.fp32_precision))
        return self._torch.from_dlpack(array)

    def settings(self):
        return [note[1:] for note in self.notes if note[0] == "set"]


@pytest.fixture
def host_torch(gpu_ops, monkeypatch):
    """Makes convolutions of the emulated device those of PyTorch on the host."""
    if gpu_ops.xp.__name__ == "cupy":
        pytest.skip("the device's own PyTorch is tested by test_torch_on_the_device")
    torch = TorchOnTheHost(pytest.importorskip("torch"))
    monkeypatch.setattr(conv_torch, "torch_with_cuda", lambda: torch)
    return torch


TORCH_WAYS = [case for case in WAYS if len(case.stride) <= 3 and not case.behind]
each_torch_way = pytest.mark.parametrize(
    "case", TORCH_WAYS, ids=lambda c: "x".join(map(str, c.x + c.weights))
)


@each_torch_way
def test_torch_gives_the_cpus_results(gpu_ops, host_torch, case):
    case = replace(case, engine="CUDNN")

    check_products(gpu_ops, case)

    assert case.plan(gpu_ops).torch is not None
    assert len(host_torch.settings()) == 7


@each_torch_way
def test_torchs_products_end_alike(gpu_ops, host_torch, case):
    case = replace(case, engine="CUDNN")
    weights, plan = case.values(case.weights, 0), case.plan(gpu_ops)
    for name, start, shape in (("convolve", case.x, case.y), ("convolve_transposed", case.y, case.x)):
        values, bias, more = (case.values(s, i) for i, s in enumerate((start, shape[1:2], shape)))
        result = to_device(gpu_ops, more)

        arrays = (to_device(gpu_ops, a) for a in (values, weights))
        ending = {"bias": to_device(gpu_ops, bias), "more": result, "slope": 0.0}
        getattr(gpu_ops, name)(plan, *arrays, result, **ending)

        assert_near(result, on_cpu(case, name, values, weights, shape, bias=bias, more=more, slope=0.0))


def test_torch_runs_on_cupys_stream_deterministic_and_without_tf32(gpu_ops, host_torch, monkeypatch):
    case = replace(WAYS[0], engine="DEFAULT")
    monkeypatch.delenv("CUPY_TF32", raising=False)

    check_products(gpu_ops, case)
    with gpu_ops.xp.cuda.Stream() as stream:
        check_products(gpu_ops, case)

    assert set(host_torch.settings()) == {(True, "ieee")}
    streams = [note[1] for note in host_torch.notes if note[0] == "stream"]
    assert streams == [("default", 0)] * 3 + [("external", stream.ptr, 0)] * 3


def test_torch_takes_tf32_where_cupy_does(gpu_ops, host_torch, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")

    check_products(gpu_ops, replace(WAYS[0], engine="CUDNN"))

    assert set(host_torch.settings()) == {(True, "tf32")}


@pytest.mark.parametrize("users", ["tf32", "ieee"])
def test_torch_is_set_back(gpu_ops, host_torch, users):
    cudnn = host_torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    try:
        cudnn.conv.fp32_precision = users

        check_products(gpu_ops, replace(WAYS[0], engine="CUDNN"))

        assert (cudnn.deterministic, cudnn.conv.fp32_precision) == (False, users)
    finally:
        cudnn.conv.fp32_precision = before


def test_an_older_torch_has_one_switch_for_tf32(monkeypatch):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    cudnn = types.SimpleNamespace(deterministic=False, allow_tf32=True)

    with conv_torch._set_strictly(cudnn):
        assert (cudnn.deterministic, cudnn.allow_tf32) == (True, False)

    assert (cudnn.deterministic, cudnn.allow_tf32) == (False, True)


def test_the_default_engine_leaves_to_our_kernels_what_torch_has_not(gpu_ops, host_torch):
    alone, uneven, four_axes = WAYS[11], WAYS[15], WAYS[17]

    for case in (alone, uneven, four_axes):
        assert replace(case, engine="DEFAULT").plan(gpu_ops).torch is None
    assert replace(WAYS[0], engine="DEFAULT").plan(gpu_ops).torch is not None
    assert replace(WAYS[0], engine="CAFFE").plan(gpu_ops).torch is None
    assert replace(alone, engine="CUDNN").plan(gpu_ops).torch is not None
    for case in (uneven, four_axes):
        with pytest.raises(ShapeError, match="engine: CUDNN takes 1 to 3 spatial axes"):
            replace(case, engine="CUDNN").plan(gpu_ops)


def test_an_engine_that_is_missing_is_an_error(gpu_ops, monkeypatch):
    monkeypatch.setattr(conv_torch, "torch_with_cuda", lambda: None)

    assert replace(WAYS[0], engine="DEFAULT").plan(gpu_ops).torch is None
    with pytest.raises(DeviceError, match="engine: CUDNN needs PyTorch with CUDA"):
        replace(WAYS[0], engine="CUDNN").plan(gpu_ops)


NET = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
        convolution_param { num_output: 3 kernel_size: 3 engine: CUDNN } }"""


def test_a_layers_engine_reaches_the_device(gpu, monkeypatch):
    monkeypatch.setattr(conv_torch, "torch_with_cuda", lambda: None)

    with pytest.raises(DeviceError, match=r'layer "conv" \(Convolution\).*engine: CUDNN needs PyTorch'):
        Net.from_text(NET, TEST, device="gpu")
    Net.from_text(NET.replace("CUDNN", "CAFFE"), TEST, device="gpu").forward()
    Net.from_text(NET, TEST, device="cpu").forward()


@pytest.mark.parametrize("there", [True, False])
def test_torch_counts_as_there_where_it_has_a_gpu(there, monkeypatch):
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: there))
    monkeypatch.setattr(conv_torch.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(conv_torch._extras, "require", lambda *args, **kwargs: torch)

    assert conv_torch.torch_with_cuda.__wrapped__() is (torch if there else None)


@pytest.mark.gpu
@pytest.mark.parametrize("case", TORCH_WAYS)
def test_torch_on_the_device(gpu_ops, case):
    if gpu_ops.xp.__name__ != "cupy" or conv_torch.torch_with_cuda() is None:
        pytest.skip("needs a GPU, CuPy and PyTorch with CUDA")

    check_products(gpu_ops, replace(case, engine="CUDNN"))
