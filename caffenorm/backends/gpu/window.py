"""Window ops on the GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.numbers import Numbers
from caffenorm.backends.gpu.patches import GpuPatches, col2im, im2col, plan_patches
from caffenorm.backends.gpu.planes import over_planes
from caffenorm.backends.window_shapes import check_pooled_plane

_LARGE_WINDOW = 128  # positions from which on a team of threads takes each window
_LARGE_PLANE = (
    32  # the same for a window that is alone in its plane: neighbouring threads would read far apart
)
_WARP_WINDOW = 1024  # positions up to which a team is a warp, not a block
_THREADS = 256
_MOST_BLOCKS = 1 << 20  # of a grid whose blocks go on to further windows
_LRN_SIZES = (3, 5, 7)  # whose windows lrn_across holds in registers
_LRN_STRIP = 16  # channels that a thread takes where that leaves enough threads
_LRN_WORK_BYTES = 64 << 20  # work space of lrn_within: planes are taken in slices

Array = Any  # cupy.ndarray
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class GpuPooling:
    """Windows over planes.

    Attributes:
        plane, out_plane: values of a plane of x and of y.
        window: the most positions that one window has.
        numbers: sizes as the kernels read them.
    """

    plane: int
    out_plane: int
    window: int
    numbers: Numbers

    @property
    def is_large(self) -> bool:
        """Whether each window is taken by a team of threads."""
        return self.window >= (_LARGE_PLANE if self.out_plane == 1 else _LARGE_WINDOW)

    def planes(self, x: Array, y: Array) -> int:
        """The number of planes, which both arrays must have."""
        if x.size % self.plane or x.size // self.plane * self.out_plane != y.size:
            raise ValueError(
                f"{x.size} and {y.size} values are no planes of {self.plane} and {self.out_plane}"
            )
        return int(x.size) // self.plane


def _check(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")


def _check_like(x: Array, other: Array, what: str) -> None:
    for axis, (n, m) in enumerate(zip(x.shape, other.shape, strict=True)):
        if n != m:
            raise ValueError(f"{what} has {m} values on axis {axis}, x has {n}")


def _teams(plan: GpuPooling, windows: int) -> tuple[int, tuple[int, int]]:
    """Blocks, and threads of a block: of a team, and teams."""
    team = 32 if plan.window <= _WARP_WINDOW else _THREADS
    teams = _THREADS // team
    return min(-(-windows // teams), _MOST_BLOCKS), (team, teams)


class GpuWindow:
    """Ops of the family window."""

    device: Device

    # --- pooling ---

    def plan_pooling(
        self,
        size: Sizes,
        out_size: Sizes,
        *,
        kernel: Sizes,
        stride: Sizes,
        pad: Sizes,
        pad_after: Sizes,
        count_pads: bool,
    ) -> GpuPooling:
        check_pooled_plane(size)
        ones, zeros = (1,) * (3 - len(size)), (0,) * (3 - len(size))
        plane, out_plane = math.prod(size), math.prod(out_size)
        if min(plane, out_plane) < 1:
            raise ValueError("planes have 1 to 2^31 - 1 values")
        numbers = [*ones, *size, *ones, *out_size, *ones, *kernel, *ones, *stride]
        numbers += [*zeros, *pad, *zeros, *pad_after, int(count_pads)]
        window = math.prod(min(n, k) for n, k in zip(size, kernel, strict=True))
        return GpuPooling(plane, out_plane, window, Numbers(self.device, numbers))

    def max_pool(self, plan: GpuPooling, x: Array, y: Array, index: Array | None) -> None:
        planes = plan.planes(x, y)
        if index is not None:
            _check(index.size, y.size, "index")
        if not planes:
            return
        if plan.is_large:
            kernel = self.device.kernel("pooling", "large_max_pool", x.dtype)
            kernel(*_teams(plan, y.size), x, y, index, plan.numbers.here(), planes)
            return
        kernel = self.device.kernel("pooling", "max_pool", x.dtype)
        kernel(*over_planes(self.device, plan.out_plane, planes), x, y, index, plan.numbers.here(), planes)

    def max_pool_backward(self, plan: GpuPooling, dy: Array, index: Array, dx: Array) -> None:
        planes = plan.planes(dx, dy)
        _check(index.size, dy.size, "index")
        if not planes:
            return
        kernel = self.device.kernel("pooling", "max_pool_backward", dy.dtype)
        kernel(*over_planes(self.device, plan.plane, planes), dy, index, dx, plan.numbers.here(), planes)

    def average_pool(self, plan: GpuPooling, x: Array, y: Array) -> None:
        planes = plan.planes(x, y)
        if not planes:
            return
        if plan.is_large:
            kernel = self.device.kernel("pooling", "large_average_pool", x.dtype)
            kernel(*_teams(plan, y.size), x, y, plan.numbers.here(), planes)
            return
        kernel = self.device.kernel("pooling", "average_pool", x.dtype)
        kernel(*over_planes(self.device, plan.out_plane, planes), x, y, plan.numbers.here(), planes)

    def average_pool_backward(self, plan: GpuPooling, dy: Array, dx: Array) -> None:
        planes = plan.planes(dx, dy)
        if not planes:
            return
        numbers = plan.numbers.here()
        shares = self.device.scratch("window shares", dy.nbytes)
        kernel = self.device.kernel("pooling", "window_shares", dy.dtype)
        kernel(*over_planes(self.device, plan.out_plane, planes), dy, shares, numbers, planes)
        kernel = self.device.kernel("pooling", "average_pool_backward", dy.dtype)
        kernel(*over_planes(self.device, plan.plane, planes), shares, dx, numbers, planes)

    def stochastic_pool(self, plan: GpuPooling, x: Array, draws: Array, y: Array, index: Array) -> None:
        planes = plan.planes(x, y)
        _check(index.size, y.size, "index")
        _check(draws.size, y.size, "draws")
        if not planes:
            return
        kernel = self.device.kernel("pooling", "stochastic_pool", x.dtype)
        shape = over_planes(self.device, plan.out_plane, planes)
        kernel(*shape, x, draws, y, index, plan.numbers.here(), planes)

    def weighted_pool(self, plan: GpuPooling, x: Array, y: Array) -> None:
        planes = plan.planes(x, y)
        if not planes:
            return
        kernel = self.device.kernel("pooling", "weighted_pool", x.dtype)
        kernel(*over_planes(self.device, plan.out_plane, planes), x, y, plan.numbers.here(), planes)

    def weighted_pool_backward(self, plan: GpuPooling, x: Array, dy: Array, dx: Array) -> None:
        planes = plan.planes(dx, dy)
        _check(x.size, dx.size, "x")
        if not planes:
            return
        work = self.device.scratch("window sums", 2 * dy.nbytes)[: 2 * dy.nbytes].view(dy.dtype)
        total, squares = work[: dy.size], work[dy.size :]
        kernel = self.device.kernel("pooling", "window_sums", x.dtype)
        kernel(
            *over_planes(self.device, plan.out_plane, planes), x, total, squares, plan.numbers.here(), planes
        )
        kernel = self.device.kernel("pooling", "weighted_pool_backward", x.dtype)
        shape = over_planes(self.device, plan.plane, planes)
        kernel(*shape, x, dy, total, squares, dx, plan.numbers.here(), planes)

    # --- local response normalisation ---

    def _strips(self, x: Array) -> tuple[int, int]:
        """Channels that a thread takes, and the number of threads.

        With few positions neighbouring threads take neighbouring channels, so that a warp reads one stretch.
        """
        images, channels, inner = x.shape
        strip = _LRN_STRIP if inner >= 32 else 1
        while strip > 1 and images * inner * -(-channels // strip) < self.device.multiprocessors * 1024:
            strip //= 2
        return strip, images * inner * -(-channels // strip)

    def lrn_across(
        self, x: Array, y: Array, scale: Array | None, size: int, alpha: float, beta: float, k: float
    ) -> None:
        _check_like(x, y, "y")
        if scale is not None:
            _check_like(x, scale, "scale")
        if not x.size:
            return
        strip, count = self._strips(x)
        held = size if size in _LRN_SIZES else 0
        kernel = self.device.kernel("lrn", "lrn_across", x.dtype, held)
        numbers = (count, x.shape[1], x.shape[2], strip, size, alpha / size, float(beta), float(k))
        kernel(self.device.blocks(count, per_thread=1), _THREADS, x, y, scale, *numbers)

    def lrn_across_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        for array, what in ((scale, "scale"), (dy, "dy"), (dx, "dx")):
            _check_like(x, array, what)
        if not x.size:
            return
        strip, count = self._strips(x)
        held = size if size in _LRN_SIZES else 0
        kernel = self.device.kernel("lrn", "lrn_across_backward", x.dtype, held)
        numbers = (count, x.shape[1], x.shape[2], strip, size, alpha / size, float(beta))
        kernel(self.device.blocks(count, per_thread=1), _THREADS, x, scale, dy, dx, *numbers)

    def _slices(self, x: Array, arrays: int) -> list[slice]:
        """Planes that are taken at a time, so that `arrays` of them fit the work space."""
        planes, height, width = x.shape
        each = max(1, _LRN_WORK_BYTES // max(1, arrays * height * width * x.itemsize))
        return [slice(first, min(first + each, planes)) for first in range(0, planes, each)]

    def lrn_within(
        self, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, k: float
    ) -> None:
        _check_like(x, y, "y")
        _check_like(x, scale, "scale")
        if not x.size:
            return
        _, height, width = x.shape
        sums = self.device.kernel("lrn", "column_sums", x.dtype, True)
        kernel = self.device.kernel("lrn", "lrn_within", x.dtype)
        for part in self._slices(x, 1):
            values = x[part]
            count, blocks = values.size, self.device.blocks(values.size)
            columns = self.device.scratch("lrn columns", values.nbytes)
            sums(blocks, _THREADS, values, columns, count, height, width, size)
            numbers = (count, width, size, alpha / size**2, float(beta), float(k))
            kernel(blocks, _THREADS, values, columns, y[part], scale[part], *numbers)

    def lrn_within_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        for array, what in ((scale, "scale"), (dy, "dy"), (dx, "dx")):
            _check_like(x, array, what)
        if not x.size:
            return
        _, height, width = x.shape
        terms = self.device.kernel("lrn", "lrn_products", x.dtype)
        sums = self.device.kernel("lrn", "column_sums", x.dtype, False)
        kernel = self.device.kernel("lrn", "lrn_within_backward", x.dtype)
        for part in self._slices(x, 2):
            values, scales, gradients = x[part], scale[part], dy[part]
            count, blocks = values.size, self.device.blocks(values.size)
            products = self.device.scratch("lrn products", values.nbytes)
            columns = self.device.scratch("lrn columns", values.nbytes)
            terms(blocks, _THREADS, values, scales, gradients, products, count, float(beta))
            sums(blocks, _THREADS, products, columns, count, height, width, size)
            numbers = (count, width, size, alpha / size**2, float(beta))
            kernel(blocks, _THREADS, values, scales, gradients, columns, dx[part], *numbers)

    # --- im2col ---

    def plan_patches(
        self, size: Sizes, out_size: Sizes, *, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes
    ) -> GpuPatches:
        return plan_patches(
            self.device, size, out_size, kernel=kernel, stride=stride, pad=pad, dilation=dilation
        )

    def im2col(self, plan: GpuPatches, x: Array, columns: Array) -> None:
        im2col(self.device, plan, x, columns)

    def col2im(self, plan: GpuPatches, columns: Array, x: Array) -> None:
        col2im(self.device, plan, columns, x)
