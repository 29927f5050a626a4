"""Sizes of windows, as PyTorch gives them and as Caffe's fields take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from caffenorm.convert.torch_to_caffe.builder import Value
from caffenorm.convert.torch_to_caffe.op import Fields
from caffenorm.errors import ConversionError


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


def listed(name: str, sizes: Sequence[int], default: int | None = None) -> Fields:
    """As `window`, for the repeated fields of convolution_param."""
    fields = window(name, sizes, default)
    return {
        key: [value] if key == name and isinstance(value, int) else value for key, value in fields.items()
    }


def batched(x: Value, axes: int) -> None:
    """Caffe's layers need the batch as axis 0."""
    if len(x.shape) != axes + 2:
        raise ConversionError(f"its input has shape {list(x.shape)}; give a batch, (N, C, ...)")


def by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def convolution_fields(
    outputs: int,
    bias: torch.Tensor | None,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Fields:
    fields: Fields = {"num_output": outputs, **listed("kernel_size", kernel)}
    fields |= listed("stride", stride, 1) | listed("pad", pad, 0)
    if any(d != 1 for d in dilation):
        fields["dilation"] = [dilation[0]] if len(set(dilation)) == 1 else list(dilation)
    if groups != 1:
        fields["group"] = groups
    if bias is None:
        fields["bias_term"] = False
    return fields
