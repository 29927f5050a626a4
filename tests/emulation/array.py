"""The emulated device's array: like cupy.ndarray, it refuses to meet NumPy's without being told to."""

from __future__ import annotations

import contextlib
import ctypes
import types
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from emulation import driver

# What happened since `Counter.clear`: "to_device", "to_host", "synchronise", "launch", "allocate".
events: Counter[str] = Counter()
_current_device = [0]
DEVICES = 2


def current_device() -> int:
    return _current_device[-1]


@contextlib.contextmanager
def on_device(index: int) -> Iterator[None]:
    _current_device.append(index)
    try:
        yield
    finally:
        _current_device.pop()


def set_device(index: int) -> None:
    _current_device[-1] = index


class UnownedMemory:
    """cupy.cuda.UnownedMemory: somebody else's memory, whose owner is kept."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self.owner = ptr, size, owner
        self.device_id = device_id

    def intact(self) -> bool:
        return True


class MemoryPointer:
    """cupy.cuda.MemoryPointer."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem = mem
        self.ptr: int = mem.ptr + offset


class DeviceArray:
    """cupy.ndarray: NumPy's array in memory that only kernels and this module reach."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _host: np.ndarray
    _memory: Any  # keeps the bytes, and knows whether those around are intact
    _device: int

    def __init__(self, shape: Any, dtype: Any = float, memptr: MemoryPointer | None = None) -> None:
        made = allocate(shape, dtype)
        self._host, self._memory, self._device = made._host, made._memory, made._device
        if memptr is not None:
            raw = (ctypes.c_uint8 * max(self.nbytes, 1)).from_address(memptr.ptr)
            self._host = np.frombuffer(raw, dtype, self.size).reshape(shape)
            self._memory = memptr.mem

    @classmethod
    def of(cls, host: np.ndarray, memory: Any, device: int) -> DeviceArray:
        """An array of that memory."""
        made = cls.__new__(cls)
        made._host, made._memory, made._device = host, memory, device
        return made

    # --- what it is ---

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data, mem=self._memory))
    T = property(lambda self: self._same(self._host.T))

    @property
    def device(self) -> Any:
        from emulation import emulated_cupy

        return emulated_cupy.cuda.Device(self._device)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._host.ctypes.data, False),
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
            "stream": 1,
        }

    def __dlpack__(self, **options: Any) -> Any:
        return self._host.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # that of the host, where it lies

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        return call(ufunc, *inputs, **kwargs)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"<array of the emulated device {self._device}: {self._host!r}>"

    # --- views and copies ---

    def _same(self, host: np.ndarray) -> DeviceArray:
        return DeviceArray.of(host, self._memory, self._device)

    def reshape(self, *shape: Any, order: str = "C") -> DeviceArray:
        wanted = shape[0] if len(shape) == 1 else shape
        new = self._host.reshape(wanted, order=order)
        return self._same(new) if np.may_share_memory(new, self._host) else fresh(new, self._device)

    def ravel(self) -> DeviceArray:
        return self.reshape(-1)

    def view(self, dtype: Any = None) -> DeviceArray:
        return self._same(self._host.view() if dtype is None else self._host.view(dtype))

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._same(self._host.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> DeviceArray:
        return self._same(self._host.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        return self._same(self._host.squeeze(axis))

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return fresh(self._host.astype(dtype), self._device)

    def copy(self, order: str = "C") -> DeviceArray:
        return fresh(self._host, self._device)

    def fill(self, value: Any) -> None:
        self._host.fill(_operand(value))

    def __getitem__(self, key: Any) -> DeviceArray:
        new = self._host[_index(key)]
        if isinstance(new, np.ndarray) and np.may_share_memory(new, self._host):
            return self._same(new)
        if not isinstance(new, np.ndarray):
            return self._same(self._host[(*(_index(key) if isinstance(key, tuple) else (_index(key),)), ...)])
        return fresh(new, self._device)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_index(key)] = _operand(value)

    # --- to the host ---

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        events["to_host"] += 1
        events["synchronise"] += 1
        if out is None:
            return self._host.copy()
        if out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError("get(out=) needs an array of this shape and dtype")
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError("set() needs an array of this shape and dtype")
        events["to_device"] += 1
        self._host[...] = arr

    def item(self, *args: Any) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[i] for i in range(len(self)))


def _method(name: str) -> Any:
    def method(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return call(getattr(np, name), self, *args, **kwargs)

    return method


def _operator(name: str, swapped: bool = False) -> Any:
    def operator(self: DeviceArray, other: Any) -> Any:
        return call(getattr(np, name), *((other, self) if swapped else (self, other)))

    return operator


def _in_place(name: str) -> Any:
    def operator(self: DeviceArray, other: Any) -> DeviceArray:
        call(getattr(np, name), self, other, out=self)
        return self

    return operator


for _name in ("sum", "mean", "max", "min", "any", "all", "argmax", "argmin", "prod", "cumsum"):
    setattr(DeviceArray, _name, _method(_name))
for _short, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
}.items():  # fmt: skip
    setattr(DeviceArray, f"__{_short}__", _operator(_name))
    setattr(DeviceArray, f"__r{_short}__", _operator(_name, swapped=True))
    setattr(DeviceArray, f"__i{_short}__", _in_place(_name))
for _short, _name in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(DeviceArray, f"__{_short}__", _operator(_name))
DeviceArray.__neg__ = lambda self: call(np.negative, self)  # type: ignore[attr-defined]
DeviceArray.__invert__ = lambda self: call(np.invert, self)  # type: ignore[attr-defined]
DeviceArray.__abs__ = lambda self: call(np.absolute, self)  # type: ignore[attr-defined]


# --- memory ---


def allocate(shape: Any, dtype: Any, device: int | None = None) -> DeviceArray:
    """An array that is not set: NaNs."""
    kind = np.dtype(dtype)
    dims = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    count = 1
    for dim in dims:
        count *= int(dim)
    events["allocate"] += 1
    memory = driver.Memory(count * kind.itemsize)
    raw = (ctypes.c_uint8 * max(memory.nbytes, 1)).from_address(memory.address)
    host = np.frombuffer(raw, kind, count).reshape(dims)
    weakref.finalize(raw, lambda held: None, memory)  # NumPy's views keep `raw`, and so the memory
    return DeviceArray.of(host, memory, current_device() if device is None else device)


def fresh(values: Any, device: int | None = None) -> DeviceArray:
    """A new array with these values, which are on the device already."""
    values = np.asarray(values)
    made = allocate(values.shape, values.dtype, device)
    made._host[...] = values
    return made


# --- NumPy's functions on device arrays alone ---


def _operand(value: Any) -> Any:
    """What NumPy works with in place of `value`."""
    if isinstance(value, DeviceArray):
        if value._device != current_device():
            raise ValueError(
                f"array on device {value._device}, while the current device is {current_device()}"
            )
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: a host array where a device's is needed")
    if value is None or isinstance(value, bool | int | float | np.generic | str | type | np.dtype):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(map(_index, key))
    if isinstance(key, slice) or key is Ellipsis:
        return key
    return _operand(key)


def _argument(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_argument, value))
    return _operand(value)


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of NumPy's on the arrays' memory; what it makes lies on the device, single values too."""
    out = kwargs.pop("out", None)
    if isinstance(out, tuple):
        (out,) = out
    if isinstance(function, np.ufunc) and "where" in kwargs:
        raise TypeError("CuPy's ufuncs take no `where`")
    if out is not None:
        if not isinstance(out, DeviceArray):
            raise TypeError("Output arguments type must be cupy.ndarray")
        kwargs["out"] = _operand(out)
    with np.errstate(all="ignore"):
        result = function(*map(_argument, args), **{key: _argument(value) if key != "out" else value
                                                     for key, value in kwargs.items()})  # fmt: skip
    if out is not None:
        return out
    if isinstance(result, tuple):
        return tuple(map(fresh, result))
    return None if result is None else fresh(result)
