"""What is checked: a layer in its place in a net, or a net from its inputs to its losses.

A subject is a function of some arrays that can be run again and again from the same state: what a run changes
(statistics, inputs that are worked over in place, random numbers, memory of earlier runs) is put back before
the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import _random
from caffenorm.blob import Blob
from caffenorm.errors import CaffenormError
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

Floats = NDArray[np.float64]
_REPEATS = 1e-12  # relative: a run repeats another if no output differs by more


@dataclass(frozen=True)
class Target:
    """An array whose gradient is checked.

    Attributes:
        layer: it belongs to. what, name: for the report.
        blobs: with these values; where several share them, their gradients add up.
    """

    layer: Layer
    what: str
    name: str
    blobs: tuple[Blob, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.blobs[0].shape

    def values(self) -> Floats:
        """The values, flat, to be read and changed."""
        return self.blobs[0].data.reshape(-1)

    def gradient(self) -> Floats:
        """What backward left, flat."""
        total: Floats = sum((blob.diff.reshape(-1) for blob in self.blobs), np.zeros(self.blobs[0].count))
        return total


class Kept:
    """Copies of blobs' values and gradients, to put back; memory that several share is kept once."""

    def __init__(self, blobs: Iterable[Blob]) -> None:
        self._data: dict[int, tuple[Blob, NDArray[Any]]] = {}
        self._diff: dict[int, tuple[Blob, NDArray[Any]]] = {}
        for blob in blobs:
            if id(blob.data_memory) not in self._data:
                self._data[id(blob.data_memory)] = blob, blob.data.copy()
            if id(blob.diff_memory) not in self._diff:
                self._diff[id(blob.diff_memory)] = blob, blob.diff.copy()

    def changed(self) -> list[tuple[Blob, NDArray[Any]]]:
        """Blobs whose values are no longer those kept, with these."""
        return [(b, v) for b, v in self._data.values() if not np.array_equal(b.data, v, equal_nan=True)]

    def restore(self) -> None:
        """Put everything back."""
        for blob, values in self._data.values():
            blob.reshape(values.shape)
            blob.data[...] = values
        for blob, values in self._diff.values():
            blob.diff[...] = values


class Subject:
    """A function of some arrays, and its gradient.

    Attributes:
        targets: the arrays.
        repeats: whether the same values give the same result.
    """

    targets: list[Target]

    def __init__(self, layers: Sequence[Layer], values: Iterable[Blob], moving: Iterable[Blob]) -> None:
        """Run it once.

        Args:
            layers: that take part.
            values: all blobs that they touch.
            moving: those that a run may work over in place; others that it changes are found.
        """
        self._rng = _random.generator().bit_generator.state
        kept = Kept(values)
        self._moved = [(blob, blob.data.copy()) for blob in moving]
        self._memory: list[tuple[Any, Any]] = []  # Any: arrays of a device
        self._forward()
        self._moved += kept.changed()
        self.repeats = self._repeats()
        if not self.repeats:
            self._memory = [(a, a.copy()) for layer in layers for a in layer._scratch.values()]
            self.repeats = self._repeats()

    def _repeats(self) -> bool:
        first, second = self.evaluate(), self.evaluate()
        return first.shape == second.shape and np.allclose(first, second, _REPEATS, 0, equal_nan=True)

    def evaluate(self, target: Target | None = None, index: int = 0, value: float = 0.0) -> Floats:
        """All outputs, flat, where element `index` of `target` has another value."""
        self._rewind()
        if target is None:
            self._forward()
            return self._outputs()
        before = target.values()[index]
        target.values()[index] = value
        self._forward()
        outputs = self._outputs()
        target.values()[index] = before
        return outputs

    def gradients(self, weights: Floats) -> list[Floats]:
        """The analytic gradients by all targets of the sum of `weights` times the outputs."""
        self._rewind()
        self._forward()
        for target in self.targets:
            for blob in target.blobs:
                blob.diff[...] = self._before_backward(target)
        self._seed(weights)
        self._backward()
        return [target.gradient() for target in self.targets]

    def _rewind(self) -> None:
        _random.generator().bit_generator.state = self._rng
        for blob, values in self._moved:
            blob.reshape(values.shape)  # Filter's tops have as many rows as it selects
            blob.data[...] = values
        for array, values in self._memory:
            array[...] = values

    def _before_backward(self, target: Target) -> float:
        """What the gradient holds before: parameters' are added to, others must be overwritten."""
        return 0.0 if any(target.blobs[0] is blob for blob in target.layer.blobs) else np.nan

    def _forward(self) -> None:
        raise NotImplementedError

    def _backward(self) -> None:
        raise NotImplementedError

    def _outputs(self) -> Floats:
        raise NotImplementedError

    def _seed(self, weights: Floats) -> None:
        """Put the weights into the outputs' gradients."""
        raise NotImplementedError


class LayerSubject(Subject):
    """One layer of a net at the bottoms that it has now: its tops as a function of bottoms and parameters.

    Losses are a function to top 0 alone: other tops give no gradient.

    Attributes:
        refused: bottoms that the layer gives no gradient to, and why.
    """

    def __init__(self, step: LayerStep, bottom_names: Sequence[str]) -> None:
        self._step = step
        step.reshape_if_changed()
        layer = step.layer
        allowed = [asked or layer.allow_force_backward(i) for i, asked in enumerate(step.propagate_down)]
        self.targets = [*_bottoms(step, allowed, bottom_names), *parameters(layer)]
        self._propagate_down = [False] * len(step.bottom)
        self._tops = step.top[:1] if layer.is_loss else step.top
        in_place = [blob for blob in step.bottom if any(blob is top for top in step.top)]
        super().__init__([layer], [*step.bottom, *step.top, *layer.blobs], in_place)
        self.refused: list[tuple[str, str]] = []
        for target in list(self.targets):
            self._try(target)
        self._ask_for(self.targets)

    def _ask_for(self, targets: Sequence[Target]) -> None:
        reached = {id(blob) for target in targets for blob in target.blobs}
        self._propagate_down = [id(blob) in reached for blob in self._step.bottom]

    def _try(self, target: Target) -> None:
        """Take a bottom off the targets if the layer refuses its gradient."""
        self._ask_for([target])
        if any(self._propagate_down):
            try:
                self._seed(np.zeros(self._outputs().size))
                self._backward()
            except CaffenormError as error:
                self.targets.remove(target)
                self.refused.append((target.what, error.message))

    def _forward(self) -> None:
        layer = self._step.layer
        needed, layer.needs_backward = layer.needs_backward, True
        try:
            layer.forward(self._step.bottom, self._step.top)
        finally:
            layer.needs_backward = needed

    def _backward(self) -> None:
        layer = self._step.layer
        before, layer.param_propagate_down = layer.param_propagate_down, [True] * len(layer.blobs)
        try:
            layer.backward(self._step.top, self._propagate_down, self._step.bottom)
        finally:
            layer.param_propagate_down = before

    def _outputs(self) -> Floats:
        return np.concatenate([np.zeros(0), *(top.data.reshape(-1) for top in self._tops)])

    def _seed(self, weights: Floats) -> None:
        for top in self._step.top:
            top.diff[...] = 0
        place = 0
        for top in self._tops:
            top.diff[...] = weights[place : place + top.count].reshape(top.shape)
            place += top.count


class NetSubject(Subject):
    """A whole net: its loss, or where it has none all its outputs, as a function of inputs and parameters."""

    def __init__(self, net: Net) -> None:
        self._net = net
        steps = net._steps
        unread = {id(net.blobs[name]): name for name in net.inputs}
        self.targets = []
        for step in steps:
            for i, blob in enumerate(step.bottom):
                name = unread.pop(id(blob), None)
                if name is not None and step.needs_backward and step.propagate_down[i]:
                    self.targets.append(Target(step.layer, f"bottom {i}", name, (blob,)))
            if step.needs_backward:
                self.targets += [t for t in parameters(step.layer) if _is_owner(net, t)]
        self._losses = any(any(step.loss_weights) for step in steps)
        blobs = [*(net.blobs.values()), *(blob for step in steps for blob in [*step.top, *step.layer.blobs])]
        super().__init__(net.layers, blobs, [net.blobs[name] for name in net.inputs])

    def _forward(self) -> None:
        self._net.run_forward()

    def _backward(self) -> None:
        self._net.run_backward()

    def _outputs(self) -> Floats:
        if self._losses:
            return np.array([self._net.loss])
        return np.concatenate(
            [np.zeros(0), *(self._net.blobs[n].data.reshape(-1) for n in self._net.outputs)]
        )

    def _seed(self, weights: Floats) -> None:
        self._net.clear_param_diffs()
        if self._losses:
            self._seed_losses(float(weights[0]))
            return
        place = 0
        for blob in (self._net.blobs[name] for name in self._net.outputs):
            blob.diff[...] = weights[place : place + blob.count].reshape(blob.shape)
            place += blob.count

    def _seed_losses(self, weight: float) -> None:
        for name in self._net.outputs:
            self._net.blobs[name].diff[...] = 0
        for step in self._net._steps:
            for top, loss_weight in zip(step.top, step.loss_weights, strict=True):
                if loss_weight:
                    top.diff[...] = loss_weight * weight


def _bottoms(step: LayerStep, allowed: Sequence[bool], names: Sequence[str]) -> list[Target]:
    """The bottoms that have a gradient; those that share their values (after a Split) are one array."""
    groups: dict[int, list[int]] = {}
    for i, blob in enumerate(step.bottom):
        groups.setdefault(id(blob.data_memory), []).append(i)
    targets = []
    for group in groups.values():
        if all(allowed[i] for i in group):
            what = ("bottom " if len(group) == 1 else "bottoms ") + ", ".join(str(i) for i in group)
            blobs = tuple(step.bottom[i] for i in group)
            targets.append(Target(step.layer, what, ", ".join(names[i] for i in group), blobs))
    return targets


def parameters(layer: Layer) -> list[Target]:
    """The parameters that learn; those with lr_mult 0, such as BatchNorm's statistics, are left out."""
    specs = layer.param.param
    return [
        Target(layer, f"parameter {i}", specs[i].name if i < len(specs) else "", (blob,))
        for i, blob in enumerate(layer.blobs)
        if i >= len(specs) or specs[i].lr_mult != 0
    ]


def _is_owner(net: Net, target: Target) -> bool:
    """Whether a parameter is the net's own copy, not shared by name with an earlier layer's."""
    return any(param.blob is target.blobs[0] for param in net.learnable_params)
