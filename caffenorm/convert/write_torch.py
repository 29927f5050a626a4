"""Writes a net as model.py with its weights beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write
from caffenorm.convert.describer import Describer
from caffenorm.convert.live import build_module
from caffenorm.convert.options import PLAIN, ConvertOptions
from caffenorm.convert.parts import Program
from caffenorm.convert.source import module_source
from caffenorm.errors import ConfigError
from caffenorm.net import Net
from caffenorm.weights.safetensors import write_safetensors

FORMATS = ("pt", "safetensors")


@dataclass(frozen=True)
class Written:
    """What has been written.

    Attributes:
        files: model.py and the weights. program: the net as statements.
        module: in memory, with the same weights.
    """

    files: tuple[Path, ...]
    program: Program
    module: Any  # Any: torch.nn.Module, torch is an extra


def write_torch(net: Net, folder: Pathish, options: ConvertOptions = PLAIN, format: str = "pt") -> Written:
    """Write model.py, and weights.pt or weights.safetensors; each appears whole or not at all.

    Args:
        net: stays as it is.
        folder: made where it is missing.
        options: of the conversion.
        format: of the weights: "pt", a plain state dict for `torch.load`, or "safetensors", which the
            package of that name then reads in `load`.

    Raises:
        ConversionError: lists every layer that cannot be converted, with its line.
        ConfigError: the format is unknown, or the folder cannot be made or written.
        MissingExtraError: torch is not installed.
    """
    if format not in FORMATS:
        raise ConfigError(f"weights are written as {' or '.join(FORMATS)}, not as {format!r}")
    torch = require("torch", extra="torch", to="convert to PyTorch")
    program = Describer(net, options).run()
    module = build_module(program)
    made = Path(folder)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {made}: {error.strerror or error}") from error
    source, weights = made / "model.py", made / f"weights.{format}"
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    if format == "pt":
        with atomic_write(weights) as handle:
            torch.save(state, handle)
    else:
        write_safetensors(weights, {name: value.numpy() for name, value in state.items()})
    with atomic_write(source, "w") as handle:
        handle.write(module_source(program, weights_file=weights.name))
    return Written((source, weights), program, module)
