"""What the loss ops on the GPU share: checks, partial sums, the one read that gives Python its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device

Array = Any  # cupy.ndarray
THREADS = 256


def ignored(label: int | None) -> tuple[int, int]:
    """Whether a label is ignored, and which."""
    return int(label is not None), int(label or 0)


def check_equal(found: int, expected: int, what: str) -> None:
    """Refuse an array of another count."""
    if found != expected:
        raise ValueError(f"{what}: {found} values, expected {expected}")


def check_types(like: Array, *others: Array | None) -> None:
    """Refuse arrays of another dtype than the first."""
    for array in others:
        if array is not None and array.dtype != like.dtype:
            raise TypeError(f"arrays of {array.dtype} and {like.dtype} in one call")


class LossSums:
    """Partial sums of blocks, and the numbers that are read back."""

    device: Device

    def _marks(self) -> Array:
        """Where `find_bad` leaves its mark: 0 between two ops."""
        return self.device.scratch("loss marks", 8, zeroed=True)[:8].view(np.uint64)

    def _parts(self, blocks: int) -> Array:
        return self.device.scratch("loss parts", 16 * blocks)[: 16 * blocks].view(np.float64)

    def _finish(self, parts: Array | None, blocks: int, labels: int = 0) -> tuple[float, int, int]:
        """The sum, how many count, the first bad label; waits for them."""
        results = self.device.scratch("loss results", 24)[:24].view(np.float64)
        kernel = self.device.kernel("loss", "finish", np.float64)
        kernel(1, THREADS, parts, self._marks(), results, blocks, labels)
        total, counted, bad = self.device.xp.asnumpy(results).tolist()
        return total, int(counted), int(bad)
