"""Known causes of wrong conversions: the Caffe net is changed as each would have it, and runs again.

If the first blob that departs then agrees with what the module computed, that cause explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.errors import CaffenormError
from caffenorm.net import Net

_EXPLAINS = 1e-3  # of the difference may be left
_NORMS = ("BatchNorm", "SyncBatchNorm")
Values = Mapping[str, Any]  # Any: float64 arrays
Change = Callable[[schema.NetParameter], None]
Adjust = Callable[[Net], None]


def explain(net: Net, last_layer: int, blob: str, inputs: Values, found: NDArray[Any]) -> str:
    """Which known cause would make the net give `found` for `blob`; empty if none does.

    Args:
        net: in float64, every layer by itself.
        last_layer: the index of the layer that wrote the blob last.
    """
    expected = net.blobs[blob].read().copy()
    for cause, change, adjust in _causes(net, last_layer):
        try:
            other = _variant(net, last_layer, change, adjust)
            values = inputs if change or adjust else _flipped(inputs)
            other.forward(**{name: values[name] for name in other.inputs})
        except CaffenormError:
            continue
        if _comes_out(other.blobs[blob].read(), expected, found):
            return cause
    return ""


def _comes_out(value: NDArray[Any], expected: NDArray[Any], found: NDArray[Any]) -> bool:
    if value.shape != found.shape:
        return False
    if expected.shape != found.shape:
        return bool(np.allclose(value, found, rtol=1e-6))
    left, off = np.abs(value - found).max(initial=0.0), np.abs(expected - found).max(initial=0.0)
    return bool(np.isfinite(off) and left <= _EXPLAINS * off)


def _flipped(inputs: Values) -> Values:
    return {name: np.flip(value, 1) if value.ndim == 4 else value for name, value in inputs.items()}


def _causes(net: Net, last_layer: int) -> Iterator[tuple[str, Change | None, Adjust | None]]:
    """Causes that the layers so far could have; without change and adjustment the inputs differ."""
    types = {layer.type for layer in net.layers[: last_layer + 1]}
    if types & set(_NORMS):
        yield "the scale factor of BatchNorm is ignored", None, _ignore_factor
        yield "eps is 1e-5, PyTorch's default", _eps(1e-5), None
        yield "eps is left out", _eps(0), None
        yield "the stored variance is taken for a biased one", None, _biased
    if "Scale" in types:
        yield "the offset of Scale is left out", None, _no_offset
    if "Pooling" in types:
        yield "pooling rounds its output size down, where Caffe rounds up", _floor, None
    yield "the channels come in the opposite order", None, None


def _variant(net: Net, last_layer: int, change: Change | None, adjust: Adjust | None) -> Net:
    """The net up to a layer, changed."""
    message = schema.NetParameter()
    message.CopyFrom(net.net_param)
    del message.layer[last_layer + 1 :]
    if change is not None:
        change(message)
    other = Net(message, net.phase, dtype=np.float64, fuse=False, allow_python=True)
    for name, blobs in other.params.items():
        for mine, theirs in zip(blobs, net.params[name], strict=True):
            if mine.shape == theirs.shape:
                mine.write()[...] = theirs.read()
    for name in other.inputs:
        other.blobs[name].reshape(net.blobs[name].shape)
    if adjust is not None:
        adjust(other)
    return other


def _eps(eps: float) -> Change:
    def change(message: schema.NetParameter) -> None:
        for layer in message.layer:
            if layer.type in _NORMS:
                layer.batch_norm_param.eps = eps

    return change


def _floor(message: schema.NetParameter) -> None:
    for layer in message.layer:
        if layer.type == "Pooling":
            layer.pooling_param.round_mode = schema.PoolingParameter.FLOOR


def _ignore_factor(net: Net) -> None:
    for layer in net.layers:
        if layer.type in _NORMS:
            layer.blobs[2].data[...] = 1


def _biased(net: Net) -> None:
    for step in net.steps:
        if step.layer.type in _NORMS:
            values = step.bottom[0].count / max(1, step.bottom[0].shape[1])
            step.layer.blobs[1].data[...] *= max(0.0, values - 1) / values


def _no_offset(net: Net) -> None:
    for layer in net.layers:
        if layer.type == "Scale" and len(layer.blobs) > 1:
            layer.blobs[1].data[...] = 0
