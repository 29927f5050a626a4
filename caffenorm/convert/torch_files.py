"""PyTorch modules from files: archives of torch.export, and Python files that the user names."""

from __future__ import annotations

import os
import runpy
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from caffenorm._files import readable_file
from caffenorm.convert.torch_to_caffe.capture import without_logs
from caffenorm.errors import ConfigError, ConversionError, Where

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def load_archive(path: str) -> ExportedProgram:
    """What `torch.export.save` wrote.

    PyTorch falls back to unpickling anything when an archive holds more than tensors; here that is refused.
    Still, sizes in an archive that depend on each other are text which sympy evaluates: as with any program,
    load what you trust.

    Raises:
        ConversionError: the file is no such archive, or holds pickled objects.
    """
    file = readable_file(path, ConversionError, "an archive of torch.export")
    if not zipfile.is_zipfile(file):
        raise ConversionError(
            "is no archive of torch.export.save, which is a zip file", Where(file=str(file))
        )
    with _weights_only(), without_logs():
        try:
            program: ExportedProgram = torch.export.load(file)
        except Exception as error:  # whatever reading a broken archive raises
            raise ConversionError(
                f"does not read as an archive of torch.export.save ({type(error).__name__}: "
                f"{str(error).strip().splitlines()[0][:300] if str(error).strip() else 'no reason given'})",
                Where(file=str(file)),
            ) from error
    return program


@contextmanager
def _weights_only() -> Iterator[None]:
    """Tell every torch.load within to read tensors alone."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def run_entry(path: str, entry: str | None) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The module that a callable in a Python file returns, and its example inputs, if it returns them too.

    This runs the file, as `python file.py` would, with its folder on the path.

    Args:
        path: of the file. entry: name of the callable; it gets no arguments. A module class will do.

    Raises:
        ConfigError: no entry is named, or there is none of that name. ConversionError: the file or the
        callable fails, or returns something else.
    """
    file = readable_file(path, ConversionError, "a Python file")
    where = Where(file=str(file))
    if not entry:
        raise ConfigError("--entry NAME says which callable in the file returns the module", where)
    names = _run(file, where)
    made = names.get(entry)
    if not callable(made):
        known = ", ".join(
            name for name, value in names.items() if callable(value) and not name.startswith("_")
        )
        raise ConfigError(f"has no callable {entry!r}; it has {known or 'none'}", where)
    with _folder_on_path(file):
        try:
            returned = made()
        except Exception as error:  # the user's own code
            raise ConversionError(f"{entry}() failed: {type(error).__name__}: {error}", where) from error
    module, *inputs = returned if isinstance(returned, tuple) else (returned,)
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise ConversionError(f"{entry}() returned a value of type {kind}, and no torch.nn.Module", where)
    if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        inputs = list(inputs[0])
    return module, tuple(inputs)


def _run(file: Path, where: Where) -> dict[str, Any]:  # Any: whatever the file defines
    with _folder_on_path(file):
        try:
            return runpy.run_path(str(file), run_name=file.stem)
        except Exception as error:  # the user's own code
            raise ConversionError(f"does not run: {type(error).__name__}: {error}", where) from error


@contextmanager
def _folder_on_path(file: Path) -> Iterator[None]:
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
