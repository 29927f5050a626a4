"""Finds the compiled CPU kernels: for each family, the best build that this processor can run.

A build is one instruction set: a folder beside this file (`generic`, `x86_64_v3`, `x86_64_v4`) with an
extension module for each kernel family. All builds give the same bits, so which one runs changes speed
only. The environment variable CAFFENORM_ISA names the build to use, for measuring and for tests.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

from caffenorm.errors import CaffenormError, ConfigError

# Best first, each with the processor level (pyx/cpu_level.h) that it needs.
_LEVEL_NEEDED = {"x86_64_v4": 4, "x86_64_v3": 3, "generic": 0}
_FOLDER = Path(__file__).parent

# How long threads of GCC's OpenMP stay awake for the next kernel: 1000 turns are some 20 us. By default
# it is milliseconds, in which they keep NumPy's BLAS threads off the processor. Measured on two cores,
# a kernel of 1 MB and a product of 64 x 576 by 576 x 3136 in turn: 10 to 14 ms a round by default, 1.2
# with 1000, as with 0; kernels alone, 65536 values on two threads: 2.7 us by default and with 1000, 12
# to 70 with 0 (one thread takes 3.1).
_SPIN_COUNT = "1000"
_SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")

_HOW_TO_BUILD = "run `python -m pip install .`, or in a checkout `python setup.py build_ext --inplace`"


@cache
def kernels(family: str) -> ModuleType:
    """The kernels of a family ("norm", "channel", ...) in the best build for this processor.

    Raises:
        ConfigError: if CAFFENORM_ISA names a build that is unknown, not compiled, or too new for this
            processor.
        CaffenormError: if no build of the family is compiled here.
    """
    for build in _usable_builds():
        if _is_compiled(build, family):
            return importlib.import_module(f"{__name__}.{build}.{family}")
    builds = ", ".join(_usable_builds())
    raise CaffenormError(f'the CPU kernels "{family}" are not compiled (build {builds}); {_HOW_TO_BUILD}')


def build_name() -> str:
    """The build that kernels come from: "x86_64_v4", "x86_64_v3" or "generic"."""
    return _usable_builds()[0]


@cache
def available_builds() -> tuple[str, ...]:
    """The builds that are compiled here and that this processor can run, best first."""
    level = _processor().level()
    builds = tuple(b for b, needed in _LEVEL_NEEDED.items() if needed <= level and _compiled_families(b))
    if not builds:
        raise CaffenormError(f"no CPU kernels are compiled for this processor; {_HOW_TO_BUILD}")
    return builds


def thread_count() -> int:
    """Threads that kernels use unless told otherwise: OMP_NUM_THREADS or all processors; 1 without OpenMP."""
    return int(_processor().thread_count())


@cache
def _processor() -> ModuleType:
    """The module that knows the processor, compiled for any; the first to load OpenMP."""
    if not _is_compiled("generic", "cpu"):
        raise CaffenormError(f"caffenorm's CPU kernels are not compiled; {_HOW_TO_BUILD}")
    with _short_spin():
        return importlib.import_module(f"{__name__}.generic.cpu")


@contextmanager
def _short_spin() -> Iterator[None]:
    """Lets an OpenMP that is loaded inside read _SPIN_COUNT, unless the user has said what it should do.

    The variable goes again afterwards: it is for this library, not for child processes.
    """
    if any(name in os.environ for name in _SPIN_VARIABLES):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


@cache
def _usable_builds() -> tuple[str, ...]:
    """The build that CAFFENORM_ISA asks for, else all available ones."""
    available = available_builds()
    asked = os.environ.get("CAFFENORM_ISA", "")
    if not asked:
        return available
    if asked not in _LEVEL_NEEDED:
        known = ", ".join(_LEVEL_NEEDED)
        raise ConfigError(f'CAFFENORM_ISA is "{asked}", which is no build; the builds are {known}')
    if asked not in available:
        why = "needs a newer processor" if _compiled_families(asked) else "is not compiled here"
        usable = ", ".join(available)
        raise ConfigError(f'CAFFENORM_ISA asks for the build "{asked}", which {why}; usable: {usable}')
    return (asked,)


def _is_compiled(build: str, family: str) -> bool:
    return any((_FOLDER / build / f"{family}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def _compiled_families(build: str) -> set[str]:
    """Families compiled for a build, the processor probe aside (it exists once, in `generic`)."""
    folder = _FOLDER / build
    files = folder.iterdir() if folder.is_dir() else iter(())
    names = {file.name[: -len(s)] for file in files for s in EXTENSION_SUFFIXES if file.name.endswith(s)}
    return {name.partition(".")[0] for name in names} - {"cpu"}
