"""Loss ops on the CPU; what each does is said in `backends.interface.loss`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._kernels import kernels

Array = NDArray[Any]  # float32 or float64
_SUFFIX = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def _kernel(name: str, like: Array) -> Any:  # Any: a compiled function
    """The kernel for arrays of that dtype."""
    module: ModuleType = kernels("loss")
    return getattr(module, name)[_SUFFIX[like.dtype]]


def _ignored(label: int | None) -> tuple[bool, int]:
    return label is not None, label or 0


class CpuLoss:
    """Ops of the family loss."""

    threads: int

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        return float(_kernel("squared_distance", a)(a, b, diff, self.threads))

    def log_loss(
        self,
        prob: Array,
        labels: Array,
        floor: float,
        *,
        ignore_label: int | None = None,
        weights: Array | None = None,
    ) -> tuple[float, int, int]:
        found: tuple[float, int, int] = _kernel("log_loss", prob)(
            prob, labels, weights, floor, *_ignored(ignore_label), self.threads
        )
        return found

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        return int(_kernel("log_loss_backward", prob)(prob, labels, dx, scale, floor))

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
        return int(
            _kernel("softmax_loss_backward", prob)(
                prob, labels, weights, dx, scale, smoothing, *_ignored(ignore_label), self.threads
            )
        )

    def infogain_loss(
        self, prob: Array, labels: Array, matrix: Array, floor: float, *, ignore_label: int | None = None
    ) -> tuple[float, int, int]:
        found: tuple[float, int, int] = _kernel("infogain_loss", prob)(
            prob, labels, matrix, floor, *_ignored(ignore_label), self.threads
        )
        return found

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
        return int(
            _kernel("infogain_loss_backward", prob)(
                prob, labels, matrix, dx, scale, *_ignored(ignore_label), self.threads
            )
        )

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        found: tuple[float, int] = _kernel("sigmoid_cross_entropy", x)(
            x, target, *_ignored(ignore_label), self.threads
        )
        return found

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        _kernel("sigmoid_cross_entropy_backward", x)(
            x, target, dx, scale, *_ignored(ignore_label), self.threads
        )

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        found: tuple[float, int] = _kernel("hinge_loss", x)(x, labels, squared, self.threads)
        return found

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        return int(_kernel("hinge_loss_backward", x)(x, labels, dx, scale, squared, self.threads))

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        return float(_kernel("contrastive_loss", a)(a, b, similar, squared, margin, legacy, self.threads))

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
        _kernel("contrastive_loss_backward", a)(
            a, b, similar, squared, dx, scale, margin, legacy, guard, self.threads
        )

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        return float(_kernel("smooth_l1_loss", a)(a, b, inside, outside, sigma * sigma, self.threads))

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
        _kernel("smooth_l1_loss_backward", a)(
            a, b, inside, outside, dx, scale, sigma * sigma, weigh_inside, self.threads
        )

    def accuracy(
        self,
        scores: Array,
        labels: Array,
        top_k: int,
        *,
        ignore_label: int | None = None,
        by_class: Array | None = None,
    ) -> tuple[int, int, int]:
        found: tuple[int, int, int] = _kernel("accuracy", scores)(
            scores, labels, top_k, by_class, *_ignored(ignore_label), self.threads
        )
        return found
