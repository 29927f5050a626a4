"""Batch norm."""

from __future__ import annotations

import numpy as np

from caffenorm.backends.select import ops_for
from caffenorm.errors import ConfigError
from caffenorm.functional._arrays import (
    Floats,
    Gradients,
    Normalised,
    channel_view,
    floats,
    optional,
    require_values,
    result,
)


def batch_norm(
    x: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    *,
    eps: float = 1e-5,
    mean: Floats | None = None,
    var: Floats | None = None,
    slope: float | None = None,
    out: Floats | None = None,
) -> Normalised:
    """y = act(gamma * (x - mean) / sqrt(var + eps) + beta) for every channel.

    Args:
        x: (N, C, ...).
        gamma, beta: (C,); ones and zeros where they are left out.
        eps: added to the variance.
        mean, var: (C,), to normalise by; both or none. Without them they are x's own, over all axes but 1.
        slope: of a (leaky) ReLU after it, 0 for ReLU; None for no activation.
        out: for y.

    Returns:
        y like x; mean, var and inv_std (C,).

    Raises:
        ShapeError: arrays that do not fit, or nothing to take statistics of. ConfigError: dtypes that differ
            or are not floats, a mean without a var.
    """
    x = floats(x, "x")
    view = channel_view(x.shape)
    stats = view[1:2]
    gamma, beta = optional(gamma, "gamma", x, stats), optional(beta, "beta", x, stats)
    y = result(out, x)
    ops = ops_for("cpu")
    inv_std = np.empty(stats, x.dtype)
    if (mean is None) != (var is None):
        raise ConfigError("mean and var go together: give both, or none")
    if mean is not None and var is not None:
        mean, var = floats(mean, "mean", x, stats), floats(var, "var", x, stats)
        ops.inverse_std(var, inv_std, eps)
        if x.size:
            ops.batch_norm_apply(
                x.reshape(view), y.reshape(view), mean, inv_std, gamma=gamma, beta=beta, slope=slope
            )
        return Normalised(y, mean, var, inv_std)
    require_values(x)
    mean, var = np.empty(stats, x.dtype), np.empty(stats, x.dtype)
    ops.batch_norm_train(
        x.reshape(view), y.reshape(view), mean, var, inv_std, eps, gamma=gamma, beta=beta, slope=slope
    )
    return Normalised(y, mean, var, inv_std)


def batch_norm_backward(
    dy: Floats,
    x: Floats,
    mean: Floats,
    inv_std: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    *,
    slope: float | None = None,
    fixed_statistics: bool = False,
    out: Floats | None = None,
) -> Gradients:
    """Gradients of `batch_norm`.

    Args:
        dy: gradient of y.
        x: what `batch_norm` was given; it must not have been overwritten.
        mean, inv_std: as `batch_norm` returned them.
        gamma, beta, slope: as `batch_norm` was given them; beta matters only with a slope.
        fixed_statistics: mean and var were given, so they do not depend on x.
        out: for dx.

    Returns:
        dx like x; dgamma and dbeta (C,).

    Raises:
        ShapeError, ConfigError: as `batch_norm`.
    """
    x = floats(x, "x")
    view = channel_view(x.shape)
    stats = view[1:2]
    dy = floats(dy, "dy", x, x.shape)
    mean, inv_std = floats(mean, "mean", x, stats), floats(inv_std, "inv_std", x, stats)
    gamma, beta = optional(gamma, "gamma", x, stats), optional(beta, "beta", x, stats)
    dx = result(out, dy)
    dgamma = None if gamma is None else np.zeros(stats, x.dtype)
    dbeta = np.zeros(stats, x.dtype)
    if x.size:
        ops_for("cpu").batch_norm_backward(
            x.reshape(view), dy.reshape(view), dx.reshape(view), mean, inv_std, gamma=gamma, beta=beta,
            slope=slope, dgamma=dgamma, dbeta=dbeta, use_global_stats=fixed_statistics,
        )  # fmt: skip
    return Gradients(dx, dgamma, dbeta)
