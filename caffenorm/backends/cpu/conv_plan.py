"""Tables that tell the conv kernels where the values of a convolution stand; pyx/gather.h reads them.

A convolution with strides is one with stride 1 over the parts of a padded copy of x: part f of an axis has
the values at f, f + stride, f + 2 * stride ...; tap t reads part (t * dilation) % stride, shifted by (t *
dilation) // stride. The transposed convolution is one with stride 1 over a padded copy of y for each
remainder of x's positions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.conv_shape import Shape

_COPY_BYTES = 1 << 21  # images are copied together up to this: it stays in cache, and threads meet rarely
Ints = NDArray[np.intp]


def strides_of(dims: Sequence[int]) -> tuple[int, ...]:
    """Distances between neighbours along each axis of a C-contiguous array."""
    return tuple(math.prod(dims[i + 1 :]) for i in range(len(dims)))


def grid(*axes: Ints) -> Ints:
    """Sums of one value from each axis, the last axis running fastest."""
    total = np.zeros(1, dtype=np.intp)
    for axis in axes:
        total = (total[:, None] + axis).reshape(-1)
    return total


def runs(dims: Sequence[int], source: Sequence[int], target: Sequence[int]) -> tuple[int, int, Ints, Ints]:
    """Cuts a grid of positions into runs of neighbours.

    Args:
        dims: of the grid.
        source: distances in the right side, 1 for the last axis.
        target: distances in the output.

    Returns:
        values of a run, their distance in the output, and where each run begins in the right side and in the
        output.
    """
    axes = [(n, a, b) for n, a, b in zip(dims, source, target, strict=True) if n != 1]
    if not axes or axes[-1][1] != 1:
        axes.append((1, 1, 1))
    while len(axes) > 1:
        (outer, outer_source, outer_target), (inner, inner_source, inner_target) = axes[-2:]
        if outer_source != inner * inner_source or outer_target != inner * inner_target:
            break
        axes[-2:] = [(outer * inner, inner_source, inner_target)]
    *outer_axes, (run, _, step) = axes
    start = grid(*(np.arange(n) * a for n, a, _ in outer_axes))
    to = grid(*(np.arange(n) * b for n, _, b in outer_axes))
    return run, step, start, to


def _copied_rows(
    parts: Sequence[Sequence[int]],
    length: Sequence[int],
    size: Sequence[int],
    step: Sequence[int],
    shift: Sequence[int],
) -> tuple[Ints, Ints, Ints]:
    """Rows of a padded copy: where each begins in a channel, the zeros before it, and its values.

    Position j of part f of an axis shows the value at step * j + f - shift, or zero where there is none.
    """
    strides = strides_of(size)
    starts, lefts, counts = [], [], []
    for combination in itertools.product(*parts):
        begin, live = np.zeros(1, dtype=np.intp), np.ones(1, dtype=bool)
        for axis in range(len(size) - 1):
            at = step[axis] * np.arange(length[axis]) + combination[axis] - shift[axis]
            begin = (begin[:, None] + at * strides[axis]).reshape(-1)
            live = (live[:, None] & (at >= 0) & (at < size[axis])).reshape(-1)
        last = step[-1] * np.arange(length[-1]) + combination[-1] - shift[-1]
        inside = np.flatnonzero((last >= 0) & (last < size[-1]))
        left, count = (int(inside[0]), len(inside)) if len(inside) else (0, 0)
        first = int(last[left]) if count else 0
        starts.append(np.where(live, begin + first, 0))
        lefts.append(np.where(live, left, 0))
        counts.append(np.where(live, count, 0))
    return np.concatenate(starts), np.concatenate(lefts), np.concatenate(counts)


def _chunk(images: int, image_bytes: int) -> int:
    """How many images are copied at a time."""
    return max(1, min(images, _COPY_BYTES // max(1, image_bytes)))


def forward_plan(kernels: ModuleType, shape: Shape, itemsize: int) -> Any:  # Any: the compiled Plan
    """The plan of y = convolution of x."""
    axes = range(len(shape.size))
    taps = [np.arange(shape.kernel[d]) * shape.dilation[d] for d in axes]
    parts = [sorted({int(t) % shape.stride[d] for t in taps[d]}) for d in axes]
    length = [int(taps[d][-1]) // shape.stride[d] + shape.out_size[d] for d in axes]
    reach = [(shape.out_size[d] - 1) * shape.stride[d] + int(taps[d][-1]) for d in axes]
    inside = not any(shape.pad) and all(r < n for r, n in zip(reach, shape.size, strict=True))
    as_it_is = inside and all(s == 1 for s in shape.stride)
    if as_it_is:
        length = list(shape.size)
    part_size = math.prod(length)
    strides = strides_of(length)
    part_stride = strides_of([len(p) for p in parts])
    channel = part_size * math.prod(len(p) for p in parts)
    part_of = [np.searchsorted(parts[d], taps[d] % shape.stride[d]) * part_stride[d] for d in axes]
    within = grid(*(part_of[d] * part_size + taps[d] // shape.stride[d] * strides[d] for d in axes))
    per_group = shape.channels // shape.groups
    offset = grid(np.arange(per_group) * channel, within)
    run, step, start, to = runs(shape.out_size, strides, strides_of(shape.out_size))
    out, size = math.prod(shape.out_size), math.prod(shape.size)
    right_image, rows = shape.channels * channel, shape.outputs // shape.groups
    source = None
    chunk = shape.images
    if not as_it_is:
        tables = _copied_rows(parts, length, shape.size, shape.stride, shape.pad)
        source = (shape.channels, size, len(tables[0]), length[-1], shape.stride[-1], *tables)
        chunk = _chunk(shape.images, right_image * itemsize)
    depth = len(offset)
    sizes = (
        shape.images, chunk, shape.groups, rows, shape.channels * size, right_image, per_group * channel,
        shape.outputs * out, rows * out, out, rows * depth, depth,
    )  # fmt: skip
    return kernels.Plan(sizes, source, [(run, step, offset, np.arange(depth), start, to)])


@dataclass(frozen=True)
class _Remainder:
    """Positions of x along one axis that leave the same remainder, in units of the stride.

    Attributes:
        taps: of the kernel that reach them. shifts: how far y's positions lie behind, for each of these taps.
        first, count: the positions. begin: of the first one, in x.
    """

    taps: Ints
    shifts: Ints
    first: int
    count: int
    begin: int


def _remainder(shape: Shape, axis: int, remainder: int) -> _Remainder:
    stride, pad = shape.stride[axis], shape.pad[axis]
    at = np.arange(shape.kernel[axis]) * shape.dilation[axis]
    taps = np.flatnonzero(at % stride == remainder)
    first = -((remainder - pad) // stride)
    last = (shape.size[axis] - 1 + pad - remainder) // stride
    begin = stride * first + remainder - pad
    return _Remainder(taps, at[taps] // stride, first, max(0, last - first + 1), begin)


def transposed_plan(kernels: ModuleType, shape: Shape, itemsize: int) -> Any:  # Any: the compiled Plan
    """The plan of x = transposed convolution of y."""
    axes = range(len(shape.size))
    remainders = [[_remainder(shape, d, f) for f in range(shape.stride[d])] for d in axes]
    remainders = [[r for r in axis if r.count] for axis in remainders]
    before = [max([0, *(int(s) - r.first for r in axis for s in r.shifts)]) for axis in remainders]
    length = [
        max([1, *(r.first + r.count - int(s) + b for r in axis for s in r.shifts)])
        for axis, b in zip(remainders, before, strict=True)
    ]
    as_it_is = not any(before) and all(n <= out for n, out in zip(length, shape.out_size, strict=True))
    if as_it_is:
        length = list(shape.out_size)
    strides, tap_strides, x_strides = strides_of(length), strides_of(shape.kernel), strides_of(shape.size)
    out, size, channel = math.prod(shape.out_size), math.prod(shape.size), math.prod(length)
    outputs, rows = shape.outputs // shape.groups, shape.channels // shape.groups
    parts = []
    for chosen in itertools.product(*remainders):
        reach = grid(*((before[d] - r.shifts) * strides[d] for d, r in enumerate(chosen)))
        tap = grid(*(r.taps * tap_strides[d] for d, r in enumerate(chosen)))
        offset = grid(np.arange(outputs) * channel, reach)
        weight = grid(np.arange(outputs) * (rows * shape.taps), tap)
        steps = [shape.stride[d] * x_strides[d] for d in axes]
        run, step, start, to = runs([r.count for r in chosen], strides, steps)
        start = start + sum(r.first * strides[d] for d, r in enumerate(chosen))
        to = to + sum(r.begin * x_strides[d] for d, r in enumerate(chosen))
        parts.append((run, step, offset, weight, start, to))
    source = None
    chunk = shape.images
    if not as_it_is:
        still = [1] * len(length)
        tables = _copied_rows([[0]] * len(length), length, shape.out_size, still, before)
        source = (shape.outputs, out, len(tables[0]), length[-1], 1, *tables)
        chunk = _chunk(shape.images, shape.outputs * channel * itemsize)
    sizes = (
        shape.images, chunk, shape.groups, rows, shape.outputs * out, shape.outputs * channel,
        outputs * channel, shape.channels * size, rows * size, size, outputs * rows * shape.taps, shape.taps,
    )  # fmt: skip
    return kernels.Plan(sizes, source, parts)
