"""Builds kernels for the host and launches them.

Libraries are kept, by a hash of all that went into them, in a folder of the system's temporary one, or in
$CAFFENORM_EMULATION_CACHE. With $CAFFENORM_EMULATION_SANITIZE set they are built with the address and
undefined-behaviour sanitizers; the process must then have libasan loaded (LD_PRELOAD).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
_COMMON = ["-std=c++17", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w"]
# Equal names in two libraries are two things: a template's static variables are a kernel's shared memory.
_COMMON += ["-fno-gnu-unique", "-Wl,-Bsymbolic"]
_SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g"]
_lock = threading.Lock()

# Letters of a signature -> dtypes that such an array may have; half types travel as NumPy has them.
ELEMENTS = {
    "f": ("float32",), "d": ("float64",), "e": ("float16",), "E": ("bfloat16",), "i": ("int32",),
    "I": ("uint32",), "q": ("int64",), "Q": ("uint64",), "B": ("uint8",), "b": ("int8",),
}  # fmt: skip


class CompileError(Exception):
    """The C++ compiler refuses the source."""


class EmulationError(Exception):
    """A kernel did what CUDA leaves undefined, or a launch that a device refuses."""


def sanitizing() -> bool:
    return bool(os.environ.get("CAFFENORM_EMULATION_SANITIZE"))


@functools.cache
def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not found:
        raise CompileError("no C++ compiler found; the emulation of CUDA needs one")
    return found


@functools.cache
def cache_folder() -> Path:
    """Where what was built is kept."""
    folder = os.environ.get("CAFFENORM_EMULATION_CACHE")
    user = os.getuid() if hasattr(os, "getuid") else 0
    path = Path(folder) if folder else Path(tempfile.gettempdir()) / f"caffenorm-emulation-{user}"
    path.mkdir(parents=True, exist_ok=True)
    return path


@functools.cache
def _fixed_text() -> str:
    """What goes into each library beside its source."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return version + (HERE / "cuda_emulation.h").read_text()


def _build(text: str, options: Sequence[str]) -> Path:
    flags = [*_COMMON, *options, *(_SANITIZE if sanitizing() else [])]
    key = hashlib.sha256("\0".join([_fixed_text(), text, *flags]).encode()).hexdigest()[:32]
    library = cache_folder() / f"{key}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        made = Path(folder) / "kernel.so"
        command = [compiler(), *flags, f"-I{HERE}", "-x", "c++", "-", "-o", str(made)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(done.stderr)
        made.replace(library)
    return library


@functools.cache
def runtime() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_build((HERE / "runtime.cpp").read_text(), ["-O2"])))
    library.emulation_runtime.restype = ctypes.c_void_p
    library.emulation_allocate.restype = ctypes.c_void_p
    library.emulation_allocate.argtypes = [ctypes.c_size_t]
    library.emulation_intact.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.emulation_free.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.emulation_launch.argtypes = [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p),
        *(ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p, ctypes.c_long),
    ]
    return library


class Memory:
    """Device memory of the emulation: NaNs at first, and zones around it that nobody may write to."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.address: int = runtime().emulation_allocate(nbytes)
        if not self.address:
            raise MemoryError(f"{nbytes} bytes")
        self._free = runtime().emulation_free

    def array(self) -> np.ndarray:
        """The bytes, as long as this object lives."""
        return np.frombuffer((ctypes.c_uint8 * self.nbytes).from_address(self.address), np.uint8)

    def intact(self) -> bool:
        return bool(runtime().emulation_intact(self.address, self.nbytes))

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self._free(self.address, self.nbytes)


_WRAPPER = """
extern "C" char __bss_start[] __attribute__((visibility("hidden")));
extern "C" char _end[] __attribute__((visibility("hidden")));
namespace emulation {{
Runtime* runtime = reinterpret_cast<Runtime*>(1);
}}
extern "C" {{
__attribute__((section(".data"))) emulation::Entry emulation_entry = emulation::entry(&{expression}, {bound});
void emulation_connect(emulation::Runtime* runtime) {{ emulation::runtime = runtime; }}
char* emulation_statics() {{ return __bss_start; }}
long emulation_statics_size() {{ return _end - __bss_start; }}
}}
"""


class _Entry(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("signature", ctypes.c_char_p),
        ("launch_bound", ctypes.c_long),
    )


def launch_bound(source: str, name: str) -> str:
    """The text in a kernel's __launch_bounds__, or "0"."""
    found = re.search(
        rf"__global__[^;{{}}()]*__launch_bounds__\s*\(([^(),]+)[^()]*\)[^;{{}}()]*\b{name}\s*\(", source
    )
    return found[1] if found else "0"


class Kernel:
    """One instance of a kernel.

    Attributes:
        kinds: a letter a parameter: "n" index_t, "x" double, "w" array that is written, "r" that is read.
        codes: a letter a parameter: the key of an array's type in ELEMENTS, "?" where it is another.
    """

    def __init__(self, source: str, expression: str, options: Sequence[str] = ()) -> None:
        name = expression.partition("<")[0].rpartition("::")[2].strip()
        defines = [option for option in options if option.startswith("-D")]
        text = '#include "cuda_emulation.h"\n' + re.sub(r"#\s*include\s*<cuda_\w+\.h>", "", source)
        text += _WRAPPER.format(expression=expression, bound=launch_bound(source, name))
        extra = [] if sanitizing() else ["-nostartfiles"]
        self.expression = expression
        self._library = library = ctypes.CDLL(str(_build(text, ["-O1", *defines, *extra])))
        library.emulation_statics.restype = ctypes.c_void_p
        library.emulation_statics_size.restype = ctypes.c_long
        library.emulation_connect.argtypes = [ctypes.c_void_p]
        library.emulation_connect(runtime().emulation_runtime())
        self._entry = _Entry.in_dll(library, "emulation_entry")
        self.kinds, self.codes = self._entry.signature.decode().split(" ")
        # With the sanitizers there are other things in .bss.
        self._statics_size = 0 if sanitizing() else library.emulation_statics_size()
        self._message = ctypes.create_string_buffer(2000)

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[ctypes.c_void_p | ctypes.c_longlong | ctypes.c_double],
        shared: int = 0,
    ) -> None:
        """Run it.

        Args:
            grid: blocks, one to three axes.
            block: threads of a block, one to three axes.
            arguments: ctypes values, one a parameter.
            shared: bytes of dynamic shared memory.

        Raises:
            EmulationError: what no device does, or what CUDA leaves undefined.
        """
        if len(arguments) != len(self.kinds):
            raise EmulationError(f"{self.expression} takes {len(self.kinds)} arguments, not {len(arguments)}")
        addresses = (ctypes.c_void_p * max(1, len(arguments)))(*map(ctypes.addressof, arguments))
        three = [(ctypes.c_uint * 3)(*axes, *[1] * (3 - len(axes))) for axes in (grid, block)]
        with _lock:
            failed = runtime().emulation_launch(
                *(ctypes.addressof(self._entry), three[0], three[1], shared, addresses),
                *(self._library.emulation_statics(), self._statics_size, self._message, 2000),
            )
        if failed:
            raise EmulationError(f"{self.expression}: {self._message.value.decode()}")
