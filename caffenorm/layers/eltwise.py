"""Eltwise: sum, product or maximum of blobs of one shape."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_Operation = schema.EltwiseParameter


@register_layer("Eltwise")
class Eltwise(Layer):
    """SUM: y = sum of coeff[i] * x[i]. PROD: y = product of x[i]. MAX: y = largest of x[i].

    Shape: all bottoms and the top have one shape; nothing is broadcast.
    Raises: ShapeError for different shapes. LayerError for coeff with PROD, or another number of coeff than
        bottoms.
    Caffe: MAX takes the second of two equal bottoms, and a later one only where it is larger; the gradient
        goes to the one that is taken.
        The gradient of PROD is the product of the others, or y / x with `stable_prod_grad: false` (NaN where
        x is 0).
    """

    num_bottoms = (2, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.eltwise_param
        self._operation = param.operation
        if param.coeff and len(param.coeff) != len(bottom):
            raise LayerError(
                f"has {len(param.coeff)} coeff for {len(bottom)} bottoms; give one for each, or none"
            )
        if param.coeff and param.operation == _Operation.PROD:
            raise LayerError("coeff goes with SUM, not with PROD")
        self._weights = list(param.coeff) or [1.0] * len(bottom)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, blob in enumerate(bottom):
            if blob.shape != bottom[0].shape:
                raise ShapeError(
                    f"bottom {i} has shape {list(blob.shape)}, bottom 0 has {list(bottom[0].shape)}; they must be the same"
                )
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xs, y = [self.read(blob) for blob in bottom], self.write(top[0])
        if self._operation == _Operation.SUM:
            self.ops.weighted_sum(xs, self._weights, y)
        elif self._operation == _Operation.PROD:
            self._product(xs, y)
        else:
            winner = self.scratch("winner", y.shape, "i4")
            self.ops.xp.copyto(y, xs[0])
            for number, x in enumerate(xs[1:], 1):
                self.ops.maximum(x, y, winner, number)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        xp, dy = self.ops.xp, self.read_diff(top[0])
        for i, blob in enumerate(bottom):
            if not propagate_down[i]:
                continue
            dx = self.write_diff(blob)
            if self._operation == _Operation.SUM:
                if self._weights[i] == 1:
                    xp.copyto(dx, dy)
                else:
                    xp.multiply(dy, self._weights[i], out=dx)
            elif self._operation == _Operation.PROD:
                self._product_gradient(i, bottom, top[0], dy, dx)
            else:
                taken = self.scratch("taken", dy.shape, bool)
                xp.equal(self.scratch("winner", dy.shape, "i4"), i, out=taken)
                xp.multiply(dy, taken, out=dx)

    def _product(self, xs: Sequence[Array], out: Array) -> None:
        xp = self.ops.xp
        if len(xs) == 1:
            xp.copyto(out, xs[0])
            return
        xp.multiply(xs[0], xs[1], out=out)
        for x in xs[2:]:
            xp.multiply(out, x, out=out)

    def _product_gradient(self, i: int, bottom: Sequence[Blob], top: Blob, dy: Array, dx: Array) -> None:
        xp = self.ops.xp
        if self.param.eltwise_param.stable_prod_grad:
            self._product([self.read(blob) for k, blob in enumerate(bottom) if k != i], dx)
        else:
            with xp.errstate(divide="ignore", invalid="ignore"):
                xp.divide(self.read(top), self.read(bottom[i]), out=dx)
        with xp.errstate(invalid="ignore"):
            xp.multiply(dx, dy, out=dx)
