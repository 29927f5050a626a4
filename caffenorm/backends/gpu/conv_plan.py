"""How a convolution is cut into products of matrices: pieces whose columns fit memory, batches of products.

The columns of a piece are (images, channels, taps, positions). Where the columns of one image are too many, a
piece has some channels of one image: they are some of the rows of each product's right side, so that
products over all pieces add up.

Where there is one position only, the images of a piece take the positions' place: one product for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from caffenorm.backends.conv_shape import Shape
from caffenorm.backends.gpu.conv_torch import TorchConvolution
from caffenorm.backends.gpu.gemm import Matrices
from caffenorm.backends.gpu.patches import GpuPatches

COLUMN_BYTES = 256 << 20  # columns that are in memory at a time, unless those of one channel are more

Array = Any  # cupy.ndarray


@dataclass(frozen=True)
class Piece:
    """Images and channels whose columns are made together: all channels, or some of a group of an image."""

    image: int
    images: int
    channel: int
    channels: int


@dataclass(frozen=True)
class Batch:
    """Products that one call of cuBLAS takes: of a group for some images, or of an image for some groups.

    With one position `image` is the first of all that each product takes together.
    """

    image: int
    group: int
    count: int
    over_images: bool


class GpuConvolution:
    """A convolution's shapes, and in which order it is worked off.

    Attributes:
        shape, dtype: of the convolution.
        patches: its kernel over the channels.
        torch: the convolution in PyTorch, where that computes it.
    """

    def __init__(
        self, shape: Shape, dtype: np.dtype[Any], patches: GpuPatches, torch: TorchConvolution | None
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.patches = patches
        self.torch = torch
        self.per_group = shape.channels // shape.groups
        self.rows = shape.outputs // shape.groups
        self.one_position = patches.out_plane == 1
        self.x_count = shape.images * shape.channels * patches.plane
        self.y_count = shape.images * shape.outputs * patches.out_plane
        self.packed_count = self.transposed_packed_count = shape.outputs * self.per_group * shape.taps

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has one input channel."""
        return self.shape.groups > 1 and self.per_group == 1

    @cached_property
    def columns_are_x(self) -> bool:
        """Whether the columns are x as it stands: each output meets what no other does, in x's order."""
        shape = self.shape
        if any(shape.pad):
            return False
        one_tap = all(n == 1 for n in (*shape.kernel, *shape.stride)) and shape.out_size == shape.size
        still = all(n == 1 for n in (*shape.out_size, *shape.dilation))
        return one_tap or (still and shape.kernel == shape.size)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All of the convolution, in order."""
        shape = self.shape
        if self.columns_are_x:
            return (Piece(0, shape.images, 0, shape.channels),)
        channel = shape.taps * self.patches.out_plane * self.dtype.itemsize
        at_once = COLUMN_BYTES // max(1, channel * shape.channels)
        if at_once:
            firsts = range(0, shape.images, at_once)
            return tuple(Piece(n, min(at_once, shape.images - n), 0, shape.channels) for n in firsts)
        at_once = max(1, COLUMN_BYTES // channel)
        return tuple(
            Piece(image, 1, first + c, min(at_once, self.per_group - c))
            for image in range(shape.images)
            for first in range(0, shape.channels, self.per_group)
            for c in range(0, self.per_group, at_once)
        )

    def is_whole(self, piece: Piece) -> bool:
        """Whether it has all channels."""
        return piece.channels == self.shape.channels

    def depth(self, piece: Piece) -> int:
        """Rows of the columns that one product takes."""
        return min(piece.channels, self.per_group) * self.shape.taps

    def positions(self, piece: Piece) -> int:
        """Columns that one product takes."""
        return piece.images if self.one_position else self.patches.out_plane

    def batches(self, piece: Piece, *, over_images: bool | None = None) -> Iterator[Batch]:
        """The products of a piece, in as few calls as can be unless it is said what they go over."""
        groups = self.shape.groups if self.is_whole(piece) else 1
        first = piece.channel // self.per_group
        if self.one_position:
            yield Batch(piece.image, first, groups, False)
            return
        if over_images is None:
            over_images = piece.images >= groups
        if over_images:
            yield from (Batch(piece.image, first + g, piece.images, True) for g in range(groups))
        else:
            yield from (Batch(piece.image + n, first, groups, False) for n in range(piece.images))

    # --- where the matrices of a batch stand ---

    def weights_of(self, weights: Array, piece: Piece, batch: Batch, transposed: bool = False) -> Matrices:
        """(outputs of the group, depth), one for all images."""
        row = self.per_group * self.shape.taps
        start = batch.group * self.rows * row + piece.channel % self.per_group * self.shape.taps
        return Matrices(weights, start, row, 0 if batch.over_images else self.rows * row, transposed)

    def columns_of(self, columns: Array, piece: Piece, batch: Batch, transposed: bool = False) -> Matrices:
        """(depth, positions)."""
        positions = self.patches.out_plane
        channel = self.shape.taps * positions
        image, group = piece.channels * channel, self.per_group * channel
        first_group = piece.channel // self.per_group
        start = (batch.image - piece.image) * image + (batch.group - first_group) * group
        if self.one_position:
            return Matrices(columns, start, image, group, not transposed)
        return Matrices(columns, start, positions, image if batch.over_images else group, transposed)

    def outputs_of(self, y: Array, batch: Batch) -> Matrices:
        """(outputs of the group, positions)."""
        positions = self.patches.out_plane
        image, group = self.shape.outputs * positions, self.rows * positions
        start = batch.image * image + batch.group * group
        if self.one_position:
            return Matrices(y, start, image, group, transposed=True)
        return Matrices(y, start, positions, image if batch.over_images else group)

    def part_of_x(self, x: Array, piece: Piece) -> Array:
        """The channels of a piece, flat."""
        plane = self.patches.plane
        start = (piece.image * self.shape.channels + piece.channel) * plane
        return x.reshape(-1)[start : start + piece.images * piece.channels * plane]

    def column_count(self, piece: Piece) -> int:
        """Values of the columns of a piece."""
        return piece.images * piece.channels * self.shape.taps * self.patches.out_plane


def tiles(rows: int, columns: int) -> int:
    """About how many blocks of threads work on one product."""
    return math.ceil(rows / 128) * math.ceil(columns / 64)
