"""Fillers: the values that parameters and DummyData start with."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.errors import CaffenormWarning, LayerError
from caffenorm.prototxt.findings import near

Array = NDArray[Any]  # float32 or float64
Filler = Callable[[Array, schema.FillerParameter, np.random.Generator], None]
_OF_FORKS = {"scale", "num_groups", "negative_slope", "alpha", "diag_val", "file"}


def fill(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Fill an array.

    Args:
        array: of any shape, C-contiguous; axis 0 counts the outputs. An empty one has nothing to fill.
        filler: `type` is constant (the default), uniform, gaussian, positive_unitball, xavier, msra or
            bilinear. Fields that forks add have no effect, and are warned about.
        rng: where random numbers come from.

    Raises:
        LayerError: the type is unknown, or does not fit the array or its own parameters.

    Caffe: fan_in is count / shape[0], fan_out count / shape[1], whatever layer the array belongs to. `sparse`
        goes with gaussian alone.
    """
    function = _FILLERS.get(filler.type)
    if function is None:
        hint = near(filler.type, _FILLERS) or f"; known are {', '.join(_FILLERS)}"
        raise LayerError(f'there is no filler of type "{filler.type}"{hint}')
    if filler.sparse != -1 and filler.type != "gaussian":
        raise LayerError(f"sparse goes with a gaussian filler, not with {filler.type}")
    ignored = [field.name for field, _ in filler.ListFields() if field.name in _OF_FORKS]
    if ignored:
        warnings.warn(f"a filler's {', '.join(ignored)} has no effect here", CaffenormWarning, stacklevel=2)
    if array.size:
        function(array, filler, rng)


def _constant(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    array.fill(filler.value)


def _uniform(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    if not filler.min <= filler.max:
        raise LayerError(f"a uniform filler's min {filler.min:g} lies above its max {filler.max:g}")
    _fill_uniform(array, filler.min, filler.max, rng)


def _gaussian(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Normal numbers; with `sparse` about that many inputs of each output are not 0."""
    if filler.std < 0:
        raise LayerError(f"a gaussian filler's std must not be negative, found {filler.std:g}")
    if filler.sparse < -1:
        raise LayerError(f"sparse must be 0 or more, found {filler.sparse}")
    _fill_normal(array, filler.mean, filler.std, rng)
    if filler.sparse != -1:
        if not array.ndim:
            raise LayerError("sparse needs an array with axes, the first of which counts the outputs")
        array *= rng.random(array.shape, dtype=np.float32) < filler.sparse / array.shape[0]


def _positive_unitball(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Positive numbers; those of each output add up to 1."""
    if not array.ndim:
        raise LayerError(
            "a positive_unitball filler needs an array with axes, the first of which counts the outputs"
        )
    _fill_uniform(array, 0.0, 1.0, rng)
    rows = array.reshape(array.shape[0], -1)
    rows /= rows.sum(axis=1, dtype=np.float64, keepdims=True)


def _xavier(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Uniform within sqrt(3 / n): Glorot and Bengio, 2010."""
    bound = math.sqrt(3 / _fan(array, filler))
    _fill_uniform(array, -bound, bound, rng)


def _msra(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Normal with variance 2 / n: He et al., 2015."""
    _fill_normal(array, 0.0, math.sqrt(2 / _fan(array, filler)), rng)


def _bilinear(array: Array, filler: schema.FillerParameter, rng: np.random.Generator) -> None:
    """Kernels that interpolate, for a Deconvolution that enlarges."""
    if array.ndim != 4 or array.shape[2] != array.shape[3]:
        raise LayerError(
            f"a bilinear filler needs 4 axes and square kernels, this array has shape {list(array.shape)}"
        )
    size = array.shape[3]
    factor = math.ceil(size / 2)
    weights = 1 - np.abs(np.arange(size) / factor - (size - 1) / (2 * factor))
    array[...] = weights[:, None] * weights[None, :]


def _fan(array: Array, filler: schema.FillerParameter) -> float:
    """How many values the variance is spread over."""
    if not array.ndim:
        raise LayerError(f"{filler.type} needs an array with axes, the first of which counts the outputs")
    fan_in: float = array.size / array.shape[0]
    fan_out: float = array.size / array.shape[1] if array.ndim > 1 else array.size
    if filler.variance_norm == schema.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == schema.FillerParameter.FAN_OUT else fan_in


def _fill_uniform(array: Array, low: float, high: float, rng: np.random.Generator) -> None:
    """Without another array of that size, which may be hundreds of megabytes."""
    rng.random(dtype=array.dtype.type, out=array)
    array *= high - low
    array += low


def _fill_normal(array: Array, mean: float, std: float, rng: np.random.Generator) -> None:
    rng.standard_normal(dtype=array.dtype.type, out=array)
    array *= std
    if mean:
        array += mean


_FILLERS: dict[str, Filler] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
