"""Program: a net as PyTorch statements, from which both the live module and the printed `model.py` are made.

A rule (see `rules`) turns a chain of layers into submodules, each with its constructor and its weights, and
into lines of `forward`. There is one description, the source text, so that what runs in memory is what is
printed.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import ConversionError, Where
from caffenorm.graph import near
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.net_build import AUTOMATIC_TOP
from caffenorm.plan import LayerStep

Floats = NDArray[Any]  # Any: float32 or float64
# Names that forward uses itself, and those of the definitions that model.py may carry.
_LOCAL = """
    self torch nn F float caffe_accuracy caffe_argmax caffe_avg_pool caffe_max_pool contrastive_loss
    hinge_loss infogain_loss lrn_within_channel mean_variance_normalize multinomial_logistic_loss
    normalized sigmoid_cross_entropy smooth_l1_loss softmax_with_loss spatial_pyramid
"""
# Attributes of torch.nn.Module, which a submodule must not hide; a test compares them with PyTorch's.
_OF_MODULE = """
    T_destination add_module apply bfloat16 blobs buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters notes parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type
    verification xpu zero_grad
"""


@dataclass(frozen=True)
class Param:
    """A layer's blob as a parameter of the module.

    Attributes:
        blob: which may be shared between layers. value: its values, shaped for PyTorch.
        transposed: whether they stand the other way round in Caffe.
    """

    blob: Blob
    value: Floats
    transposed: bool = False


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
        variables: blob name -> variable that holds it when forward ends, for all that are not in `folded`.
        helpers: names of definitions in `torch_modules` that the source needs.
        notes: what the user should know. folded: blob name -> why it does not exist in the module.
        shared: full state name -> full state name of the parameter that it is, where Caffe shares it by name.
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

    def state(self) -> dict[str, Floats]:
        """All parameters and buffers by their full names."""
        return {
            f"{part.name}.{key}" if key else part.name: value
            for part in self.submodules
            for key, value in part.state.items()
        }


_LONGEST_JOINED = 92

Rule = Callable[["Chain"], None]
Fits = Callable[[Sequence[LayerStep]], bool]
_rules: dict[tuple[str, ...], Rule] = {}
_fits: dict[tuple[str, ...], Fits] = {}
_refused: dict[str, str] = {}


def rule(*types: str | tuple[str, ...], fits: Fits | None = None) -> Callable[[Rule], Rule]:
    """Decorator: this function turns layers of one of these types, or such chains of types, into PyTorch.

    Args:
        types: names, or tuples of names of layers that follow each other.
        fits: says of layers in such a row whether they can be one.
    """

    def register(function: Rule) -> Rule:
        for kind in types:
            _rules[(kind,) if isinstance(kind, str) else kind] = function
            if fits is not None and not isinstance(kind, str):
                _fits[kind] = fits
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
    """Gives every Caffe name a Python name of its own.

    Args:
        taken: names that must not be given. unnamed: what an empty name becomes.
    """

    def __init__(self, taken: Iterable[str], unnamed: str) -> None:
        self._given: dict[str, str] = {}
        self._used = set(taken)
        self._unnamed = unnamed

    def of(self, name: str) -> str:
        """The Python name for a Caffe name; the same each time."""
        if name not in self._given:
            self._given[name] = self.new(name)
        return self._given[name]

    def new(self, name: str) -> str:
        """A Python name like this Caffe name that nothing has yet."""
        base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or self._unnamed
        if base[0].isdigit():
            base = f"x{base}"
        if keyword.iskeyword(base):
            base += "_"
        made, number = base, 2
        while made in self._used:
            made, number = f"{base}_{number}", number + 1
        self._used.add(made)
        return made


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
        return [self._describer.variable(blob) for blob in self.bottom]

    @property
    def x(self) -> str:
        return self.inputs()[0]

    def outputs(self) -> list[str]:
        """Variables for the last layer's tops."""
        return [self._describer.assign(blob) for blob in self.top]

    @property
    def y(self) -> str:
        return self.outputs()[0]

    def submodule(
        self, constructor: str, state: Mapping[str, Floats | Param] | None = None, *, suffix: str = ""
    ) -> str:
        """Add a submodule named after the first layer.

        Args:
            constructor: source text.
            state: parameters and buffers by their names within it, "" for one that is the attribute itself.
                Where Caffe shares a blob between layers, PyTorch's modules share the parameter.
            suffix: of the name, where a layer becomes several attributes.

        Returns:
            How forward reaches it: `self.<name>`.

        Raises:
            ConversionError: a blob is shared under several shapes.
        """
        name = self._describer.module_names.new(self.layer.name + suffix)
        values: dict[str, Floats] = {}
        for key, value in (state or {}).items():
            full = f"{name}.{key}" if key else name
            if isinstance(value, Param):
                values[key] = self._shared(full, value)
            else:
                values[key] = value
        layers = tuple(step.layer.name for step in self.steps)
        self.program.submodules.append(Submodule(name, constructor, values, layers))
        return f"self.{name}"

    def _shared(self, full: str, param: Param) -> Floats:
        home = self.home(param.blob)
        if home is None:
            self._describer.homes[id(param.blob.data_memory)] = (full, param)
            return param.value
        owner, first = home
        if first.transposed != param.transposed or first.value.shape != param.value.shape:
            raise self.fail(
                f"shares a parameter with {owner}, there of shape {list(first.value.shape)} and here of "
                f"{list(param.value.shape)}"
            )
        self.program.shared[full] = owner
        return first.value

    def home(self, blob: Blob) -> tuple[str, Param] | None:
        """The full name of the parameter that a layer before has made of this blob, if one has."""
        return self._describer.homes.get(id(blob.data_memory))

    def line(self, text: str) -> None:
        """Add a line to forward; what only wraps the value of the line before goes into that one."""
        lines = self.program.lines
        joined = _joined(lines[-1], text) if lines else None
        if joined is None:
            lines.append(text)
        else:
            lines[-1] = joined

    def set(self, expression: str) -> None:
        """The first top is this expression."""
        self.line(f"{self.y} = {expression}")

    def helper(self, name: str) -> str:
        """Use a definition of `torch_modules`; returns its name."""
        if name not in self.program.helpers:
            self.program.helpers.append(name)
        return name

    def alias(self) -> None:
        """All tops are the bottom under other names."""
        for blob in self.top:
            self._describer.alias(blob, self.bottom[0])

    def note(self, text: str) -> None:
        """Tell the user something about these layers."""
        self.program.notes.append(f'layer "{self.layer.name}": {text}')

    def fail(self, why: str) -> ConversionError:
        """An error that names the layer."""
        return ConversionError(why, self.steps[0].where)


class Describer:
    """Turns a net into a Program.

    Attributes:
        names: of the blobs, by their identity; automatic tops of losses have one here too.
        homes: memory of a Caffe parameter -> the full name and value of the one that PyTorch has.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.program = Program(net.name, list(net.inputs), list(net.outputs), net.phase == schema.TRAIN)
        self.module_names = Names(_OF_MODULE.split(), "layer")
        self.blob_names = Names(_LOCAL.split(), "blob")
        self.homes: dict[int, tuple[str, Param]] = {}
        self.names = {id(blob): name for name, blob in net.blobs.items() if name != AUTOMATIC_TOP}
        self._variables = self.program.variables
        self._name_automatic_tops()

    def _name_automatic_tops(self) -> None:
        """Losses without a top have one all the same; it is an output, and called like its layer."""
        for step in self.net.steps:
            for blob in step.top:
                if id(blob) not in self.names:
                    name = step.layer.name
                    self.names[id(blob)] = f"{name} (loss)" if name in self.names.values() else name
                    self.program.outputs.append(self.names[id(blob)])

    def variable(self, blob: Blob) -> str:
        """The variable that holds a blob."""
        return self._variables[self.names[id(blob)]]

    def assign(self, blob: Blob) -> str:
        """The variable to hold a blob from now on."""
        name = self.names[id(blob)]
        self._variables[name] = self.blob_names.of(name)
        return self._variables[name]

    def alias(self, blob: Blob, original: Blob) -> None:
        """A blob that is another one under a new name (Split)."""
        self._variables[self.names[id(blob)]] = self.variable(original)

    def run(self) -> Program:
        """Describe the whole net.

        Raises:
            ConversionError: lists every layer that no rule covers, with its line and the reason.
        """
        for name in self.net.inputs:
            self.assign(self.net.blobs[name])
        for name in self.names.values():
            self._variables.setdefault(name, self.blob_names.of(name))
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
            self._note_weights(chain)
            index += covered
            self._overwrite(chain, steps[index:])
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
            types = tuple(step.layer.type for step in part)
            function, fits = _rules.get(types), _fits.get(types)
            if function is None or not all(_is_row(before, after) for before, after in pairwise(part)):
                continue
            if fits is None or fits(part):
                return length, function
        return 1, None

    @staticmethod
    def _why_not(kind: str) -> str:
        if kind in _refused:
            return f"cannot be converted: {_refused[kind]}"
        return f"there is no conversion rule for this type{near(kind, converted_types())}"

    def _note_folded(self, chain: Chain) -> None:
        """Blobs within a chain do not exist, unless the chain writes in place over them."""
        final = {id(blob) for blob in chain.top}
        for step in chain.steps[:-1]:
            for blob in step.top:
                if id(blob) not in final:
                    joined = " and ".join(s.layer.type for s in chain.steps)
                    self._drop(blob, f"{joined} are one module")

    def _note_weights(self, chain: Chain) -> None:
        """PyTorch's losses come out as they are."""
        for blob, weight in zip(chain.top, chain.steps[-1].loss_weights, strict=False):
            if weight not in (0, 1):
                name = self.names[id(blob)]
                chain.note(f'multiply "{name}" by its loss_weight {number(weight)} when you add up the loss')

    def _overwrite(self, chain: Chain, later: Sequence[LayerStep]) -> None:
        """What shares its memory with a blob that was worked over in place has changed as well."""
        for step in chain.steps:
            for blob in step.top:
                if blob not in step.bottom:
                    continue
                for other in self._sharing(blob):
                    self._follow(other, blob, any(other in reader.bottom for reader in later))

    def _sharing(self, blob: Blob) -> list[Blob]:
        made = self.net.blobs.values()
        return [other for other in made if other is not blob and other.data_memory is blob.data_memory]

    def _follow(self, other: Blob, blob: Blob, is_read: bool) -> None:
        name = self.names[id(other)]
        if other.shape == blob.shape:
            self._variables[name] = self.variable(blob)
        elif is_read or name in self.program.outputs:
            shape = ", ".join(["-1", *map(str, other.shape[1:])])
            value = self.variable(blob)
            self.program.lines.append(f"{self.assign(other)} = {value}.reshape({shape})")
        else:
            self._drop(
                other, f'it shares memory with "{self.names[id(blob)]}", which is worked over in place'
            )

    def _drop(self, blob: Blob, why: str) -> None:
        name = self.names[id(blob)]
        self.program.folded[name] = why


def _is_row(before: LayerStep, after: LayerStep) -> bool:
    return (
        len(after.bottom) == 1
        and len(before.top) == 1
        and after.bottom[0] is before.top[0]
        and not any(before.loss_weights)
    )


# --- text ---


def _joined(before: str, after: str) -> str | None:
    """One statement for `y = a(x)` and `y = b(y)`, where the second takes y as its one argument or first."""
    name, _, inner = before.partition(" = ")
    target, _, outer = after.partition(" = ")
    if target != name or len(re.findall(rf"\b{re.escape(name)}\b", outer.replace(f"self.{name}(", ""))) != 1:
        return None
    place = re.fullmatch(rf"([\w.]+)\({re.escape(name)}((?:, [^()]*)?)\)", outer)
    joined = f"{name} = {place[1]}({inner}{place[2]})" if place else ""
    return joined if joined and len(joined) <= _LONGEST_JOINED else None


def number(value: float) -> str:
    """A float as Python text: the shortest that is the same float32."""
    value = float(value)
    if math.isinf(value) or math.isnan(value):
        return f'float("{value}")'
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else str(np.float32(value))


def numbers(values: Sequence[int]) -> str:
    """One number where all are the same, else a tuple."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def arguments(*positional: str, **named: tuple[str, str]) -> str:
    """Call arguments; each named one is (text, default) and left out where both are the same."""
    parts = list(positional) + [
        f"{name}={text}" for name, (text, default) in named.items() if text != default
    ]
    return ", ".join(parts)
