"""Proof that a converted module computes what the Caffe net computes, blob by blob.

Both sides run in float64 on copies, where different orders of summation leave next to nothing: what differs
is a wrong rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm._extras import require
from caffenorm.convert.live import build_module
from caffenorm.convert.program import Describer
from caffenorm.net import Net

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
    """

    blobs: tuple[BlobCheck, ...]
    folded: dict[str, str]

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
        return f'the first blob that departs is "{first.name}", written by {writer}: {why}'


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
    program = Describer(twin).run()
    module = build_module(program, np.float64)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.eval()
    sets = inputs if inputs is not None else [random_inputs(twin, seed) for seed in _SEEDS]
    worst: dict[str, BlobCheck] = {}
    for values in sets:
        twin.forward(**values)
        with torch.no_grad():
            found = module.blobs(
                *(torch.from_numpy(np.asarray(values[name], np.float64)) for name in twin.inputs)
            )
        for check in _compare(twin, {name: value.numpy() for name, value in found.items()}):
            known = worst.get(check.name)
            if known is None or check.problem or check.max_rel > known.max_rel:
                worst[check.name] = check
    ordered = [worst[name] for name in twin.blobs if name in worst]
    return Verification(tuple(ordered), dict(program.folded))


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


_LABELLED = ("SoftmaxWithLoss", "Accuracy", "InfogainLoss", "MultinomialLogisticLoss", "HingeLoss")


def _label_classes(net: Net) -> dict[str, int]:
    """Input blob -> number of classes, for inputs that are read as labels, also through Splits."""
    origin = {name: name for name in net.blobs}
    classes: dict[str, int] = {}
    for step in net.steps:
        layer = step.layer
        bottoms = [origin[name] for name in net.bottom_names[layer.name]]
        if layer.type == "Split":
            origin.update(dict.fromkeys(net.top_names[layer.name], bottoms[0]))
        elif layer.type in _LABELLED and len(bottoms) > 1:
            classes[bottoms[1]] = step.bottom[0].shape[1]
        elif layer.type in ("Embed", "BatchReindex"):
            size = layer.blobs[0].shape[0] if layer.type == "Embed" else step.bottom[0].shape[0]
            classes[bottoms[-1]] = size
    return classes


def _compare(net: Net, found: dict[str, NDArray[Any]]) -> list[BlobCheck]:
    checks = []
    writers = {}
    for step in net.steps:
        for name in net.top_names[step.layer.name]:
            writers[name] = step.layer
    for name, blob in net.blobs.items():
        if name not in found:
            continue
        layer, expected, value = writers[name], blob.read(), found[name]
        if expected.shape != value.shape and not (expected.size == value.size == 1):
            problem = f"it has shape {list(value.shape)}, Caffe's {list(expected.shape)}"
            checks.append(BlobCheck(name, layer.name, layer.type, np.inf, np.inf, problem))
            continue
        checks.append(
            BlobCheck(name, layer.name, layer.type, *_differences(expected, value.reshape(expected.shape)))
        )
    return checks


def _differences(expected: NDArray[Any], value: NDArray[Any]) -> tuple[float, float]:
    """The largest difference, and that over the largest absolute value; the same NaNs do not differ."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(expected - value)
    off[(expected == value) | (np.isnan(expected) & np.isnan(value))] = 0
    off[np.isnan(off)] = np.inf
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    worst = float(off.max(initial=0.0))
    return worst, worst / float(largest) if largest else worst
