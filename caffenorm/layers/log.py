"""Log: log_base(shift + scale * x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._elementwise import Elementwise
from caffenorm.synced import Array


@register_layer("Log")
class Log(Elementwise):
    """y = log_base(shift + scale * x); a base of -1 means e.

    Shape: any; y has x's.
    Raises: LayerError for a base that is not above 0, or is 1.
    Caffe: in place Caffe's gradient is wrong, because it takes y for x; here x is kept then.
    """

    reads_x = True

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.log_param
        if param.base != -1 and (not param.base > 0 or param.base == 1):
            raise LayerError(f"base must be above 0 and not 1, or -1 for e, found {param.base:g}")
        self._factor = 1.0 if param.base == -1 else 1 / math.log(param.base)
        self._scale, self._shift = param.scale, param.shift

    def compute(self, x: Array, y: Array) -> None:
        self.ops.activate("log", x, y, self._scale, self._shift, self._factor)

    def gradient(self, s: Array, dy: Array, dx: Array) -> None:
        self.ops.activate_backward("log", s, dy, dx, self._scale, self._shift, self._factor)
