"""SPP: spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_METHODS = {schema.SPPParameter.MAX: "MAX", schema.SPPParameter.AVE: "AVE"}
_MOST_LEVELS = 16  # the finest grid of which has 2^15 bins along an axis


@register_layer("SPP")
class SPP(Layer):
    """Pools over grids of 1, 2, 4 ... bins along each axis and joins the results, as many for any size.

    Shape: bottom (N, C, H, W); top (N, C * (4^pyramid_height - 1) / 3), for one level (N, C, 1, 1).
    Raises: LayerError for pyramid_height 0 or a method without meaning here; ShapeError where a grid is finer
        than the bottom.
    Caffe: level l has kernels of ceil(size / 2^l), as far apart, and half of what is missing as pad. A kernel
        may overhang, and AVE then counts the pads.
    See: He et al., Spatial pyramid pooling in deep convolutional networks, 2014.
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.spp_param
        if not 1 <= param.pyramid_height <= _MOST_LEVELS:
            raise LayerError(f"pyramid_height must be from 1 to {_MOST_LEVELS}, found {param.pyramid_height}")
        if param.pool not in _METHODS:
            name = schema.SPPParameter.PoolMethod.Name(param.pool)
            raise LayerError(f"pool: {name} is not supported; MAX and AVE are")
        self._takes_max = _METHODS[param.pool] == "MAX"
        self._levels = int(param.pyramid_height)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or 0 in shape[1:]:
            raise ShapeError(f"needs a bottom of (N, C, H, W) with values in it, found shape {list(shape)}")
        self._plans = []
        for level in range(self._levels):
            bins = 2**level
            kernel = tuple(-(-n // bins) for n in shape[2:])
            pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, shape[2:], strict=True))
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                raise ShapeError(
                    f"a grid of {bins} x {bins} bins is too fine for {shape[2]} x {shape[3]} values; "
                    f"give a pyramid_height below {level + 1}"
                )
            self._plans.append(
                self.ops.plan_pooling(
                    shape[2:],
                    (bins, bins),
                    kernel=kernel,
                    stride=kernel,
                    pad=pad,
                    pad_after=pad,
                    count_pads=True,
                )
            )
        values = shape[1] * (4**self._levels - 1) // 3
        top[0].reshape((*shape[:2], 1, 1) if self._levels == 1 else (shape[0], values))

    def _parts(self, joined: Array) -> list[tuple[slice, Array, Array]]:
        """For each level its columns in the joined array, and work space for its values and their places."""
        rows, columns = len(joined), joined.size // max(1, len(joined))
        channels = 3 * columns // (4**self._levels - 1)
        parts, start = [], 0
        for level in range(self._levels):
            count = channels * 4**level
            y = self.scratch(f"level {level}", (rows, count))
            index = self.scratch(f"index {level}", (rows, count), np.int32)
            parts.append((slice(start, start + count), y, index))
            start += count
        return parts

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0])
        joined = self.write(top[0]).reshape(len(x), -1)
        for plan, (columns, y, index) in zip(self._plans, self._parts(joined), strict=True):
            if self._takes_max:
                self.ops.max_pool(plan, x, y, index)
            else:
                self.ops.average_pool(plan, x, y)
            joined[:, columns] = y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = self.write_diff(bottom[0])
        joined = self.read_diff(top[0]).reshape(len(dx), -1)
        share = self.scratch("share", dx.shape)
        dx[...] = 0
        for plan, (columns, dy, index) in zip(self._plans, self._parts(joined), strict=True):
            dy[...] = joined[:, columns]
            if self._takes_max:
                self.ops.max_pool_backward(plan, dy, index, share)
            else:
                self.ops.average_pool_backward(plan, dy, share)
            dx += share
