"""Channel ops: one value a channel against a whole tensor, and sums over all but the channels; PReLU."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # the device's array: NumPy's or CuPy's


class ChannelOps(Protocol):
    """Ops of the family channel.

    Shape: x, y, dy, dx, a, b are (outer, channels, inner); gamma, beta, out are (channels,), a PReLU's
    slope and dslope (channels,) or (1,), one for all channels; all of one dtype, float32 or float64,
    C-contiguous. An `out` of one value takes the sum over all channels.

    Sums add float blocks up in float64, in index order: results are bit-equal for any number of threads and
    any build of the kernels. Outputs may not overlap inputs except where they are said to be the same
    array.

    Raises:
        ShapeError: an array does not fit the others.
        ValueError, TypeError: an array has another number of axes, another dtype or another layout.
    """

    def scale_channels(self, x: Array, gamma: Array, y: Array, beta: Array | None = None) -> None:
        """y = gamma * x, or gamma * x + beta; y may be x."""

    def add_channels(self, x: Array, beta: Array, y: Array) -> None:
        """y = x + beta; y may be x."""

    def scale_backward_input(self, dy: Array, gamma: Array, dx: Array) -> None:
        """dx = gamma * dy; dx may be dy."""

    def channel_dot(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        """Sum of a * b over outer and inner, written to out, or added to it; b may be a."""

    def channel_sum(self, a: Array, out: Array, accumulate: bool) -> None:
        """Sum of a over outer and inner, written to out, or added to it."""

    def prelu_forward(self, x: Array, slope: Array, y: Array) -> None:
        """y = max(x, 0) + slope * min(x, 0); y may be x."""

    def prelu_backward(self, x: Array, dy: Array, slope: Array, dx: Array) -> None:
        """dx = dy * ((x > 0) + slope * (x <= 0)), as in Caffe 0 * dy where x is NaN; dx may be dy or x."""

    def prelu_backward_slope(self, x: Array, dy: Array, dslope: Array) -> None:
        """dslope += sum of dy * x where x <= 0."""
