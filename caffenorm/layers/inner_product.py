"""InnerProduct: a fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, canonical_axis, register_layer
from caffenorm.synced import Array


@register_layer("InnerProduct")
class InnerProduct(Layer):
    """y = x w^T + b, with all axes of x from `axis` on taken as one.

    Shape: bottom shape[:axis] + K values; weights (num_output, K), or (K, num_output) with transpose; bias
        (num_output,); top shape[:axis] + (num_output,).
    Raises: LayerError without num_output; ShapeError if a new shape has another K.
    Caffe: a new shape only needs the same K. Read of forks: relu with negative_slope (a ReLU afterwards).
    """

    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.inner_product_param
        if param.num_output < 1:
            raise LayerError("num_output must be given, and be 1 or more")
        if param.normalize:
            raise LayerError(
                "normalize (weights of unit norm) is not supported; normalise the weights themselves"
            )
        self._axis = canonical_axis(param.axis, len(bottom[0].shape))
        self._outputs, self._inputs = int(param.num_output), math.prod(bottom[0].shape[self._axis :])
        self._transpose = bool(param.transpose)
        self._slope = float(param.negative_slope) if param.relu else None
        sizes = (self._inputs, self._outputs) if self._transpose else (self._outputs, self._inputs)
        weights = self.new_blob(sizes)
        self.fill(weights, param.weight_filler)
        self.blobs = [weights]
        if param.bias_term:
            bias = self.new_blob((self._outputs,))
            self.fill(bias, param.bias_filler)
            self.blobs.append(bias)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        inputs = math.prod(shape[self._axis :])
        if inputs != self._inputs or len(shape) <= self._axis:
            raise ShapeError(
                f"bottom 0 has shape {list(shape)}, {inputs} values from axis {self._axis} on; "
                f"the weights are for {self._inputs}"
            )
        self._rows = math.prod(shape[: self._axis])
        top[0].reshape((*shape[: self._axis], self._outputs))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.read(bottom[0]).reshape(self._rows, self._inputs)
        y = self.write(top[0]).reshape(self._rows, self._outputs)
        bias = self.read(self.blobs[1]) if len(self.blobs) > 1 else None
        weights = self.read(self.blobs[0])
        self.ops.multiply(x, weights, y, transpose_b=not self._transpose, bias=bias, slope=self._slope)

    @property
    def slope(self) -> float | None:
        """That of the ReLU which a fork's layer ends with."""
        return self._slope

    @property
    def transpose(self) -> bool:
        """Whether the weights are (K, num_output)."""
        return self._transpose

    def multiply_folded(
        self,
        x: Array,
        weights: Array,
        y: Array,
        *,
        bias: Array | None,
        more: Array | None,
        slope: float | None,
    ) -> None:
        """forward with other weights and bias, with `more` added, then a ReLU."""
        xs, ys = x.reshape(self._rows, self._inputs), y.reshape(self._rows, self._outputs)
        late = slope if more is not None else None
        soon = slope if more is None else None
        self.ops.multiply(xs, weights, ys, transpose_b=not self._transpose, bias=bias, slope=soon)
        if more is not None:
            self.ops.xp.add(y, more, out=y)
        if late is not None:
            self.ops.activate("relu", y, y, late)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.read_diff(top[0])
        if self._slope is not None:
            if self._slope < 0 or not self.keeps_top(0):
                raise LayerError(
                    "relu has a gradient only for a slope from 0 on and a top that stays as it is"
                )
            dz = self.scratch("dz", dy.shape)
            self.ops.activate_backward("relu", self.read(top[0]), dy, dz, self._slope)
            dy = dz
        dy = dy.reshape(self._rows, self._outputs)
        if self.param_propagate_down[0]:
            x = self.read(bottom[0]).reshape(self._rows, self._inputs)
            pair = (x, dy) if self._transpose else (dy, x)
            self.ops.multiply(*pair, self.update_diff(self.blobs[0]), transpose_a=True, accumulate=True)
        if len(self.blobs) > 1 and self.param_propagate_down[1]:
            self.ops.channel_sum(
                dy.reshape(self._rows, self._outputs, 1), self.update_diff(self.blobs[1]), True
            )
        if propagate_down[0]:
            dx = self.write_diff(bottom[0]).reshape(self._rows, self._inputs)
            self.ops.multiply(dy, self.read(self.blobs[0]), dx, transpose_b=self._transpose)
