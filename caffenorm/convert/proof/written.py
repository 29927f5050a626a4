"""Loads what has been written, as its user will, and compares it with the module that was proven."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffenorm._extras import require
from caffenorm._files import Pathish
from caffenorm.convert.proof.inputs import default_batches, random_inputs
from caffenorm.net import Net


def compare_written(net: Net, folder: Pathish, module: Any) -> tuple[str, ...]:  # Any: torch.nn.Module
    """What differs between the model.py in a folder, with the weights beside it, and a module in memory.

    Args:
        net: shaped as the inputs are to be.
        folder: with model.py and the weights that its `load` takes.
        module: what was proven.

    Returns:
        Each difference in words; nothing where parameters, buffers and outputs are the same bit by bit.
    """
    try:
        loaded = _load(Path(folder))
    except Exception as error:  # whatever the written text raises
        return (f"the written model.py does not load: {type(error).__name__}: {error}",)
    try:
        return tuple(_differences(net, loaded, module))
    except RuntimeError as error:  # of PyTorch, where a layer cannot take its input
        return (f"the written model.py does not run: {error}",)


def _load(folder: Path) -> Any:  # Any: torch.nn.Module
    """The module as `load()` of the written file gives it; leaves no compiled copy behind."""
    spec = importlib.util.spec_from_file_location("converted_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    written = importlib.util.module_from_spec(spec)
    keeps, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(written)
    finally:
        sys.dont_write_bytecode = keeps
    return written.load()


def _differences(net: Net, loaded: Any, module: Any) -> Iterator[str]:  # Any: torch.nn.Module
    torch = require("torch", extra="torch", to="convert to PyTorch")
    theirs, ours = loaded.state_dict(), module.state_dict()
    if list(theirs) != list(ours):
        odd = sorted(set(theirs) ^ set(ours)) or ["their order"]
        yield f"the written model.py has other parameters: {', '.join(odd[:5])}"
        return
    changed = [
        name
        for name, value in ours.items()
        if value.dtype != theirs[name].dtype or not _same(torch, value, theirs[name])
    ]
    if changed:
        yield f"the written weights are not those that were compared: {', '.join(changed[:5])}"
    kind = next((value.dtype for value in ours.values() if value.is_floating_point()), torch.float32)
    values, batches = random_inputs(net, 0), default_batches(net)
    if batches:
        values = {name: value[: batches[0]] for name, value in values.items()}
    tensors = [torch.from_numpy(value).to(kind) for value in values.values()]
    results = []
    with torch.no_grad():
        for each in (module, loaded):
            torch.manual_seed(0)
            found = each(*tensors)
            results.append(found if isinstance(found, tuple) else (found,))
    if not all(a is b or _same(torch, a, b) for a, b in zip(*results, strict=True)):
        yield "the written model.py computes something else than the module that was compared"


def _same(torch: Any, first: Any, second: Any) -> bool:  # Any: the module torch, tensors
    return bool(torch.equal(first, second) or torch.allclose(first, second, rtol=0, atol=0, equal_nan=True))
