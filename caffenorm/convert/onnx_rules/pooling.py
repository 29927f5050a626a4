"""Poolings, with Caffe's number of windows and Caffe's divisors, and the LRN that pools.

Caffe rounds the number of windows up and drops a last one that begins beyond the image and its pad. ONNX's
ceil_mode does so in some runtimes and versions and not in others; here the pads behind say where the last
window ends, which all read alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffenorm import schema
from caffenorm.convert.onnx_part import Part, rule
from caffenorm.layers._window import Sizes, Windows
from caffenorm.layers.pooling import Pooling

_POOL = schema.PoolingParameter
_LOWEST = float(np.finfo(np.float32).min)


def _touching(windows: Windows, size: Sizes, out: Sizes) -> Sizes:
    """The number of windows along each axis that touch the image."""
    axes = zip(out, size, windows.stride, windows.pad, strict=True)
    return tuple(min(o, -(-(n + before) // s)) for o, n, s, before in axes)


def _beyond(windows: Windows, size: Sizes, out: Sizes) -> Sizes:
    """How far the last window of each axis reaches beyond the image."""
    axes = zip(out, size, windows.kernel, windows.stride, windows.pad, strict=True)
    return tuple(max(0, (o - 1) * s + k - n - before) for o, n, k, s, before in axes)


def _attributes(windows: Windows, pads: Sequence[int]) -> dict[str, Any]:  # Any: lists of numbers
    given: dict[str, Any] = {"kernel_shape": list(windows.kernel), "strides": list(windows.stride)}
    return given | ({"pads": list(pads)} if any(pads) else {})


def _completed(part: Part, y: str, touching: Sizes, out: Sizes, value: float, at: str) -> str:
    """With what Caffe gives for windows that lie outside the image as a whole, as no pooling in ONNX may."""
    pads = [0] * (len(out) + 2) + [0, 0, *(o - t for o, t in zip(out, touching, strict=True))]
    return part.node("Pad", y, part.ints(pads, f"{at}pads"), part.constant(value, f"{at}outside"), at=at)


def max_pool(part: Part, x: str, windows: Windows, size: Sizes, out: Sizes, at: str = "") -> str:
    """The largest value of each window; the lowest float where a window lies outside."""
    touching = _touching(windows, size, out)
    pads = (*windows.pad, *_beyond(windows, size, touching))
    complete = touching == out
    y = part.node("MaxPool", x, at=at if complete else f"{at}max", **_attributes(windows, pads))
    return y if complete else _completed(part, y, touching, out, _LOWEST, at)


def average_pool(
    part: Part, x: str, windows: Windows, size: Sizes, out: Sizes, counts_pads: bool, at: str = ""
) -> str:
    """The mean of each window, by Caffe's divisor: positions in the image and, if they count, its pads.

    ONNX divides by the positions in the image alone, or by the whole kernel. Where Caffe does neither, each
    mean is multiplied by what makes up for it.
    """
    touching = _touching(windows, size, out)
    beyond = _beyond(windows, size, touching)
    padded = any(windows.pad) or any(windows.pad_after)
    hangs = any(b > after for b, after in zip(beyond, windows.pad_after, strict=True))
    given = _attributes(windows, (*windows.pad, *beyond))
    complete = touching == out
    last = at if complete else f"{at}inside"
    if not (padded and counts_pads):
        y = part.node("AveragePool", x, at=last, **given)
    elif not hangs:
        y = part.node("AveragePool", x, at=last, **given, count_include_pad=1)
    else:
        y = part.node("AveragePool", x, at=f"{at}mean", **given, count_include_pad=1)
        factor = math.prod(windows.kernel) / _divisors(windows, size, touching)
        y = part.node("Mul", y, part.constant(factor[None, None], f"{at}divisor"), at=last)
    return y if complete else _completed(part, y, touching, out, 0.0, at)


def _divisors(windows: Windows, size: Sizes, out: Sizes) -> Any:  # Any: an array of numbers
    """By how many positions in the image and its pads Caffe divides each window."""
    total = np.ones(())
    axes = zip(size, out, windows.kernel, windows.stride, windows.pad, windows.pad_after, strict=True)
    for n, o, kernel, stride, before, after in axes:
        first = np.arange(o) * stride - before
        total = total[..., None] * (np.minimum(first + kernel, n + after) - first)
    return total


@rule("Pooling", "NdPooling")
def pooling(part: Part) -> None:
    """MaxPool, AveragePool and their global forms."""
    layer, param = part.layer, part.layer.param.pooling_param
    assert isinstance(layer, Pooling)
    size, out = part.bottom[0].shape[2:], part.top[0].shape[2:]
    if param.global_pooling and len(part.top) == 1 and param.pool != _POOL.STOCHASTIC:
        part.set(part.node("GlobalMaxPool" if param.pool == _POOL.MAX else "GlobalAveragePool", part.x))
    elif param.pool == _POOL.STOCHASTIC:
        part.set(_weighted(part, layer.windows, size, out))
    elif param.pool != _POOL.MAX:
        part.set(average_pool(part, part.x, layer.windows, size, out, layer.counts_pads))
    elif len(part.top) == 1:
        part.set(max_pool(part, part.x, layer.windows, size, out))
    else:
        _with_places(part, layer.windows, size, out)


def _weighted(part: Part, windows: Windows, size: Sizes, out: Sizes) -> str:
    """Stochastic pooling in TEST: the mean weighted by the values; 0 where their sum is not above 0."""
    x, touching = part.x, _touching(windows, size, out)
    pads = (*windows.pad, *_beyond(windows, size, touching))
    given = {**_attributes(windows, pads), "count_include_pad": 1}
    squares = part.node("AveragePool", part.node("Mul", x, x, at="square"), at="squares", **given)
    sums = part.node("AveragePool", x, at="values", **given)
    zero = part.constant(0.0, "zero")
    weighted = part.node("Div", squares, sums, at="weighted")
    above = part.node("Greater", sums, zero, at="above")
    y = part.node("Where", above, weighted, zero, at="" if touching == out else "inside")
    return y if touching == out else _completed(part, y, touching, out, 0.0, "")


def _with_places(part: Part, windows: Windows, size: Sizes, out: Sizes) -> None:
    """Both tops: ONNX counts places through the whole array, Caffe within each plane."""
    if _touching(windows, size, out) != out:
        raise part.fail("a window that lies outside the image has no place in ONNX")
    given = _attributes(windows, (*windows.pad, *_beyond(windows, size, out)))
    values, places = part.nodes("MaxPool", part.x, count=2, **given)
    part.set(values)
    plane = part.constant(math.prod(size), "plane")
    part.set(part.to_float(part.node("Mod", places, plane, at="mod"), "places"), 1)


@rule("SPP")
def spp(part: Part) -> None:
    """Poolings to 1, 2 x 2, 4 x 4 ... bins, joined."""
    param, bottom, size = part.layer.param.spp_param, part.bottom[0], part.bottom[0].shape[2:]
    parts = []
    for level in range(param.pyramid_height):
        bins = 2**level
        kernel = tuple(-(-n // bins) for n in size)
        pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, size, strict=True))
        windows = Windows(kernel, kernel, pad, pad, (1, 1))
        at = f"{bins}x{bins}"
        pool = max_pool if param.pool == schema.SPPParameter.MAX else _average
        parts.append(pool(part, part.x, windows, size, (bins, bins), at))
    if len(parts) == 1:
        part.set(parts[0])
        return
    columns = [bottom.shape[1] * 4**level for level in range(param.pyramid_height)]
    batch = part.dims(bottom)[0]
    flat = [
        part.reshape(y, (batch, n), f"flat_{i}") for i, (y, n) in enumerate(zip(parts, columns, strict=True))
    ]
    part.set(part.node("Concat", *flat, axis=1))


def _average(part: Part, x: str, windows: Windows, size: Sizes, out: Sizes, at: str) -> str:
    return average_pool(part, x, windows, size, out, True, at)


@rule("LRN")
def lrn(part: Part) -> None:
    """LRN, which divides alpha by the size as Caffe does; within channels a composition with AveragePool."""
    param, bottom = part.layer.param.lrn_param, part.bottom[0]
    alpha, beta, size = float(param.alpha), float(param.beta), int(param.local_size)
    x = part.x
    if param.norm_region != schema.LRNParameter.WITHIN_CHANNEL:
        given: dict[str, Any] = {"alpha": alpha, "beta": beta, "bias": float(param.k), "size": size}
        if bottom.num_axes == 4:
            part.set(part.node("LRN", x, **given))
            return
        dims = part.dims(bottom)
        wide = (*dims[:2], math.prod(bottom.shape[2:]), 1)
        y = part.node("LRN", part.reshape(x, wide, "in"), at="lrn", **given)
        part.set(part.reshape(y, dims))
        return
    half = (size - 1) // 2
    means = part.node(
        "AveragePool",
        part.node("Mul", x, x, at="square"),
        at="mean",
        kernel_shape=[size] * 2,
        strides=[1, 1],
        pads=[half] * 4,
        count_include_pad=1,
    )
    sums = part.plus(part.times(means, alpha, "alpha"), 1.0, "one")
    part.set(part.node("Mul", x, part.node("Pow", sums, part.constant(-beta, "beta"), at="pow")))
