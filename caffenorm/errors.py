"""Everything caffenorm raises on purpose.

CaffenormError
├── PrototxtError    (ValueError)    text that does not read as a net or solver
├── WeightsError     (ValueError)    a weights file that does not read, or does not fit the net
├── GraphError       (ValueError)    layers that do not wire up: unknown types, missing bottoms, loops
├── LayerError       (ValueError)    a layer whose parameters make no sense, or a gradient that does not exist
├── ShapeError       (ValueError)    arrays that do not fit together
├── ConversionError  (ValueError)    what another framework cannot express
├── ConfigError      (ValueError)    a bad argument of a call or of the command line
├── DeviceError      (RuntimeError)  a device that is missing or cannot do what was asked
└── MissingExtraError (ImportError)  an optional package that is not installed

Each is also the builtin in brackets, so `except ValueError` keeps working. `Where` says to which file, line
and layer an error belongs; layers raise without it and `Net` adds it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """The place an error belongs to; unknown parts are empty (line 0, column 0)."""

    file: str = ""
    line: int = 0
    layer: str = ""
    layer_type: str = ""
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        if place and self.column:
            place += f":{self.column}"
        layer = f'layer "{self.layer}"' if self.layer else ""
        if layer and self.layer_type:
            layer += f" ({self.layer_type})"
        return ": ".join(part for part in (place, layer) if part)


class CaffenormError(Exception):
    """Base of all errors that caffenorm raises on purpose."""

    def __init__(self, message: str, where: Where | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where and str(self.where) else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.where)


class PrototxtError(CaffenormError, ValueError):
    """A prototxt that does not read."""


class WeightsError(CaffenormError, ValueError):
    """A weights file that does not read, or does not fit the net."""


class GraphError(CaffenormError, ValueError):
    """Layers that do not wire up."""


class LayerError(CaffenormError, ValueError):
    """A layer's parameters make no sense, or a gradient is asked for that does not exist."""


class ShapeError(CaffenormError, ValueError):
    """Arrays that do not fit together."""


class ConversionError(CaffenormError, ValueError):
    """Something that the other framework cannot express."""


class ConfigError(CaffenormError, ValueError):
    """A bad argument."""


class DeviceError(CaffenormError, RuntimeError):
    """A device that is missing, or cannot do what was asked."""


class MissingExtraError(CaffenormError, ImportError):
    """An optional package that is not installed; the message names the extra that brings it."""


class CaffenormWarning(UserWarning):
    """A file that reads, but looks doubtful."""
