"""Copies of both sides that a proof may change: the net in another precision or phase, and its module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from caffenorm import schema
from caffenorm._extras import require
from caffenorm.net import Net
from caffenorm.net_build import AUTOMATIC_TOP

_FILLERS = frozenset({"weight_filler", "bias_filler", "filler"})


def copy_net(
    net: Net, dtype: DTypeLike = np.float64, *, training: bool = False, to_scores: bool = False
) -> Net:
    """The same net and weights, every layer by itself, Dropout doing nothing, all gradients computed.

    Args:
        net: stays as it is.
        dtype: float32 or float64.
        training: make it a TRAIN net, where BatchNorm takes the batch's statistics.
        to_scores: end before the softmax of an output, where gradients are not yet next to nothing.
    """
    message = schema.NetParameter()
    message.CopyFrom(net.net_param)
    message.force_backward = True
    if to_scores:
        _cut_softmax(message)
    for layer in message.layer:
        layer.ClearField("propagate_down")
        _leave_unfilled(layer)
        if training:
            layer.ClearField("include")
            layer.ClearField("exclude")
            layer.ClearField("phase")
            if layer.batch_norm_param.use_global_stats:
                layer.batch_norm_param.ClearField("use_global_stats")
        if layer.type == "Dropout":
            layer.phase = schema.TEST
    phase = schema.TRAIN if training else net.phase
    twin = Net(message, phase, dtype=dtype, fuse=False, allow_python=True)
    twin.file = net.file
    for name, blobs in net.params.items():
        for mine, theirs in zip(twin.params[name], blobs, strict=True):
            mine.write()[...] = theirs.read()
    for name in net.inputs:
        twin.blobs[name].reshape(net.blobs[name].shape)
    twin.reshape()
    return twin


def _cut_softmax(message: schema.NetParameter) -> None:
    """Leave a softmax out whose result nobody reads, where other layers come before it."""
    made = {name for layer in message.layer if layer.type not in ("Input", "Softmax") for name in layer.top}
    read: set[str] = set()
    for index in reversed(range(len(message.layer))):
        layer = message.layer[index]
        if layer.type == "Softmax" and layer.bottom[0] in made and not read & set(layer.top):
            del message.layer[index]
        else:
            read.update(layer.bottom)


def _leave_unfilled(layer: schema.LayerParameter) -> None:
    """Parameters are copied, so nothing need be drawn for them."""
    for field, value in layer.ListFields():
        if (
            field.message_type is not None
            and not isinstance(value, Sequence)
            and hasattr(value, "DESCRIPTOR")
        ):
            for filler in _FILLERS & {part.name for part in value.DESCRIPTOR.fields}:
                value.ClearField(filler)


def settle(module: Any) -> Any:  # Any: torch.nn.Module
    """Take what both sides may differ in on purpose out of a module: Dropout's masks, and eps's digits.

    Caffe stores eps as a float32; in float64 that is another number than the one in the source.
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    for part in module.modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.eval()
        if isinstance(getattr(part, "eps", None), float):
            part.eps = float(np.float32(part.eps))
    return module


def blob_names(net: Net) -> dict[int, str]:
    """Identity of a blob -> its name; automatic tops of losses are called like their layers."""
    names = {id(blob): name for name, blob in net.blobs.items() if name != AUTOMATIC_TOP}
    for step in net.steps:
        for blob in step.top:
            if id(blob) not in names:
                name = step.layer.name
                names[id(blob)] = f"{name} (loss)" if name in names.values() else name
    return names
