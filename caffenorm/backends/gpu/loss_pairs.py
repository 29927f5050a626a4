"""Losses that compare two arrays, element by element or row by row, on the GPU."""

from __future__ import annotations

from typing import Any

from caffenorm.backends.gpu.loss_sums import THREADS, LossSums, check_equal, check_types, ignored

Array = Any  # cupy.ndarray


class GpuPairLoss(LossSums):
    """Ops of the family loss that know no classes."""

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        """sum((a - b)^2); diff, where given, gets a - b."""
        check_equal(b.size, a.size, "b")
        if diff is not None:
            check_equal(diff.size, a.size, "diff")
        check_types(a, b, diff)
        if not a.size:
            return 0.0
        blocks = self.device.blocks(a.size, THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "squared_distance", a.dtype)
        kernel(blocks, THREADS, a, b, diff, parts, a.size)
        return self._finish(parts, blocks)[0]

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        """Sum of cross entropies, and how many count."""
        check_equal(target.size, x.size, "target")
        check_types(x, target)
        if not x.size:
            return 0.0, 0
        blocks = self.device.blocks(x.size, THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "sigmoid_cross_entropy", x.dtype)
        kernel(blocks, THREADS, x, target, parts, x.size, *ignored(ignore_label))
        total, counted, _ = self._finish(parts, blocks)
        return total, counted

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        """dx = scale * (sigmoid(x) - target), 0 where ignored."""
        check_equal(target.size, x.size, "target")
        check_equal(dx.size, x.size, "dx")
        check_types(x, target, dx)
        if x.size:
            kernel = self.device.kernel("loss", "sigmoid_cross_entropy_backward", x.dtype)
            blocks = self.device.blocks(x.size, THREADS)
            kernel(blocks, THREADS, x, target, dx, x.size, float(scale), *ignored(ignore_label))

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        """Sum over pairs; `squared` gets the squared distances."""
        num, dim = a.shape
        self._check_pairs(a, b, similar, squared)
        if not num:
            return 0.0
        threads = min(THREADS, max(32, -(-dim // 32) * 32))
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
        check_equal(dx.shape[0], num, "rows of dx")
        check_equal(dx.shape[1], dim, "columns of dx")
        check_types(a, dx)
        if a.size:
            kernel = self.device.kernel("loss", "contrastive_loss_backward", a.dtype)
            blocks = self.device.blocks(a.size, THREADS)
            kernel(
                *(blocks, THREADS, a, b, similar, squared, dx, a.size, dim),
                *(float(scale), float(margin), int(legacy), float(guard)),
            )

    def _check_pairs(self, a: Array, b: Array, similar: Array, squared: Array) -> None:
        num, dim = a.shape
        check_equal(b.shape[0], num, "rows of b")
        check_equal(b.shape[1], dim, "columns of b")
        check_equal(similar.size, num, "similar")
        check_equal(squared.size, num, "squared")
        check_types(a, b, similar, squared)

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        """sum of outside * f(inside * (a - b))."""
        self._check_weights(a, b, inside, outside)
        if not a.size:
            return 0.0
        blocks = self.device.blocks(a.size, THREADS)
        parts = self._parts(blocks)
        kernel = self.device.kernel("loss", "smooth_l1_loss", a.dtype)
        kernel(blocks, THREADS, a, b, inside, outside, parts, a.size, float(sigma * sigma))
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
        check_equal(dx.size, a.size, "dx")
        check_types(a, dx)
        if a.size:
            kernel = self.device.kernel("loss", "smooth_l1_loss_backward", a.dtype)
            blocks = self.device.blocks(a.size, THREADS)
            kernel(
                *(blocks, THREADS, a, b, inside, outside, dx, a.size),
                *(float(scale), float(sigma * sigma), int(weigh_inside)),
            )

    def _check_weights(self, a: Array, b: Array, inside: Array | None, outside: Array | None) -> None:
        check_equal(b.size, a.size, "b")
        for name, weights in (("inside", inside), ("outside", outside)):
            if weights is not None:
                check_equal(weights.size, a.size, name)
        check_types(a, b, inside, outside)
