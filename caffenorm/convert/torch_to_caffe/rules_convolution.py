"""Convolutions and linear layers."""

from __future__ import annotations

import torch

from caffenorm.convert.torch_to_caffe.builder import Value
from caffenorm.convert.torch_to_caffe.op import Fields, Op, refuse, rule
from caffenorm.convert.torch_to_caffe.steps import pad_axes, reshape
from caffenorm.convert.torch_to_caffe.windows import batched, convolution_fields, listed, per_axis
from caffenorm.errors import ConversionError

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
        x = pad_axes(op, x, before, after)
        before = [0] * axes
    fields = convolution_fields(weight.shape[0], bias, kernel, stride, before, dilation, op["groups"])
    blobs = [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]
    return op.layer("Convolution", [x], blobs=blobs, convolution_param=fields)


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
        fields = convolution_fields(outputs, bias, kernel, stride, pad, dilation, groups)
        return op.layer("Deconvolution", [x], blobs=stored, convolution_param=fields)
    zeros = any(e > p for e, p in zip(extra, pad, strict=True))
    late = bias is not None and zeros
    fields = convolution_fields(outputs, None if late else bias, kernel, stride, left, dilation, groups)
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
    y = pad_axes(op, y, before, after)
    return op.layer("Bias", [y], suffix="bias", blobs=stored[1:]) if late else y


@rule("im2col")
def unfold(op: Op) -> Value:
    """Im2col, with the positions as one axis."""
    x = op.x()
    batched(x, 2)
    kernel, stride, pad, dilation = (
        per_axis(op[name], 2) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    fields = listed("kernel_size", kernel) | listed("stride", stride, 1) | listed("pad", pad, 0)
    if dilation != [1, 1]:
        fields["dilation"] = dilation
    y = op.layer("Im2col", [x], (*op.shape[:2], *size), convolution_param=fields)
    return reshape(op, y, op.shape, "positions")


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


refuse("no layer multiplies two computed matrices", "bmm", "einsum", "scaled_dot_product_attention")
