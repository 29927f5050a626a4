"""BatchNorm + Scale (+ ReLU) in training on a GPU against PyTorch (cuDNN) and against a copy on the device.

usage: python benchmarks/bench_gpu.py [--device 0] [--rounds 30] [--relu] [--shapes first|all]

Everything runs in one process and in turn: ours, PyTorch's, then again. Each figure is the median of
rounds; a round is a queue of calls on inputs that together exceed the second-level cache four times, timed by
events behind a kernel that waits until the queue is filled, so that the host's time does not count. PyTorch
runs F.batch_norm (and relu) with gradients by autograd, channels first. "of copy" is the bandwidth of the
bytes that a pass cannot do without (forward: read x, write y; backward: read x and dy, write dx) as a share
of that of a large copy. Ratios above 1 mean that caffenorm is faster. PyTorch is left out where it is not
installed or sees no GPU. Without a GPU or CuPy the script says so and exits with status 1.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import caffenorm
from caffenorm.backends.gpu import GpuOps
from caffenorm.errors import DeviceError, MissingExtraError

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

FIRST_SHAPES = ((64, 64, 112, 112), (32, 256, 56, 56), (128, 512, 28, 28), (16, 2048, 7, 7))
MORE_SHAPES = (
    *((1, 64, 112, 112), (64, 16, 56, 56), (8, 3, 512, 512), (32, 1024, 14, 14), (64, 192, 35, 35)),
    *((256, 512, 7, 7), (2, 1, 1024, 1024), (256, 512, 1, 1), (4096, 64, 1, 1)),
)
DTYPES = ("float32", "float16")
EPS = 1e-5
COPY_BYTES = 1 << 30
MOST_COPIES = 64
WAIT = """
extern "C" __global__ void wait(long long cycles) {
    for (long long start = clock64(); clock64() - start < cycles;) {}
}
"""
WAIT_CYCLES = 20_000_000  # about 10 ms: the host has filled the queue by then


@dataclass(frozen=True)
class Row:
    """One shape, dtype and pass; seconds of one call, and the device's copy bandwidth in bytes a second."""

    shape: tuple[int, ...]
    dtype: str
    kind: str
    ours: float
    torch: float | None
    copy: float

    @property
    def needed_bytes(self) -> int:
        """What the pass has to move."""
        arrays = 2 if self.kind == "forward" else 3
        return arrays * math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def bandwidth(self) -> float:
        """Of these bytes."""
        return self.needed_bytes / self.ours

    @property
    def ratio(self) -> float | None:
        """How many times faster than PyTorch."""
        return None if self.torch is None else self.torch / self.ours


def copies_of(nbytes: int, l2_bytes: int) -> int:
    """Inputs of that size that together exceed the cache four times."""
    return max(2, min(MOST_COPIES, -(-4 * l2_bytes // nbytes)))


class Ours:
    """One shape's arrays, and our passes over them as a net with fused layers runs them."""

    def __init__(self, ops: GpuOps, shape: tuple[int, ...], dtype: str, relu: bool) -> None:
        xp, channels = ops.xp, shape[1]
        self.ops = ops
        self.view = (shape[0], channels, math.prod(shape[2:]))
        rng = np.random.default_rng(0)
        host = rng.normal(1, 2, self.view).astype(dtype), rng.normal(size=self.view).astype(dtype)
        self.x, self.dy = xp.asarray(host[0]), xp.asarray(host[1])
        self.y, self.dx = xp.empty(self.view, dtype=dtype), xp.empty(self.view, dtype=dtype)
        kind = np.float32
        gamma, beta = xp.ones(channels, dtype=kind), xp.zeros(channels, dtype=kind)
        self.parameters: dict[str, Any] = {"gamma": gamma, "beta": beta, "slope": 0.0 if relu else None}
        self.mean, self.var, self.inv_std = (xp.empty(channels, dtype=kind) for _ in range(3))
        self.stored = [xp.zeros(channels, dtype=kind) for _ in range(2)] + [xp.zeros(1, dtype=kind)]
        self.dgamma, self.dbeta = xp.zeros(channels, dtype=kind), xp.zeros(channels, dtype=kind)

    def forward(self) -> None:
        """y, and the stored statistics."""
        self.ops.batch_norm_train(
            *(self.x, self.y, self.mean, self.var, self.inv_std, EPS),
            **self.parameters,
        )
        self.ops.store_statistics(self.mean, self.var, *self.stored, 0.9)

    def backward(self) -> None:
        """dx, dgamma and dbeta."""
        self.ops.batch_norm_backward(
            *(self.x, self.dy, self.dx, self.mean, self.inv_std),
            **self.parameters,
            dgamma=self.dgamma,
            dbeta=self.dbeta,
        )


class Theirs:
    """PyTorch's passes over the same numbers, without a copy of them."""

    def __init__(self, ours: Ours, shape: tuple[int, ...], relu: bool) -> None:
        self.relu, channels = relu, shape[1]
        self.x = torch.from_dlpack(ours.x).reshape(shape).requires_grad_()
        self.dy = torch.from_dlpack(ours.dy).reshape(shape)
        place = {"device": self.x.device, "dtype": torch.float32}
        self.weight = torch.ones(channels, **place).requires_grad_()
        self.bias = torch.zeros(channels, **place).requires_grad_()
        self.running = torch.zeros(channels, **place), torch.ones(channels, **place)
        self.result = None

    def forward(self) -> None:
        """y with what backward needs kept."""
        y = torch.nn.functional.batch_norm(self.x, *self.running, self.weight, self.bias, True, 0.1, EPS)
        self.result = torch.relu_(y) if self.relu else y

    def backward(self) -> None:
        """dx, dgamma and dbeta."""
        wanted = (self.x, self.weight, self.bias)
        torch.autograd.grad(self.result, wanted, self.dy, retain_graph=True)


class Clock:
    """Times queues of calls by events on the current stream."""

    def __init__(self, ops: GpuOps) -> None:
        self.cuda = ops.xp.cuda
        self.wait = ops.xp.RawKernel(WAIT, "wait")

    def seconds(self, calls: list[Callable[[], None]]) -> float:
        """Of one call."""
        start, end = self.cuda.Event(), self.cuda.Event()
        self.wait((1,), (1,), (np.int64(WAIT_CYCLES),))
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        return float(self.cuda.get_elapsed_time(start, end)) * 1e-3 / len(calls)


def copy_bandwidth(ops: GpuOps, clock: Clock, rounds: int) -> float:
    """Bytes read and written a second by the device's own copy."""
    source = ops.xp.zeros(COPY_BYTES, dtype=np.uint8)
    target = ops.xp.empty_like(source)
    times = [clock.seconds([lambda: ops.xp.copyto(target, source)]) for _ in range(rounds + 3)]
    return 2 * COPY_BYTES / statistics.median(times[3:])


def measure(
    ops: GpuOps, clock: Clock, shape: tuple[int, ...], dtype: str, options: argparse.Namespace, copy: float
) -> list[Row]:
    """Both passes of one shape."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    count = copies_of(nbytes, ops.device.l2_bytes)
    ours = [Ours(ops, shape, dtype, options.relu) for _ in range(count)]
    theirs = [Theirs(one, shape, options.relu) for one in ours] if torch_sees_a_gpu() else []
    rows = []
    for kind in ("forward", "backward"):
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(options.rounds + 3):
            times["ours"].append(clock.seconds([getattr(one, kind) for one in ours]))
            if theirs:
                times["theirs"].append(clock.seconds([getattr(one, kind) for one in theirs]))
        middle = {name: statistics.median(values[3:]) for name, values in times.items() if values}
        rows.append(Row(shape, dtype, kind, middle["ours"], middle.get("theirs"), copy))
    return rows


def torch_sees_a_gpu() -> bool:
    """Whether there is something to compare with."""
    return torch is not None and bool(torch.cuda.is_available())


def report(rows: list[Row]) -> None:
    """The table, and the figures that sum it up."""
    heads = ("shape", "dtype", "pass", "ours us", "torch us", "vs torch", "GB/s", "of copy")
    widths = (16, 8, 9, 9, 9, 9, 7, 8)
    print(" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for row in rows:
        theirs = "-" if row.torch is None else f"{row.torch * 1e6:.1f}"
        cells = ["x".join(map(str, row.shape)), row.dtype, row.kind, f"{row.ours * 1e6:.1f}", theirs]
        cells += ["-" if row.ratio is None else f"{row.ratio:.2f}", f"{row.bandwidth * 1e-9:.0f}"]
        cells += [f"{row.bandwidth / row.copy:.0%}"]
        print(" ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    for dtype in DTYPES:
        for kind in ("forward", "backward"):
            chosen = [row for row in rows if (row.dtype, row.kind) == (dtype, kind)]
            ratios = [row.ratio for row in chosen if row.ratio is not None]
            if ratios:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                print(f"{dtype} {kind}: geometric mean {mean:.2f} times PyTorch, worst {min(ratios):.2f}")


def versions(ops: GpuOps, options: argparse.Namespace) -> str:
    """What is compared, and where."""
    theirs = "PyTorch is not installed"
    if torch is not None:
        theirs = f"PyTorch {torch.__version__}" + (
            f", cuDNN {torch.backends.cudnn.version()}" if torch_sees_a_gpu() else " (sees no GPU: left out)"
        )
    layers = "BatchNorm + Scale" + (" + ReLU" if options.relu else "")
    return (
        f"{ops.device.name}: {layers}, caffenorm {caffenorm.__version__}, CuPy {ops.xp.__version__}, {theirs}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--relu", action="store_true", help="a ReLU behind it, here and in PyTorch")
    parser.add_argument("--shapes", choices=("first", "all"), default="all")
    options = parser.parse_args(arguments)
    try:
        ops = GpuOps(options.device)
    except (MissingExtraError, DeviceError) as error:
        print(f"bench_gpu: nothing is measured: {error}", file=sys.stderr)
        return 1
    with ops.selected():
        run(ops, options)
    return 0


def run(ops: GpuOps, options: argparse.Namespace) -> None:
    """Measure and print."""
    if torch_sees_a_gpu():
        torch.cuda.set_device(options.device)
    clock: Any = Clock(ops)
    print(versions(ops, options))
    copy = copy_bandwidth(ops, clock, options.rounds)
    print(f"copy on the device: {copy * 1e-9:.0f} GB/s read and written")
    shapes = FIRST_SHAPES if options.shapes == "first" else FIRST_SHAPES + MORE_SHAPES
    rows: list[Row] = []
    for dtype in DTYPES:
        for shape in shapes:
            rows += measure(ops, clock, shape, dtype, options, copy)
    report(rows)


if __name__ == "__main__":
    sys.exit(main())
