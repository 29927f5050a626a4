"""When a number counts as the same. Every test that compares with Caffe's numbers uses these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Caffe computes in float32. With other BLAS kernels (another order of summation) no golden case uses more
# than a ninth of this, and float64 stays within a quarter, so what fails is hardly ever rounding.
RTOL = 1e-4
ATOL = 1e-6
# Values that cancel are as exact as the largest of the array: this share of RTOL applies to it.
SHARE_OF_LARGEST = 0.1


def excess(found: ArrayLike, expected: ArrayLike, rtol: float = RTOL, atol: float = ATOL) -> float:
    """How many times its tolerance the worst value is away; at most 1 is agreement.

    Equal infinities and NaN against NaN agree; NaN against a number is infinitely far away.
    """
    ours, golden = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not golden.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(golden[np.isfinite(golden)]).max(initial=0.0)
        allowed = atol + rtol * np.abs(golden) + SHARE_OF_LARGEST * rtol * largest
        off = np.abs(ours - golden) / allowed
    same = (ours == golden) | (np.isnan(ours) & np.isnan(golden))
    return float(np.where(same, 0.0, np.where(np.isnan(off), np.inf, off)).max())


def assert_close(
    found: ArrayLike, expected: ArrayLike, what: str = "array", rtol: float = RTOL, atol: float = ATOL
) -> None:
    """Fails unless both have one shape (or one value) and agree."""
    ours, golden = np.asarray(found), np.asarray(expected)
    assert ours.shape == golden.shape or ours.size == golden.size == 1, (
        f"{what} has shape {ours.shape}, expected {golden.shape}"
    )
    off = excess(ours.reshape(golden.shape), golden, rtol, atol)
    assert off <= 1, f"{what} is {off:.3g} times its tolerance away"


def assert_golden(meta: Mapping[str, Any], key: str, found: ArrayLike, expected: ArrayLike) -> None:
    """assert_close with the tolerance that a golden case's `meta` gives for itself or for the array `key`."""
    rtol, atol = meta.get("tolerance", {}).get(key, (meta.get("rtol", RTOL), meta.get("atol", ATOL)))
    assert_close(found, expected, what=key, rtol=rtol, atol=atol)
