"""The graph of a PyTorch module, as torch.export sees it, with its parameters; and what its values are.

torch.export names ATen operators, and remembers for each the module and the source line it comes from.
Operators that work in place become ordinary ones: by hand where nothing else sees the memory, so that the
graph stays as it was written, else by PyTorch's own functionalisation, which leaves Dropout out.
"""

from __future__ import annotations

import copy
import io
import logging
import operator
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from caffenorm.errors import ConversionError

Observer = Callable[[fx.Node, Any], None]  # Any: tensors, numbers, and tuples of them
_TORCH = str(Path(torch.__file__).parent)
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# Operators whose result may be the memory of their first argument; views say so in their schema.
_MAY_ALIAS = frozenset(
    {
        *("reshape", "flatten", "contiguous", "to", "dropout", "feature_dropout", "alpha_dropout"),
        *("_to_copy", "expand_as", "type_as"),
    }
)
_DROPOUTS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
_SAME = frozenset({"detach", "alias"})


@dataclass
class Trace:
    """A module as a graph of ATen operators.

    Attributes:
        graph: without operators that work in place. name: of the module's class.
        inputs: nodes of the tensors that forward takes. outputs: nodes of what it returns, flat.
        constants: node -> parameter, buffer or constant that it stands for, on the CPU.
        names: node -> the full name of that parameter or buffer.
        notes: what the user should know.
    """

    graph: fx.Graph
    name: str
    inputs: list[fx.Node] = field(default_factory=list)
    outputs: list[fx.Node] = field(default_factory=list)
    constants: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    names: dict[fx.Node, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def capture(module: torch.nn.Module | ExportedProgram, inputs: Sequence[torch.Tensor]) -> Trace:
    """The graph of what the module does in eval mode with such inputs.

    Raises:
        ConversionError: torch.export cannot follow the module, or it takes or returns other things than
            tensors.
    """
    if isinstance(module, ExportedProgram):
        return _read(module, "exported")
    with evaluating(module), without_logs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module's own, which it gives whenever it runs
        try:
            program = torch.export.export(module, tuple(inputs), strict=False)
        except Exception as error:  # torch.export raises whatever the module's own code does
            raise ConversionError(
                f"torch.export cannot follow {type(module).__name__}: {type(error).__name__}: {_short(error)}"
            ) from error
    return _read(program, type(module).__name__)


def _short(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0][:500] if lines else "no reason given"


@contextmanager
def without_logs() -> Iterator[None]:
    """PyTorch logs a traceback and prints the graph so far before it raises; the error says it all."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Eval mode for a while; every submodule gets its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _read(program: ExportedProgram, name: str) -> Trace:
    graph = None if _has_regions(program.graph) else without_mutation(program.graph)
    notes = []
    if graph is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, of how it copies its trees
            program = program.run_decompositions({})
        graph = without_mutation(program.graph)
        notes.append(
            "PyTorch has rewritten the graph into one without regions or changes; Dropout is left out"
        )
    if graph is None or _has_regions(program.graph):
        raise ConversionError("has branches, loops, or changes of its state that torch.export keeps")
    trace = Trace(graph, name, notes=notes)
    _name_inputs(trace, program)
    _name_outputs(trace, program)
    return trace


def _has_regions(graph: fx.Graph) -> bool:
    """Whether there are graphs within: what stands under no_grad or autocast, or a branch."""
    return any(node.op in ("get_attr", "call_module") for node in graph.nodes)


def _name_inputs(trace: Trace, program: ExportedProgram) -> None:
    specs = program.graph_signature.input_specs
    copies: dict[object, torch.Tensor] = {}  # so that what is one parameter stays one
    for node, spec in zip((n for n in trace.graph.nodes if n.op == "placeholder"), specs, strict=True):
        target = spec.target
        if spec.kind == InputKind.USER_INPUT:
            if not isinstance(node.meta.get("val"), torch.Tensor):
                raise ConversionError(f"takes {node.name}, which is no tensor; give tensors alone")
            trace.inputs.append(node)
        elif target is not None and (target in program.state_dict or target in program.constants):
            value = program.state_dict[target] if target in program.state_dict else program.constants[target]
            if not isinstance(value, torch.Tensor):
                raise ConversionError(f"{target} is no tensor")
            same = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            if same not in copies or not value.numel():
                copies[same] = value.detach().cpu()
            held = copies[same]
            learns = value.requires_grad
            is_parameter = spec.kind == InputKind.PARAMETER
            trace.constants[node] = torch.nn.Parameter(held, learns) if is_parameter else held
            trace.names[node] = target


def _name_outputs(trace: Trace, program: ExportedProgram) -> None:
    specs = program.graph_signature.output_specs
    returned = next(node for node in trace.graph.nodes if node.op == "output").args[0]
    for node, spec in zip(returned, specs, strict=True):
        if spec.kind.name != "USER_OUTPUT":
            continue
        if isinstance(node, fx.Node):
            trace.outputs.append(node)
        elif node is not None:
            raise ConversionError(f"returns {node!r}, which is no tensor")
    if not trace.outputs:
        raise ConversionError("returns no tensor")


# --- operators that work in place ---


def without_mutation(graph: fx.Graph) -> fx.Graph | None:
    """A copy where what was changed in place is a new value that later readers get instead.

    None where another view of that memory is read later, or an operator has no ordinary form.
    """
    place = {node: i for i, node in enumerate(graph.nodes)}
    family, same = _first_of(graph, _may_alias), _first_of(graph, _is_same)
    made = fx.Graph()
    new: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        new[node] = made.node_copy(node, lambda old: new[old])
        if not _is_mutable(node):
            continue
        changed = node.args[0]
        ordinary = _ordinary(node)
        if ordinary is None or not isinstance(changed, fx.Node):
            return None
        for other in [n for n in new if family[n] is family[changed] and n is not node]:
            if same[other] is same[changed]:
                new[other] = new[node]
            elif any(place[user] > place[node] for user in other.users):
                return None
        new[node].target = ordinary
    made.lint()
    return made


def _is_mutable(node: fx.Node) -> bool:
    written = getattr(node.target, "_schema", None)
    return written is not None and bool(written.is_mutable)


def _ordinary(node: fx.Node) -> Any:  # Any: torch._ops.OpOverload, which has no public name
    """The operator that does the same into new memory."""
    target: Any = node.target  # Any: as above
    written = [arg.alias_info is not None and arg.alias_info.is_write for arg in target._schema.arguments]
    name = target._schema.name.split("::")[-1]
    if not written[0] or any(written[1:]) or not name.endswith("_"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    return getattr(packet, target._overloadname, None)


def _first_of(graph: fx.Graph, joins: Callable[[fx.Node], bool]) -> dict[fx.Node, fx.Node]:
    """Node -> the first of those that `joins` ties together, each with its first argument."""
    first: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        first[node] = first[source] if source is not None and joins(node) else node
    return first


def _is_same(node: fx.Node) -> bool:
    """Whether it is its first argument, whole and with every later change."""
    schema = getattr(node.target, "_schema", None)
    name = "" if schema is None else schema.name.split("::")[-1]
    if name.rstrip("_") in _DROPOUTS:
        return len(node.args) > 2 and node.args[2] is False
    return name in _SAME or _is_mutable(node)


def _may_alias(node: fx.Node) -> bool:
    if node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    if schema.name.split("::")[-1].rstrip("_") in _MAY_ALIAS:
        return True
    return any(value.alias_info is not None for value in schema.returns)


# --- values ---


def evaluate(
    graph: fx.Graph,
    constants: dict[fx.Node, torch.Tensor],
    given: dict[fx.Node, torch.Tensor],
    observe: Observer,
) -> None:
    """Run the graph in float64, telling every node's value; values are dropped after their last reader."""
    values: dict[fx.Node, Any] = {}  # Any: tensors, numbers, and tuples of them
    waiting = Counter({node: len(node.users) for node in graph.nodes})
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for node in graph.nodes:
            if node.op == "placeholder":
                if node not in given and node not in constants:
                    continue
                values[node] = in_float64(given[node] if node in given else constants[node])
            elif node.op == "call_function" and not node.name.startswith("_assert"):
                values[node] = call(node, values)
            else:
                continue
            observe(node, values[node])
            for source in node.all_input_nodes:
                waiting[source] -= 1
                if waiting[source] == 0:
                    values.pop(source, None)


def call(node: fx.Node, values: dict[fx.Node, Any], *, double: bool = True) -> Any:  # Any: as in evaluate
    """What one node computes, on the CPU."""
    args: Any = fx.node.map_arg(node.args, lambda n: values[n])  # Any: arguments
    kwargs: dict[str, Any] = dict(fx.node.map_arg(node.kwargs, lambda n: values[n]))  # Any: arguments
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    if double:
        args = [_doubled(value) for value in args]
        kwargs = {name: _doubled(value) for name, value in kwargs.items()}
    target: Any = node.target  # Any: an operator
    return target(*args, **kwargs)


def _doubled(value: Any) -> Any:  # Any: an argument
    return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value


def in_float64(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU; in double, if it holds floats."""
    tensor = tensor.detach().cpu()
    return tensor.double() if tensor.is_floating_point() else tensor


def in_double(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of the module in float64 on the CPU, in eval mode."""
    return copy.deepcopy(module).cpu().double().eval()


# --- where a node comes from ---


def module_path(node: fx.Node) -> tuple[str, str]:
    """The path and the class (with its package) of the innermost module that a node belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    path, kind = stack[-1]
    return re.sub(r"@\d+", "", str(path)), kind if isinstance(
        kind, str
    ) else f"{kind.__module__}.{kind.__name__}"


def source_line(node: fx.Node) -> str:
    """`file:line` of the user's code, empty where it is not known."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame[0].startswith(_TORCH)]
    return "{}:{}".format(*own[-1]) if own else ""
