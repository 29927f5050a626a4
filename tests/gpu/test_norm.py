"""Batch normalisation on the GPU against the CPU in float64."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from device_arrays import to_device
from emulation import emulated_cupy
from gpu_norm_arrays import (
    COLUMNS,
    DTYPES,
    PIECES,
    ROUNDING,
    SHAPES,
    SUMS,
    WHOLE,
    Both,
    close,
    dtype_of,
    parameter_dtype,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.gpu import GpuOps, cuda, norm_plan
from caffenorm.errors import ShapeError

EPS = 1e-3
TYPES = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name == "bfloat16" and not importlib.util.find_spec("ml_dtypes"), reason="needs ml_dtypes"
            ),
        )
        for name in DTYPES
    ],
)
SHIFTS = pytest.mark.parametrize("shift", [0, 1])


def parameters(channels, dtype, seed=0):
    rng = np.random.default_rng(seed)
    kind = parameter_dtype(dtype)
    return {name: rng.normal(size=channels).astype(kind) for name in ("gamma", "beta", "slope")}


def activations(channels, dtype):
    """No parameters, all of them with a PReLU, some with a ReLU."""
    all_of_them = parameters(channels, dtype)
    return [{}, all_of_them, {"gamma": all_of_them["gamma"], "slope": 0.0}]


def inputs(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)


def three(channels, dtype):
    return [np.full(channels, 7, parameter_dtype(dtype)) for _ in range(3)]


def statistics(x, dtype):
    """mean and inv_std as parameters' type has them."""
    values = np.zeros((3, x.shape[1]))
    CpuOps(1).batch_norm_train(x.astype(np.float64), np.empty(x.shape), *values, EPS)
    return values[0].astype(parameter_dtype(dtype)), values[2].astype(parameter_dtype(dtype))


@TYPES
@SHIFTS
def test_train(gpu_ops, name, shift):
    dtype, both = dtype_of(name), Both(gpu_ops, shift)
    for number, shape in enumerate(SHAPES):
        x, y = inputs(shape, dtype)
        options = activations(shape[1], dtype)[number % 3]
        place = {"same": (1, 0)} if number % 2 else {"x_hat": y.copy()}

        found, expected = both("batch_norm_train", x, y, *three(shape[1], dtype), EPS, **options, **place)

        close(found[1], expected[1], ROUNDING[name] * 2, 4)
        for i in (2, 3, 4):
            close(found[i], expected[i], SUMS[name])
        if "x_hat" in place:
            close(found[-1], expected[-1], ROUNDING[name], 2)


@TYPES
@SHIFTS
def test_statistics_and_moments(gpu_ops, name, shift):
    dtype, both = dtype_of(name), Both(gpu_ops, shift)
    for shape in SHAPES:
        x, _ = inputs(shape, dtype)
        for op, out in (
            ("batch_norm_statistics", three(shape[1], dtype)[:2]),
            ("batch_norm_moments", [np.ones(shape[1]), np.ones(shape[1])]),
        ):
            found, expected = both(op, x, *out)

            close(found[1], expected[1], SUMS[name])
            close(found[2], expected[2], SUMS[name], 0.1)


@pytest.mark.parametrize("name", ["float32", "float64"])
@SHIFTS
def test_given_statistics_give_the_bits_of_the_cpu(gpu_ops, name, shift):
    dtype = dtype_of(name)
    for number, shape in enumerate(SHAPES):
        x, y = inputs(shape, dtype)
        options = activations(shape[1], dtype)[number % 3]
        mean, inv_std = statistics(x, dtype)
        device = Both(gpu_ops, shift).device
        result, hat = device(y), device(y)

        gpu_ops.batch_norm_apply(
            device(x),
            result,
            device(mean),
            device(inv_std),
            **{k: device(v) for k, v in options.items()},
            x_hat=hat,
        )

        x_hat = y.copy()
        CpuOps(1).batch_norm_apply(x, y, mean, inv_std, **options, x_hat=x_hat)
        np.testing.assert_array_equal(result.get(), y)
        np.testing.assert_array_equal(hat.get(), x_hat)


@TYPES
def test_given_statistics_in_half_types(gpu_ops, name):
    dtype = dtype_of(name)
    for shape in SHAPES:
        x, _ = inputs(shape, dtype)

        found, expected = Both(gpu_ops)(
            "batch_norm_apply", x, x, *statistics(x, dtype), same=(1, 0), **parameters(shape[1], dtype)
        )

        close(found[1], expected[1], ROUNDING[name] * 2, 4)


def far_from_the_kink(x, mean, inv_std, gamma=1.0, beta=0.0, slope=None):
    """x with values moved whose z is so small that rounding decides on its sign."""
    if slope is None:
        return x
    column = np.reshape(gamma, (-1, 1)).astype(np.float64), np.reshape(beta, (-1, 1)).astype(np.float64)
    z = column[0] * (x.astype(np.float64) - mean[:, None]) * inv_std[:, None] + column[1]
    return np.where(np.abs(z) < 1e-4, x + np.asarray(1, x.dtype), x)


@TYPES
@SHIFTS
@pytest.mark.parametrize("given_statistics", [False, True])
def test_backward(gpu_ops, name, shift, given_statistics):
    dtype, both = dtype_of(name), Both(gpu_ops, shift)
    for number, shape in enumerate(SHAPES):
        x, dy = inputs(shape, dtype)
        mean, inv_std = statistics(x, dtype)
        options = activations(shape[1], dtype)[(number + 1) % 3]
        hat = number % 4 == 1
        still = np.zeros_like(mean), np.ones_like(inv_std)
        x = far_from_the_kink(x, *(still if hat else (mean, inv_std)), **options)
        same = {0: None, 1: (2, 1), 2: (2, 0)}[number % 3]
        targets = dict(zip(("dgamma", "dbeta", "dslope"), three(shape[1], dtype), strict=True))
        if not options:
            del targets["dslope"]
        rows = np.abs(dy.astype(np.float64)).sum((0, 2)) * 4 + 7

        found, expected = both(
            "batch_norm_backward", x, dy, np.zeros_like(dy), mean, inv_std, same=same, **options, **targets,
            use_global_stats=given_statistics, x_is_hat=hat,
        )  # fmt: skip

        close(found[2], expected[2], ROUNDING[name] * 4, 4)
        for key, position in zip(targets, range(-2 - len(targets), -2), strict=True):
            assert key in targets
            close(found[position], expected[position], SUMS[name], rows)


@TYPES
def test_backward_in_halves(gpu_ops, name):
    dtype, both = dtype_of(name), Both(gpu_ops, 1)
    for number, shape in enumerate(SHAPES):
        x, dy = inputs(shape, dtype)
        mean, inv_std = statistics(x, dtype)
        options = activations(shape[1], dtype)[number % 3]
        x = far_from_the_kink(x, mean, inv_std, **options)
        sums, means = np.ones((2, shape[1])), np.random.default_rng(2).normal(size=(2, shape[1]))
        rows = np.abs(dy.astype(np.float64)).sum((0, 2)) * 4 + 1

        found, expected = both("batch_norm_backward_sums", x, dy, mean, inv_std, *sums, **options)
        close(found[4], expected[4], SUMS[name], rows)
        close(found[5], expected[5], SUMS[name], rows)

        found, expected = both(
            "batch_norm_backward_apply", x, dy, np.zeros_like(x), mean, inv_std, *means, **options
        )
        close(found[2], expected[2], ROUNDING[name] * 4, 4)


def test_dx_is_not_wanted(gpu_ops):
    for shape in (WHOLE[0], PIECES[0], COLUMNS[0], COLUMNS[4]):
        x, dy = inputs(shape, np.dtype("f4"))
        mean, inv_std = statistics(x, np.dtype("f4"))
        for stored in (False, True):
            found, expected = Both(gpu_ops)(
                "batch_norm_backward", x, dy, None, mean, inv_std, dgamma=mean.copy(), use_global_stats=stored
            )

            close(found[5], expected[5], 1e-5, 100)


def test_inverse_std_gives_the_bits_of_the_cpu(gpu_ops):
    for dtype in ("f4", "f8"):
        var = np.append(np.random.default_rng(0).random(300), 0).astype(dtype)
        for eps in (1e-5, 0.0):
            expected, found = np.empty_like(var), to_device(gpu_ops, var)

            gpu_ops.inverse_std(found, found, eps)

            CpuOps(1).inverse_std(var, expected, eps)
            np.testing.assert_array_equal(found.get(), expected)


# --- numerics ---


@pytest.mark.parametrize("shape", [WHOLE[0], WHOLE[3], *PIECES, *COLUMNS[-4:]])
def test_a_large_mean_keeps_five_digits_of_the_variance(gpu_ops, shape):
    x = np.random.default_rng(0).normal(1e4, 1, shape).astype("f4")
    found, expected = Both(gpu_ops)("batch_norm_statistics", x, *three(shape[1], np.dtype("f4"))[:2])

    np.testing.assert_allclose(found[1], expected[1], rtol=1e-7)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 2, 1040), PIECES[0], COLUMNS[-1], COLUMNS[1]])
def test_an_outlier_in_the_first_place_costs_no_digits_of_the_others(gpu_ops, shape):
    x = np.random.default_rng(0).normal(0, 1, shape).astype("f4")
    x[0, :, 0] = 1e6
    found, expected = Both(gpu_ops)("batch_norm_statistics", x, *three(shape[1], np.dtype("f4"))[:2])

    assert (np.abs(found[1] - expected[1]) < 1e-5 * np.sqrt(expected[2])).all()
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5)


@pytest.mark.parametrize("shape", [WHOLE[0], PIECES[0], PIECES[1], COLUMNS[0], COLUMNS[5]])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("first", [False, True])
def test_values_that_are_no_numbers_stay_in_their_channel(gpu_ops, shape, bad, first):
    x, y = inputs(shape, np.dtype("f4"))
    x[(0, 0, 0) if first else (-1, 0, -1)] = bad

    found, expected = Both(gpu_ops)(
        "batch_norm_train", x, y, *three(shape[1], np.dtype("f4")), EPS, slope=0.5
    )

    assert np.isnan(found[1][:, 0]).all()
    assert np.isnan(found[3][0])
    assert found[2][0] == expected[2][0] or np.isnan(found[2][0])
    assert not any(np.isnan(a[..., 1:, :] if a.ndim == 3 else a[1:]).any() for a in found[1:5])


def test_the_derivative_of_an_activation_at_nan_is_zero(gpu_ops):
    x, dy = inputs((2, 2, 20), np.dtype("f4"))
    x[0, 0, 0] = np.nan
    one, zero = np.ones(2, "f4"), np.zeros(2, "f4")

    found, expected = Both(gpu_ops)(
        "batch_norm_backward", x, dy, dy, zero, one, same=(2, 1), slope=0.5, use_global_stats=True
    )

    np.testing.assert_array_equal(found[2], expected[2].astype("f4"))


# --- the same bits, whoever does the work ---


def everything(ops, shape, l2_bytes=None, multiprocessors=None):
    device, kept = ops.device, (ops.device.l2_bytes, ops.device.multiprocessors)
    device.l2_bytes, device.multiprocessors = l2_bytes or kept[0], multiprocessors or kept[1]
    x, dy = inputs(shape, np.dtype("f4"))
    options = parameters(shape[1], x.dtype)
    put = Both(ops).device
    arrays = [put(a) for a in (x, dy, x, dy, *three(shape[1], x.dtype), *three(shape[1], x.dtype))]
    x, dy, y, dx, mean, var, inv_std, *targets = arrays
    options = {key: put(a) for key, a in options.items()}
    try:
        ops.batch_norm_train(x, y, mean, var, inv_std, EPS, **options)
        sums = dict(zip(("dgamma", "dbeta", "dslope"), targets, strict=True))
        ops.batch_norm_backward(x, dy, dx, mean, inv_std, **options, **sums)
    finally:
        device.l2_bytes, device.multiprocessors = kept
    return [a.get().tobytes() for a in arrays]


@pytest.mark.parametrize("shape", [WHOLE[0], PIECES[0], (2, 9, 9000), COLUMNS[5]])
def test_devices_of_any_size_give_the_same_bits(gpu_ops, shape):
    expected = everything(gpu_ops, shape)

    assert everything(gpu_ops, shape) == expected
    assert everything(gpu_ops, shape, multiprocessors=1) == expected
    assert everything(gpu_ops, shape, multiprocessors=7, l2_bytes=100_000) == expected
    assert everything(gpu_ops, shape, l2_bytes=64) == expected


def test_groups_are_few_channels_and_all_are_taken():
    plan = norm_plan.plan_rows((32, 256, 3136), 4, True, norm_plan.FORWARD, 132, 50 << 20)

    assert plan.whole == 0
    assert plan.blocks == 528
    assert plan.pieces * plan.runs_in_piece >= 32 * 784 > (plan.pieces - 1) * plan.runs_in_piece
    assert 8 << 20 <= plan.group * 32 * 3136 * 4 < 10 << 20


def test_plans_above_two_to_the_31_elements():
    plan = norm_plan.plan_rows((3, 2, 1 << 32), 2, False, norm_plan.BACKWARD, 132, 50 << 20)

    assert plan.pieces <= norm_plan.MOST_PIECES
    assert plan.pieces * plan.runs_in_piece >= 3 << 32
    assert plan.group == 1


# --- where threads stand ---

PROBES = """
// What a thread's walk meets in `steps` steps from `start` on, or -1 behind the end.
template <int V>
__global__ void places(index_t* out, index_t outer, index_t channels, index_t inner, index_t c, index_t start,
                       index_t end, index_t steps) {
    Walk<V> walk(Rows::of<V>(outer, channels, inner), c, start, end, blockDim.x);
    for (index_t i = 0; i < steps; ++i) {
        out[i * blockDim.x + threadIdx.x] = walk.inside() ? walk.at : -1;
        walk.next();
    }
}

template <int UNUSED>
__global__ void drawn_tasks(index_t* out, index_t channels, index_t pieces, index_t group, index_t tickets) {
    for (index_t i = thread_index(); i < tickets; i += grid_stride()) {
        const Task task = task_number({channels, pieces, group}, i);
        out[3 * i] = task.kind;
        out[3 * i + 1] = task.channel;
        out[3 * i + 2] = task.piece;
    }
}
"""


def probe(ops, name, shape, threads, *args):
    code, out = cuda.source_of("norm") + PROBES, ops.xp.empty(shape, dtype=np.int64)
    module = ops.xp.RawModule(code=code, options=cuda.compile_options(name), name_expressions=[name])
    cuda.Kernel(ops.device, name, module.get_function(name))(1, threads, out, *args)
    return out.get()


@pytest.mark.parametrize(
    ("shape", "start"),
    [
        ((3, 4, 5), 0),
        ((9, 4, 40), 65),
        ((3, 70_000, 30_000), 60_000 - 7),
        ((1, 2, 3 << 32), (2 << 32) + 5),
        ((3, 2, 1 << 32), (2 << 32) - 40),
        ((40_000_000, 3, 61), 39_999_999 * 61 - 50),
    ],
)
@pytest.mark.parametrize("width", [1, 4])
def test_walks_stay_right_above_two_to_the_31_elements(gpu_ops, shape, start, width):
    outer, channels, inner = shape[0], shape[1], shape[2] * width
    total, steps, threads = outer * shape[2], 9, 32
    end = min(total, start + steps * threads - 5)

    found = probe(
        gpu_ops, f"places<{width}>", (steps * threads,), threads, *shape[:2], inner, 1, start, end, steps
    )

    for i, place in enumerate(found):
        row, column = divmod(start + i, shape[2])
        inside = start + i < end
        assert place == ((row * channels + 1) * inner + column * width if inside else -1)


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("group", [0, 1, 2, 3, 7])
def test_all_tasks_are_drawn_once_and_results_behind_their_sums(gpu_ops, channels, pieces, group):
    group = min(group, channels)
    tickets = 4 * (channels + 7) * pieces

    tasks = probe(gpu_ops, "drawn_tasks<0>", (tickets, 3), 64, channels, pieces, group, tickets)

    nothing, sums, results, end = range(4)
    last = list(tasks[:, 0]).index(end)
    assert (tasks[last:, 0] == end).all()
    every = {(c, p) for c in range(channels) for p in range(pieces)}
    for kind, expected in ((sums, every), (results, every if group else set())):
        drawn = [tuple(task[1:].tolist()) for task in tasks[:last] if task[0] == kind]
        assert len(drawn) == len(expected)
        assert set(drawn) == expected
    for i, (kind, channel, _) in enumerate(tasks[:last].tolist()):
        assert kind in (nothing, sums, results)
        if kind == results:
            behind = tasks[i:last]
            assert not ((behind[:, 0] == sums) & (behind[:, 1] == channel)).any()


# --- any shape ---


@settings(max_examples=25)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 80)),
        st.tuples(st.integers(1, 400), st.integers(1, 40), st.integers(1, 4)),
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(4000, 9000)),
    ),
    shift=st.integers(0, 4),
    past=st.booleans(),
)
def test_any_shape(shape, shift, past):
    ops = GpuOps(0, emulated_cupy)
    if past:
        ops.device.l2_bytes = 1
    both, (x, dy) = Both(ops, shift), inputs(shape, np.dtype("f4"))
    options = parameters(shape[1], x.dtype)

    found, expected = both("batch_norm_train", x, x.copy(), *three(shape[1], x.dtype), EPS, **options)
    close(found[1], expected[1], 1e-5, 4)
    mean, inv_std = statistics(x, x.dtype)
    x = far_from_the_kink(x, mean, inv_std, **options)
    found, expected = both(
        "batch_norm_backward", x, dy, x.copy(), mean, inv_std, **options, dgamma=mean.copy()
    )
    close(found[2], expected[2], 1e-4, np.abs(expected[2]).max() + 1)


# --- what does not fit ---


def test_faults_raise_what_they_raise_on_the_cpu(gpu_ops):
    x, y = inputs((2, 3, 20), np.dtype("f4"))
    good = three(3, x.dtype)
    faults = [
        ([x[:, :, :19].copy(), y, *good], {}),
        ([x, y, good[0][:2], *good[1:]], {}),
        ([x, y, *good], {"gamma": np.ones(4, "f4")}),
        ([x, y, *good], {"slope": np.ones(2, "f4")}),
        ([x, y.astype("f8"), *good], {}),
        ([x, y, good[0].astype("f8"), *good[1:]], {}),
        ([x[0], y, *good], {}),
    ]
    for arrays, options in faults:
        put = Both(gpu_ops).device
        with pytest.raises((ValueError, TypeError)) as on_cpu:
            CpuOps(1).batch_norm_train(*arrays, EPS, **options)
        with pytest.raises((ValueError, TypeError)) as on_gpu:
            gpu_ops.batch_norm_train(*map(put, arrays), EPS, **{key: put(a) for key, a in options.items()})
        assert (on_gpu.type is ShapeError) == (on_cpu.type is ShapeError), (on_gpu, on_cpu)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_nothing(gpu_ops, shape):
    x = np.empty(shape, "f4")
    found, expected = Both(gpu_ops)("batch_norm_train", x, x, *three(3, x.dtype), EPS)

    for i in (2, 3, 4):
        close(found[i], expected[i], 1e-6)
    gpu_ops.batch_norm_backward(*[to_device(gpu_ops, a) for a in (x, x, x, *three(3, x.dtype)[:2])])
