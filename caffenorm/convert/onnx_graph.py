"""A net as an ONNX graph: nodes are called like Caffe's layers, values like blobs, constants like parameters.

A rule (see `onnx_rules`) turns a layer, or a chain of them, into nodes. Caffe's layers may work in place;
ONNX gives every value one name. So each value is called `<blob>@<layer>` first, and what a blob holds in the
end gets the blob's own name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import CaffenormError, ConversionError, Where
from caffenorm.graph import near
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

Array = NDArray[Any]  # Any: floats, or int64
Dims = tuple[int | None, ...]  # None for an axis that follows the batch size

Rule = Callable[["Part"], None]
Fits = Callable[[Sequence[LayerStep]], bool]
_rules: dict[tuple[str, ...], Rule] = {}
_fits: dict[tuple[str, ...], Fits] = {}
_refused: dict[str, str] = {}


@dataclass
class Node:
    """One operation."""

    op: str
    inputs: list[str]
    outputs: list[str]
    name: str
    attributes: dict[str, Any]  # Any: what ONNX allows


@dataclass
class Graph:
    """A whole net.

    Attributes:
        name: of the net. dtype: of its floats. opset: the version of the operators.
        inputs, outputs: dims by name. constants: parameters and other constants by name.
        values: blob -> the value that it holds in the end, for all blobs that exist. shapes: of all blobs.
        notes: for the user.
        dynamic: whether any batch size will do.
    """

    name: str
    dtype: np.dtype[Any]
    opset: int
    inputs: dict[str, Dims] = field(default_factory=dict)
    outputs: dict[str, Dims] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Dims] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    dynamic: bool = False

    def rename(self, old: str, new: str) -> None:
        """Call a value by another name."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]
        self.values = {blob: new if name == old else name for blob, name in self.values.items()}


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


class Emitter:
    """Turns a net into a Graph.

    Attributes:
        names: of the blobs, by their identity. homes: memory of a Caffe parameter -> the constant it became.
    """

    def __init__(self, net: Net, opset: int, *, dynamic: bool = True) -> None:
        self.net = net
        dtype = net.layers[0].dtype if net.layers else np.dtype("f4")
        self.graph = Graph(net.name or "net", np.dtype(dtype), opset)
        self.names = {id(blob): name for name, blob in net.blobs.items()}
        self.homes: dict[int, str] = {}
        self._dims: dict[str, Dims] = {}
        if dynamic:
            self._dims, why = _dims_of(net)
            if why:
                self.graph.notes.append(f"runs at the batch size that the net has now: {why}")
        self.graph.dynamic = bool(self._dims)
        self._now: dict[int, str] = {}
        self._taken: dict[str, set[str]] = {"nodes": set(), "values": set(net.blobs)}

    def new_name(self, wanted: str, kind: str) -> str:
        """A name that no other node (or value) has."""
        taken = self._taken[kind]
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name)
        return name

    def value(self, blob: Blob) -> str:
        """The value that a blob holds now."""
        return self._now[id(blob)]

    def assign(self, blob: Blob, value: str) -> None:
        """The blob holds this value from now on."""
        self._now[id(blob)] = value
        self.graph.values[self.names[id(blob)]] = value

    def dims(self, blob: Blob) -> Dims:
        """A blob's shape, None for axes that follow the batch size."""
        return self._dims.get(self.names.get(id(blob), ""), blob.shape)

    def run(self) -> Graph:
        """Emit the whole net.

        Raises:
            ConversionError: lists every layer that no rule covers, with its line and the reason.
            BatchMattersError: not all batch sizes will do.
        """
        for name in self.net.inputs:
            blob = self.net.blobs[name]
            self._now[id(blob)] = self.graph.values[name] = name
            self.graph.inputs[name] = self.dims(blob)
        faults: list[ConversionError] = []
        steps, index = self.net.steps, 0
        while index < len(steps):
            covered, function = _match(steps, index)
            part = Part(self, steps[index : index + covered])
            try:
                if function is None:
                    raise part.fail(_why_not(part.layer.type))
                function(part)
            except BatchMattersError:
                raise
            except ConversionError as error:
                faults.append(error)
                for blob in part.top:
                    self.assign(blob, self.names.get(id(blob), ""))
            index += covered
            self._drop_inner(part)
            self._overwrite(part, steps[index:])
        if faults:
            raise _together(faults, self.net)
        if not self.net.outputs:
            raise ConversionError("the net has no output", Where(file=self.net.file))
        self._name_values()
        self.graph.shapes = {name: self.dims(blob) for name, blob in self.net.blobs.items()}
        return self.graph

    def _drop_inner(self, part: Part) -> None:
        """Blobs within a chain do not exist, unless the chain writes in place over them."""
        for blob in [blob for step in part.steps[:-1] for blob in step.top]:
            if blob not in part.top:
                self.graph.values.pop(self.names[id(blob)], None)

    def _overwrite(self, part: Part, later: Sequence[LayerStep]) -> None:
        """What shares its memory with a blob that was worked over in place has changed as well."""
        blobs = {name: blob for name, blob in self.net.blobs.items() if id(blob) in self._now}
        for blob in [blob for step in part.steps for blob in step.top if blob in step.bottom]:
            for name, other in blobs.items():
                if other is blob or other.data_memory is not blob.data_memory:
                    continue
                is_read = any(other in step.bottom for step in later) or name in self.net.outputs
                if other.shape == blob.shape:
                    self.assign(other, self.value(blob))
                elif is_read:
                    self.assign(other, part.reshape(self.value(blob), self.dims(other), at=name))
                else:
                    self.graph.values.pop(name, None)

    def _name_values(self) -> None:
        """Give what each blob holds in the end its name; outputs come first, and have theirs always."""
        graph, made = self.graph, {name for node in self.graph.nodes for name in node.outputs}
        outputs = [name for name in self.net.outputs if name in graph.values]
        for blob in (*outputs, *(name for name in self.net.blobs if name not in outputs)):
            value = graph.values.get(blob)
            if value in made and value not in self.net.blobs and blob not in graph.inputs:
                assert value is not None
                graph.rename(value, blob)
        for blob in outputs:
            value = graph.values[blob]
            name = blob if blob not in graph.inputs else self.new_name(f"{blob}@{graph.name}", "values")
            if value != name:
                graph.nodes.append(Node("Identity", [value], [name], self.new_name(name, "nodes"), {}))
                graph.values[blob] = name
            graph.outputs[name] = self.dims(self.net.blobs[blob])


def _match(steps: Sequence[LayerStep], index: int) -> tuple[int, Rule | None]:
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


def _why_not(kind: str) -> str:
    if kind in _refused:
        return f"has no form in ONNX: {_refused[kind]}"
    return f"there is no ONNX rule for this type{near(kind, onnx_types())}"


def _together(faults: Sequence[ConversionError], net: Net) -> ConversionError:
    if len(faults) == 1:
        return faults[0]
    rows = "\n".join(f"  {fault}" for fault in faults)
    return ConversionError(f"{len(faults)} layers cannot be converted:\n{rows}", Where(file=net.file))


def _dims_of(net: Net) -> tuple[dict[str, Dims], str]:
    """Shapes with None where they follow the batch size; none where the net takes one size alone, and why.

    A copy of the net is shaped for another batch size, and what has changed follows it.
    """
    firsts = {net.blobs[name].shape[:1] for name in net.inputs}
    if not firsts or firsts == {()} or firsts == {(0,)}:
        return {}, ""
    if len(firsts) > 1:
        return {}, "its inputs have several first axes"
    other_batch = 2 * firsts.pop()[0] + 1
    message = schema.NetParameter()
    message.CopyFrom(net.net_param)
    try:
        twin = Net(message, net.phase, dtype=net.layers[0].dtype, fuse=False, allow_python=True)
        for name in net.inputs:
            twin.blobs[name].reshape((other_batch, *net.blobs[name].shape[1:]))
        twin.reshape()
    except CaffenormError as error:
        return {}, f"it does not take {other_batch} ({error})"
    found: dict[str, Dims] = {}
    for name, blob in net.blobs.items():
        theirs = twin.blobs[name].shape
        if len(theirs) != len(blob.shape):
            return {}, f'blob "{name}" has other axes then'
        found[name] = tuple(a if a == b else None for a, b in zip(blob.shape, theirs, strict=True))
    return found, ""


def product(dims: Sequence[int | None]) -> int | None:
    """The size of axes taken together."""
    known = [dim for dim in dims if dim is not None]
    return math.prod(known) if len(known) == len(dims) else None
