"""The one way to import an optional package."""

from __future__ import annotations

import importlib
from types import ModuleType

from caffenorm.errors import MissingExtraError


def require(module: str, *, extra: str, to: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: name to import, such as `"torch"` or `"PIL.Image"`.
        extra: the extra of caffenorm that brings it.
        to: what the caller wants to do, for the message ("convert to PyTorch").

    Raises:
        MissingExtraError: the package is not installed, or does not import (the cause says which).
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package} is needed to {to}, and does not import ({error}). "
            f'Install it with: python -m pip install "caffenorm[{extra}]"'
        ) from error
