"""Norm ops on the CPU; what each does is said in `backends.interface.norm`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from caffenorm.backends.cpu.channel import ByType

Array = NDArray[Any]  # float32 or float64

_STATISTICS = ByType("norm", "batch_norm_statistics")
_INVERSE_STD = ByType("norm", "inverse_std")
_TRAIN = ByType("norm", "batch_norm_train")
_APPLY = ByType("norm", "batch_norm_apply")
_BACKWARD = ByType("norm", "batch_norm_backward")
_MOMENTS = ByType("norm", "batch_norm_moments")
_BACKWARD_SUMS = ByType("norm", "batch_norm_backward_sums")
_BACKWARD_APPLY = ByType("norm", "batch_norm_backward_apply")
_GROUP_TRAIN = ByType("group_norm", "group_norm_train")
_GROUP_BACKWARD = ByType("group_norm", "group_norm_backward")


class CpuNorm:
    """Ops of the family norm."""

    threads: int

    def batch_norm_statistics(self, x: Array, mean: Array, var: Array) -> None:
        """Mean and biased variance of each channel."""
        _STATISTICS[x.dtype](x, mean, var, self.threads)

    def inverse_std(self, var: Array, inv_std: Array, eps: float) -> None:
        """1 / sqrt(var + eps)."""
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
        """Normalise by the batch's own statistics."""
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
        """Normalise by given statistics."""
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
        """Gradients of `batch_norm_train`, or of `batch_norm_apply`."""
        _BACKWARD[x.dtype](
            x,
            dy,
            dx,
            mean,
            inv_std,
            gamma,
            beta,
            slope,
            dgamma,
            dbeta,
            dslope,
            use_global_stats,
            x_is_hat,
            self.threads,
        )

    def batch_norm_moments(self, x: Array, mean: Array, m2: Array) -> None:
        """Mean and sum of squared deviations of each channel, in float64."""
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
        """The sums that backward needs, in float64."""
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
        """dx from given means."""
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
        """Normalise each sample's groups of channels."""
        _GROUP_TRAIN[x.dtype](x, y, mean, var, inv_std, groups, eps, gamma, beta, self.threads)

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
        _GROUP_BACKWARD[x.dtype](x, dy, dx, mean, inv_std, groups, gamma, dgamma, dbeta, self.threads)
