"""Layers that multiply by matrices: convolutions, inner products, Embed; and Im2col."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from caffenorm.convert.onnx_graph import product
from caffenorm.convert.onnx_part import Part, rule
from caffenorm.convert.onnx_rules.elementwise import rectified
from caffenorm.layer import canonical_axis
from caffenorm.layers._convolution import ConvolutionBase
from caffenorm.layers._window import Windows
from caffenorm.layers.im2col import Im2col
from caffenorm.layers.inner_product import InnerProduct

_MOST_AXES = 3


def _windows(part: Part, axis: int) -> Windows:
    """The windows for the net's present size; no spatial axis at all is one of size 1."""
    layer = part.layer
    assert isinstance(layer, ConvolutionBase | Im2col)
    size = part.bottom[0].shape[axis + 1 :]
    if len(size) > _MOST_AXES:
        raise part.fail(f"convolves along {len(size)} axes; runtimes of ONNX do along 1 to {_MOST_AXES}")
    return layer.windows if size else Windows((1,), (1,), (0,), (0,), (1,))


def _reaching(windows: Windows, size: tuple[int, ...], out: tuple[int, ...]) -> Windows:
    """With the zeros behind that a kernel larger than its input sees."""
    spans = zip(out, size, windows.stride, windows.extent, windows.pad, strict=True)
    needed = [(o - 1) * s + e - n - before for o, n, s, e, before in spans]
    after = tuple(max(a, n) for a, n in zip(windows.pad_after, needed, strict=True))
    return replace(windows, pad_after=after)


def _attributes(windows: Windows, group: int) -> dict[str, Any]:  # Any: numbers and lists
    return {
        "kernel_shape": list(windows.kernel),
        "strides": list(windows.stride),
        "pads": [*windows.pad, *windows.pad_after],
        "dilations": list(windows.dilation),
        "group": group,
    }


def _convolve(part: Part, op: str, windows: Windows, axis: int) -> None:
    """The node for each bottom, with axes before the channels taken as one batch."""
    layer = part.layer
    assert isinstance(layer, ConvolutionBase)
    spatial = part.bottom[0].shape[axis + 1 :] or (1,)
    kernel = (*layer.blobs[0].shape[:2], *windows.kernel)
    listed = [part.param(layer.blobs[0], "weight", layer.blobs[0].read().reshape(kernel))]
    listed += [part.param(blob, "bias") for blob in layer.blobs[1:]]
    plain = axis == 1 and len(part.bottom[0].shape) > 2
    for i, (x, bottom, top) in enumerate(zip(part.inputs, part.bottom, part.top, strict=True)):
        tag = f"{i}" if len(part.top) > 1 else ""
        if not plain:
            batch = product(part.dims(bottom)[:axis])
            x = part.reshape(x, (batch, bottom.shape[axis], *spatial), f"{tag}in")
        last = plain and layer.slope is None
        y = part.node(op, x, *listed, at=tag if last else f"{tag}conv", **_attributes(windows, layer.groups))
        if layer.slope is not None:
            y = rectified(part, y, layer.slope, tag if plain else f"{tag}relu")
        part.set(y if plain else part.reshape(y, part.dims(top), tag), i)


@rule("Convolution", "NdConvolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(part: Part) -> None:
    """Conv."""
    bottom, top = part.bottom[0], part.top[0]
    axis = canonical_axis(part.layer.param.convolution_param.axis, bottom.num_axes)
    windows = _windows(part, axis)
    size, out = bottom.shape[axis + 1 :] or (1,), top.shape[axis + 1 :] or (1,)
    _convolve(part, "Conv", _reaching(windows, size, out), axis)


@rule("Deconvolution")
def deconvolution(part: Part) -> None:
    """ConvTranspose."""
    axis = canonical_axis(part.layer.param.convolution_param.axis, part.bottom[0].num_axes)
    _convolve(part, "ConvTranspose", _windows(part, axis), axis)


@rule("Im2col")
def im2col(part: Part) -> None:
    """A Conv whose kernels each pick one value: ONNX has no operator for it."""
    bottom, top = part.bottom[0], part.top[0]
    axis = canonical_axis(part.layer.param.convolution_param.axis, bottom.num_axes)
    windows, channels = _windows(part, axis), bottom.shape[axis]
    places = math.prod(windows.kernel)
    pick = np.tile(
        np.eye(places).reshape(places, 1, *windows.kernel), (channels, *(1,) * (1 + len(windows.kernel)))
    )
    size, out = bottom.shape[axis + 1 :], top.shape[axis + 1 :]
    attributes = _attributes(_reaching(windows, size, out), channels)
    x = part.x
    if axis != 1:
        x = part.reshape(x, (product(part.dims(bottom)[:axis]), channels, *size), "in")
    y = part.node("Conv", x, part.constant(pick, "pick"), at="" if axis == 1 else "conv", **attributes)
    part.set(y if axis == 1 else part.reshape(y, part.dims(top)))


@rule("InnerProduct")
def inner_product(part: Part) -> None:
    """Flatten, where there is something to flatten, and Gemm."""
    layer, bottom, top = part.layer, part.bottom[0], part.top[0]
    assert isinstance(layer, InnerProduct)
    axis = canonical_axis(layer.param.inner_product_param.axis, bottom.num_axes)
    x = part.x
    inputs = math.prod(bottom.shape[axis:])
    if axis == 1 and bottom.num_axes > 2:
        x = part.node("Flatten", x, at="flatten", axis=1)
    elif axis != 1:
        x = part.reshape(x, (product(part.dims(bottom)[:axis]), inputs), "in")
    listed = [part.param(blob, role) for blob, role in zip(layer.blobs, ("weight", "bias"), strict=False)]
    slope = layer.param.inner_product_param.negative_slope if layer.param.inner_product_param.relu else None
    plain = axis == 1
    y = part.node(
        "Gemm", x, *listed, at="" if plain and slope is None else "gemm", transB=int(not layer.transpose)
    )
    if slope is not None:
        y = rectified(part, y, float(slope), "" if plain else "relu")
    part.set(y if plain else part.reshape(y, part.dims(top)))


@rule("Embed")
def embed(part: Part) -> None:
    """Gather."""
    layer = part.layer
    rows = part.node("Cast", part.x, at="index", to="INT64")
    more = len(layer.blobs) > 1
    y = part.node("Gather", part.param(layer.blobs[0], "weight"), rows, at="gather" if more else "", axis=0)
    part.set(part.node("Add", y, part.param(layer.blobs[1], "bias")) if more else y)
