"""Arrays, runs and tolerances of the tests of norm ops on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from device_arrays import to_device

from caffenorm.backends.cpu import CpuOps

DTYPES = ("float32", "float64", "float16", "bfloat16")
# Relative to the size of values: of results in that type, and of what is computed for it in float32.
ROUNDING = {"float32": 2e-6, "float64": 2e-14, "float16": 1.2e-3, "bfloat16": 9e-3}
SUMS = {"float32": 2e-6, "float64": 2e-14, "float16": 4e-6, "bfloat16": 4e-6}
# All ways to walk over an array, and what is at their edges: channels in a block's registers, in packs and
# in single values; in pieces, also of many short rows; columns in registers, in pieces, of narrow arrays.
WHOLE = [(3, 5, 16), (2, 3, 49), (1, 1, 33), (7, 2, 1040), (3, 520, 16)]
PIECES = [(2, 3, 12_288), (1, 2, 24_577), (130, 3, 196), (41, 2, 425)]
COLUMNS = [
    (5, 6, 3),
    (256, 3, 1),
    (7, 300, 2),
    (1, 1, 1),
    (300, 5, 1),
    (1030, 70, 1),
    (515, 40, 9),
    (2100, 2, 4),
]
SHAPES = WHOLE + PIECES + COLUMNS


def dtype_of(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def parameter_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype("f8") if dtype == np.float64 else np.dtype("f4")


def wide(values: Any) -> Any:
    """The same values as float64, and anything else as it is."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values


class Both:
    """Runs an op on the GPU, and in float64 on the CPU; `shift` values lie before each large array."""

    def __init__(self, ops: Any, shift: int = 0) -> None:
        self.ops, self.shift = ops, shift

    def __call__(self, name: str, *args: Any, same: tuple[int, int] | None = None, **options: Any) -> Any:
        """Arrays as the GPU left them, then as the CPU did; `same`: one argument is another's array."""
        expected = [wide(a) if a is None or isinstance(a, np.ndarray) else a for a in args]
        expected = [a.copy() if isinstance(a, np.ndarray) else a for a in expected]
        named = {key: wide(a).copy() if isinstance(a, np.ndarray) else a for key, a in options.items()}
        found = [self.device(a) for a in args]
        found_named = {key: self.device(a) for key, a in options.items()}
        if same:
            expected[same[0]], found[same[0]] = expected[same[1]], found[same[1]]
        getattr(CpuOps(1), name)(*expected, **named)
        getattr(self.ops, name)(*found, **found_named)
        return (
            [a.get() if hasattr(a, "get") else a for a in found]
            + [a.get() if hasattr(a, "get") else a for a in found_named.values()],
            [*expected, *named.values()],
        )

    def device(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return to_device(self.ops, value, self.shift if value.ndim == 3 else 0)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float, size: Any = 1.0) -> None:
    """Within the tolerance of the size of values."""
    bound = tolerance * np.maximum(np.abs(expected), size)
    difference = np.abs(found.astype(np.float64) - expected)
    assert (difference <= bound).all(), (float((difference / bound).max()), np.argmax(difference / bound))
