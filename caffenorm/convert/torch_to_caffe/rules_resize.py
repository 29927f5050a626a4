"""Resizing: Deconvolution with fixed weights for whole factors, Pooling for whole divisors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.op import Op, as_array, refuse, rule
from caffenorm.convert.torch_to_caffe.steps import pad_axes
from caffenorm.convert.torch_to_caffe.windows import by, convolution_fields, window
from caffenorm.errors import ConversionError

_POOL = schema.PoolingParameter


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
        return op.layer("Pooling", [x], pooling_param={"pool": _POOL.MAX, **fields})
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
    return _deconvolve(op, pad_axes(op, x, ones, ones, "replicate"), kernel, factors, pad, weights)


def _factors(size: Shape, out: Shape) -> list[int]:
    if any(m % n for n, m in zip(size, out, strict=True)):
        raise ConversionError(f"only whole factors can be a Deconvolution, not {by(size)} to {by(out)}")
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
    fields = convolution_fields(channels, None, kernel, stride, pad, [1], channels)
    smooth = list(kernel) != list(stride)
    if not smooth:
        fields["weight_filler"] = {"type": "constant", "value": 1}
    elif len(kernel) == 2 and len(set(kernel)) == 1:
        fields["weight_filler"] = {"type": "bilinear"}
    blob = np.broadcast_to(product, (channels, 1, *product.shape)).copy()
    stored = Stored(as_array(torch.from_numpy(blob)), learns=False)
    return op.layer("Deconvolution", [x], blobs=[stored], convolution_param=fields)


refuse("bicubic weights change from value to value", "upsample_bicubic2d", "_upsample_bicubic2d_aa")
