"""Program: a net as PyTorch statements, from which both the live module and the printed `model.py` are made.

A rule (see `rules`) turns a chain of layers into submodules, each with its constructor and its weights, and
into lines of `forward`. There is one description, the source text, so that what runs in memory is what is
printed.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.errors import ConversionError, Where
from caffenorm.graph import near
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

Floats = NDArray[Any]  # Any: float32 or float64
_TAKEN = {
    "self",
    "torch",
    "nn",
    "F",
    "math",
    "forward",
    "training",
    "train",
    "eval",
    "modules",
    "children",
    "load",
    "apply",
}
_TAKEN |= {
    "parameters",
    "buffers",
    "state_dict",
    "half",
    "float",
    "double",
    "to",
    "type",
    "name",
    "add_module",
    "requires_grad_",
    "blobs",
}


@dataclass
class Submodule:
    """One attribute of the module.

    Attributes:
        name: of the attribute. constructor: source text, such as `nn.Conv2d(3, 64, 7)`.
        state: parameters and buffers by their names within the submodule ("" for an attribute that is itself
            a tensor).
        layers: names of the Caffe layers that it stands for.
    """

    name: str
    constructor: str
    state: dict[str, Floats]
    layers: tuple[str, ...]


@dataclass
class Program:
    """A whole net.

    Attributes:
        name: of the net. inputs, outputs: blob names.
        variables: blob name -> variable that holds it when forward ends; absent where a rule folded it away.
        helpers: names of definitions in `torch_modules` that the source needs.
        notes: what the user should know. folded: blob name -> why it does not exist in the module.
        shared: full state name -> full state name of the parameter that it is, where Caffe shares it by name.
        layer_modules: Caffe layer name -> attribute name.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    train: bool
    submodules: list[Submodule] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folded: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    layer_modules: dict[str, str] = field(default_factory=dict)

    def state(self) -> dict[str, Floats]:
        """All parameters and buffers by their full names."""
        return {
            f"{part.name}.{key}" if key else part.name: value
            for part in self.submodules
            for key, value in part.state.items()
        }


Rule = Callable[["Chain"], None]
_rules: dict[tuple[str, ...], Rule] = {}
_refused: dict[str, str] = {}


def rule(*types: str | tuple[str, ...]) -> Callable[[Rule], Rule]:
    """Decorator: this function turns layers of one of these types, or such chains of types, into PyTorch."""

    def register(function: Rule) -> Rule:
        for kind in types:
            _rules[(kind,) if isinstance(kind, str) else kind] = function
        return function

    return register


def refuse(kind: str, why: str) -> None:
    """Say why a type has no rule."""
    _refused[kind] = why


def converted_types() -> set[str]:
    """Layer types that a rule covers."""
    return {kind for chain in _rules for kind in chain}


def refused_types() -> dict[str, str]:
    """Layer types that cannot be converted, and why."""
    return dict(_refused)


class Names:
    """Gives every Caffe name a Python name of its own."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._used = set(_TAKEN)

    def of(self, name: str) -> str:
        """The Python name for a Caffe name; the same each time."""
        if name not in self._given:
            base = re.sub(r"\W+", "_", name).strip("_") or "blob"
            if base[0].isdigit() or keyword.iskeyword(base):
                base = f"x{base}" if base[0].isdigit() else f"{base}_"
            made, number = base, 2
            while made in self._used or made.startswith("__"):
                made, number = f"{base}_{number}", number + 1
            self._used.add(made)
            self._given[name] = made
        return self._given[name]


class Chain:
    """What a rule is handed: one or more layers that it covers, and how to say what they become.

    Attributes:
        steps: the layers with their blobs. net, program: the whole.
        x: variable of the first bottom of the first layer. y: variable that the last layer's first top is to
            have.
    """

    def __init__(self, describer: Describer, steps: Sequence[LayerStep]) -> None:
        self._describer = describer
        self.steps = list(steps)
        self.net = describer.net
        self.program = describer.program

    @property
    def layer(self) -> Layer:
        """The first layer."""
        return self.steps[0].layer

    @property
    def bottom(self) -> list[Blob]:
        """Bottoms of the first layer."""
        return self.steps[0].bottom

    @property
    def top(self) -> list[Blob]:
        """Tops of the last layer."""
        return self.steps[-1].top

    def inputs(self) -> list[str]:
        """Variables of the first layer's bottoms."""
        return [self._describer.variable(name) for name in self.net.bottom_names[self.layer.name]]

    @property
    def x(self) -> str:
        return self.inputs()[0]

    def outputs(self) -> list[str]:
        """Variables for the last layer's tops."""
        return [self._describer.assign(name) for name in self.net.top_names[self.steps[-1].layer.name]]

    @property
    def y(self) -> str:
        return self.outputs()[0]

    def submodule(
        self, constructor: str, state: dict[str, Floats] | None = None, params: dict[str, Blob] | None = None
    ) -> str:
        """Add a submodule named after the first layer.

        Args:
            constructor: source text.
            state: parameters and buffers made here. params: those that are a layer's blobs as they are.

        Returns:
            How forward reaches it: `self.<name>`.
        """
        name = self._describer.module_names.of(self.layer.name)
        values = dict(state or {})
        for key, blob in (params or {}).items():
            values[key] = blob.read().copy()
            full = f"{name}.{key}" if key else name
            known = self._describer.param_homes.setdefault(id(blob.data_memory), full)
            if known != full:
                self.program.shared[full] = known
        layers = tuple(step.layer.name for step in self.steps)
        self.program.submodules.append(Submodule(name, constructor, values, layers))
        for layer in layers:
            self.program.layer_modules[layer] = name
        return f"self.{name}"

    def line(self, text: str) -> None:
        """Add a line to forward."""
        self.program.lines.append(text)

    def set(self, expression: str) -> None:
        """The first top is this expression."""
        self.line(f"{self.y} = {expression}")

    def helper(self, name: str) -> str:
        """Use a definition of `torch_modules`; returns its name."""
        if name not in self.program.helpers:
            self.program.helpers.append(name)
        return name

    def alias(self, top: str, bottom: str) -> None:
        """A top that is a bottom under another name."""
        self._describer.alias(top, bottom)

    def note(self, text: str) -> None:
        """Tell the user something about these layers."""
        self.program.notes.append(f'layer "{self.layer.name}": {text}')

    def fail(self, why: str) -> ConversionError:
        """An error that names the layer."""
        return ConversionError(why, self.steps[0].where)


class Describer:
    """Turns a net into a Program."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.program = Program(net.name, list(net.inputs), list(net.outputs), net.phase == 0)
        self.module_names = Names()
        self.blob_names = Names()
        self.param_homes: dict[int, str] = {}
        self._alias: dict[str, str] = {}

    def variable(self, blob: str) -> str:
        """The variable that holds a blob."""
        return self.blob_names.of(self._alias.get(blob, blob))

    def assign(self, blob: str) -> str:
        """The variable to hold a blob from now on."""
        name = self.blob_names.of(blob)
        self.program.variables[blob] = name
        return name

    def alias(self, blob: str, original: str) -> None:
        """A blob that is another one under a new name (Split)."""
        self._alias[blob] = self._alias.get(original, original)

    def run(self) -> Program:
        """Describe the whole net.

        Raises:
            ConversionError: lists every layer that no rule covers, with its line and the reason.
        """
        for name in self.net.inputs:
            self.assign(name)
        faults: list[ConversionError] = []
        steps = self.net.steps
        index = 0
        while index < len(steps):
            covered, function = self._match(steps, index)
            chain = Chain(self, steps[index : index + covered])
            try:
                if function is None:
                    raise chain.fail(self._why_not(chain.layer.type))
                function(chain)
            except ConversionError as error:
                faults.append(error)
            self._note_folded(chain)
            index += covered
        if len(faults) == 1:
            raise faults[0]
        if faults:
            rows = "\n".join(f"  {fault}" for fault in faults)
            raise ConversionError(
                f"{len(faults)} layers cannot be converted:\n{rows}", Where(file=self.net.file)
            )
        return self.program

    def _match(self, steps: Sequence[LayerStep], index: int) -> tuple[int, Rule | None]:
        """The longest chain of types with a rule that begins here."""
        for length in range(max(len(types) for types in _rules), 0, -1):
            part = steps[index : index + length]
            function = _rules.get(tuple(step.layer.type for step in part))
            if function is None:
                continue
            if all(_is_row(before, after) for before, after in pairwise(part)) and joins(part):
                return length, function
        return 1, None

    @staticmethod
    def _why_not(kind: str) -> str:
        if kind in _refused:
            return f"cannot be converted: {_refused[kind]}"
        return f"there is no conversion rule for this type{near(kind, converted_types())}"

    def _note_folded(self, chain: Chain) -> None:
        for step in chain.steps[:-1]:
            for name in self.net.top_names[step.layer.name]:
                if name not in self.program.variables:
                    joined = " + ".join(s.layer.type for s in chain.steps)
                    self.program.folded[name] = f"{joined} are one module"


def _is_row(before: LayerStep, after: LayerStep) -> bool:
    return (
        len(after.bottom) == 1
        and len(before.top) == 1
        and after.bottom[0] is before.top[0]
        and not any(before.loss_weights)
    )


def joins(part: Sequence[LayerStep]) -> bool:
    """Whether a Scale that follows a BatchNorm multiplies the same channels, so that both make one module."""
    if len(part) < 2:
        return True
    norm, scale = part[0].layer, part[1].layer
    return (
        bool(norm.blobs) and scale.param.scale_param.axis == 1 and scale.blobs[0].shape == norm.blobs[0].shape
    )


# --- text of numbers ---


def number(value: float) -> str:
    """A float as Python text: the shortest that is the same float32."""
    value = float(value)
    if math.isinf(value) or math.isnan(value):
        return f'float("{value}")'
    short = f"{np.float32(value)}"
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else short


def numbers(values: Sequence[int]) -> str:
    """One number where all are the same, else a tuple."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def arguments(*positional: str, **named: tuple[str, str]) -> str:
    """Call arguments; each named one is (text, default) and left out where both are the same."""
    parts = list(positional) + [
        f"{name}={text}" for name, (text, default) in named.items() if text != default
    ]
    return ", ".join(parts)
