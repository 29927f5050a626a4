"""Window ops on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels
from caffenorm.backends.cpu.workspace import workspace
from caffenorm.backends.window_shapes import check_pooled_plane

_k = kernels("window")

Array = NDArray[Any]  # of float32 or float64
Plan = Any  # the compiled Pooling or Patches
Sizes = tuple[int, ...]


def _by_type(name: str) -> dict[np.dtype[Any], Any]:
    """A kernel's versions for float32 and float64."""
    kernel = getattr(_k, name)
    return {np.dtype(np.float32): kernel["float"], np.dtype(np.float64): kernel["double"]}


_MAX = _by_type("max_pool")
_MAX_BACKWARD = _by_type("max_pool_backward")
_AVERAGE = _by_type("average_pool")
_AVERAGE_BACKWARD = _by_type("average_pool_backward")
_STOCHASTIC = _by_type("stochastic_pool")
_WEIGHTED = _by_type("weighted_pool")
_WEIGHTED_BACKWARD = _by_type("weighted_pool_backward")
_ACROSS = _by_type("lrn_across")
_ACROSS_BACKWARD = _by_type("lrn_across_backward")
_WITHIN = _by_type("lrn_within")
_WITHIN_BACKWARD = _by_type("lrn_within_backward")
_IM2COL = _by_type("im2col")
_COL2IM = _by_type("col2im")


class CpuWindow:
    """Ops of the family window."""

    threads: int

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
    ) -> Plan:
        check_pooled_plane(size)
        return _k.Pooling(size, out_size, kernel, stride, pad, pad_after, count_pads)

    def max_pool(self, plan: Plan, x: Array, y: Array, index: Array | None) -> None:
        work = workspace(plan.work_bytes(x.itemsize, self.threads))
        places = None if index is None else index.reshape(-1)
        _MAX[x.dtype](plan, x.reshape(-1), y.reshape(-1), places, self.threads, work)

    def max_pool_backward(self, plan: Plan, dy: Array, index: Array, dx: Array) -> None:
        _MAX_BACKWARD[dy.dtype](plan, dy.reshape(-1), index.reshape(-1), dx.reshape(-1), self.threads)

    def average_pool(self, plan: Plan, x: Array, y: Array) -> None:
        work = workspace(plan.work_bytes(x.itemsize, self.threads))
        _AVERAGE[x.dtype](plan, x.reshape(-1), y.reshape(-1), self.threads, work)

    def average_pool_backward(self, plan: Plan, dy: Array, dx: Array) -> None:
        work = workspace(plan.work_bytes(dy.itemsize, self.threads))
        _AVERAGE_BACKWARD[dy.dtype](plan, dy.reshape(-1), dx.reshape(-1), self.threads, work)

    def stochastic_pool(self, plan: Plan, x: Array, draws: Array, y: Array, index: Array) -> None:
        arrays = (x.reshape(-1), draws.reshape(-1), y.reshape(-1), index.reshape(-1))
        _STOCHASTIC[x.dtype](plan, *arrays, self.threads)

    def weighted_pool(self, plan: Plan, x: Array, y: Array) -> None:
        _WEIGHTED[x.dtype](plan, x.reshape(-1), y.reshape(-1), self.threads)

    def weighted_pool_backward(self, plan: Plan, x: Array, dy: Array, dx: Array) -> None:
        _WEIGHTED_BACKWARD[x.dtype](plan, x.reshape(-1), dy.reshape(-1), dx.reshape(-1), self.threads)

    # --- local response normalisation ---

    def _values(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Work space as values."""
        return workspace(count * dtype.itemsize)[: count * dtype.itemsize].view(dtype)

    def _within_work(self, x: Array, size: int) -> Array:
        _, height, width = x.shape
        return self._values(_k.lrn_within_space(height, width, size, self.threads), x.dtype)

    def lrn_across(
        self, x: Array, y: Array, scale: Array | None, size: int, alpha: float, beta: float, k: float
    ) -> None:
        _ACROSS[x.dtype](x, y, scale, size, alpha / size, beta, k, self.threads)

    def lrn_across_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        work = self._values(_k.lrn_across_space(x.shape[1], self.threads), x.dtype)
        _ACROSS_BACKWARD[x.dtype](x, scale, dy, dx, size, alpha / size, beta, self.threads, work)

    def lrn_within(
        self, x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, k: float
    ) -> None:
        work = self._within_work(x, size)
        _WITHIN[x.dtype](x, y, scale, size, alpha / size**2, beta, k, self.threads, work)

    def lrn_within_backward(
        self, x: Array, scale: Array, dy: Array, dx: Array, size: int, alpha: float, beta: float
    ) -> None:
        work = self._within_work(x, size)
        _WITHIN_BACKWARD[x.dtype](x, scale, dy, dx, size, alpha / size**2, beta, self.threads, work)

    # --- im2col ---

    def plan_patches(
        self, size: Sizes, out_size: Sizes, *, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes
    ) -> Plan:
        return _k.Patches(size, out_size, kernel, stride, pad, dilation)

    def im2col(self, plan: Plan, x: Array, columns: Array) -> None:
        _IM2COL[x.dtype](plan, x.reshape(-1), columns.reshape(-1), self.threads)

    def col2im(self, plan: Plan, columns: Array, x: Array) -> None:
        _COL2IM[x.dtype](plan, columns.reshape(-1), x.reshape(-1), self.threads)
