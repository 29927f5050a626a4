"""What a model does to pictures by itself before the net sees them: channel order, mean, factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffenorm.convert.onnx_graph import Array, Graph, Node
from caffenorm.errors import ConfigError, ShapeError
from caffenorm.net import Net

_ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class Preparation:
    """In this order: channels turned round, mean subtracted, the rest multiplied.

    Attributes:
        name: of the input. turns: whether the channels come in the opposite order.
        mean: float32, shaped to subtract from (N, C, H, W), or None. scale: the factor.
    """

    name: str
    turns: bool
    mean: Array | None
    scale: float

    def __call__(self, pictures: Array) -> Array:
        """What the net gets for these pictures, in their precision."""
        values = pictures[:, ::-1] if self.turns else pictures
        if self.mean is not None:
            values = values - self.mean.astype(pictures.dtype)
        return np.ascontiguousarray(values * pictures.dtype.type(self.scale))

    def put_in_front(self, graph: Graph) -> None:
        """Make the graph take pictures."""
        channels, nodes, value = graph.inputs[self.name][1], [], self.name
        assert channels is not None
        if self.turns:
            order = self._constant(graph, "channels", np.arange(channels)[::-1].astype(np.int64))
            nodes.append(Node("Gather", [value, order], [], f"{self.name}/turn", {"axis": 1}))
        if self.mean is not None:
            mean = self._constant(graph, "mean", self.mean.astype(graph.dtype))
            nodes.append(Node("Sub", [value, mean], [], f"{self.name}/mean", {}))
        if self.scale != 1:
            scale = self._constant(graph, "scale", np.array(self.scale, graph.dtype))
            nodes.append(Node("Mul", [value, scale], [], f"{self.name}/scale", {}))
        for node in nodes:
            node.inputs[0], value = value, f"{node.name} of the picture"
            node.outputs = [value]
        for node in graph.nodes:
            node.inputs = [value if name == self.name else name for name in node.inputs]
        graph.nodes[:0] = nodes

    def _constant(self, graph: Graph, role: str, array: Array) -> str:
        name = f"{self.name}.{role}"
        graph.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name


def preparation_for(
    net: Net,
    mean: Any = None,  # Any: numbers or an array
    scale: float | None = None,
    channel_order: str | None = None,
) -> Preparation | None:
    """What is to be done for this net, None where nothing is.

    Raises:
        ConfigError: the net takes no pictures, or there is no such channel order.
        ShapeError: the mean does not fit the net's input.
    """
    if mean is None and scale in (None, 1) and channel_order is None:
        return None
    if channel_order is not None and channel_order.lower() not in _ORDERS:
        raise ConfigError(f"channel_order must be one of {', '.join(_ORDERS)}, found {channel_order!r}")
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 4:
        raise ConfigError(f"mean, scale and channel_order are for a net of pictures; this one takes {shapes}")
    ((name, shape),) = shapes.items()
    turns = (channel_order or "bgr").lower() == "rgb"
    return Preparation(name, turns, _fitting(mean, shape[1:]), 1.0 if scale is None else float(scale))


def _fitting(mean: Any, shape: tuple[int, ...]) -> Array | None:  # Any: numbers or an array
    """The mean as (C, 1, 1) or (C, H, W), the middle of one that is larger."""
    if mean is None:
        return None
    values = np.asarray(mean, np.float32)
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.size in (1, shape[0]):
        return values.reshape(-1, 1, 1)
    fits = values.ndim == 3 and values.shape[0] == shape[0]
    if not fits or any(have < want for have, want in zip(values.shape, shape, strict=True)):
        raise ShapeError(f"a mean of shape {list(values.shape)} does not fit pictures of shape {list(shape)}")
    top, left = ((have - want) // 2 for have, want in zip(values.shape[1:], shape[1:], strict=True))
    return values[:, top : top + shape[1], left : left + shape[2]]
