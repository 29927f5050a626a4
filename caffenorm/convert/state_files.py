"""State dicts in files, PyTorch's (no pickled code is run) or safetensors, and mapping files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffenorm._extras import require
from caffenorm._files import Pathish, atomic_write, read_bytes, readable_file
from caffenorm.errors import ConfigError, Where
from caffenorm.net import Net
from caffenorm.weights.safetensors import read_tensors, write_safetensors

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
Mapped = Mapping[str, str | None]
_FORMAT = "caffenorm mapping 1"
_INSIDE = ("state_dict", "model_state_dict", "model", "net")  # where checkpoints of training loops have it


def is_torch_file(path: Pathish) -> bool:
    """Whether a file is PyTorch's by its name."""
    return Path(path).suffix.lower() in TORCH_SUFFIXES


def read_state(path: Pathish) -> dict[str, Any]:  # Any: torch.Tensor, or arrays of safetensors
    """A state dict, also one inside a checkpoint.

    Raises:
        ConfigError: there is no such file, it holds none, or needs code to be unpickled.
        WeightsError: a safetensors file that is damaged.
        MissingExtraError: torch is not installed.
    """
    file = readable_file(path, ConfigError, "a state dict")
    if file.suffix.lower() == ".safetensors":
        return dict(read_tensors(file))
    torch = require("torch", extra="torch", to="read PyTorch's state dicts")
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a damaged file may raise anything
        first = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"this does not read as a state dict of tensors alone ({first}); save model.state_dict()",
            Where(file=str(file)),
        ) from error
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    state = {
        name: value
        for name, value in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(name, str) and hasattr(value, "detach")
    }
    if not state:
        raise ConfigError("this file holds no state dict", Where(file=str(file)))
    return state


def write_state(path: Pathish, state: Mapping[str, Any]) -> None:  # Any: torch.Tensor or array
    """Write a state dict, as safetensors or as PyTorch does, by the file's name; whole or not at all.

    Raises:
        ConfigError: it cannot be written. MissingExtraError: torch is not installed.
    """
    if Path(path).suffix.lower() == ".safetensors":
        write_safetensors(
            path, {name: getattr(value, "numpy", lambda v=value: v)() for name, value in state.items()}
        )
        return
    torch = require("torch", extra="torch", to="write PyTorch's state dicts")
    with atomic_write(path) as handle:
        torch.save({name: torch.as_tensor(value) for name, value in state.items()}, handle)


# --- mappings ---


def read_mapping(path: Pathish) -> dict[str, str | None]:
    """A mapping file.

    Raises:
        ConfigError: there is none, or it is not JSON of the right form.
    """
    where = Where(file=str(path))
    content = read_bytes(path, ConfigError, "a mapping")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"this is no JSON ({error})", where) from error
    names = said.get("names") if isinstance(said, dict) else None
    if not isinstance(names, dict) or any(
        value is not None and not isinstance(value, str) for value in names.values()
    ):
        raise ConfigError('a mapping is {"names": {"<Caffe layer>": "<module>" or null, ...}}', where)
    return names


def write_mapping(path: Pathish, mapping: Mapped, net: Net) -> None:
    """Write a mapping file, one line a name, to be read by people and changed by them."""
    with atomic_write(path, "w") as handle:
        json.dump(
            {"format": _FORMAT, "net": net.name, "names": dict(mapping)}, handle, indent=1, ensure_ascii=False
        )
        handle.write("\n")
