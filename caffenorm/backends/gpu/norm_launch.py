"""Launches of the norm kernels, for all ops that walk over channels; arrays are checked and hold values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from caffenorm.backends.gpu import norm_plan
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.norm_plan import ColumnsPlan, RowsPlan, plan_columns, plan_rows

Array = Any  # cupy.ndarray
_COLUMN_THREADS = (32, 8)


class Given(NamedTuple):
    """What an op is given for each channel; `slope` is an activation's, as the interface has it."""

    mean: Array | None = None
    inv_std: Array | None = None
    gamma: Array | None = None
    beta: Array | None = None
    slope: Array | float | None = None

    def activation(self) -> tuple[Array | None, int, int, float]:
        """Array of slopes, how far they are apart, whether there is an activation, and a single slope."""
        if self.slope is None:
            return None, 0, 0, 0.0
        if isinstance(self.slope, int | float | np.number):
            return None, 0, 1, float(self.slope)
        return self.slope, int(self.slope.size > 1), 1, 0.0


class Sums(NamedTuple):
    """Where the sums of backward go."""

    dgamma: Array | None = None
    dbeta: Array | None = None
    dslope: Array | None = None
    sum_g: Array | None = None
    sum_gx: Array | None = None


def is_packed(inner: int, *arrays: Array | None) -> bool:
    """Whether runs of `inner` values can be read and written in 16 bytes at once."""
    first = arrays[0]
    if first is None or inner * first.dtype.itemsize % 16:
        return False
    return not any(array.data.ptr & 15 for array in arrays if array is not None)


def is_wide(x: Array) -> bool:
    """Whether threads stand along a channel's values in a row."""
    return bool(x.shape[2] >= norm_plan.COLUMNS_BELOW)


def past(device: Device, x: Array) -> bool:
    """Whether results should push nothing else out of the cache: with their source they do not fit anyway."""
    return bool(2 * x.nbytes > device.l2_bytes)


def _plan(device: Device, x: Array, packed: bool, kind: norm_plan.Kind) -> RowsPlan:
    return plan_rows(x.shape, x.dtype.itemsize, packed, kind, device.multiprocessors, device.l2_bytes)


def counters(device: Device, channels: int) -> Array:
    """What kernels that draw tasks count in: zeros, as they leave them."""
    return device.scratch("norm counters", 8 * (channels + 2), zeroed=True)


# --- forward ---


def train(
    device: Device,
    x: Array,
    y: Array,
    x_hat: Array | None,
    given: Given,
    var: Array,
    eps: float,
) -> None:
    """Statistics of x, and y (and x_hat) by them; given.mean and given.inv_std are written."""
    outer, channels, inner = x.shape
    slopes, _, active, slope = given.activation()
    parameters = (given.gamma, given.beta, slopes, active, slope)
    statistics = (given.mean, var, given.inv_std)
    if not is_wide(x):
        blocks, down = plan_columns(x.shape, x.dtype.itemsize).whole
        if blocks:
            kernel = device.kernel("norm_columns", "columns_whole", x.dtype)
            kernel(blocks, (32, down), x, y, x_hat, *statistics, eps, *parameters, outer, channels, inner)
        else:
            moments(device, x, *statistics, None, None, eps)
            apply(device, x, y, x_hat, given)
        return
    packed = is_packed(inner, x, y, x_hat)
    plan, beyond = _plan(device, x, packed, norm_plan.FORWARD), past(device, x)
    if plan.whole:
        kernel = device.kernel("norm", "batch_norm_whole", x.dtype, packed)
        kernel(
            *(channels, plan.whole, x, y, x_hat, *statistics, eps, *parameters),
            *(outer, channels, inner, beyond),
        )
        return
    parts = device.scratch("norm parts", 16 * channels * plan.pieces)
    kernel = device.kernel("norm", "batch_norm_tasks", x.dtype, packed)
    kernel(
        *(plan.blocks, norm_plan.PIECE_THREADS, x, y, x_hat, *statistics, None, None, eps, *parameters),
        *(outer, channels, inner, beyond, plan.pieces, plan.runs_in_piece, plan.group),
        *(parts, counters(device, channels)),
    )


def moments(
    device: Device,
    x: Array,
    mean: Array | None,
    var: Array | None,
    inv_std: Array | None,
    mean64: Array | None,
    m2: Array | None,
    eps: float,
) -> None:
    """Those of the statistics that have an array; var is biased, m2 the sum that it is a share of."""
    outer, channels, inner = x.shape
    if not is_wide(x):
        columns = plan_columns(x.shape, x.dtype.itemsize)
        parts = device.scratch("norm parts", 24 * columns.width * columns.sums[1])
        device.kernel("norm_columns", "column_moments", x.dtype)(
            *(columns.sums, _COLUMN_THREADS, x, outer, channels, inner, columns.width),
            *(columns.rows_in_piece, parts),
        )
        device.kernel("norm_columns", "finish_moments", x.dtype)(
            *(*_finishers(channels, columns.repeat * inner * columns.sums[1]), x, parts),
            *(mean, var, inv_std, mean64, m2, eps),
            *(channels, inner, columns.repeat, columns.sums[1]),
        )
        return
    packed = is_packed(inner, x)
    plan = _plan(device, x, packed, norm_plan.FORWARD)
    parts = device.scratch("norm parts", 16 * channels * plan.pieces)
    kernel = device.kernel("norm", "batch_norm_tasks", x.dtype, packed)
    kernel(
        *(plan.blocks_for_sums, norm_plan.PIECE_THREADS, x, None, None, mean, var, inv_std, mean64, m2, eps),
        *(None, None, None, 0, 0.0, outer, channels, inner, 0, plan.pieces, plan.runs_in_piece, 0),
        *(parts, counters(device, channels)),
    )


def _finishers(channels: int, parts: int) -> tuple[int, int]:
    """Blocks and threads that add up so many parts of each channel."""
    return min(channels, 65535), 32 if parts <= 128 else 256


def apply(device: Device, x: Array, y: Array, x_hat: Array | None, given: Given) -> None:
    """y = act(gamma * (x - mean) * inv_std + beta), with what is given of them."""
    outer, channels, inner = x.shape
    slopes, step, active, slope = given.activation()
    parameters = (given.mean, given.inv_std, given.gamma, given.beta, slopes, step, active, slope)
    if not is_wide(x):
        columns = plan_columns(x.shape, x.dtype.itemsize)
        blocks, packed = _column_blocks(columns, x, y, x_hat)
        kernel = device.kernel("norm_columns", "apply_columns", x.dtype, packed)
        kernel(
            *(blocks, _COLUMN_THREADS, x, y, x_hat, *parameters, x.size, channels, inner),
            *(columns.width, past(device, x)),
        )
        return
    packed = is_packed(inner, x, y, x_hat)
    plan = _plan(device, x, packed, norm_plan.APPLY)
    kernel = device.kernel("norm", "apply_rows", x.dtype, packed)
    kernel(
        *(_blocks(channels * plan.pieces), norm_plan.PIECE_THREADS, x, y, x_hat, *parameters),
        *(outer, channels, inner, past(device, x), plan.pieces, plan.runs_in_piece),
    )


def _blocks(tasks: int) -> int:
    return min(tasks, 1 << 20)


def _column_blocks(columns: ColumnsPlan, *arrays: Array | None) -> tuple[tuple[int, int], bool]:
    if columns.apply_packed is None or any(a.data.ptr & 15 for a in arrays if a is not None):
        return columns.apply, False
    return columns.apply_packed, True


# --- backward ---


def backward(
    device: Device, x: Array, dy: Array, dx: Array | None, given: Given, hat: bool, sums: Sums
) -> None:
    """Gradients of `train`: sums, which are added to, and dx if there is one."""
    outer, channels, inner = x.shape
    slopes, _, active, slope = given.activation()
    parameters = (given.mean, given.inv_std, given.gamma, given.beta, slopes)
    targets = (sums.dgamma, sums.dbeta, sums.dslope)
    if not is_wide(x):
        blocks, down = plan_columns(x.shape, x.dtype.itemsize).whole
        if blocks:
            kernel = device.kernel("norm_columns", "gradients_columns_whole", x.dtype)
            kernel(
                *(blocks, (32, down), x, dy, dx, *parameters, active, slope, hat, *targets),
                *(outer, channels, inner),
            )
            return
        means = device.scratch("norm means", 16 * channels)
        mean_g, mean_gx = means[: 8 * channels], means[8 * channels :]
        _sum_columns(device, x, dy, given, hat, Sums(*targets, mean_g, mean_gx), 1 / (outer * inner))
        if dx is not None:
            apply_gradients(device, x, dy, dx, given, hat, mean_g, mean_gx)
        return
    packed = is_packed(inner, x, dy, dx)
    plan, beyond = _plan(device, x, packed, norm_plan.BACKWARD), past(device, x)
    if plan.whole:
        kernel = device.kernel("norm_backward", "gradients_whole", x.dtype, packed)
        kernel(
            *(channels, plan.whole, x, dy, dx, *parameters, active, slope, hat, *targets),
            *(outer, channels, inner, beyond),
        )
        return
    _take_gradients(device, x, dy, dx, given, hat, sums)


def add_up(device: Device, x: Array | None, dy: Array, given: Given, hat: bool, sums: Sums) -> None:
    """The sums alone; without x, those of dy."""
    if is_wide(dy):
        _take_gradients(device, x, dy, None, given, hat, sums)
    else:
        _sum_columns(device, x, dy, given, hat, sums, 1.0)


def _take_gradients(
    device: Device, x: Array | None, dy: Array, dx: Array | None, given: Given, hat: bool, sums: Sums
) -> None:
    outer, channels, inner = dy.shape
    slopes, step, active, slope = given.activation()
    parameters = (given.mean, given.inv_std, given.gamma, given.beta, slopes)
    packed = is_packed(inner, dy, x, dx)
    plan, beyond = _plan(device, dy, packed, norm_plan.BACKWARD), past(device, dy)
    parts = device.scratch("norm parts", 24 * channels * plan.pieces)
    factors = None if dx is None else device.scratch("norm factors", 16 * channels)
    blocks, group = (plan.blocks_for_sums, 0) if dx is None else (plan.blocks, plan.group)
    kernel = device.kernel("norm_backward", "gradients_tasks", dy.dtype, packed)
    kernel(
        *(blocks, norm_plan.PIECE_THREADS, x, dy, dx, *parameters, step, active, slope, hat, *sums),
        *(outer, channels, inner, beyond, plan.pieces, plan.runs_in_piece, group, factors, parts),
        counters(device, channels),
    )


def _sum_columns(
    device: Device, x: Array | None, dy: Array, given: Given, hat: bool, sums: Sums, share: float
) -> None:
    """Sums of columns; sum_g and sum_gx become that share of them."""
    outer, channels, inner = dy.shape
    slopes, step, active, slope = given.activation()
    columns = plan_columns(dy.shape, dy.dtype.itemsize)
    parts = device.scratch("norm parts", 24 * columns.width * columns.sums[1])
    mean, normal = (None, None) if hat else (given.mean, given.inv_std)
    device.kernel("norm_columns", "column_sums", dy.dtype)(
        *(columns.sums, _COLUMN_THREADS, x, dy, mean, normal, given.gamma, given.beta, slopes, step),
        *(active, slope, outer, channels, inner, columns.width, columns.rows_in_piece, parts),
    )
    finish_sums(device, parts, normal, sums, share, (channels, inner, columns.repeat, columns.sums[1]), dy)


def finish_sums(
    device: Device,
    parts: Array,
    normal: Array | None,
    sums: Sums,
    share: float,
    layout: tuple[int, int, int, int],
    like: Array,
) -> None:
    """Adds parts up; `layout` is channels, inner, repeat and pieces."""
    kind = np.float64 if like.dtype == np.float64 else np.float32
    kernel = device.kernel("norm_columns", "finish_sums", kind)
    channels, inner, repeat, pieces = layout
    kernel(*_finishers(channels, inner * repeat * pieces), parts, normal, *sums, share, *layout)


def apply_gradients(
    device: Device,
    x: Array,
    dy: Array,
    dx: Array,
    given: Given,
    hat: bool,
    mean_g: Array | None = None,
    mean_gx: Array | None = None,
) -> None:
    """dx from means of g and g * x_hat, or of given statistics."""
    outer, channels, inner = x.shape
    slopes, step, active, slope = given.activation()
    parameters = (given.mean, given.inv_std, mean_g, mean_gx, given.gamma, given.beta, slopes, step)
    if not is_wide(x):
        columns = plan_columns(x.shape, x.dtype.itemsize)
        blocks, packed = _column_blocks(columns, x, dy, dx)
        kernel = device.kernel("norm_columns", "gradients_columns", x.dtype, packed)
        kernel(
            *(blocks, _COLUMN_THREADS, x, dy, dx, *parameters, active, slope, hat, x.size),
            *(channels, inner, columns.width, past(device, x)),
        )
        return
    packed = is_packed(inner, x, dy, dx)
    plan = _plan(device, x, packed, norm_plan.APPLY_BACKWARD)
    kernel = device.kernel("norm_backward", "gradients_apply", x.dtype, packed)
    kernel(
        *(_blocks(channels * plan.pieces), norm_plan.PIECE_THREADS, x, dy, dx, *parameters, active, slope),
        *(hat, outer, channels, inner, past(device, x), plan.pieces, plan.runs_in_piece),
    )
