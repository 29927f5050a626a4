"""At TEST phase, BatchNorm, Scale, a residual sum and ReLU after a product fold into it.

Convolution and InnerProduct take the channel's factor into their weights, the offset into their bias, and the
sum and the ReLU into their kernel. The blobs between, which the kernel does not write, are computed by the
single layers when somebody reads them. Only chains that no backward needs are folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.fusion import follows, scales_channels
from caffenorm.layers._channel_norm import ChannelNorm
from caffenorm.layers._convolution import ConvolutionBase
from caffenorm.layers.inner_product import InnerProduct
from caffenorm.layers.relu import ReLU
from caffenorm.plan import LayerStep, Step
from caffenorm.synced import Array, Synced

_PRODUCTS = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "InnerProduct")


def folded_chain(steps: Sequence[LayerStep], index: int) -> FoldedProduct | None:
    """The longest chain product (BatchNorm (Scale)) (Eltwise SUM) (ReLU) from `index` on that can fold."""
    first = steps[index]
    layer = first.layer
    if not isinstance(layer, ConvolutionBase | InnerProduct) or layer.type not in _PRODUCTS:
        return None
    if layer.phase != schema.TEST or len(first.bottom) != 1 or layer.slope is not None:
        return None
    chain = [first]
    norm = _plain_follower(steps, index + 1)
    if norm is not None and isinstance(norm.layer, ChannelNorm) and _normalises(norm.layer, first.top[0]):
        chain.append(norm)
        scale = _plain_follower(steps, index + 2)
        if scale is not None and scales_channels(scale.layer, norm.layer.channels):
            chain.append(scale)
    total = _residual(steps, index + len(chain))
    if total is not None:
        chain.append(total)
    relu = _plain_follower(steps, index + len(chain))
    if relu is not None and isinstance(relu.layer, ReLU) and relu.layer.is_plain and relu.layer.slope >= 0:
        chain.append(relu)
    if len(chain) == 1 or any(step.needs_backward for step in chain):
        return None
    return FoldedProduct(chain)


def _plain_follower(steps: Sequence[LayerStep], index: int) -> LayerStep | None:
    """The step at `index`, if it only reads the step before it."""
    return follows(steps, index) if index < len(steps) else None


def _normalises(norm: ChannelNorm, top: Blob) -> bool:
    """Whether the norm multiplies the product's outputs by stored numbers."""
    return (
        norm.type == "BatchNorm"
        and norm.is_plain
        and not norm.batch_statistics
        and norm.channels == top.shape[1]
    )


def _residual(steps: Sequence[LayerStep], index: int) -> LayerStep | None:
    """The step at `index`, if it adds one other blob to the top of the step before it."""
    if not 0 < index < len(steps):
        return None
    before, step = steps[index - 1], steps[index]
    if step.layer.type != "Eltwise" or len(step.bottom) != 2 or any(before.loss_weights):
        return None
    param = step.layer.param.eltwise_param
    if param.operation != schema.EltwiseParameter.SUM or any(c != 1 for c in param.coeff):
        return None
    mine = [blob is before.top[0] for blob in step.bottom]
    shared = step.bottom[0].data_memory is step.bottom[1].data_memory
    return step if sum(mine) == 1 and not shared else None


class FoldedProduct(Step):
    """A chain that begins with Convolution or InnerProduct, as one kernel."""

    needs_backward = False

    def __init__(self, chain: Sequence[LayerStep]) -> None:
        self.steps = list(chain)
        self.first, self.last = chain[0].first, chain[-1].last
        by_type = {step.layer.type: step for step in chain[1:]}
        product = chain[0].layer
        assert isinstance(product, ConvolutionBase | InnerProduct)
        self.product = product
        self.bottom, self.top = chain[0].bottom[0], chain[-1].top[0]
        norm = by_type.get("BatchNorm")
        self.norm = norm.layer if norm is not None and isinstance(norm.layer, ChannelNorm) else None
        self.scale = by_type["Scale"].layer if "Scale" in by_type else None
        relu = by_type["ReLU"].layer if "ReLU" in by_type else None
        self._slope = float(relu.slope) if isinstance(relu, ReLU) else None
        total = by_type.get("Eltwise")
        self._other = None
        if total is not None:
            before = chain[chain.index(total) - 1].top[0]
            self._other = next(blob for blob in total.bottom if blob is not before)
        self._params = [blob for step in chain for blob in step.layer.blobs]
        self._versions: tuple[object, ...] | None = None
        self._between = self._blobs_between()

    def _blobs_between(self) -> list[tuple[Blob, list[LayerStep]]]:
        """Blobs that the kernel does not write, each with the layers that do."""
        writers: dict[int, tuple[Blob, list[LayerStep]]] = {}
        for step in self.steps:
            if step.top[0] is not self.top:
                writers.setdefault(id(step.top[0]), (step.top[0], []))[1].append(step)
        return list(writers.values())

    def forward(self) -> None:
        ops = self.product.ops
        if not self.top.count:
            return
        self._fold()
        x, y = self.product.read(self.bottom), self.product.write(self.top)
        more = None if self._other is None else self.product.read(self._other)
        if isinstance(self.product, ConvolutionBase):
            ops.convolve(
                self.product.plan, x, self._weights, y, bias=self._bias, more=more, slope=self._slope
            )
        else:
            self.product.multiply_folded(x, self._weights, y, bias=self._bias, more=more, slope=self._slope)
        for blob, steps in self._between:
            blob.data_memory.postpone(partial(_run, steps), self._sources())

    def _sources(self) -> list[Synced]:
        return [self.bottom.data_memory, *(blob.data_memory for blob in self._params)]

    # --- folding ---

    def _fold(self) -> None:
        """Make the weights and the bias, unless they are what the parameters still say."""
        plan = self.product.plan if isinstance(self.product, ConvolutionBase) else None
        versions = (plan, *(blob.stable_version() for blob in self._params))
        if self._versions == versions and None not in versions[1:]:
            return
        self._versions = versions
        product = self.product
        weights = product.read(product.blobs[0])
        bias = product.read(product.blobs[1]) if len(product.blobs) > 1 else None
        if self.norm is not None:
            factor, bias = self._factor_and_offset(bias)
            weights = self._scaled(weights, factor)
        self._bias = bias
        if plan is None:
            self._weights = weights
        else:
            self._weights = product.scratch("folded, packed", (plan.packed_count,))
            product.ops.pack_weights(plan, weights, self._weights)

    def _factor_and_offset(self, bias: Array | None) -> tuple[Array, Array]:
        """gamma / std and beta + (bias - mean) * gamma / std, in float64 and then cut to the net's dtype."""
        norm = self.norm
        assert norm is not None
        norm.recall()
        factor = norm.inv_std.astype("f8")
        offset = -norm.mean.astype("f8") if bias is None else bias.astype("f8") - norm.mean
        if self.scale is not None:
            factor *= norm.read(self.scale.blobs[0]).reshape(-1)
        offset *= factor
        if self.scale is not None and len(self.scale.blobs) > 1:
            offset += norm.read(self.scale.blobs[1]).reshape(-1)
        return factor, offset.astype(norm.dtype)

    def _scaled(self, weights: Array, factor: Array) -> Array:
        """The weights times the factor of their output."""
        product = self.product
        scaled = product.scratch("folded", weights.shape)
        outputs = (-1,) + (1,) * (weights.ndim - 1)
        if isinstance(product, InnerProduct) and product.transpose:
            outputs = (1, -1)
        scaled[...] = weights * factor.reshape(outputs)
        return scaled

    def settle(self) -> None:
        for blob, _ in self._between:
            blob.data_memory.settle()


def _run(steps: Sequence[LayerStep]) -> None:
    """The single layers, as they run by themselves."""
    for step in steps:
        step.layer.forward(step.bottom, step.top)
