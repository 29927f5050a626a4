"""Group normalisation on the GPU; what each op does is said in `backends.interface.norm`."""

from __future__ import annotations

from typing import Any

from caffenorm.backends.gpu import norm_plan
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.norm_checks import check_likes, check_values, parameter_type
from caffenorm.backends.gpu.norm_launch import Sums, counters, finish_sums, is_packed, past
from caffenorm.backends.gpu.norm_plan import plan_rows
from caffenorm.errors import ShapeError

Array = Any  # cupy.ndarray
_LONG = 16384  # values from which on a row is taken in pieces: a block alone would take 5 us and more
_WEIGHT_BLOCKS = 1024  # that sums for gamma and beta are shared out to


def _row_threads(runs: int) -> int:
    return min(norm_plan.WHOLE_THREADS, max(32, 1 << (-(-runs // 4) - 1).bit_length()))


class GpuGroupNorm:
    """The ops of the family norm that take statistics of each sample's groups of channels."""

    device: Device

    def group_norm_train(
        self,
        x: Array,
        y: Array,
        mean: Array,
        var: Array,
        inv_std: Array,
        groups: int,
        eps: float,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
    ) -> None:
        """Normalise each sample's groups of channels."""
        rows, length = _rows(x, groups, mean=mean, var=var, inv_std=inv_std)
        check_values(x.shape[1], mean.dtype, gamma=gamma, beta=beta)
        check_likes(x, y=y)
        if not x.size:
            mean.fill(0)
            var.fill(0)
            inv_std.fill(1 / eps**0.5 if eps > 0 else float("inf"))
            return
        shape, inner = (1, rows, length), x.shape[2]
        packed = is_packed(length, x, y)
        arguments = (x, y, mean, var, inv_std, float(eps), gamma, beta, rows, length, groups, inner)
        if length < _LONG:
            kernel = self.device.kernel("group_norm", "group_norm_rows", x.dtype, packed)
            threads = _row_threads(length * x.dtype.itemsize // 16 if packed else length)
            kernel(rows, threads, *arguments, past(self.device, x))
            return
        plan = plan_rows(
            shape,
            x.dtype.itemsize,
            packed,
            norm_plan.FORWARD,
            self.device.multiprocessors,
            self.device.l2_bytes,
        )
        parts = self.device.scratch("norm parts", 16 * rows * plan.pieces)
        kernel = self.device.kernel("group_norm", "group_norm_tasks", x.dtype, packed)
        kernel(
            *(plan.blocks, norm_plan.PIECE_THREADS, *arguments, past(self.device, x)),
            *(plan.pieces, plan.runs_in_piece, plan.group, parts, counters(self.device, rows)),
        )

    def group_norm_backward(
        self,
        x: Array,
        dy: Array,
        dx: Array | None,
        mean: Array,
        inv_std: Array,
        groups: int,
        *,
        gamma: Array | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
    ) -> None:
        """Gradients of `group_norm_train`."""
        rows, length = _rows(x, groups, mean=mean, inv_std=inv_std)
        check_values(x.shape[1], mean.dtype, gamma=gamma, dgamma=dgamma, dbeta=dbeta)
        check_likes(x, dy=dy, dx=dx)
        if not x.size:
            return
        # First the sums, for dx may be dy or x.
        if dgamma is not None or dbeta is not None:
            self._weight_gradients(x, dy, mean, inv_std, groups, length, Sums(dgamma, dbeta))
        if dx is None:
            return
        inner, packed = x.shape[2], is_packed(length, x, dy, dx)
        arguments = (x, dy, dx, mean, inv_std, gamma, rows, length, groups, inner, past(self.device, x))
        if length < _LONG:
            kernel = self.device.kernel("group_norm", "group_gradients_rows", x.dtype, packed)
            kernel(rows, _row_threads(length * x.dtype.itemsize // 16 if packed else length), *arguments)
            return
        plan = plan_rows(
            *((1, rows, length), x.dtype.itemsize, packed, norm_plan.BACKWARD),
            *(self.device.multiprocessors, self.device.l2_bytes),
        )
        parts = self.device.scratch("norm parts", 16 * rows * plan.pieces)
        factors = self.device.scratch("norm factors", 16 * rows)
        kernel = self.device.kernel("group_norm", "group_gradients_tasks", x.dtype, packed)
        kernel(
            *(plan.blocks, norm_plan.PIECE_THREADS, *arguments, plan.pieces, plan.runs_in_piece),
            *(plan.group, factors, parts, counters(self.device, rows)),
        )

    def _weight_gradients(
        self, x: Array, dy: Array, mean: Array, inv_std: Array, groups: int, length: int, sums: Sums
    ) -> None:
        outer, channels, inner = x.shape
        width = channels * inner
        wide = inner >= norm_plan.COLUMNS_BELOW
        units = channels if wide else -(-width // 32)
        pieces = min(-(-outer // 8), max(1, _WEIGHT_BLOCKS // units))
        samples = -(-outer // pieces)
        pieces = -(-outer // samples)
        parts = self.device.scratch("norm parts", 24 * pieces * (channels if wide else width))
        if wide:
            kernel = self.device.kernel("group_norm", "weight_rows", x.dtype, is_packed(inner, x, dy))
            kernel(
                *(min(channels * pieces, 1 << 20), norm_plan.PIECE_THREADS, x, dy, mean, inv_std),
                *(outer, channels, inner, groups, samples, pieces, parts),
            )
        else:
            kernel = self.device.kernel("group_norm", "weight_columns", x.dtype)
            kernel(
                *((units, pieces), (32, 8), x, dy, mean, inv_std),
                *(outer, width, length, groups, samples, parts),
            )
        layout = (channels, 1 if wide else inner, 1, pieces)
        finish_sums(self.device, parts, None, sums, 1.0, layout, x)


def _rows(x: Array, groups: int, **statistics: Array) -> tuple[int, int]:
    """How many rows of how many values have statistics of their own."""
    kind = parameter_type(x)
    outer, channels, inner = x.shape
    if groups < 1 or channels % groups:
        raise ShapeError(f"{groups} groups do not divide {channels} channels")
    check_values(outer * groups, kind, **statistics)
    return outer * groups, channels // groups * inner
