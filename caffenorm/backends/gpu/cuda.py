"""CUDA through CuPy: a device, its kernels and its scratch memory; the only module that imports CuPy.

A kernel is a template `__global__` function of a `.cu` file beside this one. `Device.kernel` names the file,
the function and the template arguments; what it returns is launched like

    device.kernel("channel", "scale_channels", x.dtype)(blocks, 256, x, gamma, None, y, outer, inner, 0.5)

Arguments follow one rule: arrays become pointers, None a null pointer, ints and bools `index_t`, floats
`double`. Launches go to the current stream of the device, and nothing here waits for it.
"""

from __future__ import annotations

import functools
import re
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from caffenorm import _extras
from caffenorm.errors import DeviceError

Array = Any  # cupy.ndarray; CuPy comes without types

FOLDER = Path(__file__).parent
_SHARED_BYTES = 48 * 1024  # what a block may use on every device without asking for more
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"[^\n]*$', re.MULTILINE)
_TYPE_NAMES = {
    "float32": "float",
    "float64": "double",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
}
_WHOLE = (int, np.integer, np.bool_)
_REAL = (float, np.floating)
_OPTIONS = {"__half": "-DCAFFENORM_HALF", "__nv_bfloat16": "-DCAFFENORM_BFLOAT16"}


def import_cupy() -> ModuleType:
    """CuPy.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _extras.require("cupy", extra="gpu", to="compute on a GPU")


def source_of(family: str) -> str:
    """The text of a family's `.cu` file, with local headers inlined, each once."""
    return _inlined(f"{family}.cu", set())


def _inlined(name: str, seen: set[str]) -> str:
    seen.add(name)
    text = (FOLDER / name).read_text(encoding="utf-8")
    parts, at = [f'#line 1 "{name}"\n'], 0
    for found in _INCLUDE.finditer(text):
        parts.append(text[at : found.start()])
        if found[1] not in seen:
            line = text.count("\n", 0, found.start()) + 1
            parts.append(f'{_inlined(found[1], seen)}\n#line {line} "{name}"')
        at = found.end()
    parts.append(text[at:])
    return "".join(parts)


def template_argument(value: Any) -> str:  # Any: a dtype in any spelling, a bool or an int
    """A template argument as C++ writes it."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    return _TYPE_NAMES[np.dtype(value).name]


def name_expression(name: str, *types: Any) -> str:  # Any: see template_argument
    """A kernel with its template arguments, such as `scale_channels<float, true>`."""
    return f"{name}<{', '.join(map(template_argument, types))}>"


def compile_options(expression: str) -> tuple[str, ...]:
    """The compiler's options for a kernel of that name expression."""
    return ("--std=c++17", *(option for name, option in _OPTIONS.items() if name in expression))


class Kernel:
    """A compiled kernel; calling it launches it on the current stream."""

    def __init__(self, device: Device, expression: str, function: Any) -> None:  # Any: cupy's Function
        self.expression = expression
        self._device = device
        self._function = function
        self._null = np.intp(0)
        self._current_device = device.xp.cuda.runtime.getDevice

    def __call__(
        self, blocks: int | tuple[int, ...], threads: int | tuple[int, ...], *args: Any, shared: int = 0
    ) -> None:
        """Launch it.

        Args:
            blocks: of the grid, along one to three axes.
            threads: of a block, along one to three axes.
            args: arrays, None, ints, bools and floats, in the order of the kernel's parameters.
            shared: bytes of dynamic shared memory of a block.
        """
        values = tuple(
            self._null
            if value is None
            else np.int64(value)
            if isinstance(value, _WHOLE)
            else np.float64(value)
            if isinstance(value, _REAL)
            else value
            for value in args
        )
        grid = (blocks,) if isinstance(blocks, int) else blocks
        block = (threads,) if isinstance(threads, int) else threads
        if self._current_device() == self._device.index:
            self._function(grid, block, values, shared_mem=shared)
        else:
            with self._device.selected():
                self._function(grid, block, values, shared_mem=shared)

    def __repr__(self) -> str:
        return f"<kernel {self.expression} of gpu:{self._device.index}>"


class Device:
    """One GPU.

    Attributes:
        index: its number, from 0 on.
        xp: CuPy.
        name: what NVIDIA calls it.
        multiprocessors: how many it has.
        l2_bytes: size of its second-level cache.
        shared_bytes: shared memory that a block may use.
    """

    shared_bytes = _SHARED_BYTES

    def __init__(self, index: int, cupy: ModuleType | None = None) -> None:
        """Open a device.

        Args:
            index: its number.
            cupy: what stands in for CuPy; None imports CuPy.

        Raises:
            MissingExtraError: CuPy is not installed.
            DeviceError: there is no driver, or no device of that number.
        """
        self.index = index
        self.xp = import_cupy() if cupy is None else cupy
        count = _device_count(self.xp)
        if not 0 <= index < count:
            have = "no GPU" if not count else f"{count} GPU(s), numbered from 0"
            raise DeviceError(f'device "gpu:{index}" does not exist; this machine has {have}')
        properties = self.xp.cuda.runtime.getDeviceProperties(index)
        name = properties["name"]
        self.name = name.decode() if isinstance(name, bytes) else str(name)
        self.multiprocessors = int(properties["multiProcessorCount"])
        self.l2_bytes = int(properties["l2CacheSize"])
        self._scratch: dict[tuple[int, int, str], Array] = {}
        # A cached lookup costs 0.1 us, spelling out the name expression several.
        self.kernel = functools.cache(self._compile)

    def _compile(self, family: str, name: str, *types: Any) -> Kernel:
        """A kernel of `<family>.cu`, compiled when it is first asked for.

        Args:
            family: name of the file.
            name: of the template function.
            types: template arguments in order: dtypes, bools, ints.

        Raises:
            DeviceError: it does not compile.
        """
        expression = name_expression(name, *types)
        try:
            with self.selected():
                module = self.xp.RawModule(
                    code=source_of(family),
                    options=compile_options(expression),
                    name_expressions=[expression],
                )
                return Kernel(self, expression, module.get_function(expression))
        except self.xp.cuda.compiler.CompileException as error:
            raise DeviceError(
                f"{family}.cu: kernel {expression} does not compile for {self.name}:\n{error}"
            ) from error
        except (ImportError, RuntimeError) as error:
            raise DeviceError(
                f"CuPy cannot compile for {self.name} ({error}); it needs CUDA's libraries and headers, "
                'which come with: python -m pip install "cupy-cuda13x[ctk]" (or cupy-cuda12x)'
            ) from error

    def selected(self) -> Any:  # Any: CuPy's context manager
        """Context in which this is CuPy's current device."""
        return self.xp.cuda.Device(self.index)

    def order_after(self, stream: Any) -> Any:  # Any: CuPy's stream
        """Let the current stream wait for what is in `stream` (None: nothing) and return the current one."""
        current = self.xp.cuda.get_current_stream(self.index)
        if stream is not None and stream.ptr != current.ptr:
            with self.selected():
                current.wait_event(stream.record())
        return current

    def blocks(self, count: int, threads: int = 256, per_thread: int = 4) -> int:
        """Blocks for a loop of grid stride: enough to fill the device, never more than there is work.

        Args:
            count: elements.
            threads: of a block.
            per_thread: elements that make a thread worth its start.
        """
        wanted = -(-count // (threads * per_thread))
        resident = self.multiprocessors * max(1, 2048 // threads)
        return max(1, min(wanted, resident))

    def scratch(self, name: str, nbytes: int, zeroed: bool = False) -> Array:
        """Work space of an op: a uint8 array of at least `nbytes`, one for each name, stream and host thread.

        What one op leaves there, the thread's next on the same stream may overwrite; an op of another thread
        could come between the launches of one. `zeroed`: new memory holds zeros, for counters that kernels
        set back to 0 themselves.
        """
        key = (threading.get_ident(), self.xp.cuda.get_current_stream(self.index).ptr, name)
        held = self._scratch.get(key)
        if held is None or held.nbytes < nbytes:
            with self.selected():
                make = self.xp.zeros if zeroed else self.xp.empty
                self._scratch[key] = held = make(max(nbytes, 256), dtype=np.uint8)
        return held


def _device_count(cupy: ModuleType) -> int:
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f'CuPy finds no NVIDIA GPU here ({error}); a GPU and its driver are needed, or device="cpu"'
        ) from error
