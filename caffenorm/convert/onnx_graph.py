"""An ONNX graph as plain data: nodes, constants, what goes in and what comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # Any: floats, or int64
Dims = tuple[int | None, ...]  # None for an axis that follows the batch size


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


def product(dims: Sequence[int | None]) -> int | None:
    """The size of axes taken together."""
    known = [dim for dim in dims if dim is not None]
    return math.prod(known) if len(known) == len(dims) else None
