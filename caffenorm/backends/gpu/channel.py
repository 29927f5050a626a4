"""Channel ops on the GPU; what each does is said in `backends.interface.channel`.

They are the kernels of batch normalisation without statistics: 8 bytes an element (float) for what writes an
array, 4 or 8 for sums. Element types and sums as in `norm`.
"""

from __future__ import annotations

from typing import Any

from caffenorm.backends.gpu import norm_launch
from caffenorm.backends.gpu.cuda import Device
from caffenorm.backends.gpu.norm_checks import check_likes, check_values, parameter_type
from caffenorm.backends.gpu.norm_launch import Given, Sums

Array = Any  # cupy.ndarray


class GpuChannel:
    """Ops of the family channel."""

    device: Device

    def scale_channels(self, x: Array, gamma: Array, y: Array, beta: Array | None = None) -> None:
        """y = gamma * x, or gamma * x + beta."""
        check_values(x.shape[1], parameter_type(x), gamma=gamma, beta=beta)
        self._apply(x, y, Given(gamma=gamma, beta=beta))

    def add_channels(self, x: Array, beta: Array, y: Array) -> None:
        """y = x + beta."""
        check_values(x.shape[1], parameter_type(x), beta=beta)
        self._apply(x, y, Given(beta=beta))

    def scale_backward_input(self, dy: Array, gamma: Array, dx: Array) -> None:
        """dx = gamma * dy."""
        self.scale_channels(dy, gamma, dx)

    def channel_dot(self, a: Array, b: Array, out: Array, accumulate: bool) -> None:
        """Sum of a * b over outer and inner."""
        self._add_up(b, a, Given(), out, "dgamma", accumulate)

    def channel_sum(self, a: Array, out: Array, accumulate: bool) -> None:
        """Sum of a over outer and inner."""
        self._add_up(None, a, Given(), out, "dbeta", accumulate)

    def prelu_forward(self, x: Array, slope: Array, y: Array) -> None:
        """y = max(x, 0) + slope * min(x, 0)."""
        self._check_slope(x, slope)
        self._apply(x, y, Given(slope=slope))

    def prelu_backward(self, x: Array, dy: Array, slope: Array, dx: Array) -> None:
        """dx = dy * ((x > 0) + slope * (x <= 0))."""
        self._check_slope(x, slope)
        check_likes(x, dy=dy, dx=dx)
        if x.size:
            norm_launch.apply_gradients(self.device, x, dy, dx, Given(slope=slope), True)

    def prelu_backward_slope(self, x: Array, dy: Array, dslope: Array) -> None:
        """dslope += sum of dy * x where x <= 0."""
        self._add_up(x, dy, Given(slope=0.0), dslope, "dslope", True)

    def _check_slope(self, x: Array, slope: Array) -> None:
        kind = parameter_type(x)
        check_values(1 if slope.size == 1 else x.shape[1], kind, slope=slope)

    def _apply(self, x: Array, y: Array, given: Given) -> None:
        check_likes(x, y=y)
        if x.size:
            norm_launch.apply(self.device, x, y, None, given)

    def _add_up(
        self, x: Array | None, dy: Array, given: Given, out: Array, name: str, accumulate: bool
    ) -> None:
        """Adds to `out` the sum of that name in norm_launch.Sums, over all channels if it has one value."""
        kind = parameter_type(dy)
        check_likes(dy, b=x)
        check_values(1 if out.size == 1 else dy.shape[1], kind, out=out)
        if not accumulate:
            out.fill(0)
        if not dy.size:
            return
        if out.size == 1:
            dy = dy.reshape(1, 1, -1)
            x = None if x is None else x.reshape(1, 1, -1)
        norm_launch.add_up(self.device, x, dy, given, True, Sums(**{name: out}))
