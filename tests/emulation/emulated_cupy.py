"""Stands in for CuPy: as many of its functions as the backend and the layers use, with CuPy's restrictions.

Arrays are `array.DeviceArray`; a host array where a device's belongs is an error, as in CuPy. `events` counts
transfers, waits and launches. There are two devices, with three multiprocessors each.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from emulation import array as _array
from emulation import driver, emulated_cublas
from emulation.array import DeviceArray, events

__version__ = "14.0"
ndarray = DeviceArray
float16, float32, float64 = np.float16, np.float32, np.float64
int32, int64, uint8, bool_ = np.int32, np.int64, np.uint8, np.bool_
inf, nan, newaxis = np.inf, np.nan, None
MULTIPROCESSORS = 3

__all__ = ["DeviceArray", "events"]


def _same_as_numpy(name: str) -> Any:
    return functools.partial(_array.call, getattr(np, name))


for _name in (
    *("add", "subtract", "multiply", "divide", "true_divide", "power", "sqrt", "square", "reciprocal", "exp"),
    *("log", "log1p", "expm1", "tanh", "absolute", "abs", "sign", "negative", "minimum", "maximum", "floor"),
    *("ceil", "rint", "isnan", "isfinite", "equal", "not_equal", "less", "less_equal", "greater"),
    *("greater_equal", "logical_and", "logical_or", "logical_not", "matmul", "dot", "sum", "mean", "max"),
    *("min", "amax", "amin", "prod", "any", "all", "argmax", "argmin", "cumsum", "where", "flatnonzero"),
    *("clip", "concatenate", "stack", "broadcast_to", "transpose", "take", "argsort", "sort", "fmax", "fmin"),
    *("count_nonzero", "moveaxis", "swapaxes", "nan_to_num", "bitwise_and", "remainder", "ldexp", "var"),
    *("array_equal", "tensordot", "tile", "repeat", "isinf"),
):
    globals()[_name] = _same_as_numpy(_name)


# --- making arrays ---


def empty(shape: Any, dtype: Any = float, order: str = "C") -> DeviceArray:
    return _array.allocate(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> DeviceArray:
    made = empty(shape, dtype)
    made.fill(0)
    return made


def ones(shape: Any, dtype: Any = float, order: str = "C") -> DeviceArray:
    made = empty(shape, dtype)
    made.fill(1)
    return made


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> DeviceArray:
    made = empty(shape, np.asarray(fill_value).dtype if dtype is None else dtype)
    made.fill(fill_value)
    return made


def empty_like(a: DeviceArray, dtype: Any = None) -> DeviceArray:
    return empty(a.shape, a.dtype if dtype is None else dtype)


def zeros_like(a: DeviceArray, dtype: Any = None) -> DeviceArray:
    return zeros(a.shape, a.dtype if dtype is None else dtype)


def arange(*args: Any, dtype: Any = None) -> DeviceArray:
    return _array.fresh(np.arange(*args, dtype=dtype))


def array(obj: Any, dtype: Any = None, copy: bool = True) -> DeviceArray:
    if isinstance(obj, DeviceArray):
        return _array.fresh(_array._operand(obj).astype(obj.dtype if dtype is None else dtype))
    events["to_device"] += 1
    return _array.fresh(np.asarray(obj, dtype))


def asarray(a: Any, dtype: Any = None) -> DeviceArray:
    if isinstance(a, DeviceArray) and (dtype is None or a.dtype == dtype):
        return a
    return array(a, dtype)


def ascontiguousarray(a: Any, dtype: Any = None) -> DeviceArray:
    made = asarray(a, dtype)
    return made if made.flags.c_contiguous else made.copy()


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    if isinstance(a, DeviceArray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a)


def from_dlpack(tensor: Any) -> DeviceArray:
    """Shares memory with what exports DLPack; here that is host memory, of a CPU tensor too."""
    if isinstance(tensor, DeviceArray):
        return tensor
    host = np.from_dlpack(tensor)
    held = types.SimpleNamespace(address=host.ctypes.data, nbytes=host.nbytes, intact=lambda: True, keep=host)
    writable = np.frombuffer((ctypes.c_uint8 * host.nbytes).from_address(host.ctypes.data), host.dtype)
    writable.base.keep = tensor
    return DeviceArray.of(writable.reshape(host.shape), held, _array.current_device())


def copyto(dst: DeviceArray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    if not isinstance(dst, DeviceArray):
        raise TypeError(f"copyto writes to the device, not to {type(dst)}")
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.item()
    keep = {} if where is None else {"where": _array._operand(where)}
    np.copyto(_array._operand(dst), _array._operand(src), casting=casting, **keep)  # type: ignore[call-overload]


def may_share_memory(a: DeviceArray, b: DeviceArray) -> bool:
    return np.may_share_memory(a._host, b._host)


shares_memory = may_share_memory


def get_array_module(*args: Any) -> Any:
    import sys

    return sys.modules[__name__] if any(isinstance(a, DeviceArray) for a in args) else np


# --- kernels ---


class Function:
    """What RawModule.get_function returns."""

    def __init__(self, kernel: driver.Kernel) -> None:
        self.kernel = kernel
        self._device = _array.current_device()

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        if _array.current_device() != self._device:
            raise RuntimeError(
                f"a kernel of device {self._device} while {_array.current_device()} is current"
            )
        expression, kinds, codes = self.kernel.expression, self.kernel.kinds, self.kernel.codes
        if len(args) != len(kinds):
            raise driver.EmulationError(f"{expression} takes {len(kinds)} arguments, given {len(args)}")
        values, held = [], []
        for number, (value, kind, code) in enumerate(zip(args, kinds, codes, strict=True)):
            where = f"{expression}, argument {number}"
            if isinstance(value, np.ndarray) and value.ndim:
                raise TypeError(f"Unsupported type {type(value)}: {where}")
            if isinstance(value, DeviceArray):
                self._check_array(where, value, kind, code)
                values.append(ctypes.c_void_p(value._host.ctypes.data))
                held.append(value)
            elif kind in "rw" and isinstance(value, np.intp) and value == 0:
                values.append(ctypes.c_void_p(0))
            elif kind == "n" and isinstance(value, np.int64):
                values.append(ctypes.c_longlong(int(value)))
            elif kind == "x" and isinstance(value, np.float64):
                values.append(ctypes.c_double(float(value)))
            else:
                raise TypeError(f"{where} is {type(value).__name__}, the kernel takes {_KINDS[kind]}")
        events["launch"] += 1
        self.kernel.launch(grid, block, values, shared_mem)
        for value in held:
            if not value._memory.intact():
                raise driver.EmulationError(f"{expression} writes beside an array of {value.nbytes} bytes")

    def _check_array(self, where: str, value: DeviceArray, kind: str, code: str) -> None:
        if kind not in "rw":
            raise TypeError(f"{where} is an array, the kernel takes {_KINDS[kind]}")
        if value._device != self._device:
            raise ValueError(f"{where} lies on device {value._device}")
        allowed = driver.ELEMENTS.get(code)
        if allowed and value.dtype.name not in allowed and value.dtype != np.uint8:
            raise TypeError(f"{where} is {value.dtype}, the kernel takes {allowed[0]}")
        if not value.flags.c_contiguous:
            raise ValueError(f"{where} is not C-contiguous")


_KINDS = {"n": "an index_t", "x": "a double", "r": "an array", "w": "an array"}


class RawModule:
    """cupy.RawModule of source text; kernels are found by their name expressions alone."""

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool | None = None,
    ) -> None:
        assert code is not None
        assert isinstance(options, tuple)
        self._code, self._options, self._names = code, options, list(name_expressions or ())

    def get_function(self, name: str) -> Function:
        if name not in self._names:
            raise RuntimeError(f"{name} is none of the name expressions")
        try:
            return Function(_kernel(self._code, name, self._options))
        except driver.CompileError as error:
            raise cuda.compiler.CompileException(str(error), self._code, name, self._options) from error


@functools.cache
def _kernel(code: str, expression: str, options: tuple[str, ...]) -> driver.Kernel:
    return driver.Kernel(code, expression, options)


# --- cupy.cuda ---


class CUDARuntimeError(RuntimeError):
    pass


class CompileException(Exception):  # noqa: N818 (CuPy's name)
    def __init__(self, message: str, source: str, name: str, options: tuple[str, ...]) -> None:
        super().__init__(message)


class Device:
    def __init__(self, device: int | None = None) -> None:
        self.id = _array.current_device() if device is None else int(device)

    def __enter__(self) -> Device:
        self._context = _array.on_device(self.id)
        self._context.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self._context.__exit__(None, None, None)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    __hash__ = None  # type: ignore[assignment]

    def use(self) -> None:
        _array.set_device(self.id)

    def synchronize(self) -> None:
        events["synchronise"] += 1

    @property
    def compute_capability(self) -> str:
        return "90"


class Stream:
    """A stream; all work here is done at once, so it only has a number and an order of nesting."""

    null: Stream
    _numbers = itertools.count(1)

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = 0 if null else next(self._numbers)
        self.device_id = -1 if null else _array.current_device()

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *args: object) -> None:
        _streams.pop()

    def use(self) -> Stream:
        _streams[-1] = self
        return self

    def synchronize(self) -> None:
        events["synchronise"] += 1

    def record(self, event: Any = None) -> Any:
        return Event() if event is None else event

    def wait_event(self, event: Any) -> None:
        events["wait"] += 1


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        events["synchronise"] += 1


Stream.null = Stream(null=True)
_streams = [Stream.null]


def _properties(device: int) -> dict[str, Any]:
    return {
        "name": b"emulated",
        "multiProcessorCount": MULTIPROCESSORS,
        "l2CacheSize": 1 << 20,
        "sharedMemPerBlock": 48 * 1024,
        "warpSize": 32,
        "maxThreadsPerMultiProcessor": 2048,
        "totalGlobalMem": 1 << 33,
        "major": 9,
        "minor": 0,
    }


def _synchronise() -> None:
    events["synchronise"] += 1


cuda = types.SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Event=Event,
    UnownedMemory=_array.UnownedMemory,
    MemoryPointer=_array.MemoryPointer,
    get_current_stream=lambda device_id=-1: _streams[-1],
    is_available=lambda: True,
    compiler=types.SimpleNamespace(CompileException=CompileException),
    cublas=emulated_cublas,
    device=types.SimpleNamespace(get_cublas_handle=emulated_cublas.get_cublas_handle),
    runtime=types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: _array.DEVICES,
        getDevice=_array.current_device,
        setDevice=_array.set_device,
        getDeviceProperties=_properties,
        deviceSynchronize=_synchronise,
        streamSynchronize=lambda stream: _synchronise(),
    ),
)


# --- cupy.cublas ---


def _gemm(
    transa: str,
    transb: str,
    a: DeviceArray,
    b: DeviceArray,
    out: Any = None,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> DeviceArray:
    left, right = _array._operand(a), _array._operand(b)
    if left.ndim != 2 or right.ndim != 2 or left.dtype != right.dtype:
        raise TypeError("gemm takes matrices of one dtype")
    product = (left.T if transa == "T" else left) @ (right.T if transb == "T" else right)
    if out is None:
        return _array.fresh(alpha * product)
    if out.shape != product.shape or out.dtype != left.dtype:
        raise TypeError("gemm's out does not fit")
    target = _array._operand(out)
    # As in BLAS, with beta 0 what `out` held does not matter, not even a NaN.
    target[...] = alpha * product if beta == 0 else alpha * product + beta * target
    return out  # type: ignore[no-any-return]


cublas = types.SimpleNamespace(gemm=_gemm)
