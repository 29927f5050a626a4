"""Convolutions, linear layers, pooling, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.op import Fields, Op, Result, as_array, refuse, rule
from caffenorm.errors import ConversionError

_POOL = schema.PoolingParameter


def per_axis(value: Any, axes: int) -> list[int]:  # Any: an int, or a list of one or `axes`
    """One number for each spatial axis."""
    listed = [value] if isinstance(value, int) else list(value)
    return listed * axes if len(listed) == 1 else listed


def window(name: str, sizes: Sequence[int], default: int | None = None) -> Fields:
    """Fields for a size: one number, two with _h and _w, or one for each axis; none for the default."""
    if len(set(sizes)) == 1:
        return {} if sizes[0] == default else {name: sizes[0]}
    stem = name.removesuffix("_size")
    return {f"{stem}_h": sizes[0], f"{stem}_w": sizes[1]} if len(sizes) == 2 else {name: list(sizes)}


def _listed(name: str, sizes: Sequence[int], default: int | None = None) -> Fields:
    """As `window`, for the repeated fields of convolution_param."""
    fields = window(name, sizes, default)
    return {
        key: [value] if key == name and isinstance(value, int) else value for key, value in fields.items()
    }


def batched(x: Value, axes: int) -> None:
    """Caffe's layers need the batch as axis 0."""
    if len(x.shape) != axes + 2:
        raise ConversionError(f"its input has shape {list(x.shape)}; give a batch, (N, C, ...)")


# --- convolutions ---


@rule("conv1d", "conv2d", "conv3d", "convolution")
def convolution(op: Op) -> Value:
    x = op.x("input")
    weight, bias = op.constant("weight"), op.constant("bias", optional=True)
    assert weight is not None
    axes = weight.dim() - 2
    batched(x, axes)
    stride, dilation = per_axis(op["stride"], axes), per_axis(op["dilation"], axes)
    if op.get("transposed"):
        return _transposed(op, x, weight, bias)
    kernel = list(weight.shape[2:])
    before = after = [0] * axes
    if op["padding"] == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        before = [total // 2 for total in totals]
        after = [total - b for total, b in zip(totals, before, strict=True)]
    elif op["padding"] != "valid":
        before = after = per_axis(op["padding"], axes)
    if before != after:
        x = _pad(op, x, before, after)
        before = [0] * axes
    fields = _fields(weight.shape[0], bias, kernel, stride, before, dilation, op["groups"])
    blobs = [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]
    return op.layer("Convolution", [x], blobs=blobs, convolution_param=fields)


def _fields(
    outputs: int,
    bias: torch.Tensor | None,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Fields:
    fields: Fields = {"num_output": outputs, **_listed("kernel_size", kernel)}
    fields |= _listed("stride", stride, 1) | _listed("pad", pad, 0)
    if any(d != 1 for d in dilation):
        fields["dilation"] = [dilation[0]] if len(set(dilation)) == 1 else list(dilation)
    if groups != 1:
        fields["group"] = groups
    if bias is None:
        fields["bias_term"] = False
    return fields


def _pad(op: Op, x: Value, before: Sequence[int], after: Sequence[int], mode: str = "constant") -> Value:
    """A Pad layer on the spatial axes; negative numbers cut off."""
    first = len(x.shape) - len(before)
    shape = [
        *x.shape[:first],
        *(n + b + a for n, b, a in zip(x.shape[first:], before, after, strict=True)),
    ]
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    param: Fields = {"pads": pads} | ({} if mode == "constant" else {"mode": mode})
    return op.layer("Pad", [x], tuple(shape), suffix="pad", pad_param=param)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(op: Op) -> Value:
    x = op.x("input")
    weight, bias = op.constant("weight"), op.constant("bias", optional=True)
    assert weight is not None
    batched(x, weight.dim() - 2)
    return _transposed(op, x, weight, bias)


def _transposed(op: Op, x: Value, weight: torch.Tensor, bias: torch.Tensor | None) -> Value:
    """Deconvolution; output_padding is a smaller pad and a cut, or zeros before the bias is added."""
    axes = weight.dim() - 2
    kernel, groups = list(weight.shape[2:]), op["groups"]
    stride, dilation = per_axis(op["stride"], axes), per_axis(op["dilation"], axes)
    pad, extra = per_axis(op["padding"], axes), per_axis(op["output_padding"], axes)
    left = [max(0, p - e) for p, e in zip(pad, extra, strict=True)]
    outputs = weight.shape[1] * groups
    stored = [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]
    if not any(extra):
        fields = _fields(outputs, bias, kernel, stride, pad, dilation, groups)
        return op.layer("Deconvolution", [x], blobs=stored, convolution_param=fields)
    zeros = any(e > p for e, p in zip(extra, pad, strict=True))
    late = bias is not None and zeros
    fields = _fields(outputs, None if late else bias, kernel, stride, left, dilation, groups)
    size = [
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, s, d, k, p in zip(x.shape[2:], stride, dilation, kernel, left, strict=True)
    ]
    y = op.layer(
        "Deconvolution",
        [x],
        (x.shape[0], outputs, *size),
        blobs=stored[:1] if late else stored,
        convolution_param=fields,
    )
    before = [p - q for p, q in zip(left, pad, strict=True)]
    after = [n - m - b for n, m, b in zip(op.shape[2:], size, before, strict=True)]
    y = _pad(op, y, before, after)
    return op.layer("Bias", [y], suffix="bias", blobs=stored[1:]) if late else y


# --- linear layers ---


@rule("linear")
def linear(op: Op) -> Value:
    weight = op.constant("weight")
    assert weight is not None
    return _inner_product(op, op.x("input"), weight, op.constant("bias", optional=True))


@rule("addmm")
def addmm(op: Op) -> Value:
    """What a Linear is once it is decomposed."""
    weight, bias = op.constant("mat2"), op.constant("self")
    if weight is None or bias is None or op["alpha"] != 1 or op["beta"] != 1 or bias.dim() != 1:
        raise ConversionError("only x @ weight + bias is an InnerProduct")
    return _inner_product(op, op.x("mat1"), weight.t(), bias)


@rule("mm", "matmul")
def matmul(op: Op) -> Value:
    other = op.get("mat2", op.get("other"))
    if isinstance(other, Value):
        raise ConversionError("both factors are computed; InnerProduct multiplies by a parameter")
    if other is None or other.dim() != 2:
        raise ConversionError("InnerProduct multiplies by a matrix")
    return _inner_product(op, op.x(), other.t(), None)


def _inner_product(op: Op, x: Value, weight: torch.Tensor, bias: torch.Tensor | None) -> Value:
    """InnerProduct; it flattens what comes from a convolution by itself, as Caffe's nets have it."""
    if len(x.shape) < 2:
        raise ConversionError("its input has one axis; give a batch")
    fields: Fields = {"num_output": weight.shape[0]}
    if len(x.shape) > 2:
        fields["axis"] = len(x.shape) - 1
    if bias is None:
        fields["bias_term"] = False
    blobs = [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]
    return op.layer("InnerProduct", [_unflattened(op, x)], blobs=blobs, inner_product_param=fields)


def _unflattened(op: Op, x: Value) -> Value:
    writer = op.builder.writer(x.blob)
    if writer is None or writer.message.type != "Flatten" or writer.message.HasField("flatten_param"):
        return x
    return (op.builder.drop_last(x.blob) or x) if op.builder.pending[x.blob] == 1 else x


# --- pooling ---


def _rounding(x: Value, kernel: list[int], stride: list[int], pad: list[int], ceil: bool) -> Fields:
    """round_mode, where it matters; only with pads does Caffe drop a window that begins behind the image."""
    if all(s == 1 for s in stride):
        return {}
    if not ceil:
        return {"round_mode": _POOL.FLOOR}
    for n, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        if not any(pad) and s > k and -(-(n - k) // s) * s >= n:
            raise ConversionError("the last window would begin behind the image, and Caffe does not drop it")
    return {}


def _pooling(op: Op, x: Value, pool: int, fields: Fields, tops: int = 1) -> list[Value]:
    param = {"pool": pool, **fields}
    return op.layers("Pooling", [x], [op.shape] * tops, pooling_param=param)


@rule(
    *(f"max_pool{n}d" for n in (1, 2, 3)),
    *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)),
)
def max_pool(op: Op) -> Result:
    axes = int(op.kind[len("max_pool")])
    x, kernel, stride, pad = _windows(op, axes)
    if any(d != 1 for d in per_axis(op["dilation"], axes)):
        raise ConversionError("Caffe's pooling has no dilation")
    fields = window("kernel_size", kernel) | window("stride", stride, 1) | window("pad", pad, 0)
    fields |= _rounding(x, kernel, stride, pad, op["ceil_mode"])
    if 1 in op.wanted:
        return _pooling(op, x, _POOL.MAX, fields, 2)
    return _both(op, _pooling(op, x, _POOL.MAX, fields)[0])


def _windows(op: Op, axes: int) -> tuple[Value, list[int], list[int], list[int]]:
    x = op.x()
    batched(x, axes)
    kernel = per_axis(op["kernel_size"], axes)
    stride = per_axis(op["stride"], axes) if op["stride"] else kernel
    return x, kernel, stride, per_axis(op["padding"], axes)


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(op: Op) -> Value:
    axes = int(op.kind[len("avg_pool")])
    x, kernel, stride, pad = _windows(op, axes)
    fields = window("kernel_size", kernel) | window("stride", stride, 1) | window("pad", pad, 0)
    fields |= _rounding(x, kernel, stride, pad, op["ceil_mode"])
    if any(pad) and not op["count_include_pad"]:
        fields["avg_include_pad"] = False
    divisor = op.get("divisor_override")
    if divisor is None:
        return _pooling(op, x, _POOL.AVE, fields)[0]
    if any(pad) or op["ceil_mode"]:
        raise ConversionError("divisor_override goes with neither padding nor ceil_mode in Caffe")
    y = _pooling(op, x, _POOL.AVE, fields)[0]
    return op.layer("Power", [y], suffix="divisor", power_param={"scale": math.prod(kernel) / divisor})


@rule(
    *(f"adaptive_avg_pool{n}d" for n in (1, 2, 3)),
    *(f"_adaptive_avg_pool{n}d" for n in (2, 3)),
    *(f"adaptive_max_pool{n}d" for n in (1, 2, 3)),
)
def adaptive_pool(op: Op) -> Result:
    """Global pooling for an output of 1; else windows, where the sizes divide."""
    x, axes = op.x(), int(op.kind[-2])
    batched(x, axes)
    pool = _POOL.MAX if "max" in op.kind else _POOL.AVE
    if 1 in op.wanted:
        raise ConversionError("places of adaptive pooling's values have no layer")
    size, out = x.shape[2:], op.shape[2:]
    if all(n == 1 for n in out):
        return _both(op, _pooling(op, x, pool, {"global_pooling": True})[0])
    if size == out:
        return _both(op, x)
    if any(n % m for n, m in zip(size, out, strict=True)):
        raise ConversionError(f"{_by(size)} values do not divide into {_by(out)} windows of one size")
    kernel = [n // m for n, m in zip(size, out, strict=True)]
    op.note(f"its windows of {_by(kernel)} are those of an input of {_by(size)}; Caffe's do not adapt")
    return _both(op, _pooling(op, x, pool, window("kernel_size", kernel) | window("stride", kernel, 1))[0])


def _both(op: Op, value: Value) -> Result:
    """For operators that give places, which nobody reads, as a second result."""
    return value if len(op.shapes) == 1 else [value, None]


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


# --- resizing ---


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def nearest(op: Op) -> Value:
    """Whole factors: a Deconvolution with ones. Whole divisors: a Pooling of single values."""
    x = op.x("input")
    size, out = x.shape[2:], op.shape[2:]
    if size == out:
        return x
    if all(n % m == 0 for n, m in zip(size, out, strict=True)):
        steps = [n // m for n, m in zip(size, out, strict=True)]
        fields = {"kernel_size": 1, **window("stride", steps), "round_mode": _POOL.FLOOR}
        return _pooling(op, x, _POOL.MAX, fields)[0]
    factors = _factors(size, out)
    return _deconvolve(op, x, factors, factors, [0] * len(factors), [np.ones(f) for f in factors])


@rule("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
def linear_interpolation(op: Op) -> Value:
    """A Deconvolution with fixed weights; its edge is repeated first, as PyTorch repeats it."""
    x = op.x("input")
    size, out = x.shape[2:], op.shape[2:]
    if size == out:
        return x
    factors = _factors(size, out)
    if all(n == 1 for n in size):
        return _deconvolve(op, x, factors, factors, [0] * len(factors), [np.ones(f) for f in factors])
    if op["align_corners"]:
        raise ConversionError("with align_corners the steps between values are no whole part of one")
    kernel = [2 * f - f % 2 for f in factors]
    pad = [f // 2 + f for f in factors]
    ones = [1] * len(factors)
    weights = [_triangle(k, f) for k, f in zip(kernel, factors, strict=True)]
    return _deconvolve(op, _pad(op, x, ones, ones, "replicate"), kernel, factors, pad, weights)


def _factors(size: Shape, out: Shape) -> list[int]:
    if any(m % n for n, m in zip(size, out, strict=True)):
        raise ConversionError(f"only whole factors can be a Deconvolution, not {_by(size)} to {_by(out)}")
    return [m // n for n, m in zip(size, out, strict=True)]


def _triangle(kernel: int, factor: int) -> Any:  # Any: NDArray of float64
    """Weights of linear interpolation for one axis; Caffe's bilinear filler has the same."""
    centre = (kernel - 1) / 2
    return 1 - np.abs(np.arange(kernel) - centre) / factor


def _deconvolve(
    op: Op,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    weights: Sequence[Any],  # Any: NDArray of float64
) -> Value:
    """Every channel by itself with weights that do not learn; no blobs from PyTorch."""
    channels, product = x.shape[1], np.ones(())
    for values in weights:
        product = np.multiply.outer(product, values)
    fields = _fields(channels, None, kernel, stride, pad, [1], channels)
    smooth = list(kernel) != list(stride)
    if not smooth:
        fields["weight_filler"] = {"type": "constant", "value": 1}
    elif len(kernel) == 2 and len(set(kernel)) == 1:
        fields["weight_filler"] = {"type": "bilinear"}
    blob = np.broadcast_to(product, (channels, 1, *product.shape)).copy()
    stored = Stored(as_array(torch.from_numpy(blob)), learns=False)
    return op.layer("Deconvolution", [x], blobs=[stored], convolution_param=fields)


refuse("bicubic weights change from value to value", "upsample_bicubic2d", "_upsample_bicubic2d_aa")
refuse("its windows overlap by the size", "fractional_max_pool2d", "fractional_max_pool3d")
refuse("no layer multiplies two computed matrices", "bmm", "einsum", "scaled_dot_product_attention")
