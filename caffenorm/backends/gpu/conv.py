"""Conv ops on the GPU: columns and cuBLAS, own kernels where each channel is alone, cuDNN through PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.conv_shape import Shape, expect_count, product_sizes
from caffenorm.backends.gpu import depthwise
from caffenorm.backends.gpu.conv_plan import GpuConvolution, Piece, tiles
from caffenorm.backends.gpu.conv_torch import torch_convolution
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.epilogue import Ending, add_parts, end_product
from caffenorm.backends.gpu.gemm import Matrices, gemm
from caffenorm.backends.gpu.patches import col2im, im2col, plan_patches

_PART_BYTES = 64 << 20  # gradients of weights that are made side by side before they are added up

Array = Any  # cupy.ndarray


class GpuConv:
    """Ops of the family conv."""

    device: Device

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
    ) -> GpuConvolution:
        images, channels, *size = x_shape
        outputs, per_group, *kernel = weights_shape
        shape = Shape(
            images, channels, outputs, groups, tuple(size), out_size, tuple(kernel), stride, pad, dilation
        )
        patches = plan_patches(
            self.device,
            shape.size,
            out_size,
            kernel=shape.kernel,
            stride=stride,
            pad=pad,
            dilation=dilation,
        )
        alone = groups > 1 and per_group == 1
        torch = torch_convolution(self.device, shape, engine, is_depthwise=alone)
        return GpuConvolution(shape, np.dtype(dtype), patches, torch)

    def pack_weights(
        self, plan: GpuConvolution, weights: Array, packed: Array, *, transposed: bool = False
    ) -> None:
        expect_count(weights, plan.packed_count, "the weights array")
        expect_count(packed, plan.packed_count, "the packed array")
        self.device.xp.copyto(packed.reshape(-1), weights.reshape(-1))

    # --- the convolution ---

    def convolve(
        self,
        plan: GpuConvolution,
        x: Array,
        packed: Array,
        y: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        expect_count(x, plan.x_count, "the input")
        expect_count(y, plan.y_count, "the result")
        _expect_all(plan.packed_count, plan.shape.outputs, y, packed, bias, more)
        if not y.size:
            return
        if plan.torch is None and plan.is_depthwise:
            depthwise.convolve(self.device, plan, x, packed, y, Ending(bias, more, slope))
            return
        if plan.torch is not None:
            sums = plan.torch.convolve(x, packed)
        else:
            sums, more = y, self._kept(more, y)
            for piece in plan.pieces:
                self._convolve_piece(plan, piece, x, packed, y)
        ending = Ending(bias, more, slope)
        end_product(self.device, sums, y, plan.shape.outputs, plan.patches.out_plane, ending)

    def _convolve_piece(self, plan: GpuConvolution, piece: Piece, x: Array, weights: Array, y: Array) -> None:
        columns = self._columns_of(plan, piece, x)
        sizes = (plan.rows, plan.positions(piece), plan.depth(piece))
        for batch in plan.batches(piece):
            gemm(
                self.device,
                sizes,
                plan.weights_of(weights, piece, batch),
                plan.columns_of(columns, piece, batch),
                plan.outputs_of(y, batch),
                count=batch.count,
                accumulate=piece.channel % plan.per_group > 0,
            )

    def _columns_of(self, plan: GpuConvolution, piece: Piece, x: Array) -> Array:
        """The columns of a piece, made in work space unless x has them."""
        part = plan.part_of_x(x, piece)
        if plan.columns_are_x:
            return part
        columns = self._column_space(plan, piece)
        im2col(self.device, plan.patches, part, columns)
        return columns

    def _column_space(self, plan: GpuConvolution, piece: Piece) -> Array:
        nbytes = plan.column_count(piece) * plan.dtype.itemsize
        return self.device.scratch("columns", nbytes)[:nbytes].view(plan.dtype)

    def _kept(self, more: Array | None, y: Array) -> Array | None:
        """`more`, out of the way where it is y's own memory, which products are about to overwrite."""
        if more is None or more.data.ptr != y.data.ptr:
            return more
        kept = self.device.scratch("more", y.nbytes)[: y.nbytes].view(y.dtype)
        self.device.xp.copyto(kept, more.reshape(-1))
        return kept

    # --- the transposed convolution ---

    def convolve_transposed(
        self,
        plan: GpuConvolution,
        y: Array,
        packed: Array,
        x: Array,
        *,
        bias: Array | None = None,
        more: Array | None = None,
        slope: float | None = None,
    ) -> None:
        expect_count(y, plan.y_count, "the input")
        expect_count(x, plan.x_count, "the result")
        _expect_all(plan.packed_count, plan.shape.channels, x, packed, bias, more)
        if not x.size:
            return
        if plan.torch is None and plan.is_depthwise:
            depthwise.convolve_transposed(self.device, plan, y, packed, x, Ending(bias, more, slope))
            return
        if plan.torch is not None:
            sums = plan.torch.convolve_transposed(y, packed)
        else:
            sums, more = x, self._kept(more, x)
            for piece in plan.pieces:
                self._transposed_piece(plan, piece, y, packed, x)
        ending = Ending(bias, more, slope)
        end_product(self.device, sums, x, plan.shape.channels, plan.patches.plane, ending)

    def _transposed_piece(
        self, plan: GpuConvolution, piece: Piece, y: Array, weights: Array, x: Array
    ) -> None:
        part = plan.part_of_x(x, piece)
        columns = part if plan.columns_are_x else self._column_space(plan, piece)
        sizes = (plan.depth(piece), plan.positions(piece), plan.rows)
        for batch in plan.batches(piece):
            gemm(
                self.device,
                sizes,
                plan.weights_of(weights, piece, batch, transposed=True),
                plan.outputs_of(y, batch),
                plan.columns_of(columns, piece, batch),
                count=batch.count,
            )
        if not plan.columns_are_x:
            col2im(self.device, plan.patches, columns, part)

    # --- the gradient of the weights ---

    def convolve_gradient(self, plan: GpuConvolution, x: Array, dy: Array, dweights: Array) -> None:
        expect_count(x, plan.x_count, "the input")
        expect_count(dy, plan.y_count, "the result's gradient")
        expect_count(dweights, plan.packed_count, "the weights' gradient")
        if not dy.size or not dweights.size:
            return
        if plan.torch is not None:
            add_parts(self.device, plan.torch.gradient(x, dy, dweights), dweights, 1)
        elif plan.is_depthwise:
            depthwise.add_gradient(self.device, plan, x, dy, dweights)
        else:
            for piece in plan.pieces:
                self._gradient_of_piece(plan, piece, x, dy, dweights)

    def _gradient_of_piece(
        self, plan: GpuConvolution, piece: Piece, x: Array, dy: Array, dweights: Array
    ) -> None:
        """Images one after the other, all groups at once; side by side where that leaves the device idle."""
        columns = self._columns_of(plan, piece, x)
        depth, groups = plan.depth(piece), plan.shape.groups
        parts = 1 if plan.one_position else min(piece.images, _PART_BYTES // dweights.nbytes)
        if parts > 1 and tiles(plan.rows, depth) * groups < self.device.multiprocessors:
            self._gradient_in_parts(plan, piece, columns, dy, dweights, parts)
            return
        for batch in plan.batches(piece, over_images=False):
            gemm(
                self.device,
                (plan.rows, depth, plan.positions(piece)),
                plan.outputs_of(dy, batch),
                plan.columns_of(columns, piece, batch, transposed=True),
                plan.weights_of(dweights, piece, batch),
                count=batch.count,
                accumulate=True,
            )

    def _gradient_in_parts(
        self, plan: GpuConvolution, piece: Piece, columns: Array, dy: Array, dweights: Array, parts: int
    ) -> None:
        """Gradients of `parts` images at a time in work space of their own, then their sum."""
        nbytes, depth = parts * dweights.nbytes, plan.depth(piece)
        partial = self.device.scratch("weight gradients", nbytes)[:nbytes].view(plan.dtype)
        for first in range(0, piece.images, parts):
            count = min(parts, piece.images - first)
            whole = Piece(piece.image + first, count, 0, piece.channels)
            for batch in plan.batches(whole, over_images=True):
                start = batch.group * plan.rows * depth
                matrices = plan.columns_of(columns, piece, batch, transposed=True)
                gemm(
                    self.device,
                    (plan.rows, depth, plan.patches.out_plane),
                    plan.outputs_of(dy, batch),
                    matrices,
                    Matrices(partial, start, depth, dweights.size),
                    count=count,
                    accumulate=first > 0,
                )
        add_parts(self.device, partial, dweights, parts)

    # --- products of matrices ---

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
        if bias is not None:
            expect_count(bias, columns, "the bias")
        if not out.size:
            return
        left = Matrices(a, 0, a.shape[1], transposed=transpose_a)
        right = Matrices(b, 0, b.shape[1], transposed=transpose_b)
        result = Matrices(out, 0, columns)
        gemm(self.device, (rows, columns, depth), left, right, result, accumulate=accumulate)
        end_product(self.device, out, out, columns, 1, Ending(bias, None, slope))


def _expect_all(
    weights: int, channels: int, result: Array, packed: Array, bias: Array | None, more: Array | None
) -> None:
    """What else a convolution takes has to fit."""
    expect_count(packed, weights, "the packed array")
    if bias is not None:
        expect_count(bias, channels, "the bias")
    if more is not None:
        expect_count(more, result.size, "the array to add")
