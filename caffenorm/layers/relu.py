"""ReLU: max(x, 0), with a slope for negative values and bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("ReLU")
class ReLU(Elementwise):
    """y = max(x, 0) + negative_slope * min(x, 0), within the bounds that forks add.

    Shape: any; y has x's.
    Raises: LayerError for bounds together with a negative slope.
    Caffe: the derivative at 0 is the slope. In place with a slope below 0 Caffe's gradient is wrong, because
        it looks at y; here x is kept then. The forks' `relu6: true` is an upper bound of 6, `upper_limit` and
        `maximum` are upper bounds where above 0, `minimum` is a lower one unless 0; on a bound the gradient
        is 0.

    Attributes:
        slope: for negative values. low, high: the bounds, infinite where there are none.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.relu_param
        above = [limit for limit in (param.upper_limit, param.maximum) if limit > 0]
        if param.relu6:
            above.append(6.0)
        self.set_up(param.negative_slope, param.minimum or -math.inf, min(above, default=math.inf))

    def set_up(self, slope: float, low: float, high: float) -> None:
        """Take note of slope and bounds."""
        self.slope, self.low, self.high = slope, low, high
        self.reads_x = slope < 0
        if not self.is_plain and slope < 0:
            raise LayerError(f"negative_slope {slope:g} lies below 0, which does not go with bounds")

    @property
    def is_plain(self) -> bool:
        """Whether there are no bounds."""
        return self.low == -math.inf and self.high == math.inf

    def gradient_reads_x(self) -> bool:
        # Without bounds the signs of x and y are the same, so whichever is still there will do.
        return self.reads_x or (self.is_plain and not self.keeps_top(0) and self.keeps_bottom(0))

    def compute(self, x: Array, y: Array) -> None:
        if self.is_plain:
            self.ops.activate("relu", x, y, self.slope)
        else:
            self.ops.activate("clipped_relu", x, y, self.slope, self.low, self.high)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        if self.is_plain:
            self.ops.activate_backward("relu", s, dy, dx, self.slope)
        else:
            self.ops.activate_backward("clipped_relu", s, dy, dx, self.slope, self.low, self.high)


@register_layer("ReLU6")
class ReLU6(ReLU):
    """y = min(max(x, 0) + negative_slope * min(x, 0), 6), a layer of several forks.

    Shape: any; y has x's.
    Caffe: BVLC has no such layer. `relu6_param` is a ReLUParameter.
    See: Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param: schema.ReLUParameter = self.param.relu6_param
        self.set_up(param.negative_slope, -math.inf, 6.0)
