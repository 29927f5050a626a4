"""The first part of a model that takes pictures: channel order, mean, factor, as nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffenorm.convert.onnx_graph import Array, Graph, Node
from caffenorm.convert.options import BYTES, Preprocessing
from caffenorm.errors import ConfigError
from caffenorm.net import Net


@dataclass(frozen=True)
class Preparation:
    """A `Preprocessing` for one input of a net.

    Attributes:
        name: of the input. mean: shaped to subtract from (N, C, H, W).
    """

    name: str
    options: Preprocessing
    mean: Array

    @property
    def enlarges(self) -> float:
        """What makes values from 0 to 255 of the pictures'."""
        return BYTES / self.options.maximum

    def __call__(self, pictures: Array) -> Array:
        """What the net gets for these pictures, in their precision and in the order of the nodes."""
        real = pictures.dtype.type
        values = pictures * real(self.enlarges)
        values = values[:, ::-1] if self.options.swaps else values
        return np.ascontiguousarray((values - self.mean.astype(real)) * real(self.options.scale))

    def put_in_front(self, graph: Graph) -> None:
        """Make the graph take pictures."""
        channels = graph.inputs[self.name][1]
        assert channels is not None
        order = np.arange(channels)[::-1].astype(np.int64)
        steps = (
            ("Mul", "range", np.array(self.enlarges, graph.dtype), self.enlarges != 1),
            ("Gather", "channels", order, self.options.swaps),
            ("Sub", "mean", self.mean.astype(graph.dtype), bool(self.mean.any())),
            ("Mul", "scale", np.array(self.options.scale, graph.dtype), self.options.scale != 1),
        )
        value, nodes = self.name, []
        for op, role, constant, wanted in steps:
            if wanted:
                graph.constants[f"{self.name}.{role}"] = np.ascontiguousarray(constant).reshape(
                    constant.shape
                )
                made, given = f"{self.name}/{role}", [value, f"{self.name}.{role}"]
                nodes.append(Node(op, given, [made], made, {"axis": 1} if op == "Gather" else {}))
                value = made
        for node in graph.nodes:
            node.inputs = [value if name == self.name else name for name in node.inputs]
        graph.nodes[:0] = nodes


def preparation_for(net: Net, options: Preprocessing | None) -> Preparation | None:
    """What is to be done for this net, None where nothing is.

    Raises:
        ConfigError: the net takes no pictures, or several. ShapeError: the mean does not fit its input.
    """
    if options is None:
        return None
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    if options.input and options.input not in shapes:
        raise ConfigError(f'the net has no input "{options.input}"; it has {", ".join(shapes) or "none"}')
    pictures = [name for name, shape in shapes.items() if len(shape) == 4 and options.input in ("", name)]
    if len(pictures) != 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
        raise ConfigError(f"pictures are prepared for one input of four axes; the net's are: {listed}")
    return Preparation(pictures[0], options, options.fitted_mean(shapes[pictures[0]]))
