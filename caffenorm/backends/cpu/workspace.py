"""Work space of kernels, kept from call to call: one block for each of the program's threads."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64
_kept = threading.local()


def workspace(count: int) -> NDArray[np.uint8]:
    """At least that many bytes, not set, from a cache line on; the thread's next call gives the same memory.

    Raises:
        MemoryError: there is not that much.
    """
    block: NDArray[np.uint8] | None = getattr(_kept, "block", None)
    if block is None or len(block) < count:
        _kept.block = None
        raw = np.empty(count + count // 4 + 2 * _ALIGNMENT, dtype=np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        _kept.block = block = raw[start:]
    return block
