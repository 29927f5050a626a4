"""Blob: Caffe's N-dimensional array with values (data) and gradient (diff)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffenorm.errors import DeviceError, ShapeError
from caffenorm.synced import Array, Memory, Synced


class ShapeClock:
    """Counts shape changes of all blobs, so that a net sees in one comparison that nothing has changed."""

    ticks = 0


def checked_shape(dims: Sequence[int], itemsize: int) -> tuple[tuple[int, ...], int]:
    """The shape as a tuple, and its count.

    Raises:
        ShapeError: a dimension is negative or no whole number, or the array would not fit any memory.
    """
    count = 1
    shape = []
    for dim in dims:
        try:
            size = dim.__index__()
        except AttributeError:
            raise ShapeError(f"dimensions must be whole numbers, found {dim!r} in {list(dims)}") from None
        if size < 0:
            raise ShapeError(f"dimension {size} of {list(dims)} is negative")
        shape.append(size)
        count *= size
    if count * itemsize > sys.maxsize:
        raise ShapeError(f"an array of shape {shape} has {count} values, more than any memory holds")
    return tuple(shape), count


class Blob:
    """Values and gradient of one shape.

    Memory is taken when it is first used. `data` and `diff` are NumPy arrays that may be kept and changed at
    any time; layers use `read`, `write` and `update`, which say what they do with the values and return the
    backend's arrays.

    Caffe: growing loses the values, shrinking keeps the memory.
    """

    __slots__ = ("_data", "_diff", "_home", "_views", "count", "dtype", "shape", "tick")

    def __init__(
        self, shape: Sequence[int] = (), dtype: DTypeLike = np.float32, home: Memory | None = None
    ) -> None:
        """Make a blob.

        Args:
            shape: any number of axes.
            dtype: float32 or float64.
            home: the backend that `gpu_data` and `gpu_diff` show it on; None or the CPU's: they have nothing
                to show until a GPU has used it.
        """
        self.dtype: np.dtype[Any] = np.dtype(dtype)  # Any: float32 or float64
        self.shape, self.count = checked_shape(shape, self.dtype.itemsize)
        self.tick = 0
        self._data = Synced(self.count, self.dtype)
        self._diff = Synced(self.count, self.dtype)
        self._home = home
        self._views: list[tuple[Array, Array] | None] = [None, None]

    # --- shape ---

    def reshape(self, *dims: int | Sequence[int]) -> None:
        """Take another shape, given as numbers or as one sequence.

        Raises:
            ShapeError: a dimension is negative or no whole number, or the array would not fit any memory.
        """
        given: Any = (
            dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence | np.ndarray) else dims
        )  # Any: ints
        if given == self.shape:
            return
        shape, count = checked_shape(given, self.dtype.itemsize)
        if shape == self.shape:
            return
        self.shape, self.count = shape, count
        self._data.grow(count)
        self._diff.grow(count)
        self._views = [None, None]
        ShapeClock.ticks += 1
        self.tick = ShapeClock.ticks

    def reshape_like(self, other: Blob) -> None:
        """Take the shape of `other`."""
        self.reshape(other.shape)

    @property
    def num_axes(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ShapeError(
                f"num, channels, height and width need at most 4 axes, this blob has {list(self.shape)}"
            )
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        """Axis 0 of a blob of at most four axes (1 where missing)."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Axis 1 of a blob of at most four axes (1 where missing)."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Axis 2 of a blob of at most four axes (1 where missing)."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Axis 3 of a blob of at most four axes (1 where missing)."""
        return self._legacy(3)

    # --- users' access ---

    @property
    def data(self) -> NDArray[Any]:  # Any: float32 or float64
        """The values as a NumPy array that may be read, changed and kept."""
        return self._data.expose(self.shape, self.count)

    @data.setter
    def data(self, value: Any) -> None:  # Any: whatever NumPy broadcasts
        self.data[...] = value

    @property
    def diff(self) -> NDArray[Any]:
        """The gradient as a NumPy array that may be read, changed and kept."""
        return self._diff.expose(self.shape, self.count)

    @diff.setter
    def diff(self, value: Any) -> None:
        self.diff[...] = value

    @property
    def gpu_data(self) -> Array:
        """The values as a CuPy array on the net's GPU, which may be read, changed and kept.

        It is the blob's own memory: `torch.from_dlpack(blob.gpu_data)` and whatever else speaks DLPack or
        `__cuda_array_interface__` shares it. Assign what lies on the GPU (CuPy arrays, PyTorch's tensors), on
        the host, or a number; it is copied into the blob. Work with it on the stream that was CuPy's current
        one when you asked for it, or wait for that stream.

        Values are copied between host and GPU when the side that is asked has not the newest. As with `data`,
        an array that is kept counts as changed until the other side is written.

        Raises:
            DeviceError: the blob belongs to a net on the CPU.
        """
        return self._data.expose_device(self.shape, self.count, self._gpu(self._data))

    @gpu_data.setter
    def gpu_data(self, value: Any) -> None:  # Any: numbers, arrays of any library
        self._gpu(self._data).assign(self.gpu_data, value)

    @property
    def gpu_diff(self) -> Array:
        """The gradient as a CuPy array on the net's GPU; see `gpu_data`."""
        return self._diff.expose_device(self.shape, self.count, self._gpu(self._diff))

    @gpu_diff.setter
    def gpu_diff(self, value: Any) -> None:
        self._gpu(self._diff).assign(self.gpu_diff, value)

    def _gpu(self, memory: Synced) -> Any:  # Any: the GPU's Memory, which can `assign` too
        ops = self._home if memory.device_ops is None else memory.device_ops
        if ops is None or ops.is_host:
            raise DeviceError(
                'this blob is in host memory; gpu_data and gpu_diff need a net made with device="gpu"'
            )
        return ops

    def stable_version(self) -> int | None:
        """A number that changes with the values; None while a kept array could change them unseen."""
        return self._data.stable_version()

    # --- layers' access ---

    def _view(self, side: int, base: Array) -> Array:
        cached = self._views[side]
        if cached is not None and cached[0] is base:
            return cached[1]
        view = (base if len(base) == self.count else base[: self.count]).reshape(self.shape)
        self._views[side] = (base, view)
        return view

    def read(self, ops: Memory | None = None) -> Array:
        """The values on the side of `ops`, not to be changed."""
        return self._view(0, self._data.read(ops))

    def write(self, ops: Memory | None = None) -> Array:
        """Memory for values that the caller overwrites whole."""
        return self._view(0, self._data.write(ops))

    def update(self, ops: Memory | None = None) -> Array:
        """The values, which the caller changes."""
        return self._view(0, self._data.update(ops))

    def read_diff(self, ops: Memory | None = None) -> Array:
        """The gradient, not to be changed."""
        return self._view(1, self._diff.read(ops))

    def write_diff(self, ops: Memory | None = None) -> Array:
        """Memory for a gradient that the caller overwrites whole."""
        return self._view(1, self._diff.write(ops))

    def update_diff(self, ops: Memory | None = None) -> Array:
        """The gradient, which the caller changes."""
        return self._view(1, self._diff.update(ops))

    # --- sharing ---

    def share_data(self, other: Blob) -> None:
        """Use the values of `other`, under the own shape.

        Raises:
            ShapeError: the counts differ.
        """
        self._share("_data", other)

    def share_diff(self, other: Blob) -> None:
        """Use the gradient of `other`, under the own shape.

        Raises:
            ShapeError: the counts differ.
        """
        self._share("_diff", other)

    def _share(self, side: str, other: Blob) -> None:
        if other.count != self.count:
            raise ShapeError(f"blobs of {other.count} and {self.count} values cannot share memory")
        setattr(self, side, getattr(other, side))
        self._views = [None, None]

    @property
    def data_memory(self) -> Synced:
        """The memory of the values; blobs that share it have the same."""
        return self._data

    @property
    def diff_memory(self) -> Synced:
        """The memory of the gradient; blobs that share it have the same."""
        return self._diff

    def __repr__(self) -> str:
        return f"Blob(shape={list(self.shape)}, dtype={self.dtype})"
