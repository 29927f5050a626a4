"""Loss ops on the GPU; what each does is said in `backends.interface.loss`.

Each op that returns numbers launches its kernels and then reads one array of three numbers, which waits for
the current stream. Here are the losses against one class label a position; `loss_pairs` has the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.gpu.loss_pairs import GpuPairLoss
from caffenorm.backends.gpu.loss_sums import THREADS, check_equal, check_types, ignored

Array = Any  # cupy.ndarray


def _check_positions(view: Array, labels: Array) -> None:
    if (view.shape[0], view.shape[2]) != labels.shape:
        raise ValueError(
            f"labels of shape ({labels.shape[0]}, {labels.shape[1]}) "
            f"for ({view.shape[0]}, {view.shape[2]}) positions"
        )


class GpuLoss(GpuPairLoss):
    """Ops of the family loss."""

    def _find_bad(self, labels: Array, classes: int, ignores: tuple[int, int]) -> Array:
        marks = self._marks()
        kernel = self.device.kernel("loss", "find_bad", labels.dtype)
        blocks = self.device.blocks(labels.size, THREADS)
        kernel(blocks, THREADS, labels, marks, labels.size, classes, *ignores)
        return marks

    def _lanes(self, inner: int) -> int:
        """Threads that share a position's channels."""
        return 32 if inner == 1 else 1

    def log_loss(
        self,
        prob: Array,
        labels: Array,
        floor: float,
        *,
        ignore_label: int | None = None,
        weights: Array | None = None,
    ) -> tuple[float, int, int]:
        """sum of -weights[label] * log(max(prob at the label, floor))."""
        _, channels, inner = prob.shape
        _check_positions(prob, labels)
        if weights is not None:
            check_equal(weights.size, channels, "weights")
        check_types(prob, labels, weights)
        if not labels.size:
            return 0.0, 0, -1
        ignores = ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        blocks = self.device.blocks(labels.size, THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "log_loss", prob.dtype)
        kernel(
            *(blocks, THREADS, prob, labels, weights, marks, parts, labels.size, channels, inner),
            *(float(floor), *ignores),
        )
        return self._finish(parts, blocks, labels.size)

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        """dx = -scale / max(prob, floor) at the label, 0 elsewhere."""
        _, channels, inner = prob.shape
        _check_positions(prob, labels)
        check_equal(dx.size, labels.size * channels, "dx")
        check_types(prob, labels, dx)
        if not labels.size:
            return -1
        marks = self._find_bad(labels, channels, (0, 0))
        if dx.size:
            kernel = self.device.kernel("loss", "log_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, THREADS)
            kernel(
                *(blocks, THREADS, prob, labels, marks, dx, dx.size, channels, inner),
                *(float(scale), float(floor)),
            )
        return self._finish(None, 0, labels.size)[2]

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
        """dx = scale * weights[label] * (prob * mass - target), 0 where ignored."""
        _, channels, inner = prob.shape
        _check_positions(prob, labels)
        check_equal(dx.size, labels.size * channels, "dx")
        if weights is not None:
            check_equal(weights.size, channels, "weights")
        check_types(prob, labels, dx, weights)
        if not labels.size:
            return -1
        ignores = ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        if dx.size:
            at_label, elsewhere = 1.0 - smoothing, float(smoothing / channels)
            mass = at_label + (channels - 1) * elsewhere
            kernel = self.device.kernel("loss", "softmax_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, THREADS)
            kernel(
                *(blocks, THREADS, prob, labels, weights, marks, dx, dx.size, channels, inner),
                *(float(scale), mass, at_label, elsewhere, *ignores),
            )
        return self._finish(None, 0, labels.size)[2]

    def infogain_loss(
        self, prob: Array, labels: Array, matrix: Array, floor: float, *, ignore_label: int | None = None
    ) -> tuple[float, int, int]:
        """sum of -matrix[label, c] * log(max(prob at c, floor))."""
        _, channels, inner = prob.shape
        self._check_infogain(prob, labels, matrix)
        if not labels.size:
            return 0.0, 0, -1
        ignores, lanes = ignored(ignore_label), self._lanes(inner)
        marks = self._find_bad(labels, channels, ignores)
        blocks = self.device.blocks(labels.size * lanes, THREADS, 1)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "infogain_loss", prob.dtype)
        kernel(
            *(blocks, THREADS, prob, labels, matrix, marks, parts, labels.size, channels, inner),
            *(float(floor), *ignores, lanes),
        )
        return self._finish(parts, blocks, labels.size)

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
        """dx = scale * (prob * sum(matrix[label]) - matrix[label]), 0 where ignored."""
        _, channels, inner = prob.shape
        self._check_infogain(prob, labels, matrix)
        check_equal(dx.size, labels.size * channels, "dx")
        check_types(prob, dx)
        if not labels.size:
            return -1
        ignores = ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        if dx.size:
            sums = self.device.scratch("loss row sums", 8 * channels)[: 8 * channels].view(np.float64)
            add_up = self.device.kernel("loss", "row_sums", prob.dtype)
            add_up(self.device.blocks(channels * 64, 64, 1), 64, matrix, sums, channels)
            kernel = self.device.kernel("loss", "infogain_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, THREADS)
            kernel(
                *(blocks, THREADS, prob, labels, matrix, sums, marks, dx, dx.size, channels, inner),
                *(float(scale), *ignores),
            )
        return self._finish(None, 0, labels.size)[2]

    def _check_infogain(self, prob: Array, labels: Array, matrix: Array) -> None:
        _check_positions(prob, labels)
        check_equal(matrix.shape[0], prob.shape[1], "rows of the matrix")
        check_equal(matrix.shape[1], prob.shape[1], "columns of the matrix")
        check_types(prob, labels, matrix)

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        """Sum of margins, or of their squares."""
        num, classes = x.shape
        check_equal(labels.size, num, "labels")
        check_types(x, labels)
        if not num:
            return 0.0, -1
        marks = self._find_bad(labels, classes, (0, 0))
        blocks = self.device.blocks(x.size, THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "hinge_loss", x.dtype)
        kernel(blocks, THREADS, x, labels, marks, parts, x.size, classes, int(squared))
        total, _, bad = self._finish(parts, blocks, labels.size)
        return total, bad

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        """dx = scale * the derivative of the sum."""
        num, classes = x.shape
        check_equal(labels.size, num, "labels")
        check_equal(dx.shape[0], num, "rows of dx")
        check_equal(dx.shape[1], classes, "columns of dx")
        check_types(x, labels, dx)
        if not num:
            return -1
        marks = self._find_bad(labels, classes, (0, 0))
        if dx.size:
            kernel = self.device.kernel("loss", "hinge_loss_backward", x.dtype)
            blocks = self.device.blocks(dx.size, THREADS)
            kernel(blocks, THREADS, x, labels, marks, dx, dx.size, classes, float(scale), int(squared))
        return self._finish(None, 0, labels.size)[2]

    def accuracy(
        self,
        scores: Array,
        labels: Array,
        top_k: int,
        *,
        ignore_label: int | None = None,
        by_class: Array | None = None,
    ) -> tuple[int, int, int]:
        """Count positions where fewer than top_k other classes score at least as high."""
        _, channels, inner = scores.shape
        _check_positions(scores, labels)
        if by_class is not None:
            check_equal(by_class.size, channels, "by_class")
        check_types(scores, labels, by_class)
        if not labels.size:
            if by_class is not None:
                by_class.fill(0)
            return 0, 0, -1
        ignores, lanes = ignored(ignore_label), self._lanes(inner)
        marks = self._find_bad(labels, channels, ignores)
        counts = None
        if by_class is not None:
            counts = self.device.scratch("loss classes", 16 * channels, zeroed=True)[: 16 * channels]
            counts = counts.view(np.uint64)
        blocks = self.device.blocks(labels.size * lanes, THREADS, 1)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "accuracy", scores.dtype)
        kernel(
            *(blocks, THREADS, scores, labels, marks, parts, counts, labels.size, channels, inner),
            *(int(top_k), *ignores, lanes),
        )
        if by_class is not None:
            share = self.device.kernel("loss", "class_shares", scores.dtype)
            share(self.device.blocks(channels, THREADS, 1), THREADS, counts, marks, by_class, channels)
        hits, counted, bad = self._finish(parts, blocks, labels.size)
        return int(hits), counted, bad
