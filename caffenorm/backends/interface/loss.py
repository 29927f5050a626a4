"""Loss ops: sums over a batch and their gradients.

Every op that takes labels looks through them first: where one is no class, it computes nothing and says
which, as an index into the flat labels (-1: all are good). Labels are cut to whole numbers as C does.
Gradients on a GPU do not look, for Python would wait for the answer, and the loss itself has looked through
the same labels: they return -1, and are 0 where a label is no class.
`ignore_label` None ignores none. Sums are Python floats, accumulated in double.
"""

from __future__ import annotations

from typing import Any, Protocol

Array = Any  # the device's array


class LossOps(Protocol):
    """Ops of the family loss.

    Shape: prob, scores, dx: (outer, channels, inner); labels: (outer, inner); weights, by_class: (channels,);
        matrix: (channels, channels). Flat ops take one axis, pair ops (num, dim).
    """

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        """sum((a - b)^2) of flat arrays; diff, where given, gets a - b."""

    def log_loss(
        self,
        prob: Array,
        labels: Array,
        floor: float,
        *,
        ignore_label: int | None = None,
        weights: Array | None = None,
    ) -> tuple[float, int, int]:
        """sum of -weights[label] * log(max(prob at the label, floor)).

        Returns:
            the sum, how many positions count, the first bad label.
        """

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        """dx = -scale / max(prob, floor) at the label, 0 elsewhere; returns the first bad label."""

    def softmax_loss_backward(
        self,
        prob: Array,
        labels: Array,
        dx: Array,
        scale: float,
        *,
        ignore_label: int | None = None,
        weights: Array | None = None,
        smoothing: float = 0.0,
    ) -> int:
        """dx = scale * weights[label] * (prob * mass - target), 0 where ignored; returns the first bad label.

        target is 1 - smoothing at the label and smoothing / channels elsewhere, mass their sum.
        """

    def infogain_loss(
        self, prob: Array, labels: Array, matrix: Array, floor: float, *, ignore_label: int | None = None
    ) -> tuple[float, int, int]:
        """sum of -matrix[label, c] * log(max(prob at c, floor)) over positions and classes.

        Returns:
            the sum, how many positions count, the first bad label.
        """

    def infogain_loss_backward(
        self,
        prob: Array,
        labels: Array,
        matrix: Array,
        dx: Array,
        scale: float,
        *,
        ignore_label: int | None = None,
    ) -> int:
        """dx = scale * (prob * sum(matrix[label]) - matrix[label]), 0 where ignored.

        Returns:
            the first bad label.
        """

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        """sum of -target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x)) of flat arrays.

        Returns:
            the sum, how many elements count.
        """

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        """dx = scale * (sigmoid(x) - target), 0 where ignored."""

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        """sum over x (num, classes) of margins, or of their squares.

        A margin is max(0, 1 - x) at the label's class and max(0, 1 + x) elsewhere.

        Returns:
            the sum, the first bad label.
        """

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        """dx = scale * the derivative of the sum; returns the first bad label."""

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        """sum over pairs of d^2 where similar, else of max(margin - d, 0)^2 (legacy: max(margin - d^2, 0)).

        `squared` (num,) gets the squared distances.
        """

    def contrastive_loss_backward(
        self,
        a: Array,
        b: Array,
        similar: Array,
        squared: Array,
        dx: Array,
        scale: float,
        margin: float,
        legacy: bool,
        guard: float,
    ) -> None:
        """dx = scale * half the derivative of the sum by a.

        `guard` is added to a distance before anything is divided by it.
        """

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        """sum of outside * f(inside * (a - b)) of flat arrays; weights that are None are 1.

        f(d) is (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2).
        """

    def smooth_l1_loss_backward(
        self,
        a: Array,
        b: Array,
        dx: Array,
        scale: float,
        sigma: float,
        *,
        inside: Array | None = None,
        outside: Array | None = None,
        weigh_inside: bool = True,
    ) -> None:
        """dx = scale * outside * f'(inside * (a - b)), times inside where `weigh_inside`."""

    def accuracy(
        self,
        scores: Array,
        labels: Array,
        top_k: int,
        *,
        ignore_label: int | None = None,
        by_class: Array | None = None,
    ) -> tuple[int, int, int]:
        """Count positions where fewer than top_k other classes score at least as high as the label's.

        `by_class`, where given, gets the share of hits of each class, 0 for a class without positions.

        Returns:
            hits, how many positions count, the first bad label.
        """
