"""Conv ops: convolution, transposed convolution, their gradients, and products of matrices."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Array = Any  # the device's array: NumPy's or CuPy's
ConvolutionPlan = Any  # what `plan_convolution` made


class ConvOps(Protocol):
    """Ops of the family conv.

    Shape: x is (images, channels, *size), y is (images, outputs, *out_size), weights are
    (outputs, channels / groups, *kernel), for any number of spatial axes from 1 on. Arrays may come in any
    shape of the right count; all of one dtype, float32 or float64, C-contiguous.

    y[n, o, p] = sum over c, t of x[n, c, p * stride + t * dilation - pad] * weights[o, c, t], zeros around x;
    the channels c are those of o's group. There is no flip, as in Caffe and PyTorch. convolve_transposed is
    its adjoint: its "x" is the larger side, and what it takes as weights is the same array.

    `bias` has a value a channel of the result, `more` is added to it and has its shape, `slope` is that of a
    (leaky) ReLU: result = act(sum + bias + more), act(z) = max(z, 0) + slope * min(z, 0).

    Results are bit-equal for any number of threads. They may differ in the last bits between builds of the
    kernels, as with any BLAS. Outputs may not overlap inputs, but `more` may be the result's own array.

    Raises:
        ShapeError: an array has another count than the plan says, or matrices do not fit.
    """

    def plan_convolution(
        self,
        x_shape: tuple[int, ...],
        weights_shape: tuple[int, ...],
        out_size: tuple[int, ...],
        *,
        groups: int,
        stride: tuple[int, ...],
        pad: tuple[int, ...],
        dilation: tuple[int, ...],
        dtype: np.dtype[Any],  # Any: float32 or float64
        engine: str = "DEFAULT",
    ) -> ConvolutionPlan:
        """What the other ops need to know of a convolution; worth keeping as long as the shapes stay.

        Args:
            x_shape: (images, channels, *size).
            weights_shape: (outputs, channels / groups, *kernel).
            out_size: spatial size of y; padding behind x is what this needs.
            groups: divides channels and outputs.
            stride: from 1 on.
            pad: zeros before x.
            dilation: from 1 on.
            dtype: of all arrays.
            engine: Caffe's name of what is to compute it, where the device has several: DEFAULT, CAFFE (the
                built-in kernels) or CUDNN.

        Returns:
            an object of the backend's; its `packed_count` and `transposed_packed_count` are the values of the
            weights as `convolve` and `convolve_transposed` want them.

        Raises:
            DeviceError: the engine is not there.
            ShapeError: the engine asked for does not do such a convolution.
        """

    def pack_weights(
        self, plan: ConvolutionPlan, weights: Array, packed: Array, *, transposed: bool = False
    ) -> None:
        """Lay out weights for `convolve` or `convolve_transposed`; keep the result while the weights stay.

        Args:
            plan: of the convolution.
            weights: (outputs, channels / groups, *kernel).
            packed: written; plan.packed_count or plan.transposed_packed_count values.
            transposed: for `convolve_transposed`.
        """

    def convolve(
        self,
        plan: ConvolutionPlan,
        x: Array,
        packed: Array,
        y: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        """y = act(convolution of x + bias + more)."""

    def convolve_transposed(
        self,
        plan: ConvolutionPlan,
        y: Array,
        packed: Array,
        x: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        """x = act(transposed convolution of y + bias + more): `convolve`'s gradient, or a Deconvolution."""

    def convolve_gradient(self, plan: ConvolutionPlan, x: Array, dy: Array, dweights: Array) -> None:
        """dweights += gradient of `convolve` for its weights."""

    def multiply(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
        bias: Array | None = None,
        slope: float | None = None,
    ) -> None:
        """out = act(a b + bias), or out += a b.

        Args:
            a: (rows, depth), or (depth, rows) where transposed.
            b: (depth, columns), or (columns, depth) where transposed.
            out: (rows, columns).
            transpose_a: a is used transposed.
            transpose_b: b is used transposed.
            accumulate: add to out; not together with bias or slope.
            bias: (columns,).
            slope: of the activation.
        """
