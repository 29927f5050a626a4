"""Device name -> Ops object; the only module that imports a backend."""

from __future__ import annotations

import os

from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.interface import Ops
from caffenorm.errors import ConfigError, DeviceError


def _processors() -> int:
    """Processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _default_threads() -> int:
    """OMP_NUM_THREADS where it is a number, else one thread a processor."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else _processors()


_cpu: list[CpuOps] = []
_default_device = ["cpu"]


def ops_for(device: str | None = None) -> Ops:
    """The ops of a device.

    Args:
        device: "cpu", or None for what `set_mode_cpu` and `set_mode_gpu` chose.

    Raises:
        DeviceError: there is no such device here.
    """
    name = _default_device[0] if device is None else device
    if name == "cpu":
        if not _cpu:
            _cpu.append(CpuOps(_default_threads()))
        return _cpu[0]
    raise DeviceError(
        f'this version of caffenorm computes on the CPU only; device "{name}" is not available, use "cpu"'
    )


def set_mode_cpu() -> None:
    """Make new nets on the CPU (pycaffe's name)."""
    _default_device[0] = "cpu"


def set_mode_gpu() -> None:
    """Make new nets on the GPU (pycaffe's name).

    Raises:
        DeviceError: there is no GPU backend here.
    """
    ops_for("gpu")
    _default_device[0] = "gpu"


def set_device(index: int) -> None:
    """Choose the GPU that new nets use (pycaffe's name).

    Raises:
        DeviceError: there is no GPU backend here.
    """
    ops_for(f"gpu:{index}")


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
