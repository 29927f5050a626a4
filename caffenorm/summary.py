"""What a net is made of: shapes, parameters, multiply-adds and memory, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from caffenorm.blob import Blob
from caffenorm.net import Net
from caffenorm.plan import LayerStep


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        top_shapes: by blob name.
        parameters: number of values, those shared with an earlier layer not counted.
        multiply_adds: of one forward, of the products in convolutions, inner products and recurrent layers.
        activation_bytes: of its tops' data, memory shared with an earlier layer not counted.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    top_shapes: tuple[tuple[int, ...], ...]
    param_shapes: tuple[tuple[int, ...], ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class NetSummary:
    """A net: its layers and their sums."""

    name: str
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Number of values in all parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one forward."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Of all blobs' data."""
        return sum(layer.activation_bytes for layer in self.layers)


def summarise(net: Net) -> NetSummary:
    """Count what the layers of a net hold and do. Takes no memory for blobs."""
    seen: set[int] = set()

    def new_memory(blob: Blob) -> bool:
        known = id(blob.data_memory) in seen
        seen.add(id(blob.data_memory))
        return not known

    rows = []
    for step in net.steps:
        layer = step.layer
        bytes_taken = sum(blob.count * blob.dtype.itemsize for blob in step.top if new_memory(blob))
        rows.append(
            LayerSummary(
                layer.name,
                layer.type,
                tuple(net.bottom_names[layer.name]),
                tuple(net.top_names[layer.name]),
                tuple(blob.shape for blob in step.top),
                tuple(blob.shape for blob in layer.blobs),
                sum(blob.count for blob in layer.blobs if new_memory(blob)),
                multiply_adds(step),
                bytes_taken,
            )
        )
    return NetSummary(net.name, tuple(rows))


def multiply_adds(step: LayerStep) -> int:
    """Products that one forward of a layer adds up; 0 for layers that are not made of products."""
    layer = step.layer
    if not layer.blobs:
        return 0
    weight = layer.blobs[0].shape
    if layer.type in ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise"):
        return sum(top.count * math.prod(weight[1:]) for top in step.top)
    if layer.type == "Deconvolution":
        return sum(bottom.count * math.prod(weight[1:]) for bottom in step.bottom)
    if layer.type == "InnerProduct":
        outputs = layer.param.inner_product_param.num_output
        return step.top[0].count * (layer.blobs[0].count // max(outputs, 1))
    return 0
