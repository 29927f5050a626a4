"""Eltwise: sum, product or maximum of blobs of one shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_Operation = schema.EltwiseParameter
_SUPPORTED = {_Operation.PROD, _Operation.SUM, _Operation.MAX}


@register_layer("Eltwise")
class Eltwise(Layer):
    """SUM: y = sum of coeff[i] * x[i]. PROD: y = product of x[i]. MAX: y = largest of x[i].

    Shape: all bottoms and the top have one shape; nothing is broadcast.
    Raises: ShapeError for different shapes. LayerError for coeff with PROD, another number of coeff than
        bottoms, and for operations and a `coeff_blob` of forks.
    Caffe: MAX takes the second of two equal bottoms, and a later one only where it is larger; the gradient
        goes to the one that is taken. The gradient of PROD is the product of the others, or y / x with
        `stable_prod_grad: false` (NaN where x is 0). In place Caffe computes something else; here it is
        refused.
    """

    num_bottoms = (2, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.eltwise_param
        self._operation = param.operation
        if param.operation not in _SUPPORTED:
            name = _Operation.EltwiseOp.Name(param.operation)
            raise LayerError(f"operation {name} of a fork is not supported; SUM, PROD and MAX are")
        if param.coeff_blob:
            raise LayerError("coeff_blob of a fork is not supported; coeff gives fixed coefficients")
        if param.coeff and len(param.coeff) != len(bottom):
            raise LayerError(
                f"has {len(param.coeff)} coeff for {len(bottom)} bottoms; give one for each, or none"
            )
        if param.coeff and param.operation == _Operation.PROD:
            raise LayerError("coeff goes with SUM, not with PROD")
        self._weights = list(param.coeff) or None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, blob in enumerate(bottom):
            if blob.shape != bottom[0].shape:
                raise ShapeError(
                    f"bottom {i} has shape {list(blob.shape)}, bottom 0 has {list(bottom[0].shape)}; "
                    "they must be the same"
                )
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xs, y = [self.read(blob) for blob in bottom], self.write(top[0])
        if self._operation == _Operation.SUM:
            self.ops.weighted_sum(xs, self._weights, y)
        elif self._operation == _Operation.MAX:
            self.ops.maximum(xs, y, self._winner(y) if self.needs_backward else None)
        else:
            self._keep(xs)
            self.ops.product(xs, y)
            if self.needs_backward and not self._is_stable and not self.keeps_top(0):
                self.ops.xp.copyto(self.scratch("y", y.shape), y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.read_diff(top[0])
        for i, blob in enumerate(bottom):
            if not propagate_down[i]:
                continue
            dx = self.write_diff(blob)
            if self._operation == _Operation.SUM:
                self.ops.weighted_sum([dy], self._weights and [self._weights[i]], dx)
            elif self._operation == _Operation.MAX:
                self.ops.maximum_backward(dy, self._winner(dy), i, dx)
            elif self._is_stable:
                xs = self._kept(bottom)
                self.ops.product([*xs[:i], *xs[i + 1 :], dy], dx)
            else:
                y = self.read(top[0]) if self.keeps_top(0) else self.scratch("y", dy.shape)
                with np.errstate(all="ignore"):
                    self.ops.xp.divide(y, self._kept(bottom)[i], out=dx)
                    self.ops.xp.multiply(dx, dy, out=dx)

    @property
    def _is_stable(self) -> bool:
        return self.param.eltwise_param.stable_prod_grad

    def _winner(self, like: Array) -> Array:
        """For each value of MAX, the number of the bottom it comes from."""
        return self.scratch("winner", like.shape, "i4")

    def _keep(self, xs: Sequence[Array]) -> None:
        """Copy those factors that somebody works over before backward."""
        for i, x in enumerate(xs):
            if self.needs_backward and not self.keeps_bottom(i):
                self.ops.xp.copyto(self.scratch(f"x{i}", x.shape), x)

    def _kept(self, bottom: Sequence[Blob]) -> list[Array]:
        """The factors as forward found them."""
        return [
            self.read(blob) if self.keeps_bottom(i) else self.scratch(f"x{i}", blob.shape)
            for i, blob in enumerate(bottom)
        ]
