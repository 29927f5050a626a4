"""Checks of the arrays that callers give, and what functions return."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffenorm.errors import ConfigError, ShapeError
from caffenorm.layers._channels import View

Floats = NDArray[Any]  # float32 or float64


class Normalised(NamedTuple):
    """What a normalisation gives.

    Attributes:
        y: the result.
        mean, var: the statistics; var is the biased variance (divided by the count).
        inv_std: 1 / sqrt(var + eps), which the backward function takes.
    """

    y: Floats
    mean: Floats
    var: Floats
    inv_std: Floats


class Gradients(NamedTuple):
    """What a backward function gives: by x, by gamma (None without gamma) and by beta."""

    dx: Floats
    dgamma: Floats | None
    dbeta: Floats


def floats(
    value: Any,  # Any: checked here
    what: str,
    like: Floats | None = None,
    shape: tuple[int, ...] | None = None,
) -> Floats:
    """The array, C-contiguous, if it is one of floats, of the dtype of `like`, of that shape."""
    if not isinstance(value, np.ndarray):
        raise ConfigError(f"{what} must be a NumPy array, found {type(value).__name__}")
    if value.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ConfigError(f"{what} must be float32 or float64, found {value.dtype}")
    if like is not None and value.dtype != like.dtype:
        raise ConfigError(f"all arrays must have one dtype; x is {like.dtype}, {what} is {value.dtype}")
    if shape is not None and value.shape != shape:
        raise ShapeError(f"{what} must have shape {list(shape)}, found {list(value.shape)}")
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)


def optional(value: Floats | None, what: str, like: Floats, shape: tuple[int, ...]) -> Floats | None:
    return None if value is None else floats(value, what, like, shape)


def flat(value: Floats | None) -> Floats | None:
    return None if value is None else value.reshape(-1)


def result(out: Floats | None, source: Floats) -> Floats:
    """Where the result goes: an array like `source`, or `out`, which is `source` or does not overlap it."""
    if out is None:
        return np.empty_like(source)
    if not isinstance(out, np.ndarray) or out.shape != source.shape or out.dtype != source.dtype:
        found = f"{out.dtype} {list(out.shape)}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ShapeError(f"out must be a {source.dtype} array of shape {list(source.shape)}, found {found}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ConfigError("out must be C-contiguous and writeable")
    if out.ctypes.data != source.ctypes.data and np.may_share_memory(out, source):
        raise ConfigError("out overlaps the input in part; give the input itself, or memory of its own")
    return out


def channel_view(shape: Sequence[int]) -> View:
    if len(shape) < 2:
        raise ShapeError(f"x needs channels on axis 1, found shape {list(shape)}")
    return shape[0], shape[1], math.prod(shape[2:])


def require_values(x: Floats) -> None:
    if not x.size:
        raise ShapeError(f"x of shape {list(x.shape)} has no values to take statistics of")
