"""Norm ops on the CPU; what each does is said in `backends.interface.norm`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.backends.cpu.channel import ByType, CpuChannel

Array = NDArray[Any]  # float32 or float64

_STATISTICS = ByType("norm", "batch_norm_statistics")
_INVERSE_STD = ByType("norm", "inverse_std")
_TRAIN = ByType("norm", "batch_norm_train")
_APPLY = ByType("norm", "batch_norm_apply")
_BACKWARD = ByType("norm", "batch_norm_backward")
_MOMENTS = ByType("norm", "batch_norm_moments")
_BACKWARD_SUMS = ByType("norm", "batch_norm_backward_sums")
_BACKWARD_APPLY = ByType("norm", "batch_norm_backward_apply")


class CpuNorm(CpuChannel):
    """Ops of the family norm; group norms are made of these and of channel ops."""

    def batch_norm_statistics(self, x: Array, mean: Array, var: Array) -> None:
        _STATISTICS[x.dtype](x, mean, var, self.threads)

    def inverse_std(self, var: Array, inv_std: Array, eps: float) -> None:
        _INVERSE_STD[var.dtype](var, inv_std, eps)

    def batch_norm_train(
        self,
        x: Array,
        y: Array,
        mean: Array,
        var: Array,
        inv_std: Array,
        eps: float,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_hat: Array | None = None,
    ) -> None:
        _TRAIN[x.dtype](x, y, mean, var, inv_std, eps, gamma, beta, slope, x_hat, self.threads)

    def batch_norm_apply(
        self,
        x: Array,
        y: Array,
        mean: Array,
        inv_std: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_hat: Array | None = None,
    ) -> None:
        _APPLY[x.dtype](x, y, mean, inv_std, gamma, beta, slope, x_hat, self.threads)

    def batch_norm_backward(
        self,
        x: Array,
        dy: Array,
        dx: Array | None,
        mean: Array,
        inv_std: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
        dslope: Array | None = None,
        use_global_stats: bool = False,
        x_is_hat: bool = False,
    ) -> None:
        _BACKWARD[x.dtype](
            x, dy, dx, mean, inv_std, gamma, beta, slope, dgamma, dbeta, dslope, use_global_stats, x_is_hat, self.threads
        )  # fmt: skip

    def batch_norm_moments(self, x: Array, mean: Array, m2: Array) -> None:
        _MOMENTS[x.dtype](x, mean, m2, self.threads)

    def batch_norm_backward_sums(
        self,
        x: Array,
        dy: Array,
        mean: Array,
        inv_std: Array,
        sum_g: Array,
        sum_g_x_hat: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        dslope: Array | None = None,
        x_is_hat: bool = False,
    ) -> None:
        _BACKWARD_SUMS[x.dtype](
            x, dy, mean, inv_std, sum_g, sum_g_x_hat, gamma, beta, slope, dslope, x_is_hat, self.threads
        )

    def batch_norm_backward_apply(
        self,
        x: Array,
        dy: Array,
        dx: Array,
        mean: Array,
        inv_std: Array,
        mean_g: Array,
        mean_g_x_hat: Array,
        *,
        gamma: Array | None = None,
        beta: Array | None = None,
        slope: Array | float | None = None,
        x_is_hat: bool = False,
    ) -> None:
        _BACKWARD_APPLY[x.dtype](
            x, dy, dx, mean, inv_std, mean_g, mean_g_x_hat, gamma, beta, slope, x_is_hat, self.threads
        )

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
        rows = (1, x.shape[0] * groups, -1)
        if not x.size:
            mean[...] = var[...] = 0
            self.inverse_std(var, inv_std, eps)
            return
        self.batch_norm_train(x.reshape(rows), y.reshape(rows), mean, var, inv_std, eps)
        if gamma is not None:
            self.scale_channels(y, gamma, y, beta)
        elif beta is not None:
            self.add_channels(y, beta, y)

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
        if not x.size:
            return
        rows = (1, x.shape[0] * groups, -1)
        x_hat = np.empty_like(x)
        self.batch_norm_apply(x.reshape(rows), x_hat.reshape(rows), mean, inv_std)
        if dgamma is not None:
            self.channel_dot(dy, x_hat, dgamma, True)
        if dbeta is not None:
            self.channel_sum(dy, dbeta, True)
        if dx is None:
            return
        if gamma is not None:
            self.scale_backward_input(dy, gamma, dx)
        elif dx is not dy:
            np.copyto(dx, dy)
        g = dx.reshape(rows)
        self.batch_norm_backward(x_hat.reshape(rows), g, g, mean, inv_std, x_is_hat=True)
