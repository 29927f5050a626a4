"""Loss ops on the CPU; what each does is said in `backends.interface.loss`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from caffenorm.backends.cpu.channel import ByType

Array = NDArray[Any]  # float32 or float64

_SQUARED_DISTANCE = ByType("loss", "squared_distance")
_LOG_LOSS = ByType("loss", "log_loss")
_LOG_LOSS_BACKWARD = ByType("loss", "log_loss_backward")
_SOFTMAX_LOSS_BACKWARD = ByType("loss", "softmax_loss_backward")
_INFOGAIN_LOSS = ByType("loss", "infogain_loss")
_INFOGAIN_LOSS_BACKWARD = ByType("loss", "infogain_loss_backward")
_SIGMOID_CROSS_ENTROPY = ByType("loss", "sigmoid_cross_entropy")
_SIGMOID_CROSS_ENTROPY_BACKWARD = ByType("loss", "sigmoid_cross_entropy_backward")
_HINGE_LOSS = ByType("loss", "hinge_loss")
_HINGE_LOSS_BACKWARD = ByType("loss", "hinge_loss_backward")
_CONTRASTIVE_LOSS = ByType("loss", "contrastive_loss")
_CONTRASTIVE_LOSS_BACKWARD = ByType("loss", "contrastive_loss_backward")
_SMOOTH_L1_LOSS = ByType("loss", "smooth_l1_loss")
_SMOOTH_L1_LOSS_BACKWARD = ByType("loss", "smooth_l1_loss_backward")
_ACCURACY = ByType("loss", "accuracy")


def _ignored(label: int | None) -> tuple[bool, int]:
    return label is not None, label or 0


class CpuLoss:
    """Ops of the family loss."""

    threads: int

    def squared_distance(self, a: Array, b: Array, diff: Array | None = None) -> float:
        return float(_SQUARED_DISTANCE[a.dtype](a, b, diff, self.threads))

    def log_loss(
        self,
        prob: Array,
        labels: Array,
        floor: float,
        *,
        ignore_label: int | None = None,
        weights: Array | None = None,
    ) -> tuple[float, int, int]:
        found: tuple[float, int, int] = _LOG_LOSS[prob.dtype](
            prob, labels, weights, floor, *_ignored(ignore_label), self.threads
        )
        return found

    def log_loss_backward(self, prob: Array, labels: Array, dx: Array, scale: float, floor: float) -> int:
        return int(_LOG_LOSS_BACKWARD[prob.dtype](prob, labels, dx, scale, floor))

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
            _SOFTMAX_LOSS_BACKWARD[prob.dtype](
                prob, labels, weights, dx, scale, smoothing, *_ignored(ignore_label), self.threads
            )
        )

    def infogain_loss(
        self, prob: Array, labels: Array, matrix: Array, floor: float, *, ignore_label: int | None = None
    ) -> tuple[float, int, int]:
        found: tuple[float, int, int] = _INFOGAIN_LOSS[prob.dtype](
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
            _INFOGAIN_LOSS_BACKWARD[prob.dtype](
                prob, labels, matrix, dx, scale, *_ignored(ignore_label), self.threads
            )
        )

    def sigmoid_cross_entropy(
        self, x: Array, target: Array, *, ignore_label: int | None = None
    ) -> tuple[float, int]:
        found: tuple[float, int] = _SIGMOID_CROSS_ENTROPY[x.dtype](
            x, target, *_ignored(ignore_label), self.threads
        )
        return found

    def sigmoid_cross_entropy_backward(
        self, x: Array, target: Array, dx: Array, scale: float, *, ignore_label: int | None = None
    ) -> None:
        _SIGMOID_CROSS_ENTROPY_BACKWARD[x.dtype](x, target, dx, scale, *_ignored(ignore_label), self.threads)

    def hinge_loss(self, x: Array, labels: Array, squared: bool) -> tuple[float, int]:
        found: tuple[float, int] = _HINGE_LOSS[x.dtype](x, labels, squared, self.threads)
        return found

    def hinge_loss_backward(self, x: Array, labels: Array, dx: Array, scale: float, squared: bool) -> int:
        return int(_HINGE_LOSS_BACKWARD[x.dtype](x, labels, dx, scale, squared, self.threads))

    def contrastive_loss(
        self, a: Array, b: Array, similar: Array, squared: Array, margin: float, legacy: bool
    ) -> float:
        return float(_CONTRASTIVE_LOSS[a.dtype](a, b, similar, squared, margin, legacy, self.threads))

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
        _CONTRASTIVE_LOSS_BACKWARD[a.dtype](
            a, b, similar, squared, dx, scale, margin, legacy, guard, self.threads
        )

    def smooth_l1_loss(
        self, a: Array, b: Array, sigma: float, *, inside: Array | None = None, outside: Array | None = None
    ) -> float:
        return float(_SMOOTH_L1_LOSS[a.dtype](a, b, inside, outside, sigma * sigma, self.threads))

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
        _SMOOTH_L1_LOSS_BACKWARD[a.dtype](
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
        found: tuple[int, int, int] = _ACCURACY[scores.dtype](
            scores, labels, top_k, by_class, *_ignored(ignore_label), self.threads
        )
        return found
