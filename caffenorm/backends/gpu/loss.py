"""Loss ops on the GPU; what each does is said in `backends.interface.loss`.

An op that returns numbers reads them back in one small transfer, and so waits for the device; gradients do
not. They return -1 for the first bad label: the forward op has looked through the same labels already, and a
label that is no class has gradients of 0 here.
"""

from __future__ import annotations

from typing import Any

from caffenorm.backends.gpu.cuda import Device, Kernel

Array = Any  # cupy.ndarray, float32 or float64

_THREADS = 256
_PER_BLOCK = 1024  # positions that make a block of a sum worth its start
_MOST_BLOCKS = 512  # of a sum; the same on every device, so that sums are
_NO_LABEL = 2.0**53  # what loss.cu calls the first bad label where there is none
_PART = 3 * 8  # bytes of a block's tally
_LOOKED = -1  # bad labels were found by the forward op


def _check(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")


def _check_types(like: Array, *others: Array | None) -> None:
    for array in others:
        if array is not None and array.dtype != like.dtype:
            raise TypeError(f"arrays of {array.dtype} and {like.dtype} in one call")


def _check_positions(values: Array, labels: Array) -> None:
    outer, _, inner = values.shape
    if labels.shape != (outer, inner):
        raise ValueError(f"labels of shape {labels.shape} for {(outer, inner)} positions")


def _ignored(label: int | None) -> tuple[bool, int]:
    return label is not None, label or 0


class GpuLoss:
    """Ops of the family loss."""

    device: Device

    def _sum(self, kernel: Kernel, count: int, *args: Any) -> tuple[float, int, int]:  # Any: arrays, numbers
        """Sum, positions that count, first bad label; `...` in `args` stands for the blocks' tallies."""
        blocks = max(1, min(-(-count // _PER_BLOCK), _MOST_BLOCKS))
        parts = self.device.scratch("loss", blocks * _PART)
        kernel(blocks, _THREADS, *(parts if arg is ... else arg for arg in args))
        return self._added_up(parts, blocks)

    def _added_up(self, parts: Array, count: int) -> tuple[float, int, int]:
        result = self.device.scratch("loss result", _PART)[:_PART].view("f8")
        self.device.kernel("loss", "add_up", "f8")(1, 32, parts, result, count)
        total, counted, bad = self.device.xp.asnumpy(result).tolist()
        if bad != _NO_LABEL:
            return 0.0, 0, int(bad)
        return total, int(counted), -1

    def _blocks(self, count: int) -> int:
        return self.device.blocks(count, _THREADS, 1)

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
        _check_types(prob, labels, weights)
        _check_positions(prob, labels)
        _, channels, inner = prob.shape
        if weights is not None:
            _check(weights.size, channels, "weights")
        count = labels.size
        return self._sum(
            self.device.kernel("loss", "log_loss", prob.dtype), count,
            prob, labels, weights, ..., count, channels, inner, float(floor), *_ignored(ignore_label),
        )  # fmt: skip

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        _check_types(prob, labels, dx)
        _check_positions(prob, labels)
        _check(dx.size, prob.size, "dx")
        if prob.size:
            kernel = self.device.kernel("loss", "log_loss_backward", prob.dtype)
            sizes = prob.size, prob.shape[1], prob.shape[2]
            kernel(self._blocks(prob.size), _THREADS, prob, labels, dx, *sizes, float(scale), float(floor))
        return _LOOKED

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
        _check_types(prob, labels, weights, dx)
        _check_positions(prob, labels)
        _, channels, inner = prob.shape
        _check(dx.size, prob.size, "dx")
        if weights is not None:
            _check(weights.size, channels, "weights")
        if prob.size:
            at_label, elsewhere = 1.0 - smoothing, smoothing / channels
            mass = at_label + (channels - 1) * elsewhere
            kernel = self.device.kernel("loss", "softmax_loss_backward", prob.dtype)
            kernel(
                self._blocks(prob.size), _THREADS, prob, labels, weights, dx, prob.size, channels, inner,
                float(scale), float(mass), float(at_label), float(elsewhere), *_ignored(ignore_label),
            )  # fmt: skip
        return _LOOKED

    def infogain_loss(
        self, prob: Array, labels: Array, matrix: Array, floor: float, *, ignore_label: int | None = None
    ) -> tuple[float, int, int]:
        _check_types(prob, labels, matrix)
        _check_positions(prob, labels)
        _, channels, inner = prob.shape
        self._check_matrix(matrix, channels)
        count = labels.size
        return self._sum(
            self.device.kernel("loss", "infogain_loss", prob.dtype), count,
            prob, labels, matrix, ..., count, channels, inner, float(floor), *_ignored(ignore_label),
        )  # fmt: skip

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
        _check_types(prob, labels, matrix, dx)
        _check_positions(prob, labels)
        _, channels, inner = prob.shape
        self._check_matrix(matrix, channels)
        _check(dx.size, prob.size, "dx")
        if prob.size:
            kernel = self.device.kernel("loss", "infogain_loss_backward", prob.dtype)
            kernel(
                self._blocks(labels.size), _THREADS, prob, labels, matrix, dx, labels.size, channels, inner,
                float(scale), *_ignored(ignore_label),
            )  # fmt: skip
        return _LOOKED

    @staticmethod
    def _check_matrix(matrix: Array, channels: int) -> None:
        _check(matrix.shape[0], channels, "rows of the matrix")
        _check(matrix.shape[1], channels, "columns of the matrix")

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        _check_types(x, labels)
        num, classes = x.shape
        _check(labels.size, num, "labels")
        kernel = self.device.kernel("loss", "hinge_loss", x.dtype)
        total, _, bad = self._sum(kernel, x.size, x, labels, ..., x.size, classes, bool(squared))
        return total, bad

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        _check_types(x, labels, dx)
        num, classes = x.shape
        _check(labels.size, num, "labels")
        _check(dx.shape[0], num, "rows of dx")
        _check(dx.shape[1], classes, "columns of dx")
        if x.size:
            kernel = self.device.kernel("loss", "hinge_loss_backward", x.dtype)
            blocks = self._blocks(x.size)
            kernel(blocks, _THREADS, x, labels, dx, x.size, classes, float(scale), bool(squared))
        return _LOOKED

    def accuracy(
        self,
        scores: Array,
        labels: Array,
        top_k: int,
        *,
        ignore_label: int | None = None,
        by_class: Array | None = None,
    ) -> tuple[int, int, int]:
        _check_types(scores, labels, by_class)
        _check_positions(scores, labels)
        _, channels, inner = scores.shape
        sizes = hits = None
        if by_class is not None:
            _check(by_class.size, channels, "by_class")
            counts = self.device.scratch("accuracy", 2 * channels * 8)[: 2 * channels * 8]
            with self.device.selected():
                counts.fill(0)
            sizes, hits = counts[: channels * 8], counts[channels * 8 :]
        count = labels.size
        total, counted, bad = self._sum(
            self.device.kernel("loss", "accuracy", scores.dtype), count,
            scores, labels, ..., sizes, hits, count, channels, inner, int(top_k), *_ignored(ignore_label),
        )  # fmt: skip
        if by_class is not None and bad < 0:
            kernel = self.device.kernel("loss", "class_shares", scores.dtype)
            kernel(self._blocks(channels), _THREADS, sizes, hits, by_class, channels)
        return int(total), counted, bad

    # --- two arrays ---

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        _check_types(a, b, diff)
        _check(b.size, a.size, "b")
        if diff is not None:
            _check(diff.size, a.size, "diff")
        kernel = self.device.kernel("loss", "squared_distance", a.dtype)
        return self._sum(kernel, a.size, a, b, diff, ..., a.size)[0]

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        _check_types(x, target)
        _check(target.size, x.size, "target")
        kernel = self.device.kernel("loss", "sigmoid_cross_entropy", x.dtype)
        total, counted, _ = self._sum(kernel, x.size, x, target, ..., x.size, *_ignored(ignore_label))
        return total, counted

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        _check_types(x, target, dx)
        _check(target.size, x.size, "target")
        _check(dx.size, x.size, "dx")
        if x.size:
            kernel = self.device.kernel("loss", "sigmoid_cross_entropy_backward", x.dtype)
            blocks = self._blocks(x.size)
            kernel(blocks, _THREADS, x, target, dx, x.size, float(scale), *_ignored(ignore_label))

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        _check_types(a, b, inside, outside)
        self._check_like(a, b=b, inside=inside, outside=outside)
        kernel = self.device.kernel("loss", "smooth_l1_loss", a.dtype)
        return self._sum(kernel, a.size, a, b, inside, outside, ..., a.size, float(sigma * sigma))[0]

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
        _check_types(a, b, dx, inside, outside)
        self._check_like(a, b=b, dx=dx, inside=inside, outside=outside)
        if a.size:
            kernel = self.device.kernel("loss", "smooth_l1_loss_backward", a.dtype)
            factors = float(scale), float(sigma * sigma), bool(weigh_inside)
            kernel(self._blocks(a.size), _THREADS, a, b, inside, outside, dx, a.size, *factors)

    @staticmethod
    def _check_like(a: Array, **others: Array | None) -> None:
        for name, array in others.items():
            if array is not None:
                _check(array.size, a.size, name)

    # --- pairs of rows ---

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        _check_types(a, b, similar, squared)
        num, dim = a.shape
        self._check_pairs(a, b, similar, squared)
        if not num:
            return 0.0
        parts = self.device.scratch("loss", num * _PART)
        kernel = self.device.kernel("loss", "contrastive_loss", a.dtype)
        blocks = self._blocks(num * _THREADS)
        kernel(blocks, _THREADS, a, b, similar, squared, parts, num, dim, float(margin), bool(legacy))
        return self._added_up(parts, num)[0]

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
        _check_types(a, b, similar, squared, dx)
        num, dim = a.shape
        self._check_pairs(a, b, similar, squared)
        _check(dx.shape[0], num, "rows of dx")
        _check(dx.shape[1], dim, "columns of dx")
        if a.size:
            kernel = self.device.kernel("loss", "contrastive_loss_backward", a.dtype)
            kernel(
                self._blocks(a.size), _THREADS, a, b, similar, squared, dx, a.size, dim,
                float(scale), float(margin), bool(legacy), float(guard),
            )  # fmt: skip

    @staticmethod
    def _check_pairs(a: Array, b: Array, similar: Array, squared: Array) -> None:
        num, dim = a.shape
        _check(b.shape[0], num, "rows of b")
        _check(b.shape[1], dim, "columns of b")
        _check(similar.size, num, "similar")
        _check(squared.size, num, "squared")
