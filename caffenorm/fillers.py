"""Fillers: the values that parameters start with."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.errors import LayerError

Array = NDArray[Any]  # float32 or float64
Filler = Callable[[Array, schema.FillerParameter, np.random.Generator], None]


def fill(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Fill an array.

    Args:
        array: any shape; axis 0 counts the outputs.
        filler: `type` is constant (the default), uniform, gaussian, positive_unitball, xavier, msra or
            bilinear.
        rng: where random numbers come from.

    Raises:
        LayerError: the type is unknown, or does not fit the array or its own parameters.

    Caffe: fan_in is count / shape[0], fan_out count / shape[1], whatever layer the array belongs to.
        `sparse` is for gaussian alone.
    """
    function = _FILLERS.get(filler.type)
    if function is None:
        near = difflib.get_close_matches(filler.type, _FILLERS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(_FILLERS)}"
        raise LayerError(f'there is no filler of type "{filler.type}"{hint}')
    if filler.sparse != -1 and filler.type != "gaussian":
        raise LayerError(f"sparse goes with a gaussian filler, not with {filler.type}")
    function(array, filler, rng)


def _constant(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    array[...] = filler.value


def _uniform(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    if filler.min > filler.max:
        raise LayerError(f"a uniform filler's min {filler.min:g} lies above its max {filler.max:g}")
    array[...] = rng.uniform(filler.min, filler.max, array.shape)


def _gaussian(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Normal numbers; with `sparse` about that many of each output's inputs are not 0."""
    if filler.std < 0:
        raise LayerError(f"a gaussian filler's std must not be negative, found {filler.std:g}")
    array[...] = rng.normal(filler.mean, filler.std, array.shape)
    if filler.sparse < -1:
        raise LayerError(f"sparse must be 0 or more, found {filler.sparse}")
    if filler.sparse >= 0 and array.size:
        share = min(1.0, filler.sparse / array.shape[0] if array.ndim else 1.0)
        array *= rng.random(array.shape) < share


def _positive_unitball(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Positive numbers; those of each output add up to 1."""
    if not array.size:
        return
    if not array.ndim:
        raise LayerError("a positive_unitball filler needs an array with axes")
    values = rng.random((array.shape[0], array.size // array.shape[0]))
    array[...] = (values / values.sum(axis=1, keepdims=True)).reshape(array.shape)


def _fan(array: Array, filler: schema.FillerParameter) -> float:
    """How many values the variance is spread over."""
    if array.ndim < 1 or not array.size:
        raise LayerError(
            f"a {filler.type} filler needs an array with values, this has shape {list(array.shape)}"
        )
    fan_in = array.size / array.shape[0]
    fan_out = array.size / array.shape[1] if array.ndim > 1 else float(array.size)
    if filler.variance_norm == schema.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == schema.FillerParameter.FAN_OUT else fan_in


def _xavier(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Uniform within sqrt(3 / n): Glorot and Bengio, 2010."""
    bound = math.sqrt(3 / _fan(array, filler))
    array[...] = rng.uniform(-bound, bound, array.shape)


def _msra(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Normal with variance 2 / n: He et al., 2015."""
    array[...] = rng.normal(0, math.sqrt(2 / _fan(array, filler)), array.shape)


def _bilinear(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Kernels that interpolate, for a Deconvolution that enlarges."""
    if array.ndim != 4 or array.shape[2] != array.shape[3]:
        raise LayerError(
            f"a bilinear filler needs 4 axes and square kernels, this has shape {list(array.shape)}"
        )
    size = array.shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    weights = 1 - np.abs(np.arange(size) / factor - centre)
    array[...] = weights[:, None] * weights[None, :]


_FILLERS: dict[str, Filler] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
