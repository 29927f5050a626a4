"""Kernels, strides, pads and dilations as prototxts spell them, and the sizes that follow.

convolution_param and pooling_param give a number for all axes (or a list with one for each), or two with _h
and _w. Forks have other names for dilation (hole, kstride, filter_stride), shapes in place of lists
(NdConvolution), fields for time (3-D nets), pads for each side, and TensorFlow's rule for pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffenorm import schema
from caffenorm.errors import LayerError, ShapeError

_OTHER_DILATIONS = ("hole", "kstride", "filter_stride")
_SIDES = ("pad_t", "pad_l", "pad_b", "pad_r")
Param = Any  # ConvolutionParameter or PoolingParameter, which have the same fields for windows
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution or pooling; a value for each spatial axis.

    Attributes:
        kernel, stride, dilation: 1 or more.
        pad: zeros before. pad_after: zeros behind.
        same: pads follow from the sizes as in TensorFlow's SAME.
    """

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    pad_after: Sizes
    dilation: Sizes
    same: bool = False

    @property
    def extent(self) -> Sizes:
        """Positions from a window's first to its last."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def for_size(self, size: Sizes) -> Windows:
        """The same with the pads that an input of this size gets."""
        if not self.same:
            return self
        totals = [
            max(0, (-(-n // s) - 1) * s + e - n)
            for n, s, e in zip(size, self.stride, self.extent, strict=True)
        ]
        before = tuple(total // 2 for total in totals)
        after = tuple(total - b for total, b in zip(totals, before, strict=True))
        return Windows(self.kernel, self.stride, before, after, self.dilation)

    def convolved(self, size: Sizes) -> Sizes:
        """The output size of a convolution.

        Raises:
            ShapeError: the kernel does not fit into the padded input.
        Caffe: the division rounds towards zero, so a kernel that exceeds the padded input by less than a
            stride still gives one output; it sees zeros beyond.
        """
        padded = [n + b + a for n, b, a in zip(size, self.pad, self.pad_after, strict=True)]
        out = tuple(
            ((n - e) // s if n >= e else -((e - n) // s)) + 1
            for n, e, s in zip(padded, self.extent, self.stride, strict=True)
        )
        if any(n < 1 for n in out):
            raise ShapeError(
                f"the kernel spans {_by(self.extent)}, more than the input of {_by(size)} with its pads "
                f"({_by(padded)}); give a smaller kernel or dilation, or more pad"
            )
        return out

    def transposed(self, size: Sizes) -> Sizes:
        """The output size of a transposed convolution.

        Raises:
            ShapeError: the pads leave nothing.
        """
        axes = zip(size, self.stride, self.extent, self.pad, self.pad_after, strict=True)
        out = tuple(s * (n - 1) + e - b - a for n, s, e, b, a in axes)
        if any(n < 1 for n in out):
            raise ShapeError(
                f"pads of {_by(self.pad)} leave nothing of the output: an input of {_by(size)} gives sizes "
                f"{_by(out)}; give a smaller pad"
            )
        return out


def whole(size: Sizes) -> Windows:
    """One window over everything."""
    ones, zeros = (1,) * len(size), (0,) * len(size)
    return Windows(size, ones, zeros, zeros, ones)


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def _has(param: Param, field: str) -> bool:
    """Whether the message's type has that field, and the message a value for it."""
    return field in param.DESCRIPTOR.fields_by_name and bool(param.HasField(field))


def read_axes(param: Param, field: str, axes: int) -> Sizes | None:
    """What a field says for each spatial axis, by itself or with _h and _w; None where nothing is said.

    Raises:
        LayerError: it is said twice, or for another number of axes.
    """
    stem = field.removesuffix("_size")
    value = getattr(param, field)
    single = isinstance(value, int)
    listed = [value] if single and param.HasField(field) else [] if single else [int(v) for v in value]
    names = [f"{stem}_h", f"{stem}_w"]
    pair = [name for name in names if _has(param, name)]
    if listed and pair:
        raise LayerError(f"has both {field} and {pair[0]}; give one of the two")
    if pair:
        if axes != 2:
            raise LayerError(
                f"{names[0]} and {names[1]} are for 2 spatial axes, here are {axes}; give {field}"
            )
        return tuple(int(getattr(param, name)) for name in names)
    if not listed:
        return None
    if len(listed) not in (1, axes):
        raise LayerError(
            f"{field} is given {len(listed)} times for {axes} spatial axes; give it once, or once for each"
        )
    return tuple(listed) if len(listed) == axes else tuple(listed) * axes


def read_shape(param: Param, field: str, axes: int) -> Sizes | None:
    """What a field of type BlobShape says for each spatial axis; None where it is missing."""
    if not param.HasField(field):
        return None
    dims = tuple(int(dim) for dim in getattr(param, field).dim)
    if len(dims) != axes:
        raise LayerError(f"{field} has {len(dims)} dims for {axes} spatial axes; give one for each")
    return dims


def read_convolution(param: schema.ConvolutionParameter, axes: int) -> Windows:
    """The windows that a convolution_param describes, for that many spatial axes.

    Raises:
        LayerError: a size is missing, zero, given twice or for another number of axes.
    """
    kernel, stride, pad, pad_after = _common(param, axes)
    if kernel is None:
        raise LayerError("needs a kernel_size, or kernel_h and kernel_w")
    same = False
    if param.HasField("tf_pad"):
        pad = pad_after = (0,) * axes
        same = param.tf_pad == schema.ConvolutionParameter.SAME
    windows = Windows(kernel, stride, pad, pad_after, _dilation(param, axes), same)
    _check(windows)
    return windows


def read_pooling(param: schema.PoolingParameter, axes: int) -> Windows:
    """The windows that a pooling_param with a kernel describes, for that many spatial axes.

    Raises:
        LayerError: a size is missing, zero, given twice or for another number of axes; or a pad is as large
            as the kernel.
    """
    kernel, stride, pad, pad_after = _common(param, axes)
    if kernel is None:
        raise LayerError("needs a kernel_size, or kernel_h and kernel_w, or global_pooling: true")
    if any(d != 1 for field in ("dilation", "kstride") for d in read_axes(param, field, axes) or ()):
        raise LayerError(
            "pooling with gaps between the values of a window (dilation, kstride) is not supported"
        )
    windows = Windows(kernel, stride, pad, pad_after, (1,) * axes)
    _check(windows)
    for p, k in zip(pad + pad_after, kernel * 2, strict=True):
        if p >= k:
            raise LayerError(f"pad must be smaller than the kernel, found pad {p} and kernel {k}")
    return windows


def _common(param: Param, axes: int) -> tuple[Sizes | None, Sizes, Sizes, Sizes]:
    """Kernel, strides, pads before and behind."""
    kernel = _first(read_shape(param, "kernel_shape", axes), read_axes(param, "kernel_size", axes))
    stride = _first(read_shape(param, "stride_shape", axes), read_axes(param, "stride", axes), (1,) * axes)
    pad = _first(read_shape(param, "pad_shape", axes), read_axes(param, "pad", axes), (0,) * axes)
    kernel = _with_time(param, kernel, "kernel_depth", axes)
    stride = _with_time(param, stride, "temporal_stride", axes)
    pad = _with_time(param, pad, "temporal_pad", axes)
    assert stride is not None
    assert pad is not None
    if not any(param.HasField(side) for side in _SIDES):
        return kernel, stride, pad, pad
    if axes != 2:
        raise LayerError(f"pad_t, pad_l, pad_b and pad_r are for 2 spatial axes, here are {axes}; give pad")
    return kernel, stride, (int(param.pad_t), int(param.pad_l)), (int(param.pad_b), int(param.pad_r))


def _first(*sizes: Sizes | None) -> Sizes | None:
    return next((size for size in sizes if size is not None), None)


def _with_time(param: Param, sizes: Sizes | None, field: str, axes: int) -> Sizes | None:
    """The sizes with that of the time axis, the first one, where a video net's field gives it."""
    if not _has(param, field):
        return sizes
    if axes != 3:
        raise LayerError(f"{field} is for 3 spatial axes, here are {axes}")
    return (int(getattr(param, field)), *(sizes or (0, 0, 0))[1:])


def _dilation(param: Param, axes: int) -> Sizes:
    """The dilation, under its own name or one that forks have given it."""
    found = {field: read_axes(param, field, axes) for field in ("dilation", *_OTHER_DILATIONS)}
    given = {field: sizes for field, sizes in found.items() if sizes is not None}
    if len(set(given.values())) > 1:
        raise LayerError(f"{' and '.join(given)} are names of the same thing and differ; give dilation alone")
    return next(iter(given.values()), (1,) * axes)


def _check(windows: Windows) -> None:
    for what, sizes in (
        ("kernel", windows.kernel),
        ("stride", windows.stride),
        ("dilation", windows.dilation),
    ):
        if any(size < 1 for size in sizes):
            raise LayerError(f"each size of the {what} must be 1 or more, found {_by(sizes)}")
    if any(pad < 0 for pad in windows.pad + windows.pad_after):
        raise LayerError(f"a pad must be 0 or more, found {_by(windows.pad)}")
