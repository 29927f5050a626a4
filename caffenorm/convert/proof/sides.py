"""A net and its module, in float64, to be run forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffenorm._extras import require
from caffenorm.convert.describer import Describer
from caffenorm.convert.live import build_module
from caffenorm.convert.parts import Param, Program
from caffenorm.convert.proof.copies import blob_names, copy_net, settle
from caffenorm.convert.proof.inputs import InputSet
from caffenorm.net import Net


@dataclass
class Sides:
    """A net and its module in float64, to be run forward and backward."""

    net: Net
    module: Any  # Any: torch.nn.Module, torch is an extra
    program: Program
    names: dict[int, str]
    params: list[tuple[str, Param]]

    def tensors(self, values: InputSet) -> dict[str, Any]:  # Any: tensors
        """The inputs, which keep their gradients."""
        torch = require("torch", extra="torch", to="convert to PyTorch")
        return {
            name: torch.from_numpy(np.array(values.values[name], np.float64)).requires_grad_()
            for name in self.net.inputs
        }


def make_sides(net: Net, *, training: bool, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Sides:
    """Copies of a net, of which one becomes a module.

    Args:
        net: stays as it is. training: make it a TRAIN net. shapes: of inputs, other than the net's own.

    Raises:
        ConversionError: the net in training has something that PyTorch refuses.
    """
    twin = copy_net(net, training=training, to_scores=True)
    for name, shape in (shapes or {}).items():
        twin.blobs[name].reshape(shape)
    twin.reshape()
    describer = Describer(twin)
    program = describer.run()
    module = settle(build_module(program, np.float64))
    return Sides(twin, module, program, blob_names(twin), list(describer.homes.values()))
