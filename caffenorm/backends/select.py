"""Device name -> Ops object; the only module that imports a backend."""

from __future__ import annotations

import os
import re

from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.interface import Ops
from caffenorm.errors import ConfigError


def _processors() -> int:
    """Processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _default_threads() -> int:
    """OMP_NUM_THREADS where it is a number, else one thread a processor."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else _processors()


_cpu: list[CpuOps] = []
_gpus: dict[int, Ops] = {}
_default_device = ["cpu"]
_default_gpu = [0]


def ops_for(device: str | None = None) -> Ops:
    """The ops of a device, one object for each.

    Args:
        device: "cpu", "gpu" (the one that `set_device` chose, or 0), "gpu:1" and so on; None for what
            `set_mode_cpu` and `set_mode_gpu` chose.

    Raises:
        ConfigError: no such name.
        DeviceError: there is no such GPU here, or no driver.
        MissingExtraError: CuPy is not installed.
    """
    name = _default_device[0] if device is None else device
    if name == "cpu":
        if not _cpu:
            _cpu.append(CpuOps(_default_threads()))
        return _cpu[0]
    found = re.fullmatch(r"gpu(?::(\d+))?", name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f'device must be "cpu", "gpu" or "gpu:" and a number, found {name!r}')
    index = _default_gpu[0] if found[1] is None else int(found[1])
    if index not in _gpus:
        from caffenorm.backends.gpu import GpuOps  # its kernels' sources are of no use without a GPU

        _gpus[index] = GpuOps(index)
    return _gpus[index]


def set_mode_cpu() -> None:
    """Make new nets on the CPU (pycaffe's name)."""
    _default_device[0] = "cpu"


def set_mode_gpu() -> None:
    """Make new nets on the GPU (pycaffe's name).

    Raises:
        DeviceError: there is no GPU here, or no driver.
        MissingExtraError: CuPy is not installed.
    """
    ops_for("gpu")
    _default_device[0] = "gpu"


def set_device(index: int) -> None:
    """Choose the GPU that new nets on "gpu" use (pycaffe's name).

    Raises:
        ConfigError: no whole number from 0 on.
        DeviceError: there is no such GPU here, or no driver.
        MissingExtraError: CuPy is not installed.
    """
    if not isinstance(index, int) or index < 0:
        raise ConfigError(f"a GPU's number must be a whole number from 0 on, found {index!r}")
    ops_for(f"gpu:{index}")
    _default_gpu[0] = index


def set_num_threads(threads: int) -> None:
    """Let the CPU kernels use that many threads; results do not depend on it.

    Raises:
        ConfigError: less than one.
    """
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"the number of threads must be a whole number from 1 on, found {threads!r}")
    ops_for("cpu").threads = threads


def get_num_threads() -> int:
    """How many threads the CPU kernels use."""
    return ops_for("cpu").threads
