"""Layers that give a blob another shape, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.layer import Layer


class SameMemory(Layer):
    """The top is the bottom under another shape: one memory for values and gradients.

    A subclass says `new_shape`.
    """

    in_place_ok = False

    def new_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The top's shape for a bottom's."""
        raise TypeError(f"{type(self).__name__} must define new_shape(self, shape)")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(self.new_shape(bottom[0].shape))
        top[0].share_data(bottom[0])
        top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top has the values already."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The bottom has the gradient already."""
