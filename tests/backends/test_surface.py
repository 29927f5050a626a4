"""Both backends have all ops of the interface, with the same parameters, and no others."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.gpu import GpuOps
from caffenorm.backends.interface import Ops

# What a backend may have beside the ops.
OWN = {CpuOps: {"threads"}, GpuOps: {"device", "threads"}}
BACKENDS = [pytest.param(CpuOps, id="cpu"), pytest.param(GpuOps, id="gpu")]


def ops_of(cls: Any) -> dict[str, Any]:
    """Public methods by name, those of its bases too."""
    return {
        name: value
        for base in cls.__mro__
        for name, value in vars(base).items()
        if name[0] != "_" and inspect.isfunction(value)
    }


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(method).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in found]


OPS = ops_of(Ops)


def test_the_interface_is_seen_whole() -> None:
    assert OPS.keys() > {"batch_norm_train", "convolve", "softmax", "max_pool", "log_loss", "empty"}
    assert "relu" not in OPS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPS)
def test_an_op_has_the_parameters_of_the_interface(backend: Any, name: str) -> None:
    assert parameters(getattr(backend, name)) == parameters(OPS[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_has_no_op_that_the_interface_does_not_know(backend: Any) -> None:
    assert ops_of(backend).keys() - OPS.keys() - OWN[backend] == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["name", "is_host", "threads", "xp"])
def test_a_backend_has_the_attributes_of_the_interface(backend: Any, name: str) -> None:
    sources = [inspect.getsource(base) for base in backend.__mro__ if base is not object]

    assert hasattr(backend, name) or any(f"self.{name}" in source for source in sources)
