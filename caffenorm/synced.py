"""Synced: one flat array with a host and a device copy, copied only when the other side was written.

Access says what is meant, and the copies follow from it: `read` (newest values, not to be changed), `write`
(will be overwritten whole, so nothing is copied) and `update` (read and change). Memory is taken at the first
access; what nobody wrote reads as zeros.

Users get arrays that they may keep (`expose`, `expose_device`). Nobody tells when they change them, so as
long as one is kept, the side that it belongs to counts as changed, until the other side is written.

On a device, each access lets the current stream wait for the stream of the access before, if that was
another.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any  # NumPy's or CuPy's array
ALIGNMENT = 64  # bytes: one cache line, one AVX-512 vector
_HELD = 2  # what sys.getrefcount says of an array that only the dictionary holds


class Memory(Protocol):
    """What Synced needs of a backend; all but `is_host` and `empty` of those with a memory of their own."""

    is_host: bool

    def empty(self, count: int, dtype: np.dtype[Any]) -> Array: ...  # Any: float32 or float64
    def upload(self, host: NDArray[Any], device: Array) -> None: ...
    def download(self, device: Array, host: NDArray[Any]) -> None: ...
    def fill(self, device: Array, value: float) -> None: ...
    def alias(self, device: Array, owner: object) -> Array: ...
    def order_after(self, stream: Any) -> Any: ...  # Any: the device's stream, or None


class _Exposed:
    """Gives an array to NumPy as foreign memory: views of the result count as references to the result."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


class _Owner:
    """Lives as long as somebody keeps an array of the device."""

    def __init__(self, array: Array) -> None:
        self.array = array


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
        "_dependents", "_device", "_device_current", "_exposed", "_exposed_device", "_host", "_host_current",
        "_ops", "_stream", "count", "dtype", "pending", "version",
    )  # fmt: skip

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self.count = count
        self.dtype = dtype
        self.version = 0
        self.pending: Callable[[], None] | None = None
        self._host: NDArray[Any] | None = None
        self._device: Array | None = None
        self._ops: Memory | None = None
        self._stream: Any = None  # the device's stream that used `_device` last
        self._host_current = True
        self._device_current = False
        self._exposed: dict[tuple[int, ...], NDArray[Any]] = {}
        self._exposed_device: list[weakref.ref[_Owner]] = []
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
            self._host_current, self._device_current = True, False
            self._exposed = {}
            self._exposed_device = []
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
            if not self._host_current:
                self._download()
            return self.host_base()
        device = self._on_device(ops)
        if not self._device_current:
            if self._host is None:
                ops.fill(device, 0)
            else:
                ops.upload(self._host, device)
            self._device_current = not self._kept_on_host()
        return device

    def write(self, ops: Memory | None = None) -> Array:
        """Memory on the side of `ops` (None: host) that the caller overwrites whole."""
        self.version += 1
        self.pending = None
        if ops is None or ops.is_host:
            self._host_current, self._device_current = True, False
            return self.host_base()
        device = self._on_device(ops)
        self._host_current, self._device_current = False, True
        return device

    def update(self, ops: Memory | None = None) -> Array:
        """Newest values on the side of `ops` (None: host), which the caller changes."""
        array = self.read(ops)
        if self._dependents:
            self._settle_dependents()
        self.version += 1
        on_host = ops is None or ops.is_host
        self._host_current, self._device_current = on_host, not on_host
        return array

    # --- the device ---

    @property
    def device_ops(self) -> Memory | None:
        """The backend that has the device's array; None where there is none."""
        return self._ops

    def _on_device(self, ops: Memory) -> Array:
        """The device's array, whoever is newest; the current stream may work with it."""
        if self._ops is not ops:
            if not self._host_current:
                self._download()
            self._host_current, self._device_current = True, False
            self._ops, self._device, self._stream = ops, None, None
        if self._device is None:
            self._device = ops.empty(self.count, self.dtype)
        self._stream = ops.order_after(self._stream)
        return self._device

    def _download(self) -> None:
        assert self._ops is not None
        self._stream = self._ops.order_after(self._stream)
        self._ops.download(self._device, self.host_base())
        self._host_current = not self._kept_on_device()

    # --- users' arrays ---

    def expose(self, shape: tuple[int, ...], count: int) -> NDArray[Any]:
        """A host array for users, who may keep it and change it at any later time; see `stable_version`."""
        host = self.update()
        exposed = self._exposed.get(shape)
        if exposed is None:
            exposed = np.asarray(_Exposed(host[:count].reshape(shape)))
            self._exposed[shape] = exposed
        return exposed

    def expose_device(self, shape: tuple[int, ...], count: int, ops: Memory) -> Array:
        """The same on a device: an array that users may keep and change at any later time."""
        view = self.update(ops)[:count].reshape(shape)
        owner = _Owner(view)
        self._kept_on_device()
        self._exposed_device.append(weakref.ref(owner))
        return ops.alias(view, owner)

    def _kept_on_host(self) -> bool:
        for exposed in self._exposed.values():  # noqa: SIM110 (a generator would hold one more reference)
            if sys.getrefcount(exposed) > _HELD + 1:  # the dictionary, the loop variable and the argument
                return True
        return False

    def _kept_on_device(self) -> bool:
        if self._exposed_device:
            self._exposed_device = [owner for owner in self._exposed_device if owner() is not None]
        return bool(self._exposed_device)

    def stable_version(self) -> int | None:
        """The version, or None while somebody outside keeps an array that could change the values unseen."""
        return None if self._kept_on_host() or self._kept_on_device() else self.version
