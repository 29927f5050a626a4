"""From the graph of a module to a NetParameter, a Net, and what there is to say about them."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Builder, Shape, Value
from caffenorm.convert.torch_to_caffe.capture import Trace, call, evaluate, module_path, source_line
from caffenorm.convert.torch_to_caffe.op import Known, Op, find_rule, operator_name
from caffenorm.convert.torch_to_caffe.patterns import Pattern, find_patterns
from caffenorm.errors import CaffenormError, ConversionError
from caffenorm.net import Net

# What people call the one input of a net that Caffe's call "data".
_PLAIN_INPUTS = frozenset({"x", "input", "inputs", "img", "image", "images"})


@dataclass
class Conversion:
    """What becomes of a module.

    Attributes:
        net_param: the net without weights. net: with them. outputs: blobs in the order in which forward
            returns them.
        notes: what the user should know. blobs: blob -> the node whose value it holds when forward ends.
    """

    net_param: schema.NetParameter
    net: Net
    outputs: list[str]
    notes: list[str]
    blobs: dict[str, fx.Node] = field(default_factory=dict)
    layers: dict[fx.Node, str] = field(default_factory=dict)


@dataclass
class _Fault:
    node: fx.Node
    why: str

    def __str__(self) -> str:
        path, owner = module_path(self.node)
        place = " ".join(part for part in (path, f"({owner.rpartition('.')[2]})" if owner else "") if part)
        line = source_line(self.node)
        return f"{place}{', ' if place and line else ''}{line}: {operator_name(self.node)}: {self.why}"


class Converter:
    """Walks through the graph once.

    Attributes:
        trace: the graph. builder: the layers. shapes: node -> shapes of what it gives, as it was run.
    """

    def __init__(self, trace: Trace, inputs: Sequence[torch.Tensor], names: Sequence[str]) -> None:
        self.trace = trace
        self.given = dict(zip(trace.inputs, inputs, strict=True))
        self.builder = Builder()
        self.patterns = find_patterns(trace.graph)
        self.shapes: dict[fx.Node, list[Shape]] = {}
        self.integral: set[fx.Node] = set()
        self.whole: dict[fx.Node, Any] = {}  # Any: numbers that come from sizes
        evaluate(trace.graph, trace.constants, self.given, self._observe)
        self.names = list(names)
        self.values: dict[fx.Node, Any] = dict(trace.constants)  # Any: Value, tensor, number, tuples of them
        self.written: dict[str, fx.Node] = {}  # blob -> whose value it holds last
        self.made_by: dict[fx.Node, str] = {}
        self.faults: list[_Fault] = []
        self.notes = list(trace.notes)
        self.readers = self._count_readers()
        by_name = {name: trace.constants[node] for node, name in trace.names.items()}
        learning = any(tensor.requires_grad for tensor in by_name.values())
        ids = {id(tensor): name for name, tensor in by_name.items()}
        self.known = Known(ids, by_name, not learning, self.notes)

    def _observe(self, node: fx.Node, value: Any) -> None:  # Any: as in evaluate
        parts = value if isinstance(value, list | tuple) else [value]
        self.shapes[node] = [tuple(part.shape) if isinstance(part, torch.Tensor) else () for part in parts]
        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            self.integral.add(node)
        if isinstance(value, int | float | bool):
            self.whole[node] = value

    # --- the graph ---

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that a layer for this node reads, once for each time."""
        pattern = self.patterns.get(node)
        if pattern is not None:
            return [value for value in pattern.arguments.values() if isinstance(value, fx.Node)]
        found: list[fx.Node] = []
        fx.node.map_arg((node.args, node.kwargs), found.append)
        return found

    def _count_readers(self) -> Counter[fx.Node]:
        """How often each node is read by what the outputs need; the others are left out."""
        readers: Counter[fx.Node] = Counter(self.trace.outputs)
        todo = list(dict.fromkeys(self.trace.outputs))
        seen = set(todo)
        while todo:
            for source in self._sources(todo.pop()):
                readers[source] += 1
                if source not in seen:
                    seen.add(source)
                    todo.append(source)
        return readers

    def run(self) -> None:
        """Make all layers.

        Raises:
            ConversionError: lists everything that no layer expresses.
        """
        self._add_inputs()
        for node in self.trace.graph.nodes:
            if node.op in ("call_function", "call_method", "get_attr", "call_module") and self.readers[node]:
                self._convert(node)
        if self.faults:
            raise ConversionError(_listed(self.faults))
        self.outputs = self._name_outputs()
        self.builder.share()

    def _add_inputs(self) -> None:
        for node, name in zip(self.trace.inputs, self.names, strict=True):
            shape = tuple(self.given[node].shape)
            dims = {"shape": [{"dim": list(shape)}]}
            value = self.builder.add("Input", name, [], [shape], input_param=dims)[0]
            self._hold(node, value)
            if not self.readers[node]:
                self.builder.add("Silence", f"{name}/unused", [value], [])

    def _hold(self, node: fx.Node, value: Any) -> None:  # Any: a rule's result
        self.values[node] = value
        if isinstance(value, Value):
            self.written[value.blob] = node
            self.builder.pending[value.blob] += self.readers[node]

    def _convert(self, node: fx.Node) -> None:
        if node in self.whole:
            self.values[node] = self.whole[node]
            return
        self.builder.source = source_line(node)
        before = len(self.builder.made)
        try:
            result = self._result(node)
        except CaffenormError as error:
            self.faults.append(_Fault(node, error.message))
            made = [Value(self.builder.unique("?"), shape) for shape in self.shapes[node]]
            result = made if self._is_tuple(node) else made[0]
        self._hold(node, result)
        for source in self._sources(node):
            read = self.values.get(source)
            if isinstance(read, Value):
                self.builder.pending[read.blob] -= 1
        if len(self.builder.made) > before:
            self.made_by[node] = self.builder.made[-1].message.name

    def _is_tuple(self, node: fx.Node) -> bool:
        return any(user.target is operator.getitem for user in node.users)

    def _result(self, node: fx.Node) -> Any:  # Any: a rule's result
        if node.target is operator.getitem:
            source, index = node.args
            part = self.values[source][index]  # type: ignore[index]  # a node
            if part is None:
                raise ConversionError("no layer gives this result of it")
            return part
        pattern = self.patterns.get(node)
        if pattern is None and self._is_constant(node):
            return call(node, self.values, double=False)
        op = self._op(node, pattern)
        return find_rule(op.kind)(op)

    def _is_constant(self, node: fx.Node) -> bool:
        """Whether it is computed from parameters and numbers alone, and the same each time."""
        if node.op != "call_function" or any(self._computed(self.values.get(n)) for n in self._sources(node)):
            return False
        return torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ())

    def _computed(self, value: Any) -> bool:  # Any: a rule's result
        if isinstance(value, list | tuple):
            return any(self._computed(part) for part in value)
        return isinstance(value, Value)

    def _op(self, node: fx.Node, pattern: Pattern | None) -> Op:
        if pattern is not None:
            given = fx.node.map_arg(pattern.arguments, lambda n: self.values[n])
        else:
            given = self._bound(node)
        parts = [user for user in node.users if user.target is operator.getitem and self.readers[user]]
        wanted = frozenset(int(str(user.args[1])) for user in parts)
        op = Op(node, dict(given), self.shapes[node], self.builder, self.known, wanted, self._rounds(node))
        if pattern is not None:
            op.kind = pattern.kind
        return op

    def _rounds(self, node: fx.Node) -> bool:
        return node in self.integral and not all(source in self.integral for source in node.all_input_nodes)

    def _bound(self, node: fx.Node) -> dict[str, Any]:  # Any: as the schema says
        """The arguments by name, with the schema's defaults."""
        written = getattr(node.target, "_schema", None)
        args = fx.node.map_arg(node.args, lambda n: self.values[n])
        kwargs = fx.node.map_arg(node.kwargs, lambda n: self.values[n])
        if written is None:
            raise ConversionError("is no operator of PyTorch's")
        given = {arg.name: arg.default_value for arg in written.arguments if arg.has_default_value()}
        names = [arg.name for arg in written.arguments]
        return given | dict(zip(names, args, strict=False)) | dict(kwargs)

    # --- outputs ---

    def _name_outputs(self) -> list[str]:
        """Output blobs; one that is also read, given twice, or an input gets a name of its own."""
        read = {
            bottom
            for made in self.builder.made
            for bottom in made.message.bottom
            if bottom not in made.message.top
        }
        values = [self.values[node] for node in self.trace.outputs]
        for i, value in enumerate(values):
            if not isinstance(value, Value):
                raise ConversionError(f"output {i + 1} is a constant, which no layer computes")
        times = Counter(value.blob for value in values)
        names = []
        for node, value in zip(self.trace.outputs, values, strict=True):
            blob = value.blob
            if self.builder.writer(blob) is None or blob in read or times[blob] > 1:
                blob = self.builder.add("Split", f"{blob}/out", [value], [value.shape])[0].blob
                self.written[blob] = node
            names.append(blob)
        return names

    def net_param(self, name: str) -> schema.NetParameter:
        """The net without weights."""
        net = schema.NetParameter(name=name)
        net.layer.extend(made.message for made in self.builder.made)
        return net

    def final_blobs(self) -> dict[str, fx.Node]:
        """Blobs, inputs left out, with the node whose value each holds when forward ends."""
        return {blob: node for blob, node in self.written.items() if self.builder.writer(blob) is not None}


def _listed(faults: Sequence[_Fault]) -> str:
    if len(faults) == 1:
        return str(faults[0])
    rows = "\n".join(f"  {fault}" for fault in faults)
    return f"{len(faults)} operations cannot be expressed in Caffe:\n{rows}"


def input_names(trace: Trace, names: Sequence[str] | None) -> list[str]:
    """What the Input layers are called: as forward's arguments are, "data" for a single plain one."""
    if names is not None:
        if len(names) != len(trace.inputs) or len(set(names)) != len(names):
            raise ConversionError(
                f"forward takes {len(trace.inputs)} tensors; give each a name of its own, found {list(names)}"
            )
        return list(names)
    own = [str(node.target) for node in trace.inputs]
    return ["data"] if len(own) == 1 and own[0] in _PLAIN_INPUTS else own


def make_net(
    message: schema.NetParameter, weights: dict[str, list[Any]], dtype: Any
) -> Net:  # Any: arrays, a numpy dtype
    """A TEST net with these weights.

    Raises:
        CaffenormError: a layer refuses; this is a mistake of a rule.
    """
    copied = schema.NetParameter()
    copied.CopyFrom(message)
    net = Net(copied, schema.TEST, dtype=dtype)
    for name, values in weights.items():
        for blob, value in zip(net.params[name], values, strict=True):
            if blob.count != np.size(value):
                raise ConversionError(
                    f'layer "{name}" has a blob of {list(blob.shape)} for values of {list(np.shape(value))}'
                )
            blob.write()[...] = value.reshape(blob.shape)
    return net
