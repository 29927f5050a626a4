"""Pooling."""

from __future__ import annotations

import math

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Value
from caffenorm.convert.torch_to_caffe.op import Fields, Op, Result, refuse, rule
from caffenorm.convert.torch_to_caffe.windows import batched, by, per_axis, window
from caffenorm.errors import ConversionError

_POOL = schema.PoolingParameter


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


def pooled(op: Op, x: Value, pool: int, fields: Fields, tops: int = 1) -> list[Value]:
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
        return pooled(op, x, _POOL.MAX, fields, 2)
    return _both(op, pooled(op, x, _POOL.MAX, fields)[0])


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
        return pooled(op, x, _POOL.AVE, fields)[0]
    if any(pad) or op["ceil_mode"]:
        raise ConversionError("divisor_override goes with neither padding nor ceil_mode in Caffe")
    y = pooled(op, x, _POOL.AVE, fields)[0]
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
        return _both(op, pooled(op, x, pool, {"global_pooling": True})[0])
    if size == out:
        return _both(op, x)
    if any(n % m for n, m in zip(size, out, strict=True)):
        raise ConversionError(f"{by(size)} values do not divide into {by(out)} windows of one size")
    kernel = [n // m for n, m in zip(size, out, strict=True)]
    op.note(f"its windows of {by(kernel)} are those of an input of {by(size)}; Caffe's do not adapt")
    return _both(op, pooled(op, x, pool, window("kernel_size", kernel) | window("stride", kernel, 1))[0])


def _both(op: Op, value: Value) -> Result:
    """For operators that give places, which nobody reads, as a second result."""
    return value if len(op.shapes) == 1 else [value, None]


refuse("its windows overlap by the size", "fractional_max_pool2d", "fractional_max_pool3d")
