"""BatchNormalization behind a Conv, ConvTranspose or Gemm, multiplied into its weights."""

from __future__ import annotations

from collections import Counter

import numpy as np

from caffenorm.convert.onnx_graph import Array, Graph, Node

_CHANNEL_AXIS = {"Conv": 0, "Gemm": 0, "ConvTranspose": 1}


def fold_batch_norms(graph: Graph) -> Graph:
    """The same graph without the BatchNormalizations that follow a product which nothing else reads."""
    made_by = {output: node for node in graph.nodes for output in node.outputs}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(list(graph.outputs))
    for norm in [node for node in graph.nodes if node.op == "BatchNormalization"]:
        before = made_by.get(norm.inputs[0])
        if before is None or not _can_take(graph, before, readers):
            continue
        _fold(graph, before, norm)
        gone = before.outputs[0]
        graph.values = {blob: value for blob, value in graph.values.items() if value != gone}
        before.outputs, made_by[norm.outputs[0]] = norm.outputs, before
        graph.nodes.remove(norm)
    return graph


def _can_take(graph: Graph, product: Node, readers: Counter[str]) -> bool:
    """Whether only the norm reads the product, and nobody else its parameters."""
    if product.op not in _CHANNEL_AXIS or readers[product.outputs[0]] != 1:
        return False
    if product.op == "ConvTranspose" and product.attributes.get("group", 1) != 1:
        return False
    if product.op == "Gemm" and not product.attributes.get("transB"):
        return False
    return all(name in graph.constants and readers[name] == 1 for name in product.inputs[1:])


def _fold(graph: Graph, product: Node, norm: Node) -> None:
    """Weights times gamma / sqrt(var + eps), computed in float64."""
    gamma, beta, mean, var = (graph.constants[name].astype(np.float64) for name in norm.inputs[1:5])
    factor = gamma / np.sqrt(var + norm.attributes["epsilon"])
    weight = graph.constants[product.inputs[1]]
    shape = [1] * weight.ndim
    shape[_CHANNEL_AXIS[product.op]] = -1
    graph.constants[product.inputs[1]] = _like(graph, weight * factor.reshape(shape))
    if len(product.inputs) < 3:
        product.inputs.append(f"{product.name}.bias (folded)")
    offset: Array = graph.constants.get(product.inputs[2], np.zeros(1))
    graph.constants[product.inputs[2]] = _like(graph, (offset - mean) * factor + beta)


def _like(graph: Graph, values: Array) -> Array:
    return np.ascontiguousarray(values, graph.dtype)
