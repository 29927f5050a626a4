"""The emulation itself: it runs right kernels right, and says what is wrong with wrong ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import driver, emulated_cupy
from emulation.driver import EmulationError

from caffenorm.backends.gpu import cuda
from caffenorm.backends.gpu.cuda import Device
from caffenorm.errors import DeviceError

F4 = np.dtype("f4")


def launch(
    source: str, *args: Any, blocks: Any = 1, threads: Any = 32, shared: int = 0, types: str = "float"
) -> None:
    """Runs the kernel `f` of a source."""
    options = cuda.compile_options(types)
    module = emulated_cupy.RawModule(code=source, options=options, name_expressions=[f"f<{types}>"])
    device = Device(0, emulated_cupy)  # type: ignore[arg-type]  # stands in for the module
    cuda.Kernel(device, f"f<{types}>", module.get_function(f"f<{types}>"))(
        blocks, threads, *args, shared=shared
    )


def array(values: Any, dtype: Any = F4) -> Any:
    return emulated_cupy.asarray(np.asarray(values, dtype))


def kernel(body: str, parameters: str = "T* x, T* y") -> str:
    return f"using index_t = long long; template <typename T> __global__ void f({parameters}) {{ {body} }}"


REVERSE = """
    __shared__ T tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
"""


# --- what it runs ---


def test_threads_meet_at_a_barrier() -> None:
    x, y = array(np.arange(64)), array(np.zeros(64))

    launch(kernel(REVERSE), x, y, threads=64)

    np.testing.assert_array_equal(y.get(), np.arange(64)[::-1])


def test_every_thread_of_every_block_runs_once_along_three_axes() -> None:
    blocks, threads = (3, 2, 2), (4, 3, 2)
    counts = emulated_cupy.zeros(12 * 24, np.int32)
    body = """
        const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        atomicAdd(counts + block * 24 + thread, 1);
    """

    launch(kernel(body, "int* counts"), counts, blocks=blocks, threads=threads)

    assert (counts.get() == 1).all()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("__shfl_sync(~0u, v, 5)", np.where(np.arange(64) < 32, 5, 37)),
        ("__shfl_sync(~0u, v, 1, 8)", np.arange(64) // 8 * 8 + 1),
        ("__shfl_up_sync(~0u, v, 3)", np.where(np.arange(64) % 32 < 3, np.arange(64), np.arange(64) - 3)),
        ("__shfl_down_sync(~0u, v, 3)", np.where(np.arange(64) % 32 > 28, np.arange(64), np.arange(64) + 3)),
        ("__shfl_down_sync(~0u, v, 1, 4)", np.arange(64) + (np.arange(64) % 4 < 3)),
        ("__shfl_xor_sync(~0u, v, 7)", np.arange(64) ^ 7),
        ("__any_sync(~0u, v == 40)", np.arange(64) // 32),
        ("__all_sync(~0u, v < 40)", 1 - np.arange(64) // 32),
        ("__popc(__ballot_sync(~0u, v < 40))", np.where(np.arange(64) < 32, 32, 8)),
        ("threadIdx.x % 2 ? __shfl_xor_sync(0xaaaaaaaau, v, 2) : v", np.arange(64) ^ np.arange(64) % 2 * 2),
    ],
)  # fmt: skip
def test_lanes_of_a_warp_exchange_values(expression: str, expected: np.ndarray) -> None:
    y = array(np.zeros(64))

    launch(kernel(f"const T v = threadIdx.x; y[threadIdx.x] = {expression};", "T* y"), y, threads=64)

    np.testing.assert_array_equal(y.get(), expected)


@pytest.mark.parametrize("threads", [32, 96, 256, 1024])
@pytest.mark.parametrize("function", ["block_sum", "block_sum_all"])
def test_block_sums_are_sums(function: str, threads: int) -> None:
    source = cuda._INCLUDE.sub("", (cuda.FOLDER / "common.cuh").read_text()) + (
        "template <typename T> __global__ void f(const T* x, T* y) {"
        "__shared__ Pair<T> shared[32]; const T v = x[threadIdx.x];"
        f"const Pair<T> sum = {function}(Pair<T>{{v, v * v}}, shared);"
        "y[threadIdx.x] = threadIdx.x % 2 ? sum.second : sum.first; }"
    )
    values = np.arange(threads) % 11
    x, y = array(values), array(np.zeros(threads))

    launch(source, x, y, threads=threads)

    seen = y.get()
    assert seen[0] == values.sum()
    if function == "block_sum_all":
        assert (seen[::2] == values.sum()).all()
        assert (seen[1::2] == (values**2).sum()).all()


def test_half_types_convert_as_numpy_does() -> None:
    values = np.array(
        [0, -0.0, 1, 1 / 3, 65504, 65519.9, 65520, 1e9, 6e-8, 2.9e-8, 1e-4, -2.5e-6, np.inf, np.nan]
    )
    source = (cuda.FOLDER / "common.cuh").read_text() + (
        "template <typename T> __global__ void f(const float* x, T* y) {"
        "store(y + threadIdx.x, x[threadIdx.x]); }"
    )
    y = emulated_cupy.empty(len(values), np.float16)

    launch(source, array(values), y, threads=len(values), types="__half")

    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y.get(), values.astype("f4").astype("f2"))


def test_half_types_read_back_as_they_are() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    source = (cuda.FOLDER / "common.cuh").read_text() + (
        "template <typename T> __global__ void f(const T* x, float* y) {"
        "y[thread_index()] = load(x + thread_index()); }"
    )
    y = emulated_cupy.empty(65536, np.float32)

    launch(source, emulated_cupy.asarray(bits.view("f2")), y, blocks=64, threads=1024, types="__half")

    np.testing.assert_array_equal(y.get(), bits.view("f2").astype("f4"))


# --- what it refuses ---


def refused(match: str, source: str, *args: Any, **options: Any) -> None:
    with pytest.raises(EmulationError, match=match):
        launch(source, *args, **options)


def test_a_barrier_that_some_threads_miss_is_an_error() -> None:
    refused(
        "not all threads reach a barrier", kernel("if (threadIdx.x < 7) __syncthreads();", "T* x"), array([0])
    )


def test_threads_at_different_barriers_are_an_error() -> None:
    body = "if (threadIdx.x < 7)\n __syncthreads();\n else\n __syncthreads();"

    refused("not all threads reach a barrier", kernel(body, "T* x"), array([0]))


def test_a_shuffle_that_some_lanes_of_its_mask_miss_is_an_error() -> None:
    body = "if (threadIdx.x < 7) x[0] = __shfl_xor_sync(~0u, x[0], 1); __syncthreads();"

    refused("not all threads reach", kernel(body, "T* x"), array([0]))


def test_reading_a_lane_that_takes_no_part_is_an_error() -> None:
    refused("takes no part", kernel("x[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 4);", "T* x"),
            array(np.zeros(12)), threads=12)  # fmt: skip


def test_a_mask_without_the_caller_is_an_error() -> None:
    refused("does not name itself", kernel("__syncwarp(1);", "T* x"), array([0]))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"threads": 1025}, "1024 is the most"),
        ({"threads": (1, 1, 65)}, "1024 is the most"),
        ({"threads": 0}, "no threads"),
        ({"blocks": 0}, "no threads"),
        ({"blocks": (1, 70000)}, "more than a device takes"),
        ({"shared": 48 * 1024 + 1}, "shared memory"),
    ],
)
def test_a_launch_that_no_device_takes_is_an_error(options: dict[str, Any], match: str) -> None:
    refused(match, kernel("", "T* x"), array([0]), **options)


def test_static_and_dynamic_shared_memory_count_together() -> None:
    source = kernel("__shared__ T a[10000]; a[threadIdx.x] = x[0]; x[0] = a[0];", "T* x")

    refused(r"400\d\d of them static", source, array([0]), shared=10000)


def test_launch_bounds_are_kept() -> None:
    source = "template <typename T> __global__ void __launch_bounds__(64) f(T* x) {}"

    refused("launch bounds say 64", source, array([0]), threads=65)


def test_writing_behind_shared_memory_is_an_error() -> None:
    source = kernel("DYNAMIC_SHARED(T, s); s[blockDim.x] = 1;", "T* x")

    refused("behind its dynamic shared memory", source, array([0]), shared=32 * 4)


@pytest.mark.parametrize("index", [-1, 5])
def test_writing_beside_an_array_is_an_error(index: int) -> None:
    refused("writes beside an array", kernel(f"x[{index}] = 1;", "T* x"), array(np.zeros(5)))


def test_memory_is_not_zero_at_first() -> None:
    source = kernel("__shared__ T s[32]; x[threadIdx.x] = s[threadIdx.x];", "T* x")
    x = array(np.zeros(32))

    launch(source, x)

    assert np.isnan(x.get()).all()
    assert np.isnan(emulated_cupy.empty(5, F4).get()).all()


@pytest.mark.parametrize(
    "args",
    [
        ((3.0, 0.5), "is float64, the kernel takes an index_t"),
        ((3, 2), "is int64, the kernel takes a double"),
        ((3,), "takes 3 arguments, given 2"),
        ((None, 0.5), "is int64, the kernel takes an index_t|intp"),
    ],
)
def test_arguments_of_another_kind_are_errors(args: tuple[Any, str]) -> None:
    values, match = args
    if values[0] is None:
        values, match = (np.zeros(3), 0.5), "Unsupported type"

    with pytest.raises((TypeError, EmulationError), match=match):
        launch(kernel("", "T* x, index_t n, double a"), array([0]), *values)


def test_arrays_of_another_type_or_from_the_host_are_errors() -> None:
    source = kernel("x[0] = 1;", "T* x")

    with pytest.raises(TypeError, match="is float64, the kernel takes float32"):
        launch(source, array([0], "f8"))
    with pytest.raises(TypeError, match="Unsupported type"):
        launch(source, np.zeros(3, "f4"))
    with pytest.raises(ValueError, match="not C-contiguous"):
        launch(source, array(np.zeros((3, 4))).T)


def test_a_source_that_does_not_compile_names_file_and_kernel() -> None:
    device = Device(0, emulated_cupy)  # type: ignore[arg-type]  # stands in for the module
    family = next(path.stem for path in cuda.FOLDER.glob("*.cu"))

    with pytest.raises(DeviceError, match=rf"{family}\.cu: kernel no_such_kernel<float> does not compile"):
        device.kernel(family, "no_such_kernel", F4)


def test_host_and_device_arrays_do_not_mix() -> None:
    device, host = array([1, 2]), np.ones(2, "f4")

    for wrong in (
        lambda: emulated_cupy.add(device, host, out=device),
        lambda: emulated_cupy.add(device, device, out=host),
        lambda: device + host,
        lambda: host + device,
        lambda: np.asarray(device),
        lambda: device.__setitem__(..., host),
        lambda: emulated_cupy.multiply(device, 2, out=device, where=device),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="cannot be used for copyto"):
        emulated_cupy.copyto(device, host)


def test_transfers_and_waits_are_counted() -> None:
    emulated_cupy.events.clear()

    x = array([1, 2])
    float(emulated_cupy.sum(x))
    x.get()

    counts = {name: emulated_cupy.events[name] for name in ("to_device", "to_host", "synchronise")}
    assert counts == {"to_device": 1, "to_host": 2, "synchronise": 2}


# --- mutations: a broken kernel does not pass ---


def test_a_changed_index_and_a_missing_barrier_change_the_result() -> None:
    expected = np.arange(64)[::-1]
    wrong = {
        "index": REVERSE.replace("blockDim.x - 1 -", "blockDim.x - 2 + (threadIdx.x == 63) -"),
        "barrier": REVERSE.replace("__syncthreads();", ""),
    }

    for name, body in wrong.items():
        x, y = array(np.arange(64)), array(np.zeros(64))
        launch(kernel(body), x, y, threads=64)
        assert (y.get() != expected).any(), name


def test_without_the_first_barrier_of_a_sum_the_next_one_goes_wrong() -> None:
    text = (cuda.FOLDER / "common.cuh").read_text()
    body = (
        "template <typename T> __global__ void f(const T* x, T* y) { __shared__ T shared[32];"
        "const T v = x[threadIdx.x], a = block_sum_all(v, shared), b = block_sum_all(v * v, shared);"
        "y[threadIdx.x] = a + 1000 * b; }"
    )
    broken = re.sub(r"__syncthreads\(\);  // until nobody reads[^\n]*", "", text)
    assert broken != text
    values = np.arange(256) % 7
    expected = values.sum() + 1000 * (values**2).sum()

    results = {}
    for name, source in (("right", text), ("broken", broken)):
        results[name] = []
        for _ in range(8):  # the order of threads differs from launch to launch
            y = array(np.zeros(256))
            launch(source + body, array(values), y, threads=256)
            results[name].append(bool((y.get() == expected).all()))

    assert all(results["right"])
    assert not all(results["broken"])


# --- with the sanitizers ---

_SANITIZED = """
import sys
import numpy as np
from emulation import emulated_cupy
sys.path.insert(0, {here!r})
import test_emulation as tests
tests.test_threads_meet_at_a_barrier()
tests.test_block_sums_are_sums("block_sum_all", 256)
print("right kernels ran", flush=True)
body = "__shared__ T s[32]; s[threadIdx.x] = x[0]; __syncthreads(); x[{index}] = s[0];"
tests.launch(tests.kernel(body, "T* x"), tests.array(np.zeros(5)))
print("not caught", flush=True)
"""


def _run_sanitized(script: str) -> subprocess.CompletedProcess[str]:
    tests = Path(__file__).parent.parent
    libasan = subprocess.run(
        [driver.compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(libasan).is_file():
        pytest.skip("the C++ compiler has no address sanitizer here")
    environment = {
        **os.environ,
        "CAFFENORM_EMULATION_SANITIZE": "1",
        "LD_PRELOAD": libasan,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent), *sys.path]),
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD of libasan")
@pytest.mark.parametrize(("index", "caught"), [(4, False), (5, True), (-1, True)])
def test_the_address_sanitizer_knows_the_threads_stacks_and_catches_a_wild_write(
    index: int, caught: bool
) -> None:
    done = _run_sanitized(_SANITIZED.format(here=str(Path(__file__).parent), index=index))

    assert "right kernels ran" in done.stdout, done.stderr[-2000:]
    assert ("AddressSanitizer" in done.stderr) == caught
    assert ("not caught" in done.stdout) != caught
