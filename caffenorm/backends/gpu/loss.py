"""Loss ops on the GPU; what each does is said in `backends.interface.loss`.

Each op that returns numbers launches its kernels and then reads one array of three numbers, which waits for
the current stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device

Array = Any  # cupy.ndarray
_THREADS = 256


def _ignored(label: int | None) -> tuple[int, int]:
    return int(label is not None), int(label or 0)


def _check_positions(view: Array, labels: Array) -> None:
    if (view.shape[0], view.shape[2]) != labels.shape:
        raise ValueError(
            f"labels of shape ({labels.shape[0]}, {labels.shape[1]}) "
            f"for ({view.shape[0]}, {view.shape[2]}) positions"
        )


def _check_equal(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")


def _check_types(like: Array, *others: Array | None) -> None:
    for array in others:
        if array is not None and array.dtype != like.dtype:
            raise TypeError(f"arrays of {array.dtype} and {like.dtype} in one call")


class GpuLoss:
    """Ops of the family loss."""

    device: Device

    # --- what all share ---

    def _marks(self) -> Array:
        """Where `find_bad` leaves its mark: 0 between two ops."""
        return self.device.scratch("loss marks", 8, zeroed=True)[:8].view(np.uint64)

    def _find_bad(self, labels: Array, classes: int, ignores: tuple[int, int]) -> Array:
        marks = self._marks()
        kernel = self.device.kernel("loss", "find_bad", labels.dtype)
        blocks = self.device.blocks(labels.size, _THREADS)
        kernel(blocks, _THREADS, labels, marks, labels.size, classes, *ignores)
        return marks

    def _parts(self, blocks: int) -> Array:
        return self.device.scratch("loss parts", 16 * blocks)[: 16 * blocks].view(np.float64)

    def _finish(self, parts: Array | None, blocks: int, labels: int = 0) -> tuple[float, int, int]:
        """The sum, how many count, the first bad label; waits for them."""
        results = self.device.scratch("loss results", 24)[:24].view(np.float64)
        kernel = self.device.kernel("loss", "finish", np.float64)
        kernel(1, _THREADS, parts, self._marks(), results, blocks, labels)
        total, counted, bad = self.device.xp.asnumpy(results).tolist()
        return total, int(counted), int(bad)

    def _lanes(self, inner: int) -> int:
        """Threads that share a position's channels."""
        return 32 if inner == 1 else 1

    # --- classes ---

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
            _check_equal(weights.size, channels, "weights")
        _check_types(prob, labels, weights)
        if not labels.size:
            return 0.0, 0, -1
        ignores = _ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        blocks = self.device.blocks(labels.size, _THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "log_loss", prob.dtype)
        kernel(
            *(blocks, _THREADS, prob, labels, weights, marks, parts, labels.size, channels, inner),
            *(float(floor), *ignores),
        )
        return self._finish(parts, blocks, labels.size)

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        """dx = -scale / max(prob, floor) at the label, 0 elsewhere."""
        _, channels, inner = prob.shape
        _check_positions(prob, labels)
        _check_equal(dx.size, labels.size * channels, "dx")
        _check_types(prob, labels, dx)
        if not labels.size:
            return -1
        marks = self._find_bad(labels, channels, (0, 0))
        if dx.size:
            kernel = self.device.kernel("loss", "log_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, _THREADS)
            kernel(
                *(blocks, _THREADS, prob, labels, marks, dx, dx.size, channels, inner),
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
        _check_equal(dx.size, labels.size * channels, "dx")
        if weights is not None:
            _check_equal(weights.size, channels, "weights")
        _check_types(prob, labels, dx, weights)
        if not labels.size:
            return -1
        ignores = _ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        if dx.size:
            at_label, elsewhere = 1.0 - smoothing, float(smoothing / channels)
            mass = at_label + (channels - 1) * elsewhere
            kernel = self.device.kernel("loss", "softmax_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, _THREADS)
            kernel(
                *(blocks, _THREADS, prob, labels, weights, marks, dx, dx.size, channels, inner),
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
        ignores, lanes = _ignored(ignore_label), self._lanes(inner)
        marks = self._find_bad(labels, channels, ignores)
        blocks = self.device.blocks(labels.size * lanes, _THREADS, 1)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "infogain_loss", prob.dtype)
        kernel(
            *(blocks, _THREADS, prob, labels, matrix, marks, parts, labels.size, channels, inner),
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
        _check_equal(dx.size, labels.size * channels, "dx")
        _check_types(prob, dx)
        if not labels.size:
            return -1
        ignores = _ignored(ignore_label)
        marks = self._find_bad(labels, channels, ignores)
        if dx.size:
            sums = self.device.scratch("loss row sums", 8 * channels)[: 8 * channels].view(np.float64)
            add_up = self.device.kernel("loss", "row_sums", prob.dtype)
            add_up(self.device.blocks(channels * 64, 64, 1), 64, matrix, sums, channels)
            kernel = self.device.kernel("loss", "infogain_loss_backward", prob.dtype)
            blocks = self.device.blocks(dx.size, _THREADS)
            kernel(
                *(blocks, _THREADS, prob, labels, matrix, sums, marks, dx, dx.size, channels, inner),
                *(float(scale), *ignores),
            )
        return self._finish(None, 0, labels.size)[2]

    def _check_infogain(self, prob: Array, labels: Array, matrix: Array) -> None:
        _check_positions(prob, labels)
        _check_equal(matrix.shape[0], prob.shape[1], "rows of the matrix")
        _check_equal(matrix.shape[1], prob.shape[1], "columns of the matrix")
        _check_types(prob, labels, matrix)

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        """Sum of margins, or of their squares."""
        num, classes = x.shape
        _check_equal(labels.size, num, "labels")
        _check_types(x, labels)
        if not num:
            return 0.0, -1
        marks = self._find_bad(labels, classes, (0, 0))
        blocks = self.device.blocks(x.size, _THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "hinge_loss", x.dtype)
        kernel(blocks, _THREADS, x, labels, marks, parts, x.size, classes, int(squared))
        total, _, bad = self._finish(parts, blocks, labels.size)
        return total, bad

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        """dx = scale * the derivative of the sum."""
        num, classes = x.shape
        _check_equal(labels.size, num, "labels")
        _check_equal(dx.shape[0], num, "rows of dx")
        _check_equal(dx.shape[1], classes, "columns of dx")
        _check_types(x, labels, dx)
        if not num:
            return -1
        marks = self._find_bad(labels, classes, (0, 0))
        if dx.size:
            kernel = self.device.kernel("loss", "hinge_loss_backward", x.dtype)
            blocks = self.device.blocks(dx.size, _THREADS)
            kernel(blocks, _THREADS, x, labels, marks, dx, dx.size, classes, float(scale), int(squared))
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
            _check_equal(by_class.size, channels, "by_class")
        _check_types(scores, labels, by_class)
        if not labels.size:
            if by_class is not None:
                by_class.fill(0)
            return 0, 0, -1
        ignores, lanes = _ignored(ignore_label), self._lanes(inner)
        marks = self._find_bad(labels, channels, ignores)
        counts = None
        if by_class is not None:
            counts = self.device.scratch("loss classes", 16 * channels, zeroed=True)[: 16 * channels]
            counts = counts.view(np.uint64)
        blocks = self.device.blocks(labels.size * lanes, _THREADS, 1)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "accuracy", scores.dtype)
        kernel(
            *(blocks, _THREADS, scores, labels, marks, parts, counts, labels.size, channels, inner),
            *(int(top_k), *ignores, lanes),
        )
        if by_class is not None:
            share = self.device.kernel("loss", "class_shares", scores.dtype)
            share(self.device.blocks(channels, _THREADS, 1), _THREADS, counts, marks, by_class, channels)
        hits, counted, bad = self._finish(parts, blocks, labels.size)
        return int(hits), counted, bad

    # --- two arrays ---

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        """sum((a - b)^2); diff, where given, gets a - b."""
        _check_equal(b.size, a.size, "b")
        if diff is not None:
            _check_equal(diff.size, a.size, "diff")
        _check_types(a, b, diff)
        if not a.size:
            return 0.0
        blocks = self.device.blocks(a.size, _THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "squared_distance", a.dtype)
        kernel(blocks, _THREADS, a, b, diff, parts, a.size)
        return self._finish(parts, blocks)[0]

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        """Sum of cross entropies, and how many count."""
        _check_equal(target.size, x.size, "target")
        _check_types(x, target)
        if not x.size:
            return 0.0, 0
        blocks = self.device.blocks(x.size, _THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "sigmoid_cross_entropy", x.dtype)
        kernel(blocks, _THREADS, x, target, parts, x.size, *_ignored(ignore_label))
        total, counted, _ = self._finish(parts, blocks)
        return total, counted

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        """dx = scale * (sigmoid(x) - target), 0 where ignored."""
        _check_equal(target.size, x.size, "target")
        _check_equal(dx.size, x.size, "dx")
        _check_types(x, target, dx)
        if x.size:
            kernel = self.device.kernel("loss", "sigmoid_cross_entropy_backward", x.dtype)
            blocks = self.device.blocks(x.size, _THREADS)
            kernel(blocks, _THREADS, x, target, dx, x.size, float(scale), *_ignored(ignore_label))

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        """Sum over pairs; `squared` gets the squared distances."""
        num, dim = a.shape
        self._check_pairs(a, b, similar, squared)
        if not num:
            return 0.0
        threads = min(_THREADS, max(32, -(-dim // 32) * 32))
        blocks = self.device.blocks(num * threads, threads, 1)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "contrastive_loss", a.dtype)
        kernel(blocks, threads, a, b, similar, squared, parts, num, dim, float(margin), int(legacy))
        return self._finish(parts, blocks)[0]

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
        """dx = scale * half the derivative of the sum by a."""
        num, dim = a.shape
        self._check_pairs(a, b, similar, squared)
        _check_equal(dx.shape[0], num, "rows of dx")
        _check_equal(dx.shape[1], dim, "columns of dx")
        _check_types(a, dx)
        if a.size:
            kernel = self.device.kernel("loss", "contrastive_loss_backward", a.dtype)
            blocks = self.device.blocks(a.size, _THREADS)
            kernel(
                *(blocks, _THREADS, a, b, similar, squared, dx, a.size, dim),
                *(float(scale), float(margin), int(legacy), float(guard)),
            )

    def _check_pairs(self, a: Array, b: Array, similar: Array, squared: Array) -> None:
        num, dim = a.shape
        _check_equal(b.shape[0], num, "rows of b")
        _check_equal(b.shape[1], dim, "columns of b")
        _check_equal(similar.size, num, "similar")
        _check_equal(squared.size, num, "squared")
        _check_types(a, b, similar, squared)

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        """sum of outside * f(inside * (a - b))."""
        self._check_weights(a, b, inside, outside)
        if not a.size:
            return 0.0
        blocks = self.device.blocks(a.size, _THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "smooth_l1_loss", a.dtype)
        kernel(blocks, _THREADS, a, b, inside, outside, parts, a.size, float(sigma * sigma))
        return self._finish(parts, blocks)[0]

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
        self._check_weights(a, b, inside, outside)
        _check_equal(dx.size, a.size, "dx")
        _check_types(a, dx)
        if a.size:
            kernel = self.device.kernel("loss", "smooth_l1_loss_backward", a.dtype)
            blocks = self.device.blocks(a.size, _THREADS)
            kernel(
                *(blocks, _THREADS, a, b, inside, outside, dx, a.size),
                *(float(scale), float(sigma * sigma), int(weigh_inside)),
            )

    def _check_weights(self, a: Array, b: Array, inside: Array | None, outside: Array | None) -> None:
        _check_equal(b.size, a.size, "b")
        for name, weights in (("inside", inside), ("outside", outside)):
            if weights is not None:
                _check_equal(weights.size, a.size, name)
        _check_types(a, b, inside, outside)
