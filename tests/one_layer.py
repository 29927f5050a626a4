"""A net of one layer: to run it, and to hold its gradients against finite differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import caffenorm
from caffenorm import TRAIN, Net

Floats = NDArray[np.float64]
Shape = tuple[int, ...]


def one_layer(
    body: str,
    *shapes: Shape,
    phase: int = TRAIN,
    dtype: str = "f8",
    in_place: bool = False,
    overwritten: bool = False,
    tops: int = 1,
    force_backward: bool = True,
) -> Net:
    """A net whose layer "op" reads inputs "x0", "x1" ... of these shapes and makes "y0", "y1" ...

    Args:
        body: type and parameters of the layer.
        shapes: of the inputs.
        phase: of the net.
        dtype: of the net.
        in_place: top 0 is input 0; it is called "x0" then.
        overwritten: a layer after it works in place over top 0, giving -2 times its values.
        tops: how many.
        force_backward: whether the inputs get a gradient.
    """
    inputs = "".join(
        f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {_dims(shape)} }} }} }}\n'
        for i, shape in enumerate(shapes)
    )
    names = ["x0" if in_place and not i else f"y{i}" for i in range(tops)]
    wiring = "".join(f' bottom: "x{i}"' for i in range(len(shapes))) + "".join(f' top: "{n}"' for n in names)
    text = f'{inputs}layer {{ name: "op"{wiring} {body} }}\n'
    if overwritten:
        wiring = f'name: "after" bottom: "{names[0]}" top: "{names[0]}"'
        doubling = "scale_param { num_axes: 0 axis: 0 filler { value: -2 } }"
        text += f'layer {{ {wiring} type: "Scale" param {{ lr_mult: 0 }} {doubling} }}\n'
    return Net.from_text(
        f"force_backward: {str(force_backward).lower()}\n{text}", phase, dtype=np.dtype(dtype)
    )


def _dims(shape: Shape) -> str:
    return " ".join(f"dim: {dim}" for dim in shape)


def top_name(net: Net) -> str:
    """The blob that the layer's top 0 is."""
    return net.top_names["op"][0]


def run(net: Net, *inputs: Floats) -> Floats:
    """Forward; a copy of top 0."""
    net.forward(**{f"x{i}": value for i, value in enumerate(inputs)})
    return net.blobs[top_name(net)].data.copy()


def run_backward(net: Net, dy: Floats) -> list[Floats]:
    """Backward from top 0 with cleared parameter gradients; copies of the inputs' gradients."""
    net.clear_param_diffs()
    net.blobs[top_name(net)].diff[...] = dy
    net.backward()
    return [net.blobs[name].diff.copy() for name in net.inputs]


def gradient_error(
    net: Net,
    inputs: Sequence[Floats],
    params: Mapping[int, Floats] | None = None,
    seed: int = 0,
    step: float = 1e-5,
) -> float:
    """How far the analytic gradient of sum(weights * top 0) is from the numeric one, for random weights.

    Args:
        net: of `one_layer`.
        inputs: where to take the gradient; changed in between, and restored.
        params: number -> values of the parameters whose gradients are checked.
        seed: of the weights.
        step: of the differences.

    Returns:
        The largest difference, divided by the largest gradient of the array where that is above 1.
    """
    params = params or {}
    blobs = net.params.get("op", [])
    stored = [blob.data.copy() for blob in blobs]
    weights = np.random.default_rng(seed).normal(size=net.blobs[top_name(net)].shape)
    values = [*inputs, *params.values()]

    def total() -> float:
        for blob, before in zip(blobs, stored, strict=True):
            blob.data[...] = before
        for index, value in params.items():
            blobs[index].data[...] = value
        return float((weights * run(net, *inputs)).sum())

    total()
    analytic = run_backward(net, weights)
    analytic += [blobs[index].diff.copy() for index in params]
    return max(
        float(np.abs(numeric - ours).max(initial=0) / max(1, np.abs(numeric).max(initial=0)))
        for ours, numeric in zip(analytic, [differences(total, value, step) for value in values], strict=True)
    )


def differences(function, value: Floats, step: float) -> Floats:  # type: ignore[no-untyped-def]
    """Central differences of a function without arguments that reads `value`."""
    result = np.zeros_like(value)
    for place in np.ndindex(value.shape):
        before = value[place]
        value[place] = before + step
        above = function()
        value[place] = before - step
        below = function()
        value[place] = before
        result[place] = (above - below) / (2 * step)
    return result


def spread(rng: np.random.Generator, shape: Shape, offset: float = 0.3) -> Floats:
    """Values with a mean that is not 0, none of which lies near a kink at 0."""
    values = rng.normal(size=shape) + offset
    return np.array(values + np.copysign(0.05, values))


__all__ = [
    "caffenorm",
    "differences",
    "gradient_error",
    "one_layer",
    "run",
    "run_backward",
    "spread",
    "top_name",
]
