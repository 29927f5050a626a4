"""PyTorch modules as Caffe nets: torch.export's graph, operator by operator.

A rule for each ATen operator makes the layers (`rules_*.py`); `builder` names them, shares their parameters
and works in place as Caffe's authors do; `check` runs both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from caffenorm import schema
from caffenorm.convert.torch_to_caffe import rules_activation as rules_activation
from caffenorm.convert.torch_to_caffe import rules_arithmetic as rules_arithmetic
from caffenorm.convert.torch_to_caffe import rules_convolution as rules_convolution
from caffenorm.convert.torch_to_caffe import rules_norm as rules_norm
from caffenorm.convert.torch_to_caffe import rules_pooling as rules_pooling
from caffenorm.convert.torch_to_caffe import rules_resize as rules_resize
from caffenorm.convert.torch_to_caffe import rules_shape as rules_shape
from caffenorm.convert.torch_to_caffe.capture import capture
from caffenorm.convert.torch_to_caffe.check import Agreement, compare
from caffenorm.convert.torch_to_caffe.conversion import Conversion, Converter, input_names, make_net
from caffenorm.errors import ConfigError
from caffenorm.net import Net

__all__ = ["Agreement", "FromTorch", "convert_module"]


@dataclass(frozen=True)
class FromTorch:
    """A module as a Caffe net.

    Attributes:
        net_param: the net without weights, to be printed.
        net: a TEST net with them, in float64 where the module or its inputs are, else in float32.
        outputs: blobs in the order in which forward returns its values.
        notes: what the user should know. agreement: how both sides agreed; None where that was not asked.
    """

    net_param: schema.NetParameter
    net: Net
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    agreement: Agreement | None


def convert_module(
    module: torch.nn.Module | ExportedProgram,
    example_inputs: Sequence[Any],
    *,
    name: str = "",
    input_names: Sequence[str] | None = None,
    check: bool = True,
) -> FromTorch:
    """A module, or an exported program, as a Caffe net; arguments as of `caffenorm.convert.from_torch`.

    Raises:
        ConversionError: lists everything that Caffe cannot express. That both sides agree is for the caller
        to see.
        ConfigError: the example inputs are no tensors.
    """
    inputs = _tensors(example_inputs)
    trace = capture(module, inputs)
    if len(trace.inputs) != len(inputs):
        raise ConfigError(f"forward takes {len(trace.inputs)} tensors, and {len(inputs)} are given")
    converter = Converter(trace, inputs, _names(trace, input_names))
    converter.run()
    message = converter.net_param(name or trace.name)
    double = any(tensor.dtype == torch.float64 for tensor in (*trace.constants.values(), *inputs))
    dtype = np.float64 if double else np.float32
    net = make_net(message, converter.builder.values(dtype), dtype)
    agreement = None
    notes = list(dict.fromkeys(converter.notes))
    if check:
        agreement = _check(module, trace, converter, message, inputs)
        if agreement.other_batch not in ("", "agrees"):
            notes.append(f"a batch of another size: {agreement.other_batch}")
    return FromTorch(message, net, tuple(converter.outputs), tuple(notes), agreement)


def _check(
    module: Any,
    trace: Any,
    converter: Converter,
    message: schema.NetParameter,
    inputs: Sequence[torch.Tensor],
) -> Agreement:  # Any: a module or an exported program, a Trace
    twin = make_net(message, converter.builder.values(np.float64), np.float64)
    twin.fuse = False
    blobs = converter.final_blobs()
    conversion = Conversion(message, twin, converter.outputs, [], blobs, converter.made_by)
    eager = module if isinstance(module, torch.nn.Module) else None
    return compare(trace, conversion, inputs, eager)


def _names(trace: Any, names: Sequence[str] | None) -> list[str]:  # Any: a Trace
    return input_names(trace, names)


def _tensors(example_inputs: Sequence[Any]) -> list[torch.Tensor]:  # Any: what users give
    given = [example_inputs] if isinstance(example_inputs, torch.Tensor) else list(example_inputs)
    if not given or not all(isinstance(value, torch.Tensor) for value in given):
        raise ConfigError("example_inputs are the tensors that forward takes, in a tuple")
    return given
