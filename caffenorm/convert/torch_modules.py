"""Definitions that converted nets use where PyTorch has nothing that computes Caffe's numbers.

`source` prints those that a net needs into its model.py, so each uses torch, nn, F and math alone, and the
others only as the rules ask for them together.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class Scale(nn.Module):
    """Multiplies by a learned factor, and adds a learned offset, both broadcast to the last axes."""

    def __init__(self, shape, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x):
        y = x * self.weight
        return y if self.bias is None else y + self.bias


class Bias(nn.Module):
    """Adds a learned offset, broadcast to the last axes of the input."""

    def __init__(self, shape):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x + self.bias


class Embed(nn.Module):
    """Looks up rows by whole numbers, and may add an offset."""

    def __init__(self, rows, size, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x):
        y = F.embedding(x.long(), self.weight)
        return y if self.bias is None else y + self.bias


def caffe_pool_padding(size, kernel, stride, padding, ceil_mode):
    """Caffe's output size, and how much must follow the image so that its windows fit."""
    out = size + 2 * padding - kernel
    out = (math.ceil(out / stride) if ceil_mode else out // stride) + 1
    if padding and (out - 1) * stride >= size + padding:
        out -= 1
    return out, max(0, (out - 1) * stride + kernel - size - padding)


def caffe_max_pool2d(x, kernel_size, stride, padding=0, ceil_mode=True, return_indices=False):
    """Max pooling with Caffe's output size and any padding below the kernel, which PyTorch's own refuses."""
    (kh, kw), (sh, sw), (ph, pw) = (
        (v, v) if isinstance(v, int) else v for v in (kernel_size, stride, padding)
    )
    (oh, bottom), (ow, right) = (
        caffe_pool_padding(x.shape[2], kh, sh, ph, ceil_mode),
        caffe_pool_padding(x.shape[3], kw, sw, pw, ceil_mode),
    )
    lowest = torch.finfo(x.dtype).min
    y, index = F.max_pool2d(
        F.pad(x, (pw, right, ph, bottom), value=lowest), (kh, kw), (sh, sw), return_indices=True
    )
    y = y[:, :, :oh, :ow]
    if not return_indices:
        return y
    index = index[:, :, :oh, :ow]
    width = x.shape[3] + pw + right
    return y, (index // width - ph) * x.shape[3] + index % width - pw


def caffe_avg_pool2d(x, kernel_size, stride, padding=0, ceil_mode=True):
    """Average pooling with Caffe's output size: divides by the window within image and padding."""
    (kh, kw), (sh, sw), (ph, pw) = (
        (v, v) if isinstance(v, int) else v for v in (kernel_size, stride, padding)
    )
    (oh, bottom), (ow, right) = (
        caffe_pool_padding(x.shape[2], kh, sh, ph, ceil_mode),
        caffe_pool_padding(x.shape[3], kw, sw, pw, ceil_mode),
    )
    ones = F.pad(
        F.pad(torch.ones_like(x[:1, :1]), (pw, pw, ph, ph), value=1),
        (0, max(0, right - pw), 0, max(0, bottom - ph)),
    )
    ones = ones[:, :, : x.shape[2] + ph + bottom, : x.shape[3] + pw + right]
    total = F.avg_pool2d(F.pad(x, (pw, right, ph, bottom)), (kh, kw), (sh, sw))[:, :, :oh, :ow]
    return total / F.avg_pool2d(ones, (kh, kw), (sh, sw))[:, :, :oh, :ow]


def spatial_pyramid(x, height, pool):
    """Pools to 1, 2 x 2, 4 x 4 ... bins, and joins them."""
    parts = []
    for level in range(height):
        bins = 2**level
        kernel = [math.ceil(size / bins) for size in x.shape[2:]]
        padding = [(k * bins - size + 1) // 2 for k, size in zip(kernel, x.shape[2:], strict=True)]
        parts.append(pool(x, tuple(kernel), tuple(kernel), tuple(padding)))
    return parts[0] if height == 1 else torch.cat([part.flatten(1) for part in parts], 1)


def lrn_within_channel(x, size, alpha, beta):
    """Local response normalisation over a window of size x size within each channel."""
    half = (size - 1) // 2
    return x * (1 + alpha * F.avg_pool2d(x.square(), size, 1, half)) ** -beta


def mean_variance_normalize(x, dims, eps=1e-9, normalize_variance=True):
    """Subtracts the mean, and divides by the standard deviation plus eps."""
    x = x - x.mean(dims, keepdim=True)
    return x / (x.square().mean(dims, keepdim=True).sqrt() + eps) if normalize_variance else x


def caffe_argmax(x, axis, top_k=1, out_max_val=False):
    """The largest values' places; equal values come with the larger place first."""
    rows = x.flatten(1) if axis is None else x.movedim(axis, -1)
    values, index = rows.flip(-1).sort(-1, descending=True, stable=True)
    values, index = values[..., :top_k], (rows.shape[-1] - 1 - index)[..., :top_k].to(x.dtype)
    if axis is not None:
        return (values if out_max_val else index).movedim(-1, axis)
    y = torch.stack((index, values), 1) if out_max_val else index[:, None]
    return y.reshape(*y.shape, *(1,) * (x.ndim - 3))


def softmax_with_loss(scores, labels, axis=1, ignore_label=-100, normalization="VALID"):
    """Cross entropy with Caffe's normalisations; each example's loss is at most 87.3365."""
    rows = F.log_softmax(scores, axis).movedim(axis, -1).flatten(0, -2)
    flat = labels.flatten().long()
    valid = flat != ignore_label
    picked = rows.gather(1, torch.where(valid, flat, 0)[:, None])[:, 0].clamp_min(
        math.log(1.1754943508222875e-38)
    )
    outer = math.prod(scores.shape[:axis])
    divisor = {"VALID": valid.sum(), "FULL": flat.numel(), "BATCH_SIZE": outer, "NONE": 1}[normalization]
    return -(picked * valid).sum() / max(int(divisor), 1)


def caffe_accuracy(scores, labels, axis=1, top_k=1, ignore_label=None):
    """The share of labels with fewer than top_k other classes that score as much or more."""
    rows, flat = scores.movedim(axis, -1).flatten(0, -2), labels.flatten().long()
    if ignore_label is not None:
        rows, flat = rows[flat != ignore_label], flat[flat != ignore_label]
    true = rows.gather(1, flat[:, None])
    hits = (rows >= true).sum(1) <= top_k
    return hits.to(scores.dtype).mean() if len(flat) else scores.new_zeros(())
