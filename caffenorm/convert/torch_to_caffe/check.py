"""Whether the net computes what the module computes, blob by blob, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.utils import _pytree as pytree

from caffenorm.convert.torch_to_caffe.capture import Trace, evaluate, in_double, in_float64
from caffenorm.convert.torch_to_caffe.conversion import Conversion
from caffenorm.errors import CaffenormError
from caffenorm.net import Net

TOLERANCE = 1e-6  # of a blob's largest value: numbers of a prototxt are float32, and leave 1e-7


@dataclass(frozen=True)
class BlobDifference:
    """One blob against the value that PyTorch has for it.

    Attributes:
        blob, layer: names; the layer wrote it last. max_abs: largest difference. max_rel: that, over the
            largest absolute value.
    """

    blob: str
    layer: str
    max_abs: float
    max_rel: float

    @property
    def ok(self) -> bool:
        """Whether it is the same within the tolerance."""
        return self.max_rel <= TOLERANCE


@dataclass(frozen=True)
class Agreement:
    """All blobs that are a value of the module's, in the order in which PyTorch computes them.

    Attributes:
        other_batch: what came of a batch of another size: "agrees", or why it could not be tried.
    """

    blobs: tuple[BlobDifference, ...]
    other_batch: str = ""

    @property
    def first_difference(self) -> BlobDifference | None:
        """The first blob that departs, None if none does."""
        return next((blob for blob in self.blobs if not blob.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every blob agrees."""
        return self.first_difference is None

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        return max((blob.max_rel for blob in self.blobs), default=0.0)

    def __str__(self) -> str:
        first = self.first_difference
        if first is None:
            text = (
                f"{len(self.blobs)} blobs agree in float64; the largest difference is {self.worst:.1e} of a "
                "blob's largest value"
            )
            return f"{text}; a batch of another size: {self.other_batch}" if self.other_batch else text
        return (
            f'the first blob that departs is "{first.blob}", written by layer "{first.layer}": '
            f"{first.max_rel:.3g} of its largest value away"
        )


def compare(
    trace: Trace, conversion: Conversion, inputs: Sequence[torch.Tensor], module: torch.nn.Module | None
) -> Agreement:
    """Run both on the inputs in float64, and compare value by value along the graph.

    Where there is a module to run, its own outputs are compared as well, and those of a batch of another
    size. The net must be in float64, with every layer by itself.
    """
    net = conversion.net
    _feed(net, inputs)
    net.forward()
    found: list[BlobDifference] = []
    blobs: dict[fx.Node, list[str]] = {}
    for blob, node in conversion.blobs.items():
        blobs.setdefault(node, []).append(blob)

    def observe(node: fx.Node, value: Any) -> None:  # Any: tensors, numbers, and tuples of them
        for blob in blobs.get(node, ()):
            layer = conversion.layers.get(node, blob)
            found.append(BlobDifference(blob, layer, *differences(net.blobs[blob].data, value.numpy())))

    evaluate(trace.graph, trace.constants, dict(zip(trace.inputs, inputs, strict=True)), observe)
    if module is None:
        return Agreement(tuple(found))
    returned = _returned(module, inputs)
    if not isinstance(returned, str):
        found += [blob for blob in _outputs(net, conversion, returned) if not blob.ok]
    return Agreement(tuple(found), _other_batch(net, conversion, inputs, module))


def differences(found: Any, expected: Any) -> tuple[float, float]:  # Any: NDArray
    """The largest difference, and that over the largest absolute value; the same NaNs do not differ."""
    if found.shape != expected.shape:
        return np.inf, np.inf
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.array(np.abs(found - expected), np.float64)
    off[(found == expected) | (np.isnan(found) & np.isnan(expected))] = 0
    off[np.isnan(off)] = np.inf
    worst = float(off.max(initial=0.0))
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    return worst, worst / largest if largest else worst


def _feed(net: Net, inputs: Sequence[torch.Tensor]) -> None:
    for name, tensor in zip(net.inputs, inputs, strict=True):
        net.blobs[name].reshape(tuple(tensor.shape))
        net.blobs[name].data[...] = tensor.detach().cpu().double().numpy()
    net.reshape()


def _other_batch(
    net: Net, conversion: Conversion, inputs: Sequence[torch.Tensor], module: torch.nn.Module
) -> str:
    """What comes of one example more."""
    larger = [torch.cat([tensor, tensor[:1]]) if tensor.dim() else tensor for tensor in inputs]
    returned = _returned(module, larger)
    if isinstance(returned, str):
        return returned
    try:
        _feed(net, larger)
        net.forward()
    except CaffenormError as error:
        return f"the net does not take it: {error}"
    worst = max((blob.max_rel for blob in _outputs(net, conversion, returned)), default=0.0)
    return (
        "agrees" if worst <= TOLERANCE else f"differs by {worst:.3g}; keep to the batch size of the example"
    )


def _returned(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor] | str:
    """What a copy of the module returns in float64; or why it does not run."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned = in_double(module)(*(in_float64(tensor).clone() for tensor in inputs))
    except Exception as error:  # the module's own code, which may do anything
        return f"the module does not take it ({type(error).__name__})"
    return [value for value in pytree.tree_leaves(returned) if isinstance(value, torch.Tensor)]


def _outputs(net: Net, conversion: Conversion, expected: Sequence[torch.Tensor]) -> list[BlobDifference]:
    """The net's outputs, as they are now, against what the module returned."""
    return [
        BlobDifference(blob, blob, *differences(net.blobs[blob].data, value.numpy()))
        for blob, value in zip(conversion.outputs, expected, strict=True)
    ]
