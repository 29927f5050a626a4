"""What norm, channel and statistics ops on the GPU ask of their arrays; the exceptions are the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.errors import ShapeError

Array = Any  # cupy.ndarray

# Element types, and that of parameters and statistics beside them.
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
PARAMETER_TYPES: dict[str, np.dtype[Any]] = {  # Any: the values' types
    "float16": FLOAT32,
    "bfloat16": FLOAT32,
    "float32": FLOAT32,
    "float64": FLOAT64,
}


def parameter_type(x: Array) -> np.dtype[Any]:  # Any: float32 or float64
    """The dtype of parameters and statistics beside such an x, which has three axes and no gaps."""
    kind = PARAMETER_TYPES.get(x.dtype.name)
    if kind is None:
        raise TypeError(f"the array is of {x.dtype}, expected float16, bfloat16, float32 or float64")
    if x.ndim != 3:
        raise ValueError(f"the array has {x.ndim} axes, expected (outer, channels, inner)")
    if not x.flags.c_contiguous:
        raise ValueError("the array is not C-contiguous")
    return kind


def check_likes(x: Array, **others: Array | None) -> None:
    """Each of them has the shape, dtype and layout of x, or is None."""
    for name, other in others.items():
        if other is None:
            continue
        if other.shape != x.shape:
            if other.ndim != 3:
                raise ValueError(f"{name} has {other.ndim} axes, expected 3")
            found, wanted = (" x ".join(map(str, a.shape)) for a in (other, x))
            raise ShapeError(f"{name} has shape {found}, expected {wanted}")
        _check_layout(other, x.dtype, name)


def check_values(count: int, kind: np.dtype[Any], **arrays: Array | None) -> None:  # Any: of any element
    """Each is one-dimensional, of `count` values of that dtype, or is None."""
    for name, array in arrays.items():
        if array is None:
            continue
        if array.ndim != 1:
            raise ValueError(f"{name} has {array.ndim} axes, expected 1")
        if array.size != count:
            raise ShapeError(f"{name} has {array.size} values, expected {count}")
        _check_layout(array, kind, name)


def _check_layout(array: Array, kind: np.dtype[Any], name: str) -> None:  # Any: of any element
    if array.dtype != kind:
        raise ValueError(f"{name} is of {array.dtype}, expected {kind}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} is not C-contiguous")
