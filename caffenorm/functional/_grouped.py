"""Instance, group and layer norm."""

from __future__ import annotations

import numpy as np

from caffenorm.backends.select import ops_for
from caffenorm.errors import ShapeError
from caffenorm.functional._arrays import (
    Floats,
    Gradients,
    Normalised,
    channel_view,
    flat,
    floats,
    optional,
    require_values,
    result,
)
from caffenorm.layer import canonical_axis
from caffenorm.layers._channels import View, split_axes


def group_norm(
    x: Floats,
    groups: int,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    *,
    eps: float = 1e-5,
    out: Floats | None = None,
) -> Normalised:
    """y = gamma * (x - mean) / sqrt(var + eps) + beta for each example's groups of channels.

    Args:
        x: (N, C, ...).
        groups: how many; divides C.
        gamma, beta: (C,).
        eps: added to the variance.
        out: for y.

    Returns:
        y like x; mean, var and inv_std (N, groups).

    Raises:
        ShapeError: arrays that do not fit, or groups that do not divide C. ConfigError: dtypes that differ or
            are not floats.
    """
    x = floats(x, "x")
    return _grouped(x, channel_view(x.shape), groups, gamma, beta, _channel_shape(x), eps, out)


def group_norm_backward(
    dy: Floats,
    x: Floats,
    mean: Floats,
    inv_std: Floats,
    gamma: Floats | None = None,
    *,
    out: Floats | None = None,
) -> Gradients:
    """Gradients of `group_norm`, which returned `mean` and `inv_std`; `out` is for dx.

    Returns:
        dx like x; dgamma and dbeta (C,).

    Raises:
        ShapeError, ConfigError: as `group_norm`.
    """
    x = floats(x, "x")
    return _grouped_backward(dy, x, channel_view(x.shape), mean, inv_std, gamma, _channel_shape(x), out)


def instance_norm(
    x: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    *,
    eps: float = 1e-5,
    out: Floats | None = None,
) -> Normalised:
    """`group_norm` with as many groups as channels: mean, var and inv_std are (N, C)."""
    x = floats(x, "x")
    return group_norm(x, channel_view(x.shape)[1], gamma, beta, eps=eps, out=out)


instance_norm_backward = group_norm_backward


def layer_norm(
    x: Floats,
    gamma: Floats | None = None,
    beta: Floats | None = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    out: Floats | None = None,
) -> Normalised:
    """y = gamma * (x - mean) / sqrt(var + eps) + beta over the axes from `axis` to the last.

    Args:
        x: any shape.
        gamma, beta: x.shape[axis:].
        axis: may be negative, counted from the end.
        eps: added to the variance.
        out: for y.

    Returns:
        y like x; mean, var and inv_std x.shape[:axis].

    Raises:
        ShapeError: arrays that do not fit. ConfigError: dtypes that differ or are not floats.
    """
    x = floats(x, "x")
    first = canonical_axis(axis, x.ndim)
    view = split_axes(x.shape, first, x.ndim - first)
    normalised = _grouped(x, view, 1, gamma, beta, x.shape[first:], eps, out)
    return Normalised(normalised.y, *(values.reshape(x.shape[:first]) for values in normalised[1:]))


def layer_norm_backward(
    dy: Floats,
    x: Floats,
    mean: Floats,
    inv_std: Floats,
    gamma: Floats | None = None,
    *,
    axis: int = 1,
    out: Floats | None = None,
) -> Gradients:
    """Gradients of `layer_norm`, which returned `mean` and `inv_std`; `out` is for dx.

    Returns:
        dx like x; dgamma and dbeta x.shape[axis:].

    Raises:
        ShapeError, ConfigError: as `layer_norm`.
    """
    x = floats(x, "x")
    first = canonical_axis(axis, x.ndim)
    view = split_axes(x.shape, first, x.ndim - first)
    return _grouped_backward(dy, x, view, mean, inv_std, gamma, x.shape[first:], out)


def _grouped(
    x: Floats,
    view: View,
    groups: int,
    gamma: Floats | None,
    beta: Floats | None,
    affine: tuple[int, ...],
    eps: float,
    out: Floats | None,
) -> Normalised:
    if groups < 1 or view[1] % groups:
        raise ShapeError(f"{groups} groups do not divide {view[1]} channels")
    gamma, beta = optional(gamma, "gamma", x, affine), optional(beta, "beta", x, affine)
    y = result(out, x)
    mean, var, inv_std = (np.empty(view[0] * groups, x.dtype) for _ in range(3))
    require_values(x)
    ops_for("cpu").group_norm_train(
        x.reshape(view),
        y.reshape(view),
        mean,
        var,
        inv_std,
        groups,
        eps,
        gamma=flat(gamma),
        beta=flat(beta),
    )
    shape = (view[0], groups)
    return Normalised(y, mean.reshape(shape), var.reshape(shape), inv_std.reshape(shape))


def _grouped_backward(
    dy: Floats,
    x: Floats,
    view: View,
    mean: Floats,
    inv_std: Floats,
    gamma: Floats | None,
    affine: tuple[int, ...],
    out: Floats | None,
) -> Gradients:
    dy, gamma = floats(dy, "dy", x, x.shape), optional(gamma, "gamma", x, affine)
    mean, inv_std = floats(mean, "mean", x), floats(inv_std, "inv_std", x, np.shape(mean))
    groups = mean.size // view[0] if view[0] else 1
    if mean.size != view[0] * groups or not groups or view[1] % groups:
        raise ShapeError(
            f"mean has {mean.size} values, which are not those of {view[0]} examples in equal groups"
        )
    dx = result(out, dy)
    dgamma = None if gamma is None else np.zeros(affine, x.dtype)
    dbeta = np.zeros(affine, x.dtype)
    if x.size:
        ops_for("cpu").group_norm_backward(
            x.reshape(view), dy.reshape(view), dx.reshape(view), mean.reshape(-1), inv_std.reshape(-1),
            groups, gamma=flat(gamma), dgamma=flat(dgamma), dbeta=dbeta.reshape(-1),
        )  # fmt: skip
    return Gradients(dx, dgamma, dbeta)


def _channel_shape(x: Floats) -> tuple[int, ...]:
    return x.shape[1:2]
