"""Conv ops on the CPU, with kernels of our own: no matrix of patches, and no BLAS library."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels
from caffenorm.backends.conv_shape import Shape, expect_count, product_sizes
from caffenorm.backends.cpu.conv_plan import forward_plan, transposed_plan
from caffenorm.backends.cpu.workspace import workspace

_k = kernels("conv")
_FLOAT, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_PACK = {_FLOAT: _k.pack["float"], _DOUBLE: _k.pack["double"]}
_CONVOLVE = {_FLOAT: _k.convolve["float"], _DOUBLE: _k.convolve["double"]}
_GRADIENT = {_FLOAT: _k.add_gradient["float"], _DOUBLE: _k.add_gradient["double"]}
_MULTIPLY = {_FLOAT: _k.multiply["float"], _DOUBLE: _k.multiply["double"]}

Array = NDArray[Any]  # of float32 or float64


class CpuConvolution:
    """A convolution's shapes and tables; those of each direction are made when first used."""

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._shape = shape
        self._itemsize = dtype.itemsize

    @cached_property
    def forward(self) -> Any:  # Any: the compiled Plan
        """Of `convolve` and `convolve_gradient`."""
        return forward_plan(_k, self._shape, self._itemsize)

    @cached_property
    def transposed(self) -> Any:  # Any: the compiled Plan
        """Of `convolve_transposed`."""
        return transposed_plan(_k, self._shape, self._itemsize)

    @property
    def packed_count(self) -> int:
        return int(self.forward.packed_count)

    @property
    def transposed_packed_count(self) -> int:
        return int(self.transposed.packed_count)


def _flat(array: Array | None) -> Array | None:
    return None if array is None else array.reshape(-1)


class CpuConv:
    """Ops of the family conv."""

    threads: int

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
        dtype: np.dtype[Any],
        engine: str = "DEFAULT",
    ) -> CpuConvolution:
        images, channels, *size = x_shape
        outputs, _, *kernel = weights_shape
        shape = Shape(
            images, channels, outputs, groups, tuple(size), out_size, tuple(kernel), stride, pad, dilation
        )
        return CpuConvolution(shape, dtype)

    def pack_weights(
        self, plan: CpuConvolution, weights: Array, packed: Array, *, transposed: bool = False
    ) -> None:
        direction = plan.transposed if transposed else plan.forward
        expect_count(weights, direction.weight_count, "the weights array")
        expect_count(packed, direction.packed_count, "the packed array")
        _PACK[weights.dtype](direction, weights.reshape(-1), packed.reshape(-1), self.threads)

    def convolve(
        self,
        plan: CpuConvolution,
        x: Array,
        packed: Array,
        y: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        self._convolve(plan.forward, x, packed, y, bias, more, slope)

    def convolve_transposed(
        self,
        plan: CpuConvolution,
        y: Array,
        packed: Array,
        x: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        self._convolve(plan.transposed, y, packed, x, bias, more, slope)

    def _convolve(
        self,
        direction: Any,  # the compiled Plan
        x: Array,
        packed: Array,
        y: Array,
        bias: Array | None,
        more: Array | None,
        slope: float | None,
    ) -> None:
        expect_count(x, direction.x_count, "the input")
        expect_count(y, direction.y_count, "the result")
        work = workspace(direction.work_bytes(x.itemsize, self.threads))
        arrays = (x.reshape(-1), packed.reshape(-1), y.reshape(-1), _flat(bias), _flat(more))
        _CONVOLVE[x.dtype](direction, *arrays, slope, self.threads, work)

    def convolve_gradient(self, plan: CpuConvolution, x: Array, dy: Array, dweights: Array) -> None:
        expect_count(x, plan.forward.x_count, "the input")
        expect_count(dy, plan.forward.y_count, "the result's gradient")
        expect_count(dweights, plan.forward.weight_count, "the weights' gradient")
        work = workspace(plan.forward.gradient_work_bytes(x.itemsize, self.threads))
        arrays = (x.reshape(-1), dy.reshape(-1), dweights.reshape(-1))
        _GRADIENT[x.dtype](plan.forward, *arrays, self.threads, work)

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
        rows, depth, columns = product_sizes(a, b, out, transpose_a=transpose_a, transpose_b=transpose_b)
        work = workspace(_k.matrix_work_bytes(rows, columns, depth, a.itemsize, self.threads))
        _MULTIPLY[a.dtype](a, b, out, transpose_a, transpose_b, accumulate, bias, slope, self.threads, work)
