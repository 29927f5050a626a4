"""Rules that run chains of layers as one kernel, every blob and gradient as the single layers give it.

A chain is a row of neighbouring layers, each the only reader of the one before. What a fused step does not
write (the blobs between its layers) is computed when somebody reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from caffenorm.blob import Blob
from caffenorm.layer import Layer
from caffenorm.layers._channel_norm import ChannelNorm
from caffenorm.layers.relu import ReLU
from caffenorm.plan import LayerStep, Step
from caffenorm.synced import Array

Slope = float | None


def follows(steps: Sequence[LayerStep], index: int) -> LayerStep | None:
    """The step at `index`, if it reads the step before it and nothing else."""
    if not 0 < index < len(steps):
        return None
    before, step = steps[index - 1], steps[index]
    if len(step.bottom) != 1 or len(step.top) != 1 or any(before.loss_weights):
        return None
    return step if step.bottom[0] is before.top[0] else None


def _joins(steps: Sequence[LayerStep], index: int, first: LayerStep) -> LayerStep | None:
    """The step at `index`, if it follows and fits a chain that begins with `first`.

    Where the chain begins in place, its bottom could not show what a layer in the middle gives.
    """
    step = follows(steps, index)
    if step is None or (first.top[0] is first.bottom[0] and step.top[0] is not step.bottom[0]):
        return None
    return step


def norm_chain(steps: Sequence[LayerStep], index: int) -> list[LayerStep]:
    """The longest chain BatchNorm (Scale) (ReLU or PReLU) that begins at `index`; empty where none does."""
    first = steps[index]
    layer = first.layer
    if layer.type != "BatchNorm" or not isinstance(layer, ChannelNorm) or not layer.is_plain:
        return []
    chain = [first]
    scale = _joins(steps, index + 1, first)
    if scale is not None and scales_channels(scale.layer, layer.channels):
        chain.append(scale)
    activation = _joins(steps, index + len(chain), first)
    if activation is not None and _is_activation(activation.layer, layer.channels):
        chain.append(activation)
    return chain


def scales_channels(layer: Layer, channels: int) -> bool:
    """Whether this is a Scale of one learned factor for each channel."""
    param = layer.param.scale_param
    bounded = param.HasField("min_value") or param.HasField("max_value")
    learned = layer.type == "Scale" and not bounded and bool(layer.blobs) and param.axis == 1
    return learned and layer.blobs[0].shape == (channels,)


def _is_activation(layer: Layer, channels: int) -> bool:
    if isinstance(layer, ReLU):
        return layer.type == "ReLU" and layer.is_plain and layer.slope >= 0
    return layer.type == "PReLU" and layer.blobs[0].shape == (channels,)


class FusedNorm(Step):
    """BatchNorm, then Scale, ReLU or PReLU where there are, as one kernel each way.

    In training it keeps x_hat where the chain works in place over its bottom, and nothing of the bottom's
    size elsewhere.
    """

    def __init__(self, chain: Sequence[LayerStep]) -> None:
        self.steps = list(chain)
        self.first, self.last = chain[0].first, chain[-1].last
        self.needs_backward = any(step.needs_backward for step in chain)
        norm = chain[0].layer
        assert isinstance(norm, ChannelNorm)
        self.norm = norm
        self.bottom, self.top = chain[0].bottom[0], chain[-1].top[0]
        by_type = {step.layer.type: step for step in chain[1:]}
        self.scale = by_type.get("Scale")
        self.prelu = by_type.get("PReLU")
        relu = by_type["ReLU"].layer if "ReLU" in by_type else None
        self._slope: Slope = float(relu.slope) if isinstance(relu, ReLU) else None
        self._between, self._graded = self._blobs_between()

    def _blobs_between(self) -> tuple[list[tuple[Blob, int]], list[tuple[Blob, int]]]:
        """What the fused kernels do not write.

        Returns:
            Blobs between bottom and top, each with the last step that writes its data; and blobs that show a
            gradient from inside the chain, each with the first step that makes them (the top too, where a
            step works in place on it).
        """
        last: dict[int, tuple[Blob, int]] = {}
        first: dict[int, tuple[Blob, int]] = {}
        for i, step in enumerate(self.steps):
            blob = step.top[0]
            if blob is not self.bottom:
                last[id(blob)] = (blob, i)
                first.setdefault(id(blob), (blob, i))
        end = len(self.steps) - 1
        return (
            [(blob, i) for blob, i in last.values() if blob is not self.top],
            [(blob, i) for blob, i in first.values() if i != end],
        )

    # --- parameters ---

    def _affine(self, upto: int = 99) -> tuple[Array | None, Array | None]:
        """gamma and beta, as far as the chain up to that step has them."""
        if self.scale is None or upto == 0:
            return None, None
        layer = self.scale.layer
        gamma = layer.read(layer.blobs[0])
        return gamma, layer.read(layer.blobs[1]) if len(layer.blobs) > 1 else None

    def _slopes(self) -> Slope | Array:
        return self._slope if self.prelu is None else self.prelu.layer.read(self.prelu.layer.blobs[0])

    # --- forward ---

    def forward(self) -> None:
        norm, bottom = self.norm, self.bottom
        if not bottom.count:
            return
        view = norm.view
        x, y = norm.read(bottom).reshape(view), norm.write(self.top).reshape(view)
        gamma, beta = self._affine()
        saved = norm.scratch("x_hat", view) if self.needs_backward and not norm.keeps_bottom(0) else None
        norm.saved_x_hat = saved
        if norm.batch_statistics:
            norm.ops.batch_norm_train(
                x,
                y,
                norm.mean,
                norm.var,
                norm.inv_std,
                norm.eps,
                gamma=gamma,
                beta=beta,
                slope=self._slopes(),
                x_hat=saved,
            )
            norm.remember()
        else:
            norm.recall()
            norm.ops.batch_norm_apply(
                x, y, norm.mean, norm.inv_std, gamma=gamma, beta=beta, slope=self._slopes(), x_hat=saved
            )
        for blob, _ in self._graded:
            blob.diff_memory.pending = None
        for blob, data_step in self._between:
            sources = [
                bottom.data_memory,
                *(b.data_memory for step in self.steps[1:] for b in step.layer.blobs),
            ]
            blob.data_memory.postpone(partial(self._fill, blob, data_step), sources)

    def _fill(self, blob: Blob, upto: int) -> None:
        """The data that the chain shows after that step."""
        norm = self.norm
        gamma, beta = self._affine(upto)
        x, y = norm.read(self.bottom).reshape(norm.view), norm.write(blob).reshape(norm.view)
        norm.ops.batch_norm_apply(x, y, norm.mean, norm.inv_std, gamma=gamma, beta=beta)

    # --- backward ---

    def backward(self) -> None:
        norm = self.norm
        if not self.bottom.count:
            return
        view = norm.view
        dy = norm.read_diff(self.top).reshape(view)
        dx = norm.write_diff(self.bottom).reshape(view) if self.steps[0].propagate_down[0] else None
        gamma, beta = self._affine()
        dgamma, dbeta = self._scale_gradients()
        dslope = self._gradient(self.prelu, 0)
        if dx is None and dgamma is None and dbeta is None and dslope is None:
            return
        saved = norm.saved_x_hat
        x = saved if saved is not None else norm.read(self.bottom).reshape(view)
        norm.ops.batch_norm_backward(
            x, dy, dx, norm.mean, norm.inv_std, gamma=gamma, beta=beta, slope=self._slopes(),
            dgamma=dgamma, dbeta=dbeta, dslope=dslope,
            use_global_stats=not norm.batch_statistics, x_is_hat=saved is not None,
        )  # fmt: skip
        self._postpone_gradients()

    def _postpone_gradients(self) -> None:
        """Blobs inside the chain show their gradients when somebody reads them before the next forward."""
        sources = [
            self.bottom.data_memory,
            *(b.data_memory for step in self.steps[1:] for b in step.layer.blobs),
        ]
        for blob, after in self._graded:
            reads = sources if blob is self.top else [*sources, self.top.diff_memory]
            blob.diff_memory.postpone(partial(self._fill_diff, blob, after), reads)

    def _scale_gradients(self) -> tuple[Array | None, Array | None]:
        dgamma, dbeta = self._gradient(self.scale, 0), self._gradient(self.scale, 1)
        outer, channels, inner = self.norm.view
        if dgamma is not None and ((outer == 1 and channels > 1) or outer * inner == 1):
            dgamma[...] = 0  # Caffe replaces the multiplier's gradient in these cases; see the layer Scale
        return dgamma, dbeta

    @staticmethod
    def _gradient(step: LayerStep | None, index: int) -> Array | None:
        """Where the gradient of a parameter goes; None where there is none, or nobody wants it."""
        if step is None or index >= len(step.layer.blobs) or not step.layer.param_propagate_down[index]:
            return None
        return step.layer.update_diff(step.layer.blobs[index])

    def _fill_diff(self, blob: Blob, after: int) -> None:
        """The gradient that the chain shows between that step and the next."""
        norm, view = self.norm, self.norm.view
        memory = self.top.diff_memory
        if blob is self.top:  # about to be overwritten
            for other, _ in self._graded:
                other.diff_memory.settle()
        waiting, memory.pending = memory.pending, None
        dy = norm.read_diff(self.top).reshape(view)
        memory.pending = waiting
        out = norm.write_diff(blob).reshape(view)
        slopes = self._slopes()
        if slopes is not None:
            z = norm.scratch("z", view)
            gamma, beta = self._affine()
            norm.ops.batch_norm_apply(
                norm.read(self.bottom).reshape(view), z, norm.mean, norm.inv_std, gamma=gamma, beta=beta
            )
            xp = norm.ops.xp
            slope = slopes if self.prelu is not None else xp.full(1, slopes, norm.dtype)
            norm.ops.prelu_backward(z, dy, slope, out)
            dy = out
        if self.scale is not None and after == 0:
            norm.ops.scale_backward_input(dy, self._affine()[0], out)
        elif dy is not out:
            out[...] = dy

    # --- leaving the fused plan ---

    def settle(self) -> None:
        """Bring blobs and layers to where the single layers' forward would have left them."""
        for blob, _ in self._between:
            blob.data_memory.settle()
        if not self.needs_backward or not self.bottom.count:
            return
        norm = self.norm
        between = norm.new_blob(self.bottom.shape)
        y = norm.write(between)
        if norm.saved_x_hat is not None:
            norm.ops.xp.copyto(y.reshape(norm.view), norm.saved_x_hat)
        else:
            x = norm.read(self.bottom).reshape(norm.view)
            norm.ops.batch_norm_apply(x, y.reshape(norm.view), norm.mean, norm.inv_std)
        for step in self.steps[1:]:
            if step.top[0] is step.bottom[0]:  # in place: the layer keeps what it needs for its backward
                step.layer.forward([between], [between])
            else:
                following = norm.new_blob(self.bottom.shape)
                step.layer.forward([between], [following])
                between = following
