"""Arrays of a GPU's ops in tests: at odd addresses, and filled with what must be overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_device(ops: Any, host: np.ndarray, shift: int = 0) -> Any:
    """A copy that starts `shift` values behind an aligned address."""
    base = ops.xp.empty(host.size + shift, dtype=host.dtype)
    view = base[shift:].reshape(host.shape)
    if host.size:
        view.set(np.ascontiguousarray(host))
    return view


def unset(ops: Any, shape: tuple[int, ...], dtype: Any, shift: int = 0) -> Any:
    """An array of NaNs (of -7 where it holds integers)."""
    kind = np.dtype(dtype)
    return to_device(ops, np.full(shape, np.nan if kind.kind == "f" else -7, kind), shift)
