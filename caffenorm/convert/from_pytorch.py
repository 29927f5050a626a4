"""from_torch: the front door of `torch_to_caffe`, which needs torch to be imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffenorm import schema
from caffenorm._extras import require
from caffenorm.errors import ConversionError
from caffenorm.net import Net


def from_torch(
    module: Any,
    example_inputs: Any,
    *,
    name: str = "",
    input_names: Sequence[str] | None = None,
    check: bool = True,
) -> tuple[schema.NetParameter, Net]:  # Any: torch.nn.Module and tensors, torch is an extra
    """A PyTorch module as a Caffe net.

    Args:
        module: a torch.nn.Module, which is looked at in eval mode and left as it is, or what
            `torch.export.export` or `torch.export.load` returns.
        example_inputs: the tensors that forward takes, in a tuple; their shapes become those of the Input
            layers. The batch size can be changed afterwards, where the module takes any.
        name: of the net; the module's class, if not given.
        input_names: of the Input layers; as forward calls them, if not given, and "data" for a single x.
        check: run both in float64 and compare every blob.

    Returns:
        The net's message without weights (`prototxt.format_message` prints it), and a TEST net with them.
        Layers are called after the modules, so `net.params["layer1.0.conv1"]` has the parameters of
        `module.layer1[0].conv1`. `convert_module` returns more: notes, order of outputs, and how both agreed.

    Raises:
        ConversionError: lists everything that Caffe cannot express, by module and source line, or names the
        first blob that differs. MissingExtraError: torch is not installed.
    """
    found = convert_module(module, example_inputs, name=name, input_names=input_names, check=check)
    if found.agreement is not None and not found.agreement.ok:
        raise ConversionError(f"the net does not compute what the module does: {found.agreement}")
    return found.net_param, found.net


def convert_module(
    module: Any,
    example_inputs: Any,
    *,
    name: str = "",
    input_names: Sequence[str] | None = None,
    check: bool = True,
) -> Any:  # Any: torch.nn.Module and tensors; a torch_to_caffe.FromTorch, which cannot be named without torch
    """As `from_torch`, with all that is known about it: a `torch_to_caffe.FromTorch`.

    Its `agreement` says whether both sides agree; nothing is raised where they do not.
    """
    require("torch", extra="torch", to="convert from PyTorch")
    door = require("caffenorm.convert.torch_to_caffe", extra="torch", to="convert from PyTorch")
    return door.convert_module(module, example_inputs, name=name, input_names=input_names, check=check)
