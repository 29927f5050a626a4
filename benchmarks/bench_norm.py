"""BatchNorm + Scale against PyTorch, Caffe and a copy of the tensor, at the level of whole nets.

usage: python benchmarks/bench_norm.py [--threads 2] [--seconds 1.0] [--plot docs/bench_norm.svg] [--relu]

Everything runs in one process and in turn: ours, PyTorch's, the copy, then again, so that a busy machine
slows all
of them. Times are medians. Ratios above 1 mean that caffenorm is faster. PyTorch is left out where it is not
installed. BVLC Caffe is not run here: its ratio to PyTorch was measured once, on another machine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import caffenorm
from caffenorm import Net, _kernels

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

SHAPES = (
    (32, 64, 56, 56),
    (8, 64, 112, 112),
    (64, 128, 28, 28),
    (32, 256, 14, 14),
    (32, 2048, 7, 7),
    (256, 512, 1, 1),
    (1, 64, 112, 112),
)
# How many times PyTorch's time BVLC Caffe 1.0 (OpenBLAS) takes: training forward, backward, TEST forward.
# Measured
# on one machine of two AVX-512 cores with both: 11.2, 14.3, 8.1 ms against 4.7, 2.35, 0.52; 1.0 against 0.03.
CAFFE_OF_TORCH = {
    (32, 64, 56, 56): (11.2 / 4.7, 14.3 / 2.35, 8.1 / 0.52),
    (256, 512, 1, 1): (1.0 / 0.03, None, None),
}
KINDS = ("train forward", "backward", "test forward")


@dataclass(frozen=True)
class Row:
    """One shape and pass: milliseconds."""

    shape: tuple[int, ...]
    kind: str
    ours: float
    torch: float | None
    copy: float

    @property
    def ratio(self) -> float | None:
        """How many times faster than PyTorch."""
        return None if self.torch is None else self.torch / self.ours

    @property
    def caffe_ratio(self) -> float | None:
        """How many times faster than Caffe, by way of PyTorch, where that is known."""
        known = CAFFE_OF_TORCH.get(self.shape, (None, None, None))[KINDS.index(self.kind)]
        return None if known is None or self.ratio is None else known * self.ratio


def net_of(shape: tuple[int, ...], phase: int, relu: bool) -> Net:
    """Input, BatchNorm, Scale (and ReLU), the latter in place on BatchNorm's top, as prototxts have them."""
    dims = " ".join(f"dim: {d}" for d in shape)
    text = "force_backward: true "
    text += f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    text += 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }'
    text += 'layer { name: "s" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true } }'
    if relu:
        text += 'layer { name: "r" type: "ReLU" bottom: "y" top: "y" }'
    net = Net.from_text(text, phase)
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(1, 2, shape)
    net.blobs["y"].diff[...] = np.random.default_rng(1).normal(0, 1, shape)
    if phase == caffenorm.TEST:
        for index, value in enumerate((1.0, 4.0, 1.0)):
            net.params["bn"][index].data[...] = value
    return net


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copier(shape: tuple[int, ...], threads: int, pool: ThreadPoolExecutor) -> Callable[[], object]:
    """A copy of such a tensor by that many threads."""
    source = np.random.default_rng(2).normal(size=math.prod(shape)).astype("f4")
    target = np.empty_like(source)
    if source.size < 1 << 16:
        return lambda: np.copyto(target, source)
    cuts = [len(source) * i // threads for i in range(threads + 1)]
    parts = [(target[a:b], source[a:b]) for a, b in pairwise(cuts)]
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), parts))


class TorchNorm:
    """PyTorch's module on the same numbers."""

    def __init__(self, net: Net, relu: bool) -> None:
        shape = net.blobs["x"].shape
        self.module = torch.nn.BatchNorm2d(shape[1])
        self.relu = relu
        self.x = torch.from_numpy(net.blobs["x"].data.copy())
        self.dy = torch.from_numpy(net.blobs["y"].diff.copy())
        self.leaf = self.x.clone().requires_grad_()

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        y = self.module(x)
        return torch.relu_(y) if self.relu else y

    def train(self) -> None:
        """Training forward, with what backward needs kept, as ours has it."""
        self.module.train()
        self.result = self.run(self.leaf)

    def backward(self) -> None:
        """Backward of the last training forward."""
        self.leaf.grad = None
        self.result.backward(self.dy)

    def test(self) -> None:
        """Forward with stored statistics."""
        self.module.eval()
        with torch.no_grad():
            self.run(self.x)


def measure(
    shape: tuple[int, ...], limit: float, threads: int, relu: bool, pool: ThreadPoolExecutor
) -> list[Row]:
    """The three passes of one shape, everything in turn until the time is up."""
    train, test = net_of(shape, caffenorm.TRAIN, relu), net_of(shape, caffenorm.TEST, relu)
    theirs = None if torch is None else TorchNorm(train, relu)
    copy = copier(shape, threads, pool)
    times: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds(work))

    start, rounds = time.perf_counter(), 0
    while rounds < 10 or time.perf_counter() - start < limit:
        note("ours train forward", train.forward)
        note("ours backward", train.backward)
        note("ours test forward", test.forward)
        note("copy", copy)
        if theirs is not None:
            note("torch train forward", theirs.train)
            note("torch backward", theirs.backward)
            note("torch test forward", theirs.test)
        rounds += 1
    middle = {name: statistics.median(values[3:]) * 1e3 for name, values in times.items()}
    return [
        Row(shape, kind, middle[f"ours {kind}"], middle.get(f"torch {kind}"), middle["copy"])
        for kind in KINDS
    ]


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def shown(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def report(rows: list[Row]) -> None:
    """The table, and the figures that sum it up."""
    heads = ("shape", "pass", "ours ms", "torch ms", "copy ms", "vs torch", "of copy", "vs Caffe")
    widths = (16, 14, 9, 9, 9, 9, 8, 9)
    print(" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for row in rows:
        of_copy = row.ours / row.copy
        cells = ["x".join(map(str, row.shape)), row.kind, f"{row.ours:.3f}", shown(row.torch, 3)]
        cells += [f"{row.copy:.3f}", shown(row.ratio), f"{of_copy:.2f}", shown(row.caffe_ratio, 1)]
        print(" ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    for kind in KINDS:
        ratios = [row.ratio for row in rows if row.kind == kind and row.ratio is not None]
        if ratios:
            print(
                f"{kind}: geometric mean {geometric_mean(ratios):.2f} times PyTorch, worst {min(ratios):.2f}"
            )


def plot(rows: list[Row], path: str) -> None:
    """Bars of the ratios to PyTorch (extra `plot`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4))
    shapes = [shape for shape in SHAPES if any(row.shape == shape for row in rows)]
    for i, kind in enumerate(KINDS):
        heights = [next(r.ratio or 0 for r in rows if r.shape == s and r.kind == kind) for s in shapes]
        places = [k + (i - 1) * 0.27 for k in range(len(shapes))]
        bars = axes.bar(places, heights, 0.25, label=kind)
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=1)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(shapes)), ["x".join(map(str, s)) for s in shapes], fontsize=8)
    axes.set_ylabel("times as fast as PyTorch")
    axes.set_title("BatchNorm + Scale, float32, two threads")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    print(f"{path} is written")


def overhead() -> None:
    """What Python costs: a net of many small layers."""
    layers = 100
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 2 dim: 2 } } }'
    for i in range(layers):
        text += f'layer {{ name: "l{i}" type: "BatchNorm" bottom: "x" top: "x" }}'
    net = Net.from_text(text, caffenorm.TEST)
    net.forward()
    took = min(seconds(net.run_forward) for _ in range(200)) / layers
    text = text.replace("BatchNorm", "ReLU")
    net = Net.from_text(text, caffenorm.TEST)
    net.forward()
    relu = min(seconds(net.run_forward) for _ in range(200)) / layers
    print(f"a layer on a tensor of 16 values: BatchNorm {took * 1e6:.1f}, ReLU {relu * 1e6:.1f} microseconds")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each shape")
    parser.add_argument("--relu", action="store_true", help="a ReLU behind it, here and in PyTorch")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    caffenorm.set_num_threads(options.threads)
    if torch is not None:
        torch.set_num_threads(options.threads)
    version = "not installed" if torch is None else torch.__version__
    print(
        f"caffenorm {caffenorm.__version__} ({_kernels.build_name()}), PyTorch {version}, "
        f"{options.threads} threads, float32"
    )
    rows: list[Row] = []
    with ThreadPoolExecutor(options.threads) as pool:
        for shape in SHAPES:
            rows += measure(shape, options.seconds, options.threads, options.relu, pool)
    report(rows)
    overhead()
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
