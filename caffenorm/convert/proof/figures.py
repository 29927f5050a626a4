"""How far two arrays are apart: absolute, relative, in units of the last place, by angle and by arg-max."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # Any: float16, float32 or float64
_WHOLE: dict[int, type[np.signedinteger[Any]]] = {2: np.int16, 4: np.int32, 8: np.int64}


@dataclass(frozen=True)
class Figures:
    """How far values are from what they should be.

    Attributes:
        max_abs: the largest difference. max_rel: that, over the largest absolute value expected.
        ulp_median, ulp_99, ulp_max: differences in units of the last place, of the precision compared: half
            of the values, 99 of 100, and all are no farther off.
        cosine: of the angle between both, seen as vectors.
        arg_max: share of positions where the same channel is the largest; None where there are no channels.
        different: share of values that are not bit-equal.
    """

    max_abs: float
    max_rel: float
    ulp_median: float = 0.0
    ulp_99: float = 0.0
    ulp_max: float = 0.0
    cosine: float = 1.0
    arg_max: float | None = None
    different: float = 0.0


EXACT = Figures(0.0, 0.0)
APART = Figures(np.inf, np.inf, np.inf, np.inf, np.inf, 0.0, None, 1.0)


def figures(expected: Array, value: Array, *, brief: bool = False) -> Figures:
    """All figures of one array.

    Args:
        expected, value: of one shape and dtype. The same infinities and NaNs at the same place are equal.
        brief: leave those out that take long: units in the last place, cosine and arg-max.
    """
    if expected.size == 0:
        return EXACT
    off = differences(expected, value)
    if brief:
        most, share = float(off.max()), np.count_nonzero(off) / off.size
        return Figures(most, _over(most, expected), different=share)
    units = ulps(expected, value).ravel()
    half, nearly = (len(units) - 1) // 2, int(np.ceil(0.99 * len(units))) - 1
    units.partition((half, nearly))
    return Figures(
        max_abs=float(off.max()),
        max_rel=_over(float(off.max()), expected),
        ulp_median=float(units[half]),
        ulp_99=float(units[nearly]),
        ulp_max=float(units.max()),
        cosine=cosine(expected, value),
        arg_max=arg_max_agreement(expected, value),
        different=float(np.count_nonzero(off)) / off.size,
    )


def relative(expected: Array, value: Array) -> float:
    """The largest difference over the largest absolute value expected (or by itself where all are 0)."""
    return _over(float(differences(expected, value).max(initial=0.0)), expected)


def _over(off: float, expected: Array) -> float:
    largest = largest_of(expected)
    return off / largest if largest else off


def largest_of(expected: Array) -> float:
    """The largest absolute value that is finite; 0 without any."""
    size = float(np.abs(expected).max(initial=0.0))
    return size if np.isfinite(size) else float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))


def differences(expected: Array, value: Array) -> NDArray[np.float64]:
    """Absolute differences in float64; 0 for the same infinities and NaNs, infinite for others."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.array(np.abs(expected.astype(np.float64) - value))
    off[(expected == value) | (np.isnan(expected) & np.isnan(value))] = 0
    off[np.isnan(off)] = np.inf
    return off


def ulps(expected: Array, value: Array) -> NDArray[np.float64]:
    """How many floating-point numbers lie between each two values, both zeros being one number."""
    first, second = _ordinals(expected), _ordinals(value)
    with np.errstate(over="ignore"):
        apart = np.array(np.abs(first.astype(np.float64) - second.astype(np.float64)))
        exact = np.abs(first - second)
    close = apart < 2.0**40
    apart[close] = np.asarray(exact)[close]
    nan = np.isnan(expected), np.isnan(value)
    apart[nan[0] & nan[1]] = 0
    apart[nan[0] ^ nan[1]] = np.inf
    return apart


def _ordinals(values: Array) -> NDArray[np.int64]:
    """Whole numbers in the order of the floats, next ones one apart."""
    bits = np.ascontiguousarray(values).view(_WHOLE[values.dtype.itemsize])
    lowest = np.iinfo(bits.dtype).min
    whole = bits.astype(np.int64)
    return np.where(whole < 0, int(lowest) - whole, whole)


def cosine(expected: Array, value: Array) -> float:
    """Of the angle between both; 1 for two zeros, 0 where something is not finite on one side alone."""
    finite = np.isfinite(expected) & np.isfinite(value)
    a, b = expected.astype(np.float64).ravel(), value.astype(np.float64).ravel()
    if not finite.all():
        if not ((expected == value) | (np.isnan(expected) & np.isnan(value)) | finite).all():
            return 0.0
        a[~finite.ravel()] = b[~finite.ravel()] = 0
    a /= largest_of(a) or 1.0
    b /= largest_of(b) or 1.0
    lengths = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    if lengths == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return min(1.0, float((a * b).sum()) / lengths)


def arg_max_agreement(expected: Array, value: Array) -> float | None:
    """Share of positions where the channel (axis 1) that is largest in `value` is so in `expected` too.

    Equal largest values count as agreement, whichever comes first. None without two channels.
    """
    if expected.ndim < 2 or expected.shape[1] < 2 or expected.size == 0:
        return None
    chosen = np.take_along_axis(expected, value.argmax(1)[:, None], 1)[:, 0]
    most = expected.max(1)
    return float(np.mean((chosen == most) | (np.isnan(chosen) & np.isnan(most))))


def worst(first: Figures, second: Figures) -> Figures:
    """Of two measurements, the worse of each figure."""
    shares = [share for share in (first.arg_max, second.arg_max) if share is not None]
    return Figures(
        max(first.max_abs, second.max_abs),
        max(first.max_rel, second.max_rel),
        max(first.ulp_median, second.ulp_median),
        max(first.ulp_99, second.ulp_99),
        max(first.ulp_max, second.ulp_max),
        min(first.cosine, second.cosine),
        min(shares) if shares else None,
        max(first.different, second.different),
    )
