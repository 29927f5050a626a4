"""What a net runs: a list of steps, at first one a layer; `fusion` may replace several by one."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import Where
from caffenorm.layer import Layer


class Step:
    """One or several layers that run as one.

    Attributes:
        first, last: numbers of the first and the last layer covered.
        needs_backward: whether backward has anything to do.
    """

    first: int
    last: int
    needs_backward: bool

    def forward(self) -> None:
        """Compute the tops."""
        raise TypeError("a step must say how it runs")

    def backward(self) -> None:
        """Compute the gradients."""
        raise TypeError("a step must say how it runs backward")

    def settle(self) -> None:
        """Bring blobs and layers to where the single layers' forward would have left them."""


class LayerStep(Step):
    """One layer with its blobs.

    Attributes:
        propagate_down: for each bottom, whether its gradient is wanted.
        loss_weights: for each top.
        where: file, line and layer, for messages.
    """

    def __init__(self, index: int, layer: Layer, bottom: list[Blob], top: list[Blob], where: Where) -> None:
        self.first = self.last = index
        self.layer = layer
        self.bottom = bottom
        self.top = top
        self.where = where
        self.propagate_down = [False] * len(bottom)
        self.loss_weights = [0.0] * len(top)
        self.needs_backward = False
        self._ticks: tuple[int, ...] = ()

    def reshape(self) -> None:
        """Let the layer shape its tops."""
        self.layer.reshape(self.bottom, self.top)
        self._ticks = self._now()
        for top, weight in zip(self.top, self.loss_weights, strict=True):
            if weight:
                top.write_diff()[...] = weight

    def reshape_if_changed(self) -> None:
        """Reshape where a blob of this layer has changed its shape since the last time."""
        if self._ticks != self._now():
            self.reshape()

    def _now(self) -> tuple[int, ...]:
        return tuple([blob.tick for blob in self.bottom] + [blob.tick for blob in self.top])

    def forward(self) -> None:
        self.layer.forward(self.bottom, self.top)

    def backward(self) -> None:
        self.layer.backward(self.top, self.propagate_down, self.bottom)

    def loss(self) -> float:
        """The tops times their loss weights."""
        total = 0.0
        for top, weight in zip(self.top, self.loss_weights, strict=True):
            if weight:
                total += weight * float(top.read().sum(dtype="f8"))
        return total


def mark_overwritten(steps: Sequence[LayerStep]) -> None:
    """Tell every layer which of its bottoms and tops somebody works over in place before backward runs.

    Only an in-place layer changes values that are there: layers that share memory (Split, Flatten) leave
    them alone.
    """
    last_overwritten: dict[int, int] = {}
    for step in steps:
        for blob in step.top:
            if any(blob is other for other in step.bottom):
                last_overwritten[id(blob.data_memory)] = step.first
    for step in steps:
        step.layer.needs_backward = step.needs_backward
        step.layer.overwritten_bottoms = frozenset(
            i
            for i, blob in enumerate(step.bottom)
            if last_overwritten.get(id(blob.data_memory), -1) >= step.first
        )
        step.layer.overwritten_tops = frozenset(
            i
            for i, blob in enumerate(step.top)
            if last_overwritten.get(id(blob.data_memory), -1) > step.first
        )
