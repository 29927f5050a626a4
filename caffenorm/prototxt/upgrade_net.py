"""Nets of any age to today's form: V0, V1, input fields, BatchNorm's old `param` blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffenorm import schema
from caffenorm.errors import Where
from caffenorm.prototxt.findings import Finding, raise_faults
from caffenorm.prototxt.upgrade_notes import Notes
from caffenorm.prototxt.upgrade_solver import upgrade_solver
from caffenorm.prototxt.upgrade_v0 import is_v0, upgrade_v0
from caffenorm.prototxt.upgrade_v1 import move_transformations, upgrade_v1

_INPUT = -1


@dataclass
class Upgraded:
    """A net in today's form.

    Attributes:
        net: the message that was given, if nothing was to be done, else a changed copy.
        lines: the line of each layer (0 unknown).
        changes: what was upgraded, in words; empty where nothing was.
        findings: what did not fit and was dropped.
    """

    net: schema.NetParameter
    lines: list[int]
    changes: list[str]
    findings: list[Finding]


def upgrade_net(
    net: schema.NetParameter, file: str = "<message>", lines: Mapping[str, Sequence[int]] | None = None
) -> Upgraded:
    """Bring a net into today's form. Saved nets upgrade too: the layers keep their blobs.

    Args:
        net: is not changed.
        file, lines: of the text it came from, as `parse` gives them.

    Raises:
        PrototxtError: layers in both the old and the new form, V0 layers that cannot be upgraded, shapes
            that do not fit the inputs.

    Caffe: `input` without any shape is dropped (old saved nets have that). Where there are both
    `input_shape` and `input_dim`, the former counts. Only V1 data layers have their transformation fields
    moved. A BatchNorm with exactly three `param` blocks gets lr_mult 0 and decay_mult 0 in each. Fields of
    V0 layers that their type does not have are dropped, here with a finding.
    """
    lines = lines or {}
    old_lines = list(lines.get("layers" if net.layers else "layer", ()))
    names = [layer.layer.name if layer.HasField("layer") else layer.name for layer in net.layers]
    names = names or [layer.name for layer in net.layer]

    def place(index: int) -> Where:
        if index == _INPUT:
            return Where(file, next(iter(lines.get("input", ())), 0))
        return Where(file, old_lines[index] if index < len(old_lines) else 0, names[index])

    notes = Notes()
    if net.layers and net.layer:
        notes.fault(0, _both_forms(len(net.layers), len(net.layer), lines))
        raise_faults(file, [(place(layer), message) for layer, message in notes.faults])
    origins = list(range(len(net.layers) or len(net.layer)))
    if net.layers or net.input or any(_is_old_batch_norm(layer) for layer in net.layer):
        copy = schema.NetParameter()
        copy.CopyFrom(net)
        net, origins = copy, _upgrade(copy, notes, origins)
    raise_faults(file, [(place(layer), message) for layer, message in notes.faults])
    findings = [
        Finding(file, place(layer).line, place(layer).layer, message) for layer, message in notes.findings
    ]
    return Upgraded(net, [place(origin).line for origin in origins], notes.changes, findings)


def needs_upgrade(message: schema.NetParameter | schema.SolverParameter) -> list[str]:
    """What an upgrade would change, in words; empty where a net or solver is in today's form."""
    if isinstance(message, schema.SolverParameter):
        return upgrade_solver(message).changes
    return upgrade_net(message).changes


def _both_forms(old: int, new: int, lines: Mapping[str, Sequence[int]]) -> str:
    first = next(iter(lines.get("layer", ())), 0)
    at = f", first on line {first}" if first else ""
    return f'the net has both "layers" ({old}, the old form) and "layer" ({new}{at}); write all as "layer"'


def _upgrade(net: schema.NetParameter, notes: Notes, origins: list[int]) -> list[int]:
    """All upgrades in order, in place; gives the layers' places in the old net."""
    if is_v0(net):
        number = sum(layer.HasField("layer") for layer in net.layers)
        notes.change(number, "layer", "in V0 form (layers { layer { ... } })")
        origins = upgrade_v0(net, notes)
    else:
        notes.change(len(net.layers), "layer", "in V1 form (layers { ... })")
    notes.change(move_transformations(net), "data layer", "without transform_param")
    if net.layers:
        upgrade_v1(net, notes, origins)
    if net.input:
        notes.change(len(net.input), "input field", "without an Input layer")
        origins = _upgrade_inputs(net, notes, origins)
    old = [layer for layer in net.layer if _is_old_batch_norm(layer)]
    notes.change(len(old), "BatchNorm layer", "with three param blocks that are not all 0")
    for layer in old:
        for spec in layer.param:
            spec.lr_mult = spec.decay_mult = 0
    return origins


def _upgrade_inputs(net: schema.NetParameter, notes: Notes, origins: list[int]) -> list[int]:
    """Turn the net's input fields into an Input layer at its start."""
    inputs, sizes = list(net.input), list(net.input_dim)
    shapes = [list(shape.dim) for shape in net.input_shape]
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)
    if not shapes and not sizes:
        dropped = ", ".join(f'"{name}"' for name in inputs)
        notes.finding(_INPUT, f"no shape is given for input {dropped}, so it is dropped")
        return origins
    if shapes and sizes:
        notes.finding(_INPUT, "there are both input_shape and input_dim; input_dim is dropped")
    if not shapes:
        if len(sizes) != 4 * len(inputs):
            takes = f"{len(inputs)} inputs take {4 * len(inputs)} input_dim, 4 each, found {len(sizes)}"
            notes.fault(_INPUT, f"{takes}; write input_shape for other shapes")
        shapes = [sizes[first : first + 4] for first in range(0, len(sizes), 4)]
    elif len(shapes) < len(inputs):
        notes.fault(_INPUT, f"{len(inputs)} inputs take as many input_shape, found {len(shapes)}")
    elif len(shapes) > len(inputs):
        notes.finding(_INPUT, f"{len(shapes)} input_shape are too many for {len(inputs)} inputs")
    layer = schema.LayerParameter(name="input", type="Input", top=inputs)
    for shape in shapes[: len(inputs)]:
        layer.input_param.shape.add(dim=shape)
    others = list(net.layer)
    del net.layer[:]
    net.layer.extend([layer, *others])
    return [_INPUT, *origins]


def _is_old_batch_norm(layer: schema.LayerParameter) -> bool:
    """Whether a BatchNorm layer has three `param` blocks that do not say 0 throughout."""
    return (
        layer.type == "BatchNorm"
        and len(layer.param) == 3
        and any(
            not spec.HasField(name) or getattr(spec, name) != 0
            for spec in layer.param
            for name in ("lr_mult", "decay_mult")
        )
    )
