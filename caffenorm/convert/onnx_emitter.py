"""A net as an ONNX graph: nodes are called like Caffe's layers, values like blobs, constants like parameters.

A rule (see `onnx_rules`) turns a layer, or a chain of them, into nodes. Caffe's layers may work in place;
ONNX gives every value one name. So each value is called `<blob>@<layer>` first, and what a blob holds in the
end gets the blob's own name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.convert.onnx_graph import Dims, Graph, Node
from caffenorm.convert.onnx_part import BatchMattersError, Part, match_rule, why_not
from caffenorm.errors import CaffenormError, ConversionError, Where
from caffenorm.net import Net
from caffenorm.plan import LayerStep


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
            covered, function = match_rule(steps, index)
            part = Part(self, steps[index : index + covered])
            try:
                if function is None:
                    raise part.fail(why_not(part.layer.type))
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
