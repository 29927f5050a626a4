"""Synced: one flat array with a host and a device copy, copied only when the other side was written.

Access says what is meant, and the copies follow from it: `read` (newest values, not to be changed), `write`
(will be overwritten whole, so nothing is copied) and `update` (read and change). Memory is taken at the first
access; what nobody wrote reads as zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any  # NumPy's or CuPy's array
ALIGNMENT = 64  # bytes: one cache line, one AVX-512 vector
_HELD = 2  # what sys.getrefcount says of an array that only the dictionary holds


class Memory(Protocol):
    """What Synced needs of a backend."""

    is_host: bool

    def empty(self, count: int, dtype: np.dtype[Any]) -> Array: ...  # Any: float32 or float64
    def to_device(self, host: NDArray[Any]) -> Array: ...
    def to_host(self, device: Array) -> NDArray[Any]: ...


class _Exposed:
    """Gives an array to NumPy as foreign memory: views of the result count as references to the result."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


def aligned_zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start on a cache line; the system gives the pages when they are touched."""
    raw = np.zeros(count * dtype.itemsize + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * dtype.itemsize].view(dtype)


class Synced:
    """A flat array of `count` values of `dtype`.

    Attributes:
        version: grows whenever somebody may have changed the values.
        pending: makes the values when somebody reads them; set by `postpone`.
    """

    __slots__ = (
        "_dependents", "_device", "_exposed", "_host", "_newest_on_host", "_ops",
        "count", "dtype", "pending", "version",
    )  # fmt: skip

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self.count = count
        self.dtype = dtype
        self.version = 0
        self.pending: Callable[[], None] | None = None
        self._host: NDArray[Any] | None = None
        self._device: Array | None = None
        self._ops: Memory | None = None
        self._newest_on_host = True
        self._exposed: dict[tuple[int, ...], NDArray[Any]] = {}
        self._dependents: dict[int, Synced] = {}

    @property
    def allocated_bytes(self) -> int:
        """Bytes taken so far, on the host and on the device."""
        sides = (self._host is not None) + (self._device is not None)
        return sides * self.count * self.dtype.itemsize

    def grow(self, count: int) -> None:
        """Make room for `count` values; the old values are lost, as in Caffe."""
        if count > self.count:
            self.count = count
            self._host = self._device = None
            self._newest_on_host = True
            self._exposed = {}
            self.version += 1

    def postpone(self, make: Callable[[], None], sources: Iterable[Synced]) -> None:
        """Compute the values later, when somebody reads them, or before one of `sources` is changed.

        Args:
            make: computes them and writes them here.
            sources: what `make` reads. If a user keeps an array of one, which could change unseen, `make`
                runs at once.
        """
        sources = list(sources)
        if any(source.stable_version() is None for source in sources):
            make()
            return
        self.pending = make
        for source in sources:
            source._dependents[id(self)] = self

    def settle(self) -> None:
        """Compute what was postponed."""
        if self.pending is not None:
            make, self.pending = self.pending, None
            make()

    def _settle_dependents(self) -> None:
        waiting, self._dependents = self._dependents, {}
        for dependent in waiting.values():
            dependent.settle()

    def host_base(self) -> NDArray[Any]:
        """The host's array, whoever is newest."""
        if self._host is None:
            self._host = aligned_zeros(self.count, self.dtype)
        return self._host

    def read(self, ops: Memory | None = None) -> Array:
        """Newest values on the side of `ops` (None: host), not to be changed."""
        if self.pending is not None:
            self.settle()
        if ops is None or ops.is_host:
            if not self._newest_on_host:
                assert self._ops is not None
                self.host_base()[...] = self._ops.to_host(self._device)
                self._newest_on_host = True
            return self.host_base()
        if self._device is None or self._ops is not ops or self._newest_on_host:
            self._device = ops.to_device(self.read())
            self._ops = ops
            self._newest_on_host = False
        return self._device

    def write(self, ops: Memory | None = None) -> Array:
        """Memory on the side of `ops` (None: host) that the caller overwrites whole."""
        self.version += 1
        self.pending = None
        if ops is None or ops.is_host:
            self._newest_on_host = True
            return self.host_base()
        if self._device is None or self._ops is not ops:
            self._device = ops.empty(self.count, self.dtype)
            self._ops = ops
        self._newest_on_host = False
        return self._device

    def update(self, ops: Memory | None = None) -> Array:
        """Newest values on the side of `ops` (None: host), which the caller changes."""
        array = self.read(ops)
        if self._dependents:
            self._settle_dependents()
        self.version += 1
        if ops is None or ops.is_host:
            self._newest_on_host = True
        return array

    def expose(self, shape: tuple[int, ...], count: int) -> NDArray[Any]:
        """A host array for users, who may keep it and change it at any later time; see `stable_version`."""
        host = self.update()
        exposed = self._exposed.get(shape)
        if exposed is None:
            exposed = np.asarray(_Exposed(host[:count].reshape(shape)))
            self._exposed[shape] = exposed
        return exposed

    def stable_version(self) -> int | None:
        """The version, or None while somebody outside keeps an array that could change the values unseen."""
        for exposed in self._exposed.values():
            if sys.getrefcount(exposed) > _HELD + 1:  # the dictionary, the loop variable and the argument
                return None
        return self.version
