"""Caffe nets for other frameworks, and back, with proof."""

from __future__ import annotations

from typing import Any

from caffenorm.convert import rules as rules
from caffenorm.convert.batch_norm import batch_norm_from_torch, batch_norm_to_torch
from caffenorm.convert.from_pytorch import from_torch
from caffenorm.convert.live import build_module
from caffenorm.convert.onnx import save_onnx, to_onnx
from caffenorm.convert.options import PLAIN, ConvertOptions, Preprocessing
from caffenorm.convert.program import Describer, Program
from caffenorm.convert.proof import Verification, verify
from caffenorm.convert.state_dict import load_state_dict, match_state_dict
from caffenorm.convert.write_torch import Written, write_torch
from caffenorm.errors import ConversionError, Where
from caffenorm.net import Net

__all__ = [
    "ConvertOptions",
    "Preprocessing",
    "Program",
    "Verification",
    "Written",
    "batch_norm_from_torch",
    "batch_norm_to_torch",
    "describe",
    "from_torch",
    "load_state_dict",
    "match_state_dict",
    "save_onnx",
    "to_onnx",
    "to_torch",
    "verify",
    "write_torch",
]


def describe(net: Net, options: ConvertOptions = PLAIN) -> Program:
    """The net as PyTorch statements.

    Args:
        net: stays as it is. options: how the module is to differ from the plain one.

    Raises:
        ConversionError: lists every layer that cannot be converted, with its line.
    """
    return Describer(net, options).run()


def to_torch(
    net: Net, *, check: bool = True, options: ConvertOptions = PLAIN
) -> Any:  # Any: torch.nn.Module, torch is an extra
    """The net as a PyTorch module with its weights.

    Args:
        net: any phase; stays as it is.
        check: compare every blob on random input with the Caffe net, in float64 and as the module runs;
            `verify` compares gradients, and a step of training, as well.
        options: how the module is to differ from the plain one.

    Returns:
        A module whose forward takes the net's inputs in order and returns its outputs (a tuple, if there are
        several), in eval mode for a TEST net, in train mode for a TRAIN net. BatchNorm and Scale are one
        BatchNorm1d, 2d or 3d. `module.blobs(...)` returns every blob by its Caffe name; `module.verification`
        says how they agreed, `module.notes` what to know.

    Raises:
        ConversionError: lists every layer that cannot be converted, or names the first layer that computes
        something else.
        MissingExtraError: torch is not installed.
    """
    program = describe(net, options)
    dtype = None if options.half or not net.layers else net.layers[0].dtype
    module = build_module(program, dtype)
    module.notes = list(program.notes)
    module.verification = None
    if check:
        found = verify(net, options=options, gradients=False)
        if not found.ok:
            raise ConversionError(
                f"the module does not compute what the Caffe net does: {found}", Where(file=net.file)
            )
        module.verification = found
    return module
