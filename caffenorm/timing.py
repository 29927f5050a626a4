"""How long every layer of a net takes, forward and backward."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from caffenorm.blob import Blob
from caffenorm.net import Net


@dataclass(frozen=True)
class LayerTime:
    """One layer: milliseconds a pass, the median over all iterations; None where it has no backward."""

    name: str
    type: str
    forward_ms: float
    backward_ms: float | None


@dataclass(frozen=True)
class NetTime:
    """A net: its layers one by one, and the whole as it runs with chains fused.

    Attributes:
        forward_ms, backward_ms: of the whole net, fused where possible; backward is None where nothing needs
            it.
    """

    layers: tuple[LayerTime, ...]
    forward_ms: float
    backward_ms: float | None
    iterations: int


def measure(
    net: Net, iterations: int = 20, *, warm_up: int = 2, tick: Callable[[], object] = lambda: None
) -> NetTime:
    """Run a net on random inputs and measure.

    Args:
        net: inputs that are all zero are filled with random numbers.
        iterations: how many times every layer runs.
        warm_up: runs that are not counted. tick: called after each iteration.
    """
    for name in net.inputs:
        _fill_if_zero(net.blobs[name])
    backward = any(step.needs_backward for step in net.steps)
    whole_forward, whole_backward = [], []
    for iteration in range(warm_up + iterations):
        took = _seconds(net, net.run_forward)
        took_back = _seconds(net, net.run_backward) if backward else 0.0
        if iteration >= warm_up:
            whole_forward.append(took)
            whole_backward.append(took_back)
    forward: list[list[float]] = [[] for _ in net.steps]
    back: list[list[float]] = [[] for _ in net.steps]
    net.run_forward(0, 0)  # leaves the fused plan
    for iteration in range(warm_up + iterations):
        for i in range(len(net.steps)):
            took = _seconds(net, partial(net.run_forward, i, i))
            if iteration >= warm_up:
                forward[i].append(took)
        for i in reversed(range(len(net.steps))) if backward else ():
            if net.steps[i].needs_backward:
                took = _seconds(net, partial(net.run_backward, i, i))
                if iteration >= warm_up:
                    back[i].append(took)
        if iteration >= warm_up:
            tick()
    layers = tuple(
        LayerTime(
            step.layer.name, step.layer.type, _median_ms(forward[i]), _median_ms(back[i]) if back[i] else None
        )
        for i, step in enumerate(net.steps)
    )
    return NetTime(
        layers, _median_ms(whole_forward), _median_ms(whole_backward) if backward else None, iterations
    )


def _fill_if_zero(blob: Blob) -> None:
    data = blob.data
    if data.ndim > 1 and not data.any():
        data[...] = np.random.default_rng(0).standard_normal(data.shape)


def _seconds(net: Net, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    net.wait()
    return time.perf_counter() - start


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3
