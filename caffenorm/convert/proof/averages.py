"""BatchNorm's running statistics after a step, on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.convert.proof.figures import relative
from caffenorm.convert.proof.results import ValueCheck
from caffenorm.convert.proof.sides import Sides
from caffenorm.layers.batch_norm import BatchNorm

Array = NDArray[Any]  # Any: float64
_LIMIT = 1e-5
_STEADY = 1e-6  # how near its limit a BatchNorm's factor counts as converged
_DIGITS = 1e-4  # 1 - 0.999 is 1e-5 off where 0.999 is a float32, as it is in Caffe


@dataclass(frozen=True)
class Running:
    """A BatchNorm's sums before the step."""

    name: str
    layer: BatchNorm
    sums: tuple[Array, Array]
    factor: float


def statistics(sides: Sides) -> list[Running]:
    """The BatchNorms that become modules with running statistics."""
    found = []
    for part in sides.program.submodules:
        layer = sides.net.layer_dict[part.layers[0]]
        if "running_mean" in part.state and isinstance(layer, BatchNorm) and len(layer.blobs) >= 3:
            mean, var, factor = (blob.read().copy() for blob in layer.blobs[:3])
            if not layer.form.averages:
                found.append(Running(part.name, layer, (mean, var), float(factor.reshape(-1)[0])))
    return found


def statistics_after(sides: Sides, before: list[Running]) -> Iterator[ValueCheck]:
    """PyTorch's running statistics: the batch's that went into them, and how they differ from Caffe's."""
    state = sides.module.state_dict()
    memories = [id(running.layer.blobs[i].data_memory) for running in before for i in (0, 1)]
    shared = {memory for memory in memories if memories.count(memory) > 1}
    for running in before:
        fraction = running.layer.form.fraction
        factor = float(running.layer.blobs[2].read().reshape(-1)[0])
        momentum = 1 / factor if fraction == 1 else 1 - float(str(np.float32(fraction)))
        steady = fraction == 1 or abs(running.factor * (1 - fraction) - 1) < _STEADY
        for i, key in enumerate(("running_mean", "running_var")):
            name, after = f"{running.name}.{key}", running.layer.blobs[i].read()
            found = state[name].numpy().reshape(after.shape)
            batch = after - fraction * running.sums[i]
            old = running.sums[i] / running.factor if running.factor else 0 * batch
            of_batch = relative(batch, (found - (1 - momentum) * old) / momentum)
            off, limit, said = relative(after / factor, found), _DIGITS, ""
            if of_batch > _LIMIT:
                off, limit = of_batch, _LIMIT
            elif not steady and off > limit:
                said = _why_averages_differ(running, fraction)
            if off > limit and id(running.layer.blobs[i].data_memory) in shared:
                said = "several layers share these statistics in Caffe, and each adds its batch to them"
            caffe = f"{running.layer.name}[{i}] / {running.layer.name}[2]"
            yield ValueCheck(name, caffe, found.shape, "statistic", off, limit, said)


def _why_averages_differ(running: Running, fraction: float) -> str:
    return (
        f"Caffe's factor is {running.factor:g}, its limit {1 / (1 - fraction):g}: until it is there Caffe "
        "gives new batches more weight than PyTorch's momentum; the batch's statistics agree"
    )
