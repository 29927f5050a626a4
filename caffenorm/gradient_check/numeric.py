"""Numeric against analytic: central differences, tried again where they may be at fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffenorm.gradient_check.report import GradientCheck
from caffenorm.gradient_check.subjects import Floats, Subject, Target

Indices = NDArray[np.intp]

_NOISE = 8 * np.finfo(np.float64).eps  # relative error that an output may have
_SMALL = 1e-2  # a gradient below this share of the array's largest is compared as if it were that large
_FINER = (8.0, 64.0)  # by what the step is divided where a difference may span a kink
_STAYS = (
    0.5  # one-sided quotients of a smooth function come nearer than this when the step gets 8 times finer
)


@dataclass(frozen=True)
class Settings:
    """How a check is done; see `check_gradients`."""

    step: float
    tolerance: float
    kink: float
    kink_range: float
    samples: int | None
    exhaustive: bool
    seed: int


@dataclass(frozen=True)
class Slopes:
    """Difference quotients by one element, projected: one value a projection.

    Attributes:
        central: over both sides. noise: what rounding of the outputs may have done to it.
        low, high: between these lies every derivative that one-sided quotients of the outputs allow.
    """

    central: Floats
    noise: Floats
    low: Floats
    high: Floats


def check_subject(subject: Subject, settings: Settings) -> list[GradientCheck]:
    """Compare the gradients by all targets of a subject."""
    outputs = subject.evaluate()
    rng = np.random.default_rng(settings.seed)
    projection = _Projection(None if settings.exhaustive else _weights(rng, outputs.size), outputs.size)
    picked = [_picked(target, settings, rng) for target in subject.targets]
    analytic = [np.empty((projection.rows, len(indices))) for indices in picked]
    for row in range(projection.rows):
        gradients = subject.gradients(projection.row(row))
        for found, gradient, indices in zip(analytic, gradients, picked, strict=True):
            found[row] = gradient[indices]
    return [
        _Comparison(subject, target, projection, settings, outputs).run(indices, found)
        for target, indices, found in zip(subject.targets, picked, analytic, strict=True)
    ]


class _Projection:
    """Combinations of outputs: one of all of them, or each by itself.

    Args:
        weights: of the outputs; None: each by itself.
        size: how many outputs there are.
    """

    def __init__(self, weights: Floats | None, size: int) -> None:
        self._weights = weights
        self._size = size
        self.rows = size if weights is None else 1

    def row(self, index: int) -> Floats:
        """The weights of one combination."""
        if self._weights is not None:
            return self._weights
        one = np.zeros(self._size)
        one[index] = 1
        return one

    def of(self, values: Floats, at: Indices) -> Floats:
        """The combinations of something that is linear in the outputs, 0 but for those numbered `at`."""
        if self._weights is not None:
            return np.atleast_1d(self._weights[at] @ values)
        whole = np.zeros(self._size)
        whole[at] = values
        return whole

    def of_sizes(self, sizes: Floats, at: Indices) -> Floats:
        """Bounds of the combinations, from bounds of the absolute values of the outputs numbered `at`."""
        return (
            self.of(sizes, at) if self._weights is None else np.atleast_1d(np.abs(self._weights[at]) @ sizes)
        )

    def between(self, one: Floats, other: Floats, at: Indices) -> tuple[Floats, Floats]:
        """The least and the greatest combinations where the outputs numbered `at` lie between two values."""
        if self._weights is None:
            return self.of(np.minimum(one, other), at), self.of(np.maximum(one, other), at)
        one, other = self._weights[at] * one, self._weights[at] * other
        return np.atleast_1d(np.minimum(one, other).sum()), np.atleast_1d(np.maximum(one, other).sum())


def _weights(rng: np.random.Generator, size: int) -> Floats:
    """Random weights, none near 0."""
    weights: Floats = rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size)
    return weights


def _picked(target: Target, settings: Settings, rng: np.random.Generator) -> Indices:
    """Indices of the elements to check."""
    count = target.blobs[0].count
    if settings.samples is None or count <= settings.samples:
        return np.arange(count)
    return np.sort(rng.choice(count, settings.samples, replace=False))


def _scale(values: Floats) -> float:
    """A length on which the function may be expected to be smooth: the spread of the values."""
    if not values.size:
        return 1.0
    spread = max(float(values.std()), 1e-6 * float(np.sqrt((values**2).mean())))
    if values.size == 1:
        spread = abs(float(values[0]))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


class _Comparison:
    """The gradient by one target."""

    def __init__(
        self, subject: Subject, target: Target, projection: _Projection, settings: Settings, outputs: Floats
    ) -> None:
        self.subject = subject
        self.target = target
        self.projection = projection
        self.settings = settings
        self.outputs = outputs
        self.step = settings.step * _scale(target.values())
        self.size = 0.0

    def run(self, indices: Indices, analytic: Floats) -> GradientCheck:
        kept = [k for k, index in enumerate(indices) if not self._is_told_kink(int(index))]
        kinks = len(indices) - len(kept)
        slopes = {k: self._slopes(int(indices[k]), self.step) for k in kept}
        self.size = max(
            [float(np.abs(a).max(initial=0)) for k in kept for a in (analytic[:, k], slopes[k].central)],
            default=0.0,
        )
        worst, place = -1.0, -1
        found = (np.nan, np.nan)
        for k in kept:
            error, row, numeric = self._error(analytic[:, k], slopes[k].central, slopes[k].noise)
            if not error <= self.settings.tolerance:
                error, row, numeric, is_kink = self._again(int(indices[k]), analytic[:, k], slopes[k])
                if is_kink:
                    kinks += 1
                    continue
            if error > worst:
                worst, place = error, k
                found = (float(analytic[row, k]) if len(analytic) else 0.0, numeric)
        return self._check(
            len(indices), kinks, max(worst, 0.0), int(indices[place]) if place >= 0 else None, found
        )

    def _check(
        self, compared: int, kinks: int, error: float, index: int | None, found: tuple[float, float]
    ) -> GradientCheck:
        target = self.target
        where = () if index is None else tuple(int(i) for i in np.unravel_index(index, target.shape))
        return GradientCheck(
            target.layer.name,
            target.layer.type,
            target.what,
            target.name,
            target.shape,
            compared,
            kinks,
            error,
            where,
            *found,
            self.settings.tolerance,
        )

    def _is_told_kink(self, index: int) -> bool:
        """Caffe's rule: the value's distance from 0 lies within the range around the kink."""
        value = abs(float(self.target.values()[index]))
        return abs(value - self.settings.kink) <= self.settings.kink_range

    def _slopes(self, index: int, step: float) -> Slopes:
        value = float(self.target.values()[index])
        above, below = value + step, value - step
        up = self.subject.evaluate(self.target, index, above)
        down = self.subject.evaluate(self.target, index, below)
        at = np.flatnonzero((up != self.outputs) | (down != self.outputs))
        up, down, middle = up[at], down[at], self.outputs[at]
        projection = self.projection
        sides = (up - middle) / (above - value), (middle - down) / (value - below)
        low, high = projection.between(*sides, at)
        noise = _NOISE * np.abs(middle) / (above - below)
        return Slopes(
            projection.of((up - down) / (above - below), at), projection.of_sizes(noise, at), low, high
        )

    def _error(self, analytic: Floats, numeric: Floats, noise: Floats) -> tuple[float, int, float]:
        """The largest relative error over the projections, its row, and the numeric gradient there."""
        if not analytic.size:
            return 0.0, 0, 0.0
        least = np.maximum(noise / self.settings.tolerance, _SMALL * self.size)
        size = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), least)
        off = np.abs(analytic - numeric)
        errors = np.where(off == 0, 0, off / size)
        errors = np.where(np.isfinite(analytic) & np.isfinite(numeric), errors, np.inf)
        row = int(errors.argmax())
        return float(errors[row]), row, float(numeric[row])

    def _again(self, index: int, analytic: Floats, first: Slopes) -> tuple[float, int, float, bool]:
        """Other steps: finer ones, which a kink nearby does not reach, and a coarser one, against rounding.

        Returns:
            error, row and numeric gradient of the best, and whether there is no derivative here.
        """
        coarse = self._slopes(index, 8 * self.step)
        fine = [self._slopes(index, self.step / divisor) for divisor in _FINER]
        extrapolated = (64 * first.central - coarse.central) / 63  # takes off the error of the second order
        tries = [(s.central, s.noise) for s in (first, *fine, coarse)] + [(extrapolated, 2 * first.noise)]
        best = min((self._error(analytic, numeric, noise) for numeric, noise in tries), key=lambda e: e[0])
        if best[0] <= self.settings.tolerance:
            return (*best, False)
        return (*best, self._is_kink(analytic, *fine))

    def _is_kink(self, analytic: Floats, fine: Slopes, finer: Slopes) -> bool:
        """Whether one-sided quotients stay apart however small the step, with the gradient between them."""
        slack = self.settings.tolerance * self.size
        apart, apart_finer = fine.high - fine.low, finer.high - finer.low
        stays = (apart_finer > 10 * slack) & (apart_finer > _STAYS * apart)
        between = (finer.low - slack <= analytic) & (analytic <= finer.high + slack)
        agrees = np.abs(analytic - finer.central) <= slack
        return bool((stays & between | agrees).all() and stays.any())
