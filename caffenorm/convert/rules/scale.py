"""Scale and Bias by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.convert.program import Chain, Param, arguments, rule
from caffenorm.layer import Layer, canonical_axis


def bounded_factor(layer: Layer, blob: Blob) -> NDArray[Any]:
    """The factor of a Scale, within the bounds that a fork's options give."""
    param = layer.param.scale_param
    value: NDArray[Any] = blob.read()  # Any: float32 or float64
    if param.HasField("min_value") or param.HasField("max_value"):
        least = param.min_value if param.HasField("min_value") else -np.inf
        most = param.max_value if param.HasField("max_value") else np.inf
        value = np.clip(value, value.dtype.type(least), value.dtype.type(most))
    return value


@rule("Scale")
def scale(chain: Chain) -> None:
    """A lone Scale: multiplies by a parameter, or by its second bottom."""
    layer, inputs = chain.layer, chain.inputs()
    param = layer.param.scale_param
    if len(inputs) == 2:
        expression = f"{inputs[0]} * {_fitted(inputs[1], chain, param.axis)}"
        if param.bias_term:
            expression = (
                f"{_bias_module(chain, layer.blobs[0], chain.bottom[1].shape, param.axis)}({expression})"
            )
        chain.set(expression)
        return
    shape = _aligned(chain.bottom[0], layer.blobs[0].shape, param.axis)
    values = [bounded_factor(layer, layer.blobs[0]), *(blob.read() for blob in layer.blobs[1:])]
    state = {
        key: Param(blob, value.reshape(shape).copy())
        for key, blob, value in zip(("weight", "bias"), layer.blobs, values, strict=False)
    }
    given = arguments(str(shape), bias=(str(len(layer.blobs) > 1), "True"))
    module = chain.submodule(f"{chain.helper('Scale')}({given})", state)
    chain.set(f"{module}({inputs[0]})")


@rule("Bias")
def bias(chain: Chain) -> None:
    """Adds a parameter, or its second bottom."""
    inputs, param = chain.inputs(), chain.layer.param.bias_param
    if len(inputs) == 2:
        chain.set(f"{inputs[0]} + {_fitted(inputs[1], chain, param.axis)}")
        return
    blob = chain.layer.blobs[0]
    chain.set(f"{_bias_module(chain, blob, blob.shape, param.axis)}({inputs[0]})")


def _bias_module(chain: Chain, blob: Blob, covering: tuple[int, ...], axis: int) -> str:
    shape = _aligned(chain.bottom[0], covering, axis)
    state = {"bias": Param(blob, blob.read().reshape(shape).copy())}
    return chain.submodule(f"{chain.helper('Bias')}({shape})", state)


def _aligned(bottom: Blob, covering: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The parameter's shape with ones behind it, so that it broadcasts from `axis` on."""
    if not covering:
        return ()
    first = canonical_axis(axis, bottom.num_axes)
    return (*covering, *((1,) * (bottom.num_axes - first - len(covering))))


def _fitted(name: str, chain: Chain, axis: int) -> str:
    """The second bottom with axes of size 1 behind it, so that it broadcasts from `axis` on."""
    covering = chain.bottom[1].shape
    missing = len(_aligned(chain.bottom[0], covering, axis)) - len(covering)
    return f"{name}[{', '.join(['...'] + ['None'] * missing)}]" if missing else name
