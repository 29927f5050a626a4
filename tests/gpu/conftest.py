"""The GPU's ops for tests: emulated always, on a device where there is one."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from emulation import emulated_cupy

from caffenorm.backends.gpu import GpuOps


@functools.cache
def _ops(kind: str) -> GpuOps:
    return GpuOps(0, emulated_cupy) if kind == "emulated" else GpuOps(0)


@pytest.fixture(params=["emulated", pytest.param("device", marks=pytest.mark.gpu)])
def gpu_ops(request: pytest.FixtureRequest) -> Any:
    """The ops of GPU 0."""
    return _ops(request.param)
