"""The GPU's ops for tests: emulated always, on a device where there is one."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

import pytest
from emulation import emulated_cupy

from caffenorm.backends import select
from caffenorm.backends.gpu import GpuOps

# The emulation builds libraries as GCC and Clang do on Linux.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@functools.cache
def _ops(kind: str) -> GpuOps:
    return GpuOps(0, emulated_cupy) if kind == "emulated" else GpuOps(0)


@pytest.fixture(params=["emulated", pytest.param("device", marks=pytest.mark.gpu)])
def gpu_ops(request: pytest.FixtureRequest) -> Any:
    """The ops of GPU 0."""
    return _ops(request.param)


@pytest.fixture(params=["emulated", pytest.param("device", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy, or what stands in for it, as `Net(..., device="gpu")` finds it."""
    monkeypatch.setattr(select, "_default_device", ["cpu"])
    monkeypatch.setattr(select, "_default_gpu", [0])
    if request.param == "device":
        return importlib.import_module("cupy")
    monkeypatch.setitem(sys.modules, "cupy", emulated_cupy)
    monkeypatch.setattr(select, "_gpus", {0: _ops("emulated")})
    return emulated_cupy
