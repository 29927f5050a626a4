"""Op: what a rule is handed; and the table of rules, by the name of the ATen operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from caffenorm.convert.torch_to_caffe.builder import Builder, Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.capture import module_path
from caffenorm.errors import ConversionError

Result = Value | Sequence[Value | None]
Fields = dict[str, Any]  # Any: what a message's constructor takes
Rule = Callable[["Op"], Result]
_rules: dict[str, Rule] = {}
_refused: dict[str, str] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: this function turns the ATen operators of these names into layers."""

    def register(function: Rule) -> Rule:
        for name in names:
            _rules[name] = function
        return function

    return register


def refuse(why: str, *names: str) -> None:
    """Say why operators have no rule."""
    for name in names:
        _refused[name] = why


def find_rule(name: str) -> Rule:
    """The rule for an operator.

    Raises:
        ConversionError: there is none; it says why, where that is known.
    """
    if name in _rules:
        return _rules[name]
    raise ConversionError(_refused.get(name, "no layer computes it"))


def known_operators() -> set[str]:
    """Names of the operators with a rule."""
    return set(_rules)


@dataclass
class Known:
    """What all rules may look up.

    Attributes:
        names: identity of a parameter or buffer -> its full name. tensors: the other way round.
        frozen: whether no parameter at all learns; then that is no property of single ones.
        notes: for the user.
    """

    names: dict[int, str]
    tensors: dict[str, torch.Tensor]
    frozen: bool
    notes: list[str]


class Op:
    """One node of the graph.

    Attributes:
        kind: name of the operator, such as "conv2d". path, owner: of the module it belongs to, and its class.
        shapes: of what it gives, in PyTorch. wanted: which of several results are read.
        rounds: whether it makes whole numbers of others.
    """

    def __init__(
        self,
        node: fx.Node,
        given: dict[str, Any],
        shapes: Sequence[Shape],
        builder: Builder,
        known: Known,
        wanted: frozenset[int],
        rounds: bool,
    ) -> None:
        self.kind = operator_name(node)
        self.path, self.owner = module_path(node)
        self.shapes = list(shapes)
        self._given = given
        self._builder = builder
        self._known = known
        self.wanted = wanted
        self.rounds = rounds

    def __getitem__(self, name: str) -> Any:  # Any: what the schema of the operator says
        """An argument by its name in the operator's schema."""
        return self._given[name]

    def get(self, name: str, default: Any = None) -> Any:  # Any: as above
        """An argument that only some overloads have."""
        return self._given.get(name, default)

    @property
    def arguments(self) -> dict[str, Any]:  # Any: as above
        return dict(self._given)

    @property
    def shape(self) -> Shape:
        """Of the first result."""
        return self.shapes[0]

    @property
    def is_module(self) -> bool:
        """Whether the innermost module is one of PyTorch's own, and not one that has its own forward."""
        return self.owner.startswith("torch.nn.") and ".container." not in self.owner

    @property
    def name(self) -> str:
        """For the layer: the module's path, with the operator where the module does more."""
        if self.is_module and self.path:
            return self.path
        kind = self.kind.removeprefix("caffenorm.").strip("_")
        return f"{self.path}.{kind}" if self.path else kind

    def x(self, name: str = "self") -> Value:
        """An argument that must be computed, not a constant.

        Raises:
            ConversionError: it is a parameter or a constant.
        """
        value = self._given[name] if name in self._given else self._given["input"]
        if not isinstance(value, Value):
            raise ConversionError(f"its argument {name} is a constant, and a layer's bottom is not")
        return value

    def constant(self, name: str, *, optional: bool = False) -> torch.Tensor | None:
        """An argument that must be a parameter or constant.

        Raises:
            ConversionError: it is computed from the inputs.
        """
        value = self._given.get(name)
        if isinstance(value, Value) or (value is None and not optional):
            raise ConversionError(f"its {name} is computed from the inputs, and a layer's blobs are not")
        return value

    def stored(self, tensor: torch.Tensor) -> Stored:
        """A parameter, buffer or constant as a blob; a parameter keeps its bits."""
        name = self._known.names.get(id(tensor), "")
        key = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())) if name else None
        return Stored(as_array(tensor), key, name, self._known.frozen or not name or tensor.requires_grad)

    def is_fixed(self, tensor: torch.Tensor) -> bool:
        """Whether it is a number of the module's code, or a buffer, and no parameter."""
        return not isinstance(tensor, torch.nn.Parameter)

    def sibling(self, tensor: torch.Tensor, name: str) -> torch.Tensor | None:
        """Another buffer of the module that a named one belongs to."""
        full = self._known.names.get(id(tensor), "")
        return self._known.tensors.get(f"{full.rpartition('.')[0]}.{name}".lstrip("."))

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        shape: Shape | None = None,
        *,
        suffix: str = "",
        shapes: Sequence[Shape] | None = None,
        blobs: Sequence[Stored] = (),
        **fields: Any,  # Any: sub-messages as dicts
    ) -> Value:
        """Add a layer; its first top.

        Args:
            kind: its type.
            bottoms: what it reads.
            shape: of its top; the operator's, if not given.
            suffix: of its name, for all but the main one of several.
            shapes: of several tops; use `layers` then.
            blobs: its parameters.
            fields: of its message.
        """
        return self.layers(
            kind,
            bottoms,
            shapes or [self.shape if shape is None else shape],
            suffix=suffix,
            blobs=blobs,
            **fields,
        )[0]

    def layers(
        self,
        kind: str,
        bottoms: Sequence[Value],
        shapes: Sequence[Shape],
        *,
        suffix: str = "",
        blobs: Sequence[Stored] = (),
        **fields: Any,  # Any: as above
    ) -> list[Value]:
        """Add a layer with a top for each of `shapes`."""
        name = f"{self.name}/{suffix}" if suffix else self.name
        return self._builder.add(kind, name, bottoms, shapes, blobs=blobs, **fields)

    def silence(self, values: Sequence[Value]) -> None:
        """Tops that nobody reads; without this they would be outputs of the net."""
        if values:
            self._builder.add("Silence", f"{self.name}/unused", list(values), [])

    @property
    def builder(self) -> Builder:
        """For rules that look at layers before."""
        return self._builder

    def note(self, text: str) -> None:
        """Tell the user something about this operator."""
        self._known.notes.append(f"{self.name}: {text}")


def written(message: str, **values: Any) -> Fields:  # Any: what the message's constructor takes
    """A sub-message for a layer; none where it would be empty. None is left out."""
    given = {name: value for name, value in values.items() if value is not None}
    return {message: given} if given else {}


def operator_name(node: fx.Node) -> str:
    """What stands behind `aten.`, such as "conv2d"; the name of a Python function else."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target))
    namespace, _, name = schema.name.partition("::")
    return name if namespace == "aten" else f"{namespace}.{name}"


def as_array(tensor: torch.Tensor) -> Any:  # Any: NDArray of float32 or float64
    """The values as a C-contiguous array of float32, or of float64 where they are."""
    kind = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return np.ascontiguousarray(tensor.detach().to(kind).cpu().numpy())
