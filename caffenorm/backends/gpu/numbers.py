"""Small tables of sizes that kernels read, made when shapes are planned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffenorm.backends.gpu.cuda import Device

Array = Any  # cupy.ndarray


class Numbers:
    """An array of index_t on the device, uploaded by the stream that was current when it was made."""

    def __init__(self, device: Device, values: Iterable[int]) -> None:
        self._cuda, self._device = device.xp.cuda, device.index
        with device.selected():
            self._array = device.xp.asarray(np.array(list(values), np.int64))
            stream = self._cuda.get_current_stream()
            self._uploaded = stream.record(self._cuda.Event(disable_timing=True))
            self._stream = stream.ptr

    def here(self) -> Array:
        """The array, for a kernel on the current stream; one that did not upload it waits, on the device."""
        stream = self._cuda.get_current_stream(self._device)
        if stream.ptr != self._stream:
            stream.wait_event(self._uploaded)
        return self._array
