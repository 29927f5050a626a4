"""A net as an ONNX model, written straight from Caffe's layers.

PyTorch's exporters see tensors and operations, and neither layers nor blobs; from the layers themselves come
fewer nodes, Caffe's names, and pads that say exactly which windows a pooling has (docs/other-formats.md
compares).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from caffenorm import schema
from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write
from caffenorm._version import __version__
from caffenorm.convert import onnx_rules as onnx_rules
from caffenorm.convert.onnx_check import OnnxCheck, check_model
from caffenorm.convert.onnx_emitter import Emitter
from caffenorm.convert.onnx_fold import fold_batch_norms
from caffenorm.convert.onnx_graph import Dims, Graph
from caffenorm.convert.onnx_part import BatchMattersError
from caffenorm.convert.onnx_prepare import preparation_for
from caffenorm.convert.options import PLAIN, ConvertOptions
from caffenorm.errors import ConfigError, ConversionError, Where
from caffenorm.net import Net

OLDEST_OPSET = 17
_BATCH = "batch"
_IR_OF_OPSET = {17: 8, 18: 8, 19: 9, 20: 9}  # IR versions as old as the operators, which old runtimes read
_NEWER_IR = 10
_LARGEST = (1 << 31) - 1 - (1 << 20)  # protobuf's limit, less room for what stands around the values


def emit(net: Net, opset: int = 18, options: ConvertOptions = PLAIN) -> Graph:
    """The net as a graph, for any batch size if the net takes any.

    Raises:
        ConversionError: it is a TRAIN net, or layers have no form in ONNX; all of them are listed.
        ConfigError, ShapeError: options that do not fit the net.
    """
    if options.half or options.channels_last:
        raise ConfigError("half and channels_last are for PyTorch; runtimes of ONNX choose by themselves")
    if net.phase != schema.TEST:
        raise ConversionError("ONNX is for nets that run; load the net in phase TEST", Where(file=net.file))
    try:
        graph = Emitter(net, opset).run()
    except BatchMattersError as error:
        graph = Emitter(net, opset, dynamic=False).run()
        graph.notes.append(f"runs at the batch size that the net has now: {error}")
    if options.fold_batch_norm:
        fold_batch_norms(graph)
    preparation = preparation_for(net, options.preprocessing)
    if preparation is not None:
        preparation.put_in_front(graph)
    return graph


def to_onnx(net: Net, *, opset: int = 18, options: ConvertOptions = PLAIN) -> Any:  # Any: onnx.ModelProto
    """The net as an `onnx.ModelProto`, checked by onnx's own checker.

    Args:
        net: in TEST phase; stays as it is.
        opset: version of the operators, from 17 on.
        options: whether BatchNorm goes into the products before it, and what is done to pictures.

    Raises:
        ConversionError: layers have no form in ONNX; all of them are listed.
        ConfigError: there is no such opset, or options that do not fit the net.
        MissingExtraError: onnx is not installed.
    """
    _check_opset(opset)
    return model_of(emit(net, opset, options))


@dataclass(frozen=True)
class Saved:
    """What `save_onnx` wrote.

    Attributes:
        graph: the nodes; `graph.notes` is for the user. check: how it compares, None if it was not compared.
    """

    graph: Graph
    check: OnnxCheck | None


def save_onnx(
    net: Net,
    path: Pathish,
    *,
    opset: int = 18,
    options: ConvertOptions = PLAIN,
    check: bool = True,
    batch_sizes: Sequence[int] = (),
    inputs: Sequence[Mapping[str, Any]] = (),  # Any: float arrays
) -> Saved:
    """Write the net as an `.onnx` file, and compare it with the net, blob by blob.

    Args:
        net: in TEST phase; stays as it is.
        path: of the file, which appears whole or not at all.
        opset: version of the operators, from 17 on.
        options: whether BatchNorm goes into the products before it, and what is done to pictures.
        check: run the model on random input, with onnxruntime where it is installed, else with the (slow)
            evaluator of onnx.
        batch_sizes: to compare at; the net's own and another one if not given.
        inputs: what to compare on besides, by the names of the model's inputs.

    Returns:
        The graph, and what the comparison found. The file stays, whatever it found.

    Raises:
        ConversionError: layers have no form in ONNX (all of them are listed), or the model would have more
        than 2 GiB.
        ConfigError: there is no such opset, options do not fit the net, or the file cannot be written.
        ShapeError: a mean does not fit the net's input.
        MissingExtraError: onnx is not installed.
    """
    _check_opset(opset)
    graph = emit(net, opset, options)
    content = model_of(graph).SerializeToString()
    with atomic_write(path) as handle:
        handle.write(content)
    if not check:
        return Saved(graph, None)
    found = check_model(
        net,
        graph,
        model_of,
        partial(emit, opset=opset, options=options),
        preparation=preparation_for(net, options.preprocessing),
        batch_sizes=batch_sizes,
        inputs=inputs,
    )
    return Saved(graph, found)


def _check_opset(opset: int) -> None:
    onnx = require("onnx", extra="onnx", to="write ONNX models")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ConfigError(
            f"opset {opset} is none of {OLDEST_OPSET} to {newest}, which onnx {onnx.__version__} knows"
        )


def model_of(graph: Graph, *, every_blob: bool = False) -> Any:  # Any: onnx.ModelProto
    """The graph as onnx's message, checked; `every_blob` makes each value of a blob an output.

    Raises:
        ConversionError: it would have more than 2 GiB, or onnx's checker refuses it.
    """
    onnx = require("onnx", extra="onnx", to="write ONNX models")
    require("onnx.shape_inference", extra="onnx", to="write ONNX models")
    size = sum(array.nbytes for array in graph.constants.values())
    if size > _LARGEST:
        raise ConversionError(
            f"the parameters have {size:,} bytes, and one ONNX file holds {_LARGEST:,} at most"
        )
    if every_blob:
        made = {name for node in graph.nodes for name in node.outputs}
        more = {value: graph.shapes[blob] for blob, value in graph.values.items() if value in made}
        graph = replace(graph, outputs=more | graph.outputs)
    model = onnx.helper.make_model(
        _graph_of(onnx, graph),
        opset_imports=[onnx.helper.make_opsetid("", graph.opset)],
        ir_version=_IR_OF_OPSET.get(graph.opset, _NEWER_IR),
        producer_name="caffenorm",
        producer_version=__version__,
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"onnx's checker refuses the model: {error}") from error
    return model


def _graph_of(onnx: Any, graph: Graph) -> Any:  # Any: onnx has types of its own
    kind = onnx.TensorProto.DOUBLE if graph.dtype == np.float64 else onnx.TensorProto.FLOAT

    def info(name: str, dims: Dims) -> Any:
        return onnx.helper.make_tensor_value_info(name, kind, _axes(dims))

    nodes = [
        onnx.helper.make_node(
            node.op,
            node.inputs,
            node.outputs,
            name=node.name,
            **{key: _attribute(onnx, key, value) for key, value in node.attributes.items()},
        )
        for node in graph.nodes
    ]
    return onnx.helper.make_graph(
        nodes,
        graph.name,
        [info(name, dims) for name, dims in graph.inputs.items()],
        [info(name, dims) for name, dims in graph.outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in _used(graph).items()],
    )


def _used(graph: Graph) -> dict[str, Any]:  # Any: arrays
    """The constants that a node reads."""
    read = {name for node in graph.nodes for name in node.inputs}
    return {name: array for name, array in graph.constants.items() if name in read}


def _axes(dims: Dims) -> list[int | str | None]:
    """The first axis that follows the batch size is called so; others have a size that nobody names."""
    return [(_BATCH if i == 0 else None) if dim is None else dim for i, dim in enumerate(dims)]


def _attribute(onnx: Any, key: str, value: Any) -> Any:  # Any: as ONNX takes them
    if key == "to":
        return getattr(onnx.TensorProto, value)
    return onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
