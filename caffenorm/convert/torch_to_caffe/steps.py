"""Layers that several rules add: powers, products, other shapes, repetition, and what is broadcast."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.op import Fields, Op, written

_ELTWISE = schema.EltwiseParameter

# --- one layer ---


def power(op: Op, x: Value, power: float = 1, scale: float = 1, shift: float = 0, suffix: str = "") -> Value:
    """(shift + scale * x) ^ power."""
    param = written(
        "power_param",
        power=None if power == 1 else power,
        scale=None if scale == 1 else scale,
        shift=None if shift == 0 else shift,
    )
    return op.layer("Power", [x], x.shape, suffix=suffix, **param) if param else x


def product(op: Op, factors: Sequence[Value]) -> Value:
    return op.layer("Eltwise", factors, eltwise_param={"operation": _ELTWISE.PROD})


def pad_axes(op: Op, x: Value, before: Sequence[int], after: Sequence[int], mode: str = "constant") -> Value:
    """A Pad layer on the spatial axes; negative numbers cut off."""
    first = len(x.shape) - len(before)
    shape = [
        *x.shape[:first],
        *(n + b + a for n, b, a in zip(x.shape[first:], before, after, strict=True)),
    ]
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    param: Fields = {"pads": pads} | ({} if mode == "constant" else {"mode": mode})
    return op.layer("Pad", [x], tuple(shape), suffix="pad", pad_param=param)


def reshape(op: Op, x: Value, shape: Shape, suffix: str = "") -> Value:
    """Another shape for the same values; the batch stays free where the first axis stays the same."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    if len(x.shape) > 1 and shape == (x.shape[0], math.prod(x.shape[1:])):
        return op.layer("Flatten", [x], shape, suffix=suffix)
    dims = [0 if x.shape[:1] == shape[:1] else -1, *shape[1:]] if shape else []
    return op.layer("Reshape", [x], shape, suffix=suffix, reshape_param={"shape": {"dim": dims}})


def tile(op: Op, x: Value, shape: Shape, suffix: str) -> Value:
    """Repeated to a shape that it can be broadcast to; an axis a layer."""
    if x.shape == tuple(shape):
        return x
    aligned = _aligned(x.shape, len(shape))
    if aligned != x.shape:
        x = reshape(op, x, aligned, f"{suffix}_axes")
    for axis, (have, want) in enumerate(zip(aligned, shape, strict=True)):
        if have != want:
            if axis == 0:
                op.note(f"is repeated {want} times along the batch, whatever its size is later")
            param = {"tiles": want} | ({} if axis == 1 else {"axis": axis})
            grown = (*x.shape[:axis], want, *x.shape[axis + 1 :])
            x = op.layer("Tile", [x], grown, suffix=suffix, tile_param=param)
    return x


def tiled(op: Op, x: Value, suffix: str = "tile") -> Value:
    """Repeated to the operator's shape."""
    return tile(op, x, op.shape, suffix)


# --- broadcasting ---


def _aligned(shape: Shape, axes: int) -> Shape:
    return (1,) * (axes - len(shape)) + tuple(shape)


def span_of(small: Shape, whole: Shape) -> tuple[int, int] | None:
    """The axes [first, end) that a broadcast operand has, all others being 1; None if there is a hole."""
    aligned = _aligned(small, len(whole))
    full = [i for i, n in enumerate(aligned) if n != 1]
    if not full:
        return len(whole), len(whole)
    first, end = full[0], full[-1] + 1
    return (first, end) if aligned[first:end] == tuple(whole[first:end]) else None


def covers(a: Shape, b: Shape, out: Shape) -> tuple[int, int] | None:
    """Where one operand has the output's shape and the other is some of its axes: which."""
    if a == out and b == out:
        return None
    if out not in (a, b):
        return None
    return span_of(b if a == out else a, out)


def broadcast(op: Op, kind: str, x: Value, small: Value, span: tuple[int, int]) -> Value:
    """Scale or Bias with the smaller operand as second bottom."""
    first, end = span
    shape = x.shape[first:end]
    if small.shape != shape:
        small = reshape(op, small, shape, "squeeze")
    param = "scale_param" if kind == "Scale" else "bias_param"
    axis = first if shape else 0
    return op.layer(kind, [x, small], **written(param, axis=None if axis == 1 else axis))


def with_constant(op: Op, kind: str, x: Value, tensor: torch.Tensor, value: torch.Tensor) -> Value:
    """Scale or Bias with a parameter, a buffer or a constant as its blob."""
    x = tiled(op, x)
    span = span_of(tuple(tensor.shape), x.shape)
    if span is None:
        hull = [i for i, n in enumerate(_aligned(tuple(tensor.shape), len(x.shape))) if n != 1]
        span = hull[0], hull[-1] + 1
        aligned = value.reshape(_aligned(tuple(value.shape), len(x.shape)))
        size = [n if span[0] <= i < span[1] else 1 for i, n in enumerate(x.shape)]
        value = aligned.expand(size).contiguous()
        op.note(f"a constant of shape {list(tensor.shape)} is repeated to {list(size)}")
    first, end = span
    stored = op.stored(value)
    learns = stored.learns and not op.is_fixed(tensor)
    blob = Stored(stored.values.reshape(x.shape[first:end]), stored.key, stored.name, learns)
    param: dict[str, int] = {}
    if end - first != 1:
        param["num_axes"] = end - first
    if first != 1:
        param["axis"] = first if end > first else 0
    name = "scale_param" if kind == "Scale" else "bias_param"
    return op.layer(kind, [x], blobs=[blob], **written(name, **param))
