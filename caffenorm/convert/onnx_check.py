"""An ONNX model against the Caffe net it came from, blob by blob.

The model runs in float32, as it will be used; the net runs in float64 and in float32. The net's own rounding
tells how far two right results may be apart, so that a wrong eps shows where a fixed tolerance would hide it.
What differs all the same is computed once more in float64 by onnx's own evaluator: if it agrees there, the
graph is right and the runtime rounds more coarsely than Caffe (BatchNormalization as one factor and one
offset, where the mean is large).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from caffenorm._extras import require
from caffenorm.convert.onnx_graph import Graph
from caffenorm.convert.onnx_prepare import Preparation
from caffenorm.convert.proof.copies import copy_net
from caffenorm.convert.proof.figures import relative
from caffenorm.convert.proof.inputs import random_inputs
from caffenorm.errors import ConfigError, ConversionError
from caffenorm.net import Net
from caffenorm.plan import LayerStep

_ALLOWED = {4: 1e-5, 8: 1e-9}  # of a blob's largest value, by bytes of a float ...
_OF_ROUNDING = 20.0  # ... or so many times the rounding that Caffe's own float32 shows
_ALL_ROUNDING = 1e-2  # where a runtime's rounding alone is the reason
_WHOLE_NUMBERS = ("ArgMax", "Threshold")  # one unit in the last place may turn them
Arrays = Mapping[str, Any]  # Any: float arrays
Run = Callable[[Arrays], dict[str, Any]]  # Any: as above


@dataclass(frozen=True)
class OnnxBlob:
    """One blob on both sides, the worst of all inputs.

    Attributes:
        name: of the blob. layer, layer_type: which wrote it last.
        off: the largest difference over the largest value. allowed: how much may be.
        problem: why it could not be compared, or empty.
        overflows: whether Caffe's own float32 overflows, as in nets without weights, so that there is nothing
            to compare.
        rounding: whether it is farther off than allowed by the runtime's rounding alone, and agrees in
            float64.
    """

    name: str
    layer: str
    layer_type: str
    off: float
    allowed: float
    problem: str = ""
    overflows: bool = False
    rounding: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is the same within the tolerance."""
        return not self.problem and self.off <= (_ALL_ROUNDING if self.rounding else self.allowed)


@dataclass(frozen=True)
class OnnxCheck:
    """All blobs that both sides have, in the order in which Caffe makes them.

    Attributes:
        runtime: what ran the model, with its version. batches: batch sizes that were tried.
        absent: blobs that the model has no value for, because layers became one node.
    """

    blobs: tuple[OnnxBlob, ...]
    runtime: str
    batches: tuple[int, ...]
    absent: tuple[str, ...] = ()

    @property
    def first_difference(self) -> OnnxBlob | None:
        """The first blob that departs, None if none does."""
        return next((blob for blob in self.blobs if not blob.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every blob agrees."""
        return self.first_difference is None

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        return max((blob.off for blob in self.blobs), default=0.0)

    def __str__(self) -> str:
        first = self.first_difference
        if first is None:
            sizes = " and ".join(str(batch) for batch in self.batches)
            at = f" at batch size {sizes}" if sizes else ""
            lost = sum(blob.overflows for blob in self.blobs)
            over = f"; {lost} overflow in Caffe's own float32 (no weights?), and say nothing" if lost else ""
            coarse = sum(blob.rounding for blob in self.blobs)
            if coarse:
                over += f"; {coarse} by the runtime's rounding alone, in float64 they agree"
            return (
                f"{len(self.blobs) - lost} blobs agree{at} in {self.runtime}; the largest difference is "
                f"{self.worst:.1e} of a blob's largest value{over}"
            )
        why = first.problem or f"{first.off:.3g} of its largest value away, where {first.allowed:.1g} may be"
        return (
            f'the first blob that departs in {self.runtime} is "{first.name}", written by layer '
            f'"{first.layer}" ({first.layer_type}): {why}'
        )


def check_model(
    net: Net,
    graph: Graph,
    model_of: Callable[..., Any],  # Any: onnx.ModelProto
    emit: Callable[[Net], Graph],
    *,
    preparation: Preparation | None = None,
    batch_sizes: Sequence[int] = (),
    inputs: Sequence[Arrays] = (),
) -> OnnxCheck:
    """Run both sides and compare every blob.

    Args:
        net: stays as it is. graph: made from it.
        model_of: makes the model of a graph. emit: makes the graph of a net, as this one was made.
        preparation: what the graph does to pictures by itself.
        batch_sizes: of random inputs; the net's own and another one where none are given.
        inputs: sets of values for the model's inputs to run as well as random ones.

    Raises:
        ConfigError: a batch size that the model does not take.
        ConversionError: the runtime cannot run the model.
    """
    exact, same = copy_net(net), copy_net(net, graph.dtype)
    sets = [*_random_sets(exact, graph.dynamic, batch_sizes), *inputs]
    compare = partial(_compare_all, preparation=preparation, sets=sets, model_of=model_of)
    found = compare(exact, same, graph)
    if found.ok or graph.dtype == np.float64 or any(blob.problem for blob in found.blobs):
        return found
    doubled = compare(exact, exact, emit(exact))
    agree = {blob.name for blob in doubled.blobs if blob.ok}
    blobs = (replace(blob, rounding=not blob.ok and blob.name in agree) for blob in found.blobs)
    return replace(found, blobs=tuple(blobs))


def _compare_all(
    exact: Net,
    same: Net,
    graph: Graph,
    *,
    model_of: Callable[..., Any],  # Any: onnx.ModelProto
    preparation: Preparation | None,
    sets: Sequence[Arrays],
) -> OnnxCheck:
    """Every blob on every set of inputs: the net in float64, the net in the graph's precision, the graph."""
    runtime, run = _runner(model_of(graph, every_blob=True), graph)
    worst: dict[str, OnnxBlob] = {}
    writers = _writers(exact)
    absent: tuple[str, ...] = ()
    batches: dict[int, None] = {}
    for drawn in sets:
        given = {name: np.asarray(drawn[name], graph.dtype) for name in graph.inputs}
        values = dict(given)
        if preparation is not None:  # random numbers serve as pictures as well
            values[preparation.name] = preparation(given[preparation.name])
        for twin in dict.fromkeys((exact, same)):
            _shape(twin, values)
            for name in twin.inputs:
                twin.blobs[name].data[...] = values[name]
            twin.forward()
        batches.update({array.shape[0]: None for array in values.values() if array.ndim})
        found = run(given)
        absent = tuple(name for name in writers if graph.values.get(name) not in found)
        for name, step in writers.items():
            if name in absent:
                continue
            blob = _compare(name, step, exact, same, found[graph.values[name]])
            known = worst.get(name)
            if known is None or not blob.ok or (known.ok and blob.off > known.off):
                worst[name] = blob
    return OnnxCheck(tuple(worst.values()), runtime, tuple(batches), absent)


def _random_sets(net: Net, dynamic: bool, batch_sizes: Sequence[int]) -> list[Arrays]:
    """Random values at these batch sizes; by default at the net's own and, where any will do, at another."""
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    own = next(iter(shapes.values()), (0,))[:1]
    if not own or not own[0]:
        return [random_inputs(net, 0)]
    wrong = [batch for batch in batch_sizes if batch != own[0] and not dynamic]
    if wrong:
        raise ConfigError(f"the model takes batches of {own[0]} alone, as the net does, not of {wrong[0]}")
    chosen = batch_sizes or ((own[0], own[0] % 2 + 1) if dynamic else own)
    sets: list[Arrays] = []
    for seed, batch in enumerate(chosen):
        if dynamic:
            _shape(net, {name: np.empty((batch, *shape[1:])) for name, shape in shapes.items()})
        sets.append(random_inputs(net, seed))
    _shape(net, {name: np.empty(shape) for name, shape in shapes.items()})
    return sets


def _shape(net: Net, values: Arrays) -> None:
    for name in net.inputs:
        net.blobs[name].reshape(values[name].shape)
    net.reshape()


def _writers(net: Net) -> dict[str, LayerStep]:
    """Blob -> the layer that wrote it last, in the order of these layers."""
    names = {id(blob): name for name, blob in net.blobs.items()}
    writers: dict[str, LayerStep] = {}
    for step in net.steps:
        if step.layer.type == "Input":
            continue
        for blob in step.top:
            writers.pop(names[id(blob)], None)
            writers[names[id(blob)]] = step
    return writers


def _compare(name: str, step: LayerStep, exact: Net, same: Net, found: Any) -> OnnxBlob:
    expected, rounded = exact.blobs[name].read(), same.blobs[name].read()
    layer = step.layer
    if expected.shape != found.shape:
        problem = f"it has shape {list(found.shape)}, Caffe's {list(expected.shape)}"
        return OnnxBlob(name, layer.name, layer.type, np.inf, 0.0, problem)
    if bool((np.isfinite(expected) & ~np.isfinite(rounded)).any()):
        return OnnxBlob(name, layer.name, layer.type, 0.0, 0.0, overflows=True)
    if layer.type in _WHOLE_NUMBERS:
        share = float(np.mean((found != expected) & (found != rounded))) if expected.size else 0.0
        return OnnxBlob(name, layer.name, layer.type, share, 0.01)
    noise = relative(expected, rounded.astype(np.float64))
    allowed = max(_ALLOWED[rounded.dtype.itemsize], _OF_ROUNDING * noise if np.isfinite(noise) else 0.0)
    off = min(relative(expected, found.astype(np.float64)), relative(rounded, found))
    return OnnxBlob(name, layer.name, layer.type, off, allowed)


def _runner(model: Any, graph: Graph) -> tuple[str, Run]:  # Any: onnx.ModelProto
    """What runs the model: onnxruntime, or where it is missing, or has no doubles, onnx's own evaluator."""
    names = [output.name for output in model.graph.output]
    if importlib.util.find_spec("onnxruntime") and graph.dtype == np.float32:
        module = require("onnxruntime", extra="onnx", to="run ONNX models")
        runtime = f"onnxruntime {module.__version__}"
        options = module.SessionOptions()
        options.log_severity_level = 4
        start = partial(
            module.InferenceSession, model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    else:
        runtime = f"onnx {require('onnx', extra='onnx', to='run ONNX models').__version__}'s evaluator"
        reference = require("onnx.reference", extra="onnx", to="run ONNX models")
        start = partial(reference.ReferenceEvaluator, model, new_ops=[_lrn()])

    started: list[Any] = []  # Any: what runs the model

    def run(values: Arrays) -> dict[str, Any]:
        try:
            if not started:
                started.append(start())
            with np.errstate(all="ignore"):
                found = started[0].run(names, dict(values))
        except Exception as error:  # the runtimes' errors have no base of their own
            raise ConversionError(f"{runtime} cannot run the model: {error}") from error
        return dict(zip(names, found, strict=True))

    return runtime, run


def _lrn() -> Any:  # Any: a class of onnx's
    """LRN for onnx's evaluator, whose own (1.23) takes the batch for the channels."""
    base = require("onnx.reference.op_run", extra="onnx", to="run ONNX models").OpRun

    class LRN(base):  # type: ignore[misc, valid-type]  # the base is known when onnx is there
        op_domain = ""

        def _run(self, x: Any, alpha: float, beta: float, bias: float, size: int) -> tuple[Any]:
            squares = np.pad(x * x, ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
            sums = sum(squares[:, i : i + x.shape[1]] for i in range(size))
            return ((x / (float(bias) + float(alpha) / size * sums) ** float(beta)).astype(x.dtype),)

    return LRN
