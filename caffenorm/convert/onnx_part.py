"""What an ONNX rule is handed, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from caffenorm.blob import Blob
from caffenorm.convert.onnx_graph import Array, Dims, Node
from caffenorm.errors import ConversionError
from caffenorm.graph import near
from caffenorm.layer import Layer
from caffenorm.plan import LayerStep

if TYPE_CHECKING:
    from caffenorm.convert.onnx_emitter import Emitter

Rule = Callable[["Part"], None]
Fits = Callable[[Sequence[LayerStep]], bool]
_rules: dict[tuple[str, ...], Rule] = {}
_fits: dict[tuple[str, ...], Fits] = {}
_refused: dict[str, str] = {}


def rule(*types: str | tuple[str, ...], fits: Fits | None = None) -> Callable[[Rule], Rule]:
    """Decorator: this function turns layers of one of these types, or such chains of types, into nodes.

    Args:
        types: names, or tuples of names of layers that follow each other.
        fits: says of layers in such a row whether they can be one.
    """

    def register(function: Rule) -> Rule:
        for kind in types:
            key = (kind,) if isinstance(kind, str) else kind
            _rules[key] = function
            if fits is not None and len(key) > 1:
                _fits[key] = fits
        return function

    return register


def refuse(why: str, *types: str) -> None:
    """Say why types have no rule."""
    _refused.update(dict.fromkeys(types, why))


def onnx_types() -> set[str]:
    """Layer types that a rule covers."""
    return {kind for chain in _rules for kind in chain}


def refused_types() -> dict[str, str]:
    """Layer types that have no form in ONNX, and why."""
    return dict(_refused)


def match_rule(steps: Sequence[LayerStep], index: int) -> tuple[int, Rule | None]:
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


def _is_row(before: LayerStep, after: LayerStep) -> bool:
    return len(after.bottom) == 1 and len(before.top) == 1 and after.bottom[0] is before.top[0]


def why_not(kind: str) -> str:
    if kind in _refused:
        return f"has no form in ONNX: {_refused[kind]}"
    return f"there is no ONNX rule for this type{near(kind, onnx_types())}"


class BatchMattersError(ConversionError):
    """A layer needs to know the batch size."""


class Part:
    """What a rule is handed: one or more layers that it covers, and how to say what they become.

    Attributes:
        steps: the layers with their blobs. graph: the whole.
    """

    def __init__(self, emitter: Emitter, steps: Sequence[LayerStep]) -> None:
        self._emitter = emitter
        self._made: set[str] = set()
        self.steps = list(steps)
        self.graph = emitter.graph

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

    @property
    def inputs(self) -> list[str]:
        """Values of the first layer's bottoms."""
        return [self._emitter.value(blob) for blob in self.bottom]

    @property
    def x(self) -> str:
        """Value of the first bottom."""
        return self.inputs[0]

    def dims(self, blob: Blob) -> Dims:
        """A blob's shape, None for axes that follow the batch size."""
        return self._emitter.dims(blob)

    # --- what it becomes ---

    def node(self, op: str, *inputs: str, at: str = "", **attributes: Any) -> str:  # Any: as in Node
        """Add a node called like the layer (and `/<at>`); returns the value it makes."""
        return self.nodes(op, *inputs, at=at, count=1, **attributes)[0]

    def nodes(self, op: str, *inputs: str, at: str = "", count: int, **attributes: Any) -> list[str]:
        """The same for a node with `count` outputs."""
        name = self._emitter.new_name(f"{self.layer.name}/{at}" if at else self.layer.name, "nodes")
        base = f"{self.layer.name}/{at or op.lower()}"
        outputs = [self._emitter.new_name(base, "values") for _ in range(count)]
        self._made.update(outputs)
        self.graph.nodes.append(Node(op, list(inputs), outputs, name, attributes))
        return outputs

    def set(self, value: str, index: int = 0) -> None:
        """The top of that index holds this value from now on."""
        blob = self.top[index]
        if value in self._made:
            self._made.remove(value)
            named = self._emitter.new_name(f"{self._emitter.names[id(blob)]}@{self.layer.name}", "values")
            self.graph.rename(value, named)
            value = named
        self._emitter.assign(blob, value)

    def constant(self, value: Any, role: str) -> str:  # Any: numbers or an array
        """A constant `<layer>.<role>`, float unless it holds whole numbers of NumPy's or Python's."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else self.graph.dtype)
        name = self._emitter.new_name(f"{self.layer.name}.{role}", "values")
        self.graph.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name

    def ints(self, values: Sequence[int], role: str) -> str:
        """A list of whole numbers, which may be empty."""
        return self.constant(np.array(list(values), np.int64), role)

    def param(self, blob: Blob, role: str, value: Array | None = None, *, of: Layer | None = None) -> str:
        """A parameter of the layer (or of another of the chain); one that layers share is stored once.

        Args:
            blob: Caffe's. role: its name in the layer. value: as ONNX takes it, if not as it is.
            of: the layer to name it after.
        """
        array = blob.read() if value is None else value
        known = self._emitter.homes.get(id(blob.data_memory))
        if known is not None and np.array_equal(self.graph.constants[known], array, equal_nan=True):
            return known
        name = self._emitter.new_name(f"{(of or self.layer).name}.{role}", "values")
        self.graph.constants[name] = np.array(array, self.graph.dtype, order="C")
        self._emitter.homes.setdefault(id(blob.data_memory), name)
        return name

    # --- small compositions that many rules need ---

    def reshape(self, x: str, dims: Dims, at: str = "") -> str:
        """x in another shape, where at most one axis may follow the batch size."""
        if sum(dim is None for dim in dims) > 1:
            raise BatchMattersError("two axes follow the batch size")
        shape = [-1 if dim is None else dim for dim in dims]
        zero = {"allowzero": 1} if 0 in shape else {}
        role = f"{at}_shape" if at else "shape"
        return self.node("Reshape", x, self.ints(shape, role), at=at, **zero)

    def reduce(self, op: str, x: str, axes: Sequence[int], *, keep: bool = True, at: str = "") -> str:
        """A reduction; up to opset 17 most of them have their axes as an attribute."""
        keepdims = int(keep)
        if op != "ReduceSum" and self.graph.opset < 18:
            return self.node(op, x, at=at, axes=list(axes), keepdims=keepdims)
        axes_name = self.ints(axes, f"{at}_axes" if at else "axes")
        return self.node(op, x, axes_name, at=at, keepdims=keepdims)

    def times(self, x: str, factor: float, at: str = "") -> str:
        """x * factor, x itself for 1."""
        return x if factor == 1 else self.node("Mul", x, self.constant(float(factor), at or "factor"), at=at)

    def plus(self, x: str, offset: float, at: str = "") -> str:
        """x + offset, x itself for 0."""
        return x if offset == 0 else self.node("Add", x, self.constant(float(offset), at or "offset"), at=at)

    def behind(self, x: str, axes: int, missing: int, at: str = "aligned") -> str:
        """x of so many axes with `missing` axes of size 1 behind them."""
        if missing <= 0:
            return x
        places = self.ints(range(axes, axes + missing), f"{at}_axes" if at else "axes")
        return self.node("Unsqueeze", x, places, at=at)

    def to_float(self, x: str, at: str = "") -> str:
        """Truth values or whole numbers as floats."""
        return self.node("Cast", x, at=at, to="DOUBLE" if self.graph.dtype.itemsize == 8 else "FLOAT")

    def filled(self, shape: str, value: float) -> str:
        """An array of that shape, the same number everywhere."""
        return self.node("ConstantOfShape", shape, value=np.array([value], self.graph.dtype))

    def note(self, text: str) -> None:
        """Tell the user something about these layers."""
        self.graph.notes.append(f'layer "{self.layer.name}": {text}')

    def fail(self, why: str) -> ConversionError:
        """An error that names the layer."""
        return ConversionError(why, self.steps[0].where)
