"""What all tests share: hypothesis' settings, the marks that skip, a random generator."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

import hypothesis
import numpy as np
import pytest

# The same examples in every run; the times of a shared machine say nothing about an example.
hypothesis.settings.register_profile("caffenorm", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("caffenorm")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2026)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests whose mark asks for what is not here."""
    for item in items:
        if item.get_closest_marker("torch") and importlib.util.find_spec("torch") is None:
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
        if item.get_closest_marker("gpu") and not _gpu_works():
            item.add_marker(pytest.mark.skip(reason="CuPy or an NVIDIA GPU is missing"))


@cache
def _gpu_works() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    cupy = importlib.import_module("cupy")
    try:
        return bool(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return False
