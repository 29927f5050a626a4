"""Proof that a converted module computes what the Caffe net computes, blob by blob.

Both sides run in float64 on copies, where different orders of summation leave next to nothing: what differs
is a wrong rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm._extras import require
from caffenorm.convert.causes import explain
from caffenorm.convert.live import build_module
from caffenorm.convert.program import Describer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

TOLERANCE = (
    1e-6  # of a blob's largest value; float64 leaves 1e-12 where the rules are right, float32 constants 1e-7
)
_SEEDS = (0, 1)


@dataclass(frozen=True)
class BlobCheck:
    """One blob on both sides.

    Attributes:
        name: of the blob. layer: name of the Caffe layer that wrote it last. layer_type: its type.
        max_abs: largest difference. max_rel: that, over the blob's largest absolute value.
        problem: why it could not be compared (another shape), or empty.
    """

    name: str
    layer: str
    layer_type: str
    max_abs: float
    max_rel: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is the same within the tolerance."""
        return not self.problem and self.max_rel <= TOLERANCE


@dataclass(frozen=True)
class Verification:
    """All blobs that both sides have, in the order in which Caffe makes them; the worst of all inputs tried.

    Attributes:
        folded: blob name -> why the module has no such blob.
        cause: what would explain the first blob that departs, if it is something known; else empty.
    """

    blobs: tuple[BlobCheck, ...]
    folded: dict[str, str]
    cause: str = ""

    @property
    def first_difference(self) -> BlobCheck | None:
        """The first blob that departs, None if none does."""
        return next((check for check in self.blobs if not check.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every blob agrees."""
        return self.first_difference is None

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        return max((check.max_rel for check in self.blobs), default=0.0)

    def __str__(self) -> str:
        first = self.first_difference
        if first is None:
            worst = f"{self.worst:.1e} of a blob's largest value"
            return f"{len(self.blobs)} blobs agree; the largest difference is {worst}"
        why = first.problem or f"{first.max_rel:.3g} of its largest value away"
        writer = f'layer "{first.layer}" ({first.layer_type})'
        cause = f"; it is what comes out if {self.cause}" if self.cause else ""
        return f'the first blob that departs is "{first.name}", written by {writer}: {why}{cause}'


def copy_in_float64(net: Net) -> Net:
    """The same net and weights in double, every layer by itself, Dropout doing nothing."""
    message = schema.NetParameter()
    message.CopyFrom(net.net_param)
    for layer in message.layer:
        if layer.type == "Dropout":
            layer.phase = schema.TEST
    twin = Net(message, net.phase, dtype=np.float64, fuse=False, allow_python=True)
    for name, blobs in net.params.items():
        for mine, theirs in zip(twin.params[name], blobs, strict=True):
            mine.write()[...] = theirs.read()
    for name in net.inputs:
        twin.blobs[name].reshape(net.blobs[name].shape)
    twin.reshape()
    return twin


def verify(net: Net, inputs: Sequence[dict[str, Any]] | None = None) -> Verification:  # Any: arrays
    """Convert a copy of the net and compare every blob.

    Args:
        net: stays as it is.
        inputs: sets of values for the net's inputs; random ones if not given.
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    twin = copy_in_float64(net)
    describer = Describer(twin)
    program = describer.run()
    module = build_module(program, np.float64)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.eval()
        if hasattr(part, "eps"):
            part.eps = float(
                np.float32(part.eps)
            )  # 1e-5 as Caffe stores it, so that this leaves no difference
    sets = inputs if inputs is not None else [random_inputs(twin, seed) for seed in _SEEDS]
    worst: dict[str, BlobCheck] = {}
    cause = ""
    for values in sets:
        with torch.no_grad():
            tensors = [torch.from_numpy(np.array(values[name], np.float64)) for name in twin.inputs]
            found = {name: value.numpy() for name, value in module.blobs(*tensors).items()}
        twin.forward(**values)
        checks = _compare(twin, describer.names, found)
        first = next((check for check in checks if not check.ok), None)
        if first is not None and not cause:
            last = max(i for i, step in enumerate(twin.steps) if step.layer.name == first.layer)
            cause = explain(twin, last, first.name, values, found[first.name])
        for check in checks:
            known = worst.get(check.name)
            if known is None or check.problem or check.max_rel > known.max_rel:
                worst[check.name] = check
    return Verification(tuple(worst.values()), dict(program.folded), cause)


def random_inputs(net: Net, seed: int) -> dict[str, Any]:  # Any: float64 arrays
    """Values for a net's inputs: normal numbers, and whole ones for what is read as labels or indices."""
    rng = np.random.default_rng(seed)
    labels = _label_classes(net)
    return {
        name: rng.integers(0, labels[name], net.blobs[name].shape).astype(np.float64)
        if name in labels
        else rng.standard_normal(net.blobs[name].shape)
        for name in net.inputs
    }


def _label_classes(net: Net) -> dict[str, int]:
    """Input blob -> number of classes, for inputs that are read as whole numbers, also through Splits."""
    origin: dict[int, str] = {id(blob): name for name, blob in net.blobs.items()}
    classes: dict[str, int] = {}
    for step in net.steps:
        kind, bottoms = step.layer.type, [origin.get(id(blob), "") for blob in step.bottom]
        if kind in ("Split", "Reshape", "Flatten"):
            origin.update({id(blob): bottoms[0] for blob in step.top})
        place, size = _whole_numbers(step, kind)
        if size and place < len(bottoms):
            classes[bottoms[place]] = size
    return classes


def _whole_numbers(step: LayerStep, kind: str) -> tuple[int, int]:
    """Which bottom is read as whole numbers, and how many there are to choose from; 0 if none is."""
    layer, shape = step.layer, step.bottom[0].shape if step.bottom else ()
    param = layer.param
    axes = {
        "SoftmaxWithLoss": param.softmax_param.axis,
        "InfogainLoss": param.infogain_loss_param.axis,
        "Accuracy": param.accuracy_param.axis,
    }
    if kind in axes:
        return 1, shape[axes[kind]]
    if kind in ("MultinomialLogisticLoss", "HingeLoss"):
        return 1, math.prod(shape[1:])
    if kind == "Embed":
        return 0, layer.blobs[0].shape[0]
    if kind == "BatchReindex":
        return 1, shape[0]
    if kind in ("Filter", "ContrastiveLoss"):
        return len(step.bottom) - 1, 2
    return 0, 0


def _compare(net: Net, names: dict[int, str], found: dict[str, NDArray[Any]]) -> list[BlobCheck]:
    """Every blob that both sides have, in the order in which Caffe writes them last."""
    writers: dict[str, LayerStep] = {}
    for step in net.steps:
        for blob in step.top:
            writers.pop(names[id(blob)], None)
            writers[names[id(blob)]] = step
    blobs = {names[id(blob)]: blob for step in net.steps for blob in step.top}
    checks = []
    for name, step in writers.items():
        if name not in found:
            continue
        layer, expected, value = step.layer, blobs[name].read(), found[name]
        if expected.shape != value.shape and not (expected.size == value.size == 1):
            problem = f"it has shape {list(value.shape)}, Caffe's {list(expected.shape)}"
            checks.append(BlobCheck(name, layer.name, layer.type, np.inf, np.inf, problem))
            continue
        off = _differences(expected, value.reshape(expected.shape))
        checks.append(BlobCheck(name, layer.name, layer.type, *off))
    return checks


def _differences(expected: NDArray[Any], value: NDArray[Any]) -> tuple[float, float]:
    """The largest difference, and that over the largest absolute value; the same NaNs do not differ."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.array(np.abs(expected - value))
    off[(expected == value) | (np.isnan(expected) & np.isnan(value))] = 0
    off[np.isnan(off)] = np.inf
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    worst = float(off.max(initial=0.0))
    return worst, worst / float(largest) if largest else worst
