"""Norm ops on the GPU; what each does is said in `backends.interface.norm`.

Beside float32 and float64, arrays may be float16 or bfloat16, with parameters and statistics in float32. Sums
depend on shape, dtype and alignment (to 16 bytes) alone: they are the same bits on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.gpu import norm_launch
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.group_norm import GpuGroupNorm
from caffenorm.backends.gpu.norm_checks import FLOAT64, check_likes, check_values, parameter_type
from caffenorm.backends.gpu.norm_launch import Given, Sums

Array = Any  # cupy.ndarray


def _given(
    x: Array,
    mean: Array | None,
    inv_std: Array | None,
    gamma: Array | None,
    beta: Array | None,
    slope: Array | float | None,
) -> Given:
    """What is given for each channel of x, checked."""
    kind, channels = parameter_type(x), x.shape[1]
    check_values(channels, kind, gamma=gamma, beta=beta, mean=mean, inv_std=inv_std)
    if slope is not None and not isinstance(slope, int | float | np.number):
        check_values(channels, kind, slope=slope)
    return Given(mean, inv_std, gamma, beta, slope)


class GpuNorm(GpuGroupNorm):
    """Ops of the family norm."""

    device: Device

    def batch_norm_statistics(self, x: Array, mean: Array, var: Array) -> None:
        """Mean and biased variance of each channel."""
        check_values(x.shape[1], parameter_type(x), mean=mean, var=var)
        if not x.size:
            mean.fill(0)
            var.fill(0)
            return
        norm_launch.moments(self.device, x, mean, var, None, None, None, 0.0)

    def inverse_std(self, var: Array, inv_std: Array, eps: float) -> None:
        """1 / sqrt(var + eps)."""
        check_values(var.size, var.dtype, var=var, inv_std=inv_std)
        if var.size:
            kernel = self.device.kernel("norm", "inverse_std", var.dtype)
            kernel(self.device.blocks(var.size), 256, var, inv_std, float(eps), var.size)

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
        given = _given(x, mean, inv_std, gamma, beta, slope)
        check_values(x.shape[1], given.mean.dtype, var=var)  # type: ignore[union-attr]  # it is an array
        check_likes(x, y=y, x_hat=x_hat)
        if not x.size:
            mean.fill(0)
            var.fill(0)
            self.inverse_std(var, inv_std, eps)
            return
        norm_launch.train(self.device, x, y, x_hat, given, var, float(eps))

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
        given = _given(x, mean, inv_std, gamma, beta, slope)
        check_likes(x, y=y, x_hat=x_hat)
        if x.size:
            norm_launch.apply(self.device, x, y, x_hat, given)

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
        given = _given(x, mean, inv_std, gamma, beta, slope)
        check_likes(x, dy=dy, dx=dx)
        dslope = None if slope is None else dslope
        check_values(x.shape[1], inv_std.dtype, dgamma=dgamma, dbeta=dbeta, dslope=dslope)
        sums = Sums(dgamma, dbeta, dslope)
        if not x.size:
            return
        if not use_global_stats:
            norm_launch.backward(self.device, x, dy, dx, given, x_is_hat, sums)
            return
        if any(array is not None for array in sums):
            norm_launch.add_up(self.device, x, dy, given, x_is_hat, sums)
        if dx is not None:
            norm_launch.apply_gradients(self.device, x, dy, dx, given, x_is_hat)

    def batch_norm_moments(self, x: Array, mean: Array, m2: Array) -> None:
        """Mean and sum of squared deviations of each channel, in float64."""
        parameter_type(x)
        check_values(x.shape[1], FLOAT64, mean=mean, m2=m2)
        if not x.size:
            mean.fill(0)
            m2.fill(0)
            return
        norm_launch.moments(self.device, x, None, None, None, mean, m2, 0.0)

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
        given = _given(x, mean, inv_std, gamma, beta, slope)
        check_likes(x, dy=dy)
        dslope = None if slope is None else dslope
        check_values(x.shape[1], inv_std.dtype, dslope=dslope)
        check_values(x.shape[1], FLOAT64, sum_g=sum_g, sum_g_x_hat=sum_g_x_hat)
        if not x.size:
            sum_g.fill(0)
            sum_g_x_hat.fill(0)
            return
        sums = Sums(dslope=dslope, sum_g=sum_g, sum_gx=sum_g_x_hat)
        norm_launch.add_up(self.device, x, dy, given, x_is_hat, sums)

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
        given = _given(x, mean, inv_std, gamma, beta, slope)
        check_likes(x, dy=dy, dx=dx)
        check_values(x.shape[1], FLOAT64, mean_g=mean_g, mean_g_x_hat=mean_g_x_hat)
        if x.size:
            norm_launch.apply_gradients(self.device, x, dy, dx, given, x_is_hat, mean_g, mean_g_x_hat)
