"""Definitions that converted nets use where PyTorch has nothing that computes Caffe's numbers.

`source` prints those that a net needs into its model.py, so each uses torch, nn, F and math alone, and the
others only as the rules ask for them together.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class Preprocess(nn.Module):
    """Pictures as the net wants them, (x - mean) * scale with x from 0 to 255, as Caffe prepares them."""

    def __init__(self, mean=0, scale=1, swap_channels=False, maximum=255):
        super().__init__()
        mean = torch.as_tensor(mean, dtype=torch.float32)
        self.register_buffer("mean", mean if mean.ndim == 3 else mean.reshape(-1, 1, 1))
        self.scale = scale
        self.swap_channels = swap_channels
        self.maximum = maximum

    def forward(self, pictures):
        x = pictures.to(self.mean.dtype) * (255 / self.maximum)
        if self.swap_channels:
            x = x.flip(1)
        return (x - self.mean) * self.scale


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


def windows_of(size, kernel, stride, before, after, ceil_mode):
    """Caffe's number of windows along each axis, and how far they reach beyond the image."""
    counts, beyond = [], []
    for n, k, s, b, a in zip(size, kernel, stride, before, after, strict=True):
        room = n + b + a - k
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if any((*before, *after)) and (count - 1) * s >= n + b:
            count -= 1
        counts.append(count)
        beyond.append((count - 1) * s + k - n - b)
    return counts, beyond


def caffe_max_pool(x, kernel, stride, padding=None, padding_after=None, ceil_mode=True, return_indices=False):
    """Max pooling with Caffe's output size, and any padding below the kernel; a tuple value for each axis."""
    size = x.shape[2:]
    before = padding or (0,) * len(kernel)
    _, beyond = windows_of(size, kernel, stride, before, padding_after or before, ceil_mode)
    pads = [pad for pair in reversed(list(zip(before, beyond, strict=True))) for pad in pair]
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    lowest = max(torch.finfo(torch.float32).min, torch.finfo(x.dtype).min)
    y, index = pool(F.pad(x, pads, value=lowest), kernel, stride, return_indices=True)
    if not return_indices:
        return y
    place, step = torch.zeros_like(index), 1
    for n, b, over in reversed(list(zip(size, before, beyond, strict=True))):
        place += (index % (n + b + over) - b) * step
        index, step = index // (n + b + over), step * n
    return y, place


def caffe_avg_pool(
    x, kernel, stride, padding=None, padding_after=None, ceil_mode=True, count_include_pad=True
):
    """Average pooling with Caffe's output size: divides by the window's part within image and padding."""
    size = x.shape[2:]
    before = padding or (0,) * len(kernel)
    after = padding_after or before
    counts, beyond = windows_of(size, kernel, stride, before, after, ceil_mode)
    pads = [pad for pair in reversed(list(zip(before, beyond, strict=True))) for pad in pair]
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    divisor = x.new_ones(())
    for n, k, s, b, a, count in zip(size, kernel, stride, before, after, counts, strict=True):
        first = torch.arange(count, device=x.device) * s - b
        last = (first + k).clamp(max=n + a if count_include_pad else n)
        first = first if count_include_pad else first.clamp(min=0)
        divisor = divisor[..., None] * (last - first).clamp(min=1)
    return pool(F.pad(x, pads), kernel, stride) * (math.prod(kernel) / divisor)


def spatial_pyramid(x, height, pool):
    """Pools to 1, 2 x 2, 4 x 4 ... bins, and joins them."""
    parts = []
    for level in range(height):
        bins = 2**level
        kernel = [math.ceil(n / bins) for n in x.shape[2:]]
        padding = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True)]
        parts.append(pool(x, tuple(kernel), tuple(kernel), tuple(padding)))
    return parts[0] if height == 1 else torch.cat([part.flatten(1) for part in parts], 1)


def lrn_within_channel(x, size, alpha, beta):
    """Local response normalisation over a window of size x size within each channel."""
    half = (size - 1) // 2
    return x * (1 + alpha * F.avg_pool2d(x.square(), size, 1, half)) ** -beta


def mean_variance_normalize(x, dims, eps=1e-9, normalize_variance=True, eps_in_root=False):
    """Subtracts the mean, and divides by the standard deviation plus eps."""
    x = x - x.mean(dims, keepdim=True)
    if not normalize_variance:
        return x
    var = x.square().mean(dims, keepdim=True)
    return x / ((var + eps).sqrt() if eps_in_root else var.sqrt() + eps)


def norm_of(x, dims, eps):
    """The root of the sum of squares plus eps."""
    return (x.square().sum(dims, keepdim=True) + eps).sqrt()


def pad_by_index(x, pads, mode):
    """A border of repeated values, (before, after) for every axis; a negative one cuts off."""
    for axis, (before, after) in enumerate(pads):
        x = x.narrow(axis, max(-before, 0), x.shape[axis] + min(before, 0) + min(after, 0))
        n = x.shape[axis]
        index = torch.arange(-max(before, 0), n + max(after, 0), device=x.device)
        if mode == "circular":
            index = index % n
        elif mode == "replicate":
            index = index.clamp(0, n - 1)
        else:
            skip = 1 if mode == "reflect" else 0
            index = torch.where(index < 0, skip - 1 - index, index)
            index = torch.where(index >= n, 2 * n - 1 - skip - index, index)
        x = x.index_select(axis, index)
    return x


def caffe_im2col(x, kernel, stride, padding, dilation):
    """The values of every window as channels, for any number of axes behind the channels."""
    x = F.pad(x, [p for pad in reversed(padding) for p in (pad, pad)])
    axes = len(kernel)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, (k - 1) * d + 1, s)[..., ::d]
    order = [0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes)]
    return x.permute(order).flatten(1, 1 + axes)


def weighted_pool(x, kernel, stride, ceil_mode=True):
    """The sum of squares over the sum in each window: what stochastic pooling gives on average."""
    _, beyond = windows_of(x.shape[2:], kernel, stride, (0,) * len(kernel), (0,) * len(kernel), ceil_mode)
    x = F.pad(x, [pad for over in reversed(beyond) for pad in (0, over)])
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    total = pool(x, kernel, stride)
    return torch.where(total > 0, pool(x.square(), kernel, stride) / total.where(total > 0, 1), 0)


def caffe_argmax(x, axis=None, top_k=1, out_max_val=False, smallest=False):
    """The largest values' places; equal values come with the larger place first. Or the smallest values'."""
    rows = x.flatten(1) if axis is None else x.movedim(axis, -1)
    if smallest:
        values, index = rows.sort(dim=-1, stable=True)
    else:
        values, index = rows.flip(-1).sort(dim=-1, descending=True, stable=True)
        index = rows.shape[-1] - 1 - index
    values, index = values[..., :top_k], index[..., :top_k].to(x.dtype)
    if axis is not None:
        return (values if out_max_val else index).movedim(-1, axis)
    y = torch.stack((index, values), 1) if out_max_val else index[:, None]
    return y.reshape(*y.shape, *(1,) * (x.ndim - 3))


def divisor_of(normalization, counted, full, batch):
    """What a loss is divided by, at least 1; a number is meant as it is."""
    if not isinstance(normalization, str):
        return max(1, normalization)
    return max(1, {"VALID": int(counted), "FULL": full, "BATCH_SIZE": batch, "NONE": 1}[normalization])


def softmax_with_loss(
    scores, labels, axis=1, ignore_label=None, normalization="VALID", class_weights=None, smoothing=0
):
    """Cross entropy with Caffe's normalisations; a term is at most 87.3365, its gradient is not cut.

    Smoothing moves the target of the gradient alone, by so much from the label to the other classes.
    """
    rows = F.log_softmax(scores, axis).movedim(axis, -1).reshape(-1, scores.shape[axis])
    labels = labels.flatten().long()
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore_label is None else labels != ignore_label
    picked = rows.gather(1, labels.where(valid, 0)[:, None])[:, 0]
    floor = math.log(1.1754943508222875e-38)
    aim = picked
    if smoothing:
        share = smoothing / rows.shape[1]
        aim = (1 - smoothing - share) * picked + share * rows.sum(1)
    picked = picked.clamp_min(floor).detach() + (aim - aim.detach())
    if class_weights is not None:
        picked = picked * picked.new_tensor(class_weights)[labels.where(valid, 0)]
    batch = math.prod(scores.shape[:axis])
    return -(picked * valid).sum() / divisor_of(normalization, valid.sum(), labels.numel(), batch)


def infogain_loss(scores, labels, gains, axis=1, ignore_label=None, normalization="VALID"):
    """Cross entropy with a gain for every pair of true and predicted class."""
    rows = F.log_softmax(scores, axis).movedim(axis, -1).reshape(-1, scores.shape[axis])
    rows = rows.clamp_min(math.log(1e-20)).detach() + (rows - rows.detach())
    labels = labels.flatten().long()
    valid = torch.ones_like(labels, dtype=torch.bool) if ignore_label is None else labels != ignore_label
    gains = gains.reshape(rows.shape[1], -1)[labels.where(valid, 0)] * valid[:, None]
    batch = math.prod(scores.shape[:axis])
    return -(gains * rows).sum() / divisor_of(normalization, valid.sum(), labels.numel(), batch)


def multinomial_logistic_loss(probabilities, labels):
    """Cross entropy of probabilities, which are raised to 1e-20."""
    picked = probabilities.flatten(1).gather(1, labels.long().reshape(-1, 1))
    raised = picked.clamp_min(1e-20).detach()
    return -(raised.log() + (picked - picked.detach()) / raised).sum() / len(picked)


def hinge_loss(scores, labels, squared=False):
    """The label's score should be above 1, all others below -1."""
    rows = scores.flatten(1)
    margins = F.relu(1 + rows * (1 - 2 * F.one_hot(labels.flatten().long(), rows.shape[1])))
    return (margins.square() if squared else margins).sum() / len(rows)


def contrastive_loss(a, b, similar, margin=1, legacy=False):
    """Similar pairs should be near, others at least the margin apart."""
    distance = torch.linalg.vector_norm((a - b).flatten(1), dim=1)
    apart = F.relu(margin - distance.square()) if legacy else F.relu(margin - distance).square()
    similar = similar.flatten().trunc() != 0
    return torch.where(similar, distance.square(), apart).sum() / (2 * len(distance))


def sigmoid_cross_entropy(x, target, ignore_label=None, normalization="BATCH_SIZE"):
    """Many yes-or-no predictions, with Caffe's normalisations."""
    target = target.reshape(x.shape).detach()
    valid = torch.ones_like(x) if ignore_label is None else (target.trunc() != ignore_label).to(x.dtype)
    losses = F.binary_cross_entropy_with_logits(x, target, reduction="none") * valid
    return losses.sum() / divisor_of(normalization, valid.sum(), x.numel(), len(x))


def smooth_l1_loss(a, b, inside=1, outside=1, sigma=1):
    """Half the square near 0, straight lines beyond."""
    difference = inside * (a - b)
    size = difference.abs()
    near = (sigma * difference).square() / 2
    return (outside * torch.where(size < 1 / sigma**2, near, size - 0.5 / sigma**2)).sum() / len(a)


def hits_of(scores, labels, axis, top_k, ignore_label):
    """Whether fewer than top_k other classes score as much, for every label that counts; and the label."""
    rows = scores.movedim(axis, -1).reshape(-1, scores.shape[axis])
    labels = labels.flatten().long()
    if ignore_label is not None:
        rows, labels = rows[labels != ignore_label], labels[labels != ignore_label]
    true = rows.gather(1, labels[:, None])
    return ((rows >= true).sum(1) <= top_k).to(scores.dtype), labels


def caffe_accuracy(scores, labels, axis=1, top_k=1, ignore_label=None, denominator=None):
    """The share of hits; a tie counts against the label."""
    hits, _ = hits_of(scores, labels, axis, top_k, ignore_label)
    return hits.sum() / (denominator or max(1, len(hits)))


def accuracy_by_class(scores, labels, axis=1, top_k=1, ignore_label=None):
    """The share of hits among the labels of each class; 0 for a class that has none."""
    hits, labels = hits_of(scores, labels, axis, top_k, ignore_label)
    zeros = hits.new_zeros(scores.shape[axis])
    counts = zeros.index_add(0, labels, torch.ones_like(hits))
    return zeros.index_add(0, labels, hits) / counts.clamp(min=1)
