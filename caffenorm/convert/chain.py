"""Chain: what a rule is handed; and the table of rules, by the types that they cover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from caffenorm.blob import Blob
from caffenorm.convert.options import ConvertOptions
from caffenorm.convert.parts import Floats, Param, Submodule
from caffenorm.convert.text import joined
from caffenorm.errors import ConversionError
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

if TYPE_CHECKING:
    from caffenorm.convert.describer import Describer

Rule = Callable[["Chain"], None]
Fits = Callable[[Sequence[LayerStep], Net], bool]


_rules: dict[tuple[str, ...], Rule] = {}
_fits: dict[tuple[str, ...], Fits] = {}
_options: dict[tuple[str, ...], str] = {}
_refused: dict[str, str] = {}


def rule(*types: str | tuple[str, ...], fits: Fits | None = None, option: str = "") -> Callable[[Rule], Rule]:
    """Decorator: this function turns layers of one of these types, or such chains of types, into PyTorch.

    Args:
        types: names, or tuples of names of layers that follow each other.
        fits: says of layers in such a row whether they can be one.
        option: of ConvertOptions, that must be chosen.
    """

    def register(function: Rule) -> Rule:
        for kind in types:
            chain = (kind,) if isinstance(kind, str) else kind
            _rules[chain] = function
            _options[chain] = option
            if fits is not None and len(chain) > 1:
                _fits[chain] = fits
        return function

    return register


def rule_for(part: Sequence[LayerStep], net: Net, options: ConvertOptions) -> Rule | None:
    """The rule for exactly these layers, if there is one and they can be one."""
    types = tuple(step.layer.type for step in part)
    function, fits = _rules.get(types), _fits.get(types)
    if function is None or (_options.get(types) and not getattr(options, _options[types])):
        return None
    return function if fits is None or fits(part, net) else None


def longest_chain() -> int:
    """How many layers a rule covers at most."""
    return max(len(types) for types in _rules)


def refuse(kind: str, why: str) -> None:
    """Say why a type has no rule."""
    _refused[kind] = why


def converted_types() -> set[str]:
    """Layer types that a rule covers."""
    return {kind for chain in _rules for kind in chain}


def refused_types() -> dict[str, str]:
    """Layer types that cannot be converted, and why."""
    return dict(_refused)


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
        one = joined(lines[-1], text) if lines else None
        if one is None:
            lines.append(text)
        else:
            lines[-1] = one

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
