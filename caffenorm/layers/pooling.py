"""Pooling: the largest value, the mean or a random value of each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._window import Sizes, Windows, read_pooling, whole
from caffenorm.synced import Array

_METHODS = {
    schema.PoolingParameter.MAX: "MAX",
    schema.PoolingParameter.AVE: "AVE",
    schema.PoolingParameter.STOCHASTIC: "STOCHASTIC",
    schema.PoolingParameter.AVE_EXC_PAD: "AVE",
}


@register_layer("Pooling", "NdPooling")
class Pooling(Layer):
    """MAX, AVE or STOCHASTIC pooling over all axes from 2 on.

    Shape: bottom (N, C, spatial...) with one to three spatial axes; tops (N, C, out...) with
        out = (size + 2 pad - kernel) / stride + 1, rounded up (round_mode: FLOOR or ceil_mode: false: down).
        With padding the last window is dropped if it would begin behind the input and its first pad. A second
        top of MAX takes the place of each value in its plane.
    Raises: LayerError for sizes that are missing, zero or given twice; ShapeError if the kernel does not fit.
    Caffe: AVE divides by the positions of a window inside the input and its pads, so padding counts and what
        hangs over beyond does not. MAX never takes a NaN. Without padding a window may lie outside: MAX gives
        the lowest float there, as Caffe, and AVE 0 where Caffe divides by 0; no gradient flows where Caffe
        writes out of bounds. STOCHASTIC draws in TRAIN in proportion to the values and gives their weighted
        mean in TEST, as Caffe's GPU code; Caffe has none of it on the CPU, and 4 axes only. Read of forks:
        ceil_mode, avg_include_pad, AVE_EXC_PAD, pad_t and so on.
    """

    num_tops = (1, 2)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.pooling_param
        if param.pool not in _METHODS:
            name = schema.PoolingParameter.PoolMethod.Name(param.pool)
            raise LayerError(f"pool: {name} is not supported; MAX, AVE and STOCHASTIC are")
        self._method = _METHODS[param.pool]
        if len(top) > 1 and self._method != "MAX":
            raise LayerError(
                f"a second top, with the places of the values, goes with MAX, not with {self._method}"
            )
        self._num_axes = len(bottom[0].shape)
        axes = self._num_axes - 2
        if not 1 <= axes <= 3:
            raise ShapeError(
                f"needs a bottom with 3 to 5 axes, (N, C, spatial...), found shape {list(bottom[0].shape)}"
            )
        self._windows = None if param.global_pooling else read_pooling(param, axes)
        if self._windows is None:
            _check_global(param)
        elif self._method == "STOCHASTIC" and any(self._windows.pad + self._windows.pad_after):
            raise LayerError("pad goes with MAX and AVE, not with STOCHASTIC")

    # --- shapes ---

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != self._num_axes or 0 in shape[2:]:
            raise ShapeError(
                f"needs {self._num_axes} axes and values in each plane, found shape {list(shape)}"
            )
        size = shape[2:]
        self.windows = windows = self._windows or whole(size)
        out_size = self._out_size(windows, size)
        for blob in top:
            blob.reshape((*shape[:2], *out_size))
        self._plan = self.ops.plan_pooling(
            size,
            out_size,
            kernel=windows.kernel,
            stride=windows.stride,
            pad=windows.pad,
            pad_after=windows.pad_after,
            count_pads=self.counts_pads,
        )

    @property
    def counts_pads(self) -> bool:
        """Whether AVE divides by positions in the pads, too."""
        param = self.param.pooling_param
        return bool(param.avg_include_pad) and param.pool != schema.PoolingParameter.AVE_EXC_PAD

    @property
    def rounds_up(self) -> bool:
        """Whether a window more is taken where the stride does not divide what is left."""
        param = self.param.pooling_param
        return bool(param.round_mode == schema.PoolingParameter.CEIL and param.ceil_mode)

    def _out_size(self, windows: Windows, size: Sizes) -> Sizes:
        """The number of windows along each axis."""
        padded = any(windows.pad + windows.pad_after)
        out = []
        for axis, n in enumerate(size):
            kernel, stride = windows.kernel[axis], windows.stride[axis]
            before, after = windows.pad[axis], windows.pad_after[axis]
            room = n + before + after - kernel
            count = (-(-room // stride) if self.rounds_up else room // stride) + 1
            if padded and (count - 1) * stride >= n + before:
                count -= 1
            if count < 1:
                raise ShapeError(f"a kernel of {kernel} does not fit into {n} values with their pads")
            out.append(count)
        return tuple(out)

    # --- forward and backward ---

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = self.read(bottom[0]), self.write(top[0])
        if self._method == "AVE":
            self.ops.average_pool(self._plan, x, y)
        elif self._method == "MAX":
            self.ops.max_pool(self._plan, x, y, self._index(top) if self._needs_index(top) else None)
        elif self.phase == schema.TRAIN:
            self.ops.stochastic_pool(self._plan, x, self._draws(y), y, self._index(top))
        else:
            self.ops.weighted_pool(self._plan, x, y)
        if len(top) > 1:
            self.ops.xp.copyto(self.write(top[1]), self._index(top), casting="unsafe")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = self.read_diff(top[0]), self.write_diff(bottom[0])
        if self._method == "AVE":
            self.ops.average_pool_backward(self._plan, dy, dx)
        elif self._method == "MAX" or self.phase == schema.TRAIN:
            self.ops.max_pool_backward(self._plan, dy, self._index(top), dx)
        else:
            self.ops.weighted_pool_backward(self._plan, self.read(bottom[0]), dy, dx)

    def _needs_index(self, top: Sequence[Blob]) -> bool:
        return self.needs_backward or len(top) > 1

    def _index(self, top: Sequence[Blob]) -> Array:
        """Places of the values that the last forward took."""
        return self.scratch("index", top[0].shape, np.int32)

    def _draws(self, y: Array) -> Array:
        """A random number from 0 to 1 for each window."""
        draws = self.scratch("draws", y.shape)
        draws[...] = self.ops.xp.asarray(self.rng.random(y.shape, dtype=self.dtype.type))
        return draws


def _check_global(param: schema.PoolingParameter) -> None:
    """Global pooling takes no sizes of its own.

    Raises:
        LayerError: a kernel is given, or a pad or stride that means something.
    """
    if any(param.HasField(field) for field in ("kernel_size", "kernel_h", "kernel_w")):
        raise LayerError(
            "global_pooling takes the whole input as kernel; remove kernel_size, kernel_h and kernel_w"
        )
    if any(getattr(param, field) for field in ("pad", "pad_h", "pad_w")):
        raise LayerError("global_pooling takes no pad; remove it")
    if any(
        param.HasField(field) and getattr(param, field) != 1 for field in ("stride", "stride_h", "stride_w")
    ):
        raise LayerError("global_pooling has a single window; remove stride, or give 1")
