"""Whole nets on the GPU against the numbers that Caffe computed, and against numeric gradients.

The emulation runs a few cases a family, spread over the family's list; with CAFFENORM_EMULATE_ALL=1 all of
them. A device always runs all.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
from replay import build, by_step, replay, set_params

from caffenorm import check_gradients

ALL = bool(os.environ.get("CAFFENORM_EMULATE_ALL"))
EACH = 3  # cases a family
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def spread(paths: list[Path], count: int) -> list[Path]:
    """That many of them, first and last included."""
    if ALL or len(paths) <= count:
        return paths
    return [paths[i * (len(paths) - 1) // (count - 1)] for i in range(count)]


CASES = [path for family in golden.layer_families() for path in golden.paths(family)]
CHOSEN = [path for family in golden.layer_families() for path in spread(golden.paths(family), EACH)]

# Where there is no CuPy, a few skipped tests say so as well as thousands.
ON_DEVICE = CASES if importlib.util.find_spec("cupy") else CHOSEN


def on_both(chosen: list[Any], every: list[Any]) -> Any:
    """Parameters `gpu` and `path`: the chosen cases emulated, all of them on a device."""
    return pytest.mark.parametrize(
        ("gpu", "path"),
        [pytest.param("emulated", path, id=f"emulated-{golden.name(path)}") for path in chosen]
        + [
            pytest.param("device", path, id=f"device-{golden.name(path)}", marks=pytest.mark.gpu)
            for path in every
        ],
        indirect=["gpu"],
    )


@on_both(CHOSEN, ON_DEVICE)
@DTYPES
def test_numbers_are_caffes(gpu: Any, path: Path, dtype: Any) -> None:
    case = golden.load(path)

    replay(case, build(case, dtype, device="gpu"))


@on_both(spread(CHOSEN, 24), ON_DEVICE)
def test_numbers_are_caffes_when_every_layer_runs_by_itself(gpu: Any, path: Path) -> None:
    case = golden.load(path)

    replay(case, build(case, np.float32, device="gpu", fuse=False))


# One case of each kind of layer that has gradients of its own on the GPU.
GRADIENTS = [
    path
    for family in ("BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "LRN", "Pooling",
                   "PReLU", "Scale", "SoftmaxWithLoss")
    for path in spread([p for p in golden.paths(family) if golden.load(p).meta.get("backward")], 2)[:1]
]  # fmt: skip


@on_both(GRADIENTS, GRADIENTS)
def test_gradients_are_the_derivative(gpu: Any, path: Path) -> None:
    case = golden.load(path)
    net = build(case, np.float64, device="gpu")
    set_params(net, case.under("param"))
    inputs = by_step(case.under("in"))
    values = {**inputs[-1], **inputs.get(case.meta.get("forwards", 1) - 1, {})}
    for name, value in values.items():
        net.blobs[name].reshape(value.shape)
    net.reshape()

    report = check_gradients(net, inputs=values, samples=4)

    assert report.ok, str(report)
