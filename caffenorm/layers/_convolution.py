"""What Convolution and Deconvolution share: their parameters, packed weights and gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers._window import Sizes, Windows, read_convolution
from caffenorm.synced import Array

if TYPE_CHECKING:
    from caffenorm.backends.interface.conv import ConvolutionPlan

_UNSUPPORTED = {
    "binary": "binary weights",
    "pad_type": "another rule for pads",
    "fusion_type": "a sum that is added",
}


class ConvolutionBase(Layer):
    """A convolution, or a transposed one, over all axes behind `axis`; axes before it are the batch.

    The weights are kept a second time in the order that the kernels read, and laid out anew when they change.

    Attributes:
        transposed: whether the bottom stands where a convolution has its top.
        windows: kernel, stride, pads and dilation for the present input.
    """

    num_bottoms, num_tops = (1, None), (1, None)
    same_number_of_tops = True
    in_place_ok = False
    transposed: ClassVar[bool] = False

    # --- parameters ---

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.param.convolution_param, bottom[0].shape
        for field, meaning in _UNSUPPORTED.items():
            if getattr(param, field):
                raise LayerError(f"{field} ({meaning}) is not supported; remove it if the net does without")
        self._axis = canonical_axis(param.axis, len(shape))
        self._num_axes, self._channels = len(shape), shape[self._axis]
        self._windows = read_convolution(param, len(shape) - self._axis - 1)
        self._outputs, self._groups = self.outputs_and_groups(self._channels)
        self._slope = float(param.negative_slope) if param.relu else None
        first, second = self._channels, self._outputs
        if not self.transposed:
            first, second = second, first
        weights = self.new_blob((first, second // self._groups, *self._windows.kernel))
        self.fill(weights, param.weight_filler)
        self.blobs = [weights]
        if param.bias_term:
            bias = self.new_blob((self._outputs,))
            self.fill(bias, param.bias_filler)
            self.blobs.append(bias)
        self._packed_versions: dict[bool, int | None] = {}

    def outputs_and_groups(self, channels: int) -> tuple[int, int]:
        """How many channels the top has, and in how many groups they are made."""
        param = self.param.convolution_param
        outputs, groups = int(param.num_output), int(param.group)
        if outputs < 1:
            raise LayerError("num_output must be given, and be 1 or more")
        if groups < 1:
            raise LayerError(f"group must be 1 or more, found {groups}")
        if channels % groups:
            raise ShapeError(f"bottom 0 has {channels} channels, which {groups} groups do not divide")
        if outputs % groups:
            raise LayerError(f"num_output is {outputs}, which {groups} groups do not divide")
        return outputs, groups

    # --- shapes ---

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, axis = bottom[0].shape, self._axis
        for i, blob in enumerate(bottom):
            if blob.shape != shape:
                raise ShapeError(
                    f"bottoms need one shape: bottom {i} has {list(blob.shape)}, bottom 0 has {list(shape)}"
                )
        if len(shape) != self._num_axes or shape[axis] != self._channels:
            raise ShapeError(
                f"bottom 0 has shape {list(shape)}; the weights are for {self._channels} channels on axis "
                f"{axis} of {self._num_axes}"
            )
        size = shape[axis + 1 :]
        self.windows = windows = self._windows.for_size(size)
        out_size = windows.transposed(size) if self.transposed else windows.convolved(size)
        for blob in top:
            blob.reshape((*shape[:axis], self._outputs, *out_size))
        batch = math.prod(shape[:axis])
        larger, smaller = (out_size, size) if self.transposed else (size, out_size)
        self._plan_for(batch, larger, smaller, windows)
        self._bias_view = (batch, self._outputs, math.prod(out_size))

    def _plan_for(self, batch: int, size: Sizes, out_size: Sizes, windows: Windows) -> None:
        """Plan the convolution from `size` to `out_size`; no spatial axis at all is one of size 1."""
        weights, one = self.blobs[0].shape, (1,) * (not size)
        self._plan = self.ops.plan_convolution(
            (batch, weights[1] * self._groups, *size, *one),
            (*weights, *one),
            (*out_size, *one),
            groups=self._groups,
            stride=(*windows.stride, *one),
            pad=(*windows.pad, *(0 for _ in one)),
            dilation=(*windows.dilation, *one),
            dtype=self.dtype,
            engine=schema.ConvolutionParameter.Engine.Name(self.param.convolution_param.engine),
        )
        self._packed_versions = {}

    # --- forward and backward ---

    @property
    def plan(self) -> ConvolutionPlan:
        """What `ops.convolve` needs to know, for the present shapes."""
        return self._plan

    @property
    def groups(self) -> int:
        """In how many groups the channels are made."""
        return self._groups

    @property
    def slope(self) -> float | None:
        """That of the ReLU which a fork's layer ends with."""
        return self._slope

    def packed_weights(self, transposed: bool) -> Array:
        """The weights in the kernels' order for that direction of a convolution."""
        plan, weights = self._plan, self.blobs[0]
        version = weights.stable_version()
        count = plan.transposed_packed_count if transposed else plan.packed_count
        packed = self.scratch("transposed weights" if transposed else "weights", (count,))
        if version is None or self._packed_versions.get(transposed) != version:
            self.ops.pack_weights(plan, self.read(weights), packed, transposed=transposed)
            self._packed_versions[transposed] = version
        return packed

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        convolve = self.ops.convolve_transposed if self.transposed else self.ops.convolve
        packed = self.packed_weights(self.transposed)
        bias = self.read(self.blobs[1]) if len(self.blobs) > 1 else None
        for x, y in zip(bottom, top, strict=True):
            convolve(self._plan, self.read(x), packed, self.write(y), bias=bias, slope=self._slope)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        learns = self.param_propagate_down
        for i, (x, y) in enumerate(zip(bottom, top, strict=True)):
            dy = self._gradient_before_slope(i, y)
            if len(self.blobs) > 1 and learns[1]:
                dbias = self.update_diff(self.blobs[1])
                self.ops.channel_sum(dy.reshape(self._bias_view), dbias, True)
            if learns[0]:
                pair = (dy, self.read(x)) if self.transposed else (self.read(x), dy)
                self.ops.convolve_gradient(self._plan, *pair, self.update_diff(self.blobs[0]))
            if propagate_down[i]:
                packed = self.packed_weights(not self.transposed)
                convolve = self.ops.convolve if self.transposed else self.ops.convolve_transposed
                convolve(self._plan, dy, packed, self.write_diff(x))

    def _gradient_before_slope(self, index: int, top: Blob) -> Array:
        """The gradient of what the activation takes, where there is one."""
        dy = self.read_diff(top)
        if self._slope is None:
            return dy
        if self._slope < 0 or not self.keeps_top(index):
            raise LayerError(
                "relu in convolution_param has a gradient only for a slope from 0 on and a top that stays"
            )
        dz = self.scratch("dz", dy.shape)
        self.ops.activate_backward("relu", self.read(top), dy, dz, self._slope)
        return dz
