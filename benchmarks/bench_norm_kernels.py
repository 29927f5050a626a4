"""The ops of batch normalisation, shape by shape, against PyTorch's kernels and a copy of the tensor.

usage: python benchmarks/bench_norm_kernels.py [--threads 2] [--rounds 12] [--ops train,backward,test]

One process; the sides take turns, each in bursts of a few milliseconds so that it finds its own caches and
its threads awake, and the best call of all rounds counts. Ratios above 1 mean that caffenorm is faster.
PyTorch is left out where it is not installed. Threads are bound to processors for both sides: some systems
else put two of them on one.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("OMP_PROC_BIND", "true")  # read when the first library starts its threads

import numpy as np
from numpy.typing import NDArray

from caffenorm import _kernels
from caffenorm.backends.cpu import CpuOps

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
EPS = 1e-5
BURST = 3e-3  # seconds

Array = NDArray[Any]  # float32 or float64
Call = Callable[[], object]


def burst(call: Call) -> float:
    """Seconds of the fastest of a few milliseconds' calls, after one that does not count."""
    call()
    best, start = math.inf, time.perf_counter()
    while True:
        before = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - before)
        if now - start > BURST:
            return best


def take_turns(calls: list[Call], rounds: int) -> list[float]:
    """Milliseconds of the fastest call of each side."""
    best = [math.inf] * len(calls)
    for _ in range(rounds):
        best = [min(known, burst(call)) for known, call in zip(best, calls, strict=True)]
    return [1e3 * seconds for seconds in best]


class Arrays:
    """What the ops of one shape work on, arrays that start on a cache line as those of nets do."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], ops: CpuOps) -> None:
        rng = np.random.default_rng(0)
        self.shape = shape
        self.view = (shape[0], shape[1], math.prod(shape[2:]))
        self.x, self.dy, self.y, self.dx, self.x_hat = (
            ops.empty(math.prod(shape), dtype).reshape(self.view) for _ in range(5)
        )
        self.x[...], self.dy[...] = rng.normal(1, 2, self.view), rng.normal(0, 1, self.view)
        self.gamma = rng.uniform(0.5, 2, shape[1]).astype(dtype)
        self.beta = rng.normal(0, 1, shape[1]).astype(dtype)
        self.mean, self.var, self.inv_std = (np.zeros(shape[1], dtype) for _ in range(3))
        self.dgamma, self.dbeta = (np.zeros(shape[1], dtype) for _ in range(2))
        ops.batch_norm_train(self.x, self.y, self.mean, self.var, self.inv_std, EPS, x_hat=self.x_hat)


def our_ops(a: Arrays, ops: CpuOps) -> dict[str, Call]:
    """Ours, by name."""
    forward: dict[str, Any] = {"gamma": a.gamma, "beta": a.beta}  # Any: arrays and a number
    backward: dict[str, Any] = {**forward, "dgamma": a.dgamma, "dbeta": a.dbeta}  # Any: the same
    train = (a.x, a.y, a.mean, a.var, a.inv_std, EPS)
    back = (a.x, a.dy, a.dx, a.mean, a.inv_std)
    return {
        "train": lambda: ops.batch_norm_train(*train, **forward),
        "backward": lambda: ops.batch_norm_backward(*back, **backward),
        "test": lambda: ops.batch_norm_apply(a.x, a.y, a.mean, a.inv_std, **forward),
        "train+relu": lambda: ops.batch_norm_train(*train, **forward, slope=0.0),
        "backward+relu": lambda: ops.batch_norm_backward(*back, **backward, slope=0.0),
        "train+x_hat": lambda: ops.batch_norm_train(*train, **forward, x_hat=a.x_hat),
        "statistics": lambda: ops.batch_norm_statistics(a.x, a.mean, a.var),
        "scale": lambda: ops.scale_channels(a.x, a.gamma, a.y, a.beta),
        "sum": lambda: ops.channel_sum(a.x, a.dbeta, False),
        "dot": lambda: ops.channel_dot(a.x, a.dy, a.dgamma, False),
    }


def torch_ops(a: Arrays) -> dict[str, Call]:
    """PyTorch's kernels on the same arrays, without autograd."""
    x, dy = (torch.from_numpy(array.reshape(a.shape)) for array in (a.x, a.dy))
    gamma, beta, mean, var = (torch.from_numpy(array.copy()) for array in (a.gamma, a.beta, a.mean, a.var))
    aten, axes, ones = torch.ops.aten, [0, *range(2, len(a.shape))], [1] * (len(a.shape) - 2)
    _, save_mean, save_inv_std = aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, EPS)
    statistics = (mean, var, save_mean, save_inv_std)
    factor, offset = gamma.view(-1, *ones), beta.view(-1, *ones)

    def train() -> Any:  # Any: a tensor
        return aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, EPS)[0]

    def backward(g: Any) -> Any:  # Any: tensors
        return aten.native_batch_norm_backward(g, x, gamma, *statistics, True, EPS, [True] * 3)

    return {
        "train": train,
        "backward": lambda: backward(dy),
        "test": lambda: aten.native_batch_norm(x, gamma, beta, mean, var, False, 0.1, EPS),
        "train+relu": lambda: torch.relu_(train()),
        "backward+relu": lambda: backward(aten.threshold_backward(dy, x, 0)),
        "statistics": lambda: torch.var_mean(x, axes),
        "scale": lambda: torch.addcmul(offset, x, factor),
        "sum": lambda: x.sum(axes),
        "dot": lambda: (x * dy).sum(axes),
    }


def copier(a: Arrays, threads: int, pool: ThreadPoolExecutor) -> Call:
    """A copy of the tensor by that many threads: PyTorch's, or NumPy's in Python's threads."""
    if torch is not None:
        x, y = torch.from_numpy(a.x), torch.from_numpy(a.y)
        return lambda: y.copy_(x)
    x_flat, y_flat = a.x.reshape(-1), a.y.reshape(-1)
    size = -(-a.x.size // threads)
    parts = [(y_flat[i : i + size], x_flat[i : i + size]) for i in range(0, a.x.size, size)]
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), parts))


Row = tuple[str, str, list[float]]


def rows(names: list[str], dtype: np.dtype[Any], threads: int, rounds: int) -> Iterator[Row]:
    """Shape, op, and milliseconds of ours, the copy and, where it has the op, PyTorch."""
    ops = CpuOps(threads)
    with ThreadPoolExecutor(threads) as pool:
        for shape in SHAPES:
            arrays = Arrays(shape, dtype, ops)
            ours, theirs = our_ops(arrays, ops), torch_ops(arrays) if torch is not None else {}
            for name in names or ours:
                calls = [ours[name], copier(arrays, threads, pool)]
                calls += [theirs[name]] if name in theirs else []
                yield "x".join(map(str, shape)), name, take_turns(calls, rounds)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Ops of batch normalisation against PyTorch and a copy.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--ops", default="", help="names of ops, separated by commas; all by default")
    parser.add_argument("--dtype", default="f4", choices=["f4", "f8"])
    args = parser.parse_args()
    version = "no PyTorch"
    if torch is not None:
        torch.set_num_threads(args.threads)
        torch.set_grad_enabled(False)
        version = f"PyTorch {torch.__version__}"
    print(f"{_kernels.build_name()}, {version}, {args.threads} threads, {args.dtype}")
    print("         shape             op   ours ms  torch ms   copy ms  vs torch  of copy")
    ratios: dict[str, list[float]] = {}
    names = [name for name in args.ops.split(",") if name]
    for shape, name, (ours, copy, *theirs) in rows(names, np.dtype(args.dtype), args.threads, args.rounds):
        known = f"{theirs[0]:9.4f}" if theirs else f"{'-':>9}"
        ratio = f"{theirs[0] / ours:9.2f}" if theirs else f"{'-':>9}"
        line = f"{shape:>14} {name:>14} {ours:9.4f} {known} {copy:9.4f} {ratio} {ours / copy:8.2f}"
        print(line, flush=True)
        if theirs:
            ratios.setdefault(name, []).append(theirs[0] / ours)
    for name, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{name}: geometric mean {mean:.2f} times PyTorch, worst {min(values):.2f}")


if __name__ == "__main__":
    main()
