"""Scale, bias and PReLU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm.backends.select import ops_for
from caffenorm.errors import ShapeError
from caffenorm.functional._arrays import Floats, Gradients, channel_view, flat, floats, optional, result
from caffenorm.layers._channels import fit_view


def scale(
    x: Floats, gamma: Floats, beta: Floats | None = None, *, axis: int = 1, out: Floats | None = None
) -> Floats:
    """y = gamma * x (+ beta), with gamma and beta broadcast over x from `axis` on.

    Args:
        x: any shape.
        gamma, beta: x.shape[axis : axis + gamma.ndim]; with no axes a scalar.
        axis: may be negative, counted from the end.
        out: for y.

    Raises:
        ShapeError: arrays that do not fit. ConfigError: dtypes that differ or are not floats.
    """
    x, gamma = floats(x, "x"), floats(gamma, "gamma", x)
    view = fit_view(x.shape, axis, gamma.shape, "gamma")
    beta = optional(beta, "beta", x, gamma.shape)
    y = result(out, x)
    if x.size:
        ops_for("cpu").scale_channels(x.reshape(view), gamma.reshape(-1), y.reshape(view), flat(beta))
    return y


def scale_backward(
    dy: Floats, x: Floats, gamma: Floats, *, axis: int = 1, out: Floats | None = None
) -> Gradients:
    """Gradients of `scale`: dx like x, dgamma and dbeta like gamma; `out` is for dx.

    Raises:
        ShapeError, ConfigError: as `scale`.
    """
    x, gamma = floats(x, "x"), floats(gamma, "gamma", x)
    dy = floats(dy, "dy", x, x.shape)
    view = fit_view(x.shape, axis, gamma.shape, "gamma")
    dx = result(out, dy)
    dgamma, dbeta = np.zeros(gamma.shape, x.dtype), np.zeros(gamma.shape, x.dtype)
    if x.size:
        ops = ops_for("cpu")
        ops.channel_dot(dy.reshape(view), x.reshape(view), dgamma.reshape(-1), False)
        ops.channel_sum(dy.reshape(view), dbeta.reshape(-1), False)
        ops.scale_backward_input(dy.reshape(view), gamma.reshape(-1), dx.reshape(view))
    return Gradients(dx, dgamma, dbeta)


def bias(x: Floats, beta: Floats, *, axis: int = 1, out: Floats | None = None) -> Floats:
    """y = x + beta, with beta broadcast over x from `axis` on.

    Args:
        x: any shape.
        beta: x.shape[axis : axis + beta.ndim]; with no axes a scalar.
        axis: may be negative, counted from the end.
        out: for y.

    Raises:
        ShapeError: arrays that do not fit. ConfigError: dtypes that differ or are not floats.
    """
    x, beta = floats(x, "x"), floats(beta, "beta", x)
    view = fit_view(x.shape, axis, beta.shape, "beta")
    y = result(out, x)
    if x.size:
        ops_for("cpu").add_channels(x.reshape(view), beta.reshape(-1), y.reshape(view))
    return y


def bias_backward(dy: Floats, shape: Sequence[int], *, axis: int = 1) -> Floats:
    """Gradient of `bias` by its beta, of that `shape`; its gradient by x is dy itself.

    Raises:
        ShapeError, ConfigError: as `bias`.
    """
    dy = floats(dy, "dy")
    view = fit_view(dy.shape, axis, tuple(shape), "beta")
    dbeta = np.zeros(tuple(shape), dy.dtype)
    if dy.size:
        ops_for("cpu").channel_sum(dy.reshape(view), dbeta.reshape(-1), False)
    return dbeta


def prelu(x: Floats, slope: Floats, *, out: Floats | None = None) -> Floats:
    """y = max(x, 0) + slope * min(x, 0).

    Args:
        x: (N, C, ...).
        slope: (C,), or (1,) for one that all channels share.
        out: for y.

    Raises:
        ShapeError: arrays that do not fit. ConfigError: dtypes that differ or are not floats.
    """
    x = floats(x, "x")
    view, slope = channel_view(x.shape), _slopes(slope, x)
    y = result(out, x)
    if x.size:
        ops_for("cpu").prelu_forward(x.reshape(view), slope, y.reshape(view))
    return y


def prelu_backward(
    dy: Floats, x: Floats, slope: Floats, *, out: Floats | None = None
) -> tuple[Floats, Floats]:
    """Gradients of `prelu`: dx like x and dslope like slope. At 0 the derivative is the slope.

    Args:
        dy: gradient of y.
        x, slope: as `prelu` was given them.
        out: for dx.

    Raises:
        ShapeError, ConfigError: as `prelu`.
    """
    x = floats(x, "x")
    dy = floats(dy, "dy", x, x.shape)
    view, slope = channel_view(x.shape), _slopes(slope, x)
    dx, dslope = result(out, dy), np.zeros_like(slope)
    if x.size:
        ops = ops_for("cpu")
        ops.prelu_backward_slope(x.reshape(view), dy.reshape(view), dslope)
        ops.prelu_backward(x.reshape(view), dy.reshape(view), slope, dx.reshape(view))
    return dx, dslope


def _slopes(slope: Floats, x: Floats) -> Floats:
    """The slope, if it has one value a channel or one for all."""
    slope = floats(slope, "slope", x)
    if slope.shape not in ((1,), (x.shape[1],)):
        raise ShapeError(f"slope must have shape [{x.shape[1]}] or [1], found {list(slope.shape)}")
    return slope
