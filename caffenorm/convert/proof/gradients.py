"""Compares the gradients of inputs and parameters, and one step of SGD in training mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._extras import require
from caffenorm.blob import Blob
from caffenorm.convert.parts import Param
from caffenorm.convert.proof.averages import statistics, statistics_after
from caffenorm.convert.proof.figures import differences, largest_of
from caffenorm.convert.proof.inputs import InputSet
from caffenorm.convert.proof.results import Gradients, TrainingStep, ValueCheck
from caffenorm.convert.proof.sides import Sides, make_sides
from caffenorm.errors import CaffenormError
from caffenorm.net import Net

Array = NDArray[Any]  # Any: float64
_LIMIT = 1e-5
_FAINT = 1e-6  # of the largest of a kind; what is smaller is compared with that
_MOVES = 0.01  # the largest share of its largest value by which the step moves any parameter
# Layers whose gradient in Caffe is not the derivative of what they compute.
_OTHERWISE = {
    "ContrastiveLoss": "ContrastiveLoss divides by the distance plus 1e-4",
    "MVN": "MVN leaves eps out of the deviation's derivative",
}
_READS_ITS_TOP = frozenset({"Sigmoid", "TanH", "ReLU", "PReLU", "ELU", "Softmax", "Swish", "Exp", "Power"})


def compare_gradients(net: Net, values: InputSet) -> Gradients:
    """The gradients of inputs and parameters.

    Args:
        net: stays as it is. values: for its inputs.

    Caffe: `propagate_down` and a `lr_mult` of 0 stop gradients; here nothing does.
    """
    try:
        sides = make_sides(net, training=False)
        tensors, seeded = _backward(sides, values)
    except CaffenormError as error:
        return Gradients(inputs=values.name, skipped=str(error))
    if not seeded:
        return Gradients(skipped="nothing that the net computes has a gradient", inputs=values.name)
    checks = list(_input_gradients(sides, tensors)) + list(_parameter_gradients(sides))
    return Gradients(_scaled(checks, _known(sides)), "float64", values.name, seeded)


def compare_step(net: Net, values: InputSet) -> TrainingStep:
    """One step of SGD on both sides, with BatchNorm in training mode.

    Args:
        net: stays as it is. values: for its inputs, of two examples at least.
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    try:
        shapes = {name: value.shape for name, value in values.values.items()}  # one example has no variance
        sides = make_sides(net, training=True, shapes=shapes)
        before = statistics(sides)
        _, seeded = _backward(sides, values)
    except CaffenormError as error:
        return TrainingStep(inputs=values.name, skipped=str(error))
    if not seeded or not sides.params:
        return TrainingStep(inputs=values.name, skipped="nothing in the net learns")
    said = _known(sides)
    rate = _rate(sides)
    parameters = dict(sides.module.named_parameters(remove_duplicate=False))
    known = [parameters[full] for full, _ in sides.params if full in parameters]
    torch.optim.SGD(known, lr=rate).step()  # an offset that Caffe's Scale lacks stays 0
    for learnt in sides.net.learnable_params:
        learnt.blob.update()[...] -= rate * learnt.blob.read_diff()
    norms = list(statistics_after(sides, before))
    checks = [
        _Pair(full, _home(sides.net, param), "parameter", param.blob.read(), _of_module(sides, full, param))
        for full, param in sides.params
    ]
    given: dict[str, Any] = values.values  # Any: arrays
    sides.net.forward(**given)
    with torch.no_grad():
        found = sides.module.blobs(*sides.tensors(values).values())
    for name in sides.program.outputs:
        expected = next(b.read() for s in sides.net.steps for b in s.top if sides.names[id(b)] == name)
        checks.append(_Pair(name, name, "output", expected, found[name].detach().numpy()))
    rows = (*_scaled(checks, said), *norms)
    return TrainingStep(rows, "float64", values.name, seeded, rate=rate, batch_norms=len(before))


@dataclass(frozen=True)
class _Pair:
    name: str
    caffe: str
    kind: str
    expected: Array
    value: Array


def _scaled(pairs: list[_Pair], said: str) -> tuple[ValueCheck, ...]:
    """Differences over the largest value, or over what is faint among all of the kind."""
    sizes = [largest_of(pair.expected) for pair in pairs]
    largest: dict[str, float] = {}
    for pair, size in zip(pairs, sizes, strict=True):
        largest[pair.kind] = max(size, largest.get(pair.kind, 0.0))
    rows = []
    for pair, size in zip(pairs, sizes, strict=True):
        value = pair.value.reshape(pair.expected.shape)
        scale = max(size, _FAINT * largest[pair.kind])
        off = float(differences(pair.expected, value).max(initial=0.0))
        limit, ratio = _LIMIT, off / scale if scale else off
        why = said if ratio > limit else ""
        rows.append(ValueCheck(pair.name, pair.caffe, pair.value.shape, pair.kind, ratio, limit, why))
    return tuple(rows)


def _backward(sides: Sides, values: InputSet) -> tuple[dict[str, Any], str]:  # Any: tensors
    """Run both sides forward and backward; their gradients lie where each keeps them.

    Returns:
        The module's inputs, and what the gradients were started from (nothing, if nothing has any).
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    net, tensors = sides.net, sides.tensors(values)
    given: dict[str, Any] = values.values  # Any: arrays
    net.forward(**given)
    net.clear_param_diffs()
    blobs = sides.module.blobs(*tensors.values())
    tops, seeded = _tops(sides)
    terms = []
    for name, value in tops.items():
        if name in net.blobs:
            net.blobs[name].diff[...] = value
        if blobs[name].requires_grad:
            terms.append((blobs[name].reshape(value.shape) * torch.from_numpy(value)).sum())
    if not terms:
        return tensors, ""
    net.run_backward()
    torch.stack(terms).sum().backward()
    return tensors, seeded


def _tops(sides: Sides) -> tuple[dict[str, Array], str]:
    """Gradients to start from: the weights of losses; random ones at the outputs where there is no loss."""
    losses = {
        sides.names[id(blob)]: np.full(blob.shape, float(weight))
        for step in sides.net.steps
        for blob, weight in zip(step.top, step.loss_weights, strict=True)
        if weight
    }
    if losses:
        return losses, "the losses and their weights"
    rng = np.random.default_rng(0)
    outputs = {name: sides.net.blobs[name] for name in sides.net.outputs}
    drawn = {name: np.array(rng.standard_normal(blob.shape)) for name, blob in outputs.items()}
    return drawn, "random gradients at the outputs, before a softmax"


def _input_gradients(sides: Sides, tensors: Mapping[str, Any]) -> Iterator[_Pair]:  # Any: tensors
    wanted = {
        id(blob)
        for step in sides.net.steps
        for blob, wants in zip(step.bottom, step.propagate_down, strict=True)
        if wants and step.needs_backward
    }
    for name, tensor in tensors.items():
        if tensor.grad is not None and id(sides.net.blobs[name]) in wanted:
            yield _Pair(name, name, "input", sides.net.blobs[name].read_diff(), tensor.grad.numpy())


def _parameter_gradients(sides: Sides) -> Iterator[_Pair]:
    parameters = dict(sides.module.named_parameters(remove_duplicate=False))
    for full, param in sides.params:
        if full not in parameters:
            continue
        gradient = parameters[full].grad
        value = np.zeros_like(param.value) if gradient is None else gradient.numpy()
        value = value.T if param.transposed else value
        yield _Pair(full, _home(sides.net, param), "parameter", param.blob.read_diff(), value)


def _of_module(sides: Sides, full: str, param: Param) -> Array:
    value: Array = sides.module.state_dict()[full].numpy()
    return value.T if param.transposed else value


def _home(net: Net, param: Param) -> str:
    """What a parameter is in Caffe."""
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            if blob.data_memory is param.blob.data_memory:
                return f"{layer.name}[{i}]"
    return ""


def _rate(sides: Sides) -> float:
    """A learning rate that moves no parameter by more than a hundredth of its largest value."""
    shares = [1e-3]
    for _, param in sides.params:
        moves, size = (
            np.abs(param.blob.read_diff()).max(initial=0.0),
            np.abs(param.blob.read()).max(initial=0.0),
        )
        if moves and size:
            shares.append(float(moves / size))
    return float(f"{_MOVES / max(shares):.1g}")


def _known(sides: Sides) -> str:
    """Why gradients may differ: Caffe's are not the derivative for some layers."""
    reasons = [
        why for kind, why in _OTHERWISE.items() if any(layer.type == kind for layer in sides.net.layers)
    ]
    reasons += [
        f'what "{layer.name}" computed is worked over in place before its gradient reads it'
        for layer in sides.net.layers
        if layer.overwritten_tops and layer.type in _READS_ITS_TOP
    ]
    reasons += [
        f'"{step.layer.name}" works in place over values that others have under another name'
        for step in sides.net.steps
        if any(blob in step.bottom and _is_shared(sides.net, blob) for blob in step.top)
    ]
    read = {id(blob) for step in sides.net.steps for blob in step.bottom}
    reasons += [
        f'"{step.layer.name}" is a loss that is used again, for which Caffe leaves its weight out'
        for step in sides.net.steps
        if any(weight and id(blob) in read for blob, weight in zip(step.top, step.loss_weights, strict=True))
    ]
    shared = [step for step in sides.net.steps if step.layer.type == "Scale" and len(step.bottom) == 1]
    homes = [id(step.layer.blobs[0].data_memory) for step in shared]
    if len(set(homes)) < len(homes) and any(step.bottom[0].shape[0] == 1 for step in shared):
        reasons.append("for a batch of one, a factor that Scale layers share keeps the gradient of one alone")
    return "; ".join(reasons)


def _is_shared(net: Net, blob: Blob) -> bool:
    parameters = [other for layer in net.layers for other in layer.blobs]
    others = [other for other in (*net.blobs.values(), *parameters) if other is not blob]
    return any(other.data_memory is blob.data_memory for other in others)
