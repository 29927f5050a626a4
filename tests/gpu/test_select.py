"""Which device a net computes on, and what is said where there is none."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
from emulation import emulated_cupy

import caffenorm
from caffenorm import Net
from caffenorm.backends import select
from caffenorm.errors import ConfigError, DeviceError, MissingExtraError

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "silence" type: "Silence" bottom: "data" }
"""


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(select, "_gpus", {})
    monkeypatch.setattr(select, "_default_device", ["cpu"])
    monkeypatch.setattr(select, "_default_gpu", [0])
    return monkeypatch


def device_of(net: Net) -> str:
    return str(net.layers[0].ops.name)


def test_a_net_goes_where_it_is_told(gpu: Any) -> None:
    assert device_of(Net.from_text(TEXT)) == "cpu"
    assert device_of(Net.from_text(TEXT, device="gpu")) == "gpu:0"
    assert device_of(Net.from_text(TEXT, device="gpu:0")) == "gpu:0"


def test_set_mode_tells_new_nets_where_to_go(gpu: Any) -> None:
    caffenorm.set_mode_gpu()
    on_gpu = Net.from_text(TEXT)
    caffenorm.set_mode_cpu()
    on_cpu = Net.from_text(TEXT)

    assert device_of(on_gpu) == "gpu:0"
    assert device_of(on_cpu) == "cpu"


def test_set_device_chooses_among_several(no_gpu: pytest.MonkeyPatch) -> None:
    no_gpu.setitem(sys.modules, "cupy", emulated_cupy)

    caffenorm.set_device(1)
    caffenorm.set_mode_gpu()

    assert device_of(Net.from_text(TEXT)) == "gpu:1"
    assert device_of(Net.from_text(TEXT, device="gpu:0")) == "gpu:0"
    assert select.ops_for("gpu:1") is select.ops_for("gpu")


@pytest.mark.parametrize("name", ["cuda", "gpu:", "gpu:-1", "gpu0", "", 0])
def test_an_unknown_name_is_an_error(name: Any) -> None:
    with pytest.raises(ConfigError, match="device must be"):
        Net.from_text(TEXT, device=name)


@pytest.mark.parametrize("index", [-1, 0.5, "0"])
def test_a_gpu_has_a_whole_number(index: Any) -> None:
    with pytest.raises(ConfigError, match="whole number from 0 on"):
        caffenorm.set_device(index)


def test_a_gpu_that_is_not_there_is_an_error(no_gpu: pytest.MonkeyPatch) -> None:
    no_gpu.setitem(sys.modules, "cupy", emulated_cupy)

    with pytest.raises(DeviceError, match=r'"gpu:7" does not exist; this machine has 2 GPU\(s\)'):
        Net.from_text(TEXT, device="gpu:7")
    with pytest.raises(DeviceError, match="does not exist"):
        caffenorm.set_device(2)


def test_without_cupy_the_error_says_what_to_install(no_gpu: pytest.MonkeyPatch) -> None:
    no_gpu.setitem(sys.modules, "cupy", None)

    for ask in (caffenorm.set_mode_gpu, lambda: caffenorm.set_device(0)):
        with pytest.raises(MissingExtraError, match=r"caffenorm\[gpu\]"):
            ask()
    assert device_of(Net.from_text(TEXT)) == "cpu"


def test_without_a_driver_the_error_says_so(no_gpu: pytest.MonkeyPatch) -> None:
    def no_driver() -> int:
        raise emulated_cupy.CUDARuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient"
        )

    runtime = types.SimpleNamespace(**vars(emulated_cupy.cuda.runtime))
    runtime.getDeviceCount = no_driver
    cuda = types.SimpleNamespace(**{**vars(emulated_cupy.cuda), "runtime": runtime})
    no_gpu.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]

    with pytest.raises(DeviceError, match=r"no NVIDIA GPU here \(cudaErrorInsufficientDriver"):
        caffenorm.set_mode_gpu()


def test_importing_caffenorm_does_not_import_cupy() -> None:
    script = "import sys, caffenorm; sys.exit(any(name.startswith('cupy') for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


@pytest.mark.gpu
def test_cupy_has_what_stands_in_for_it() -> None:
    """Names alone: what they do is compared by running all tests on the device."""
    cupy = importlib.import_module("cupy")

    missing = [name for name in vars(emulated_cupy) if name[0] != "_" and not hasattr(cupy, name)]

    ours = {"DeviceArray", "Function", "MULTIPROCESSORS", "events", "driver", "CUDARuntimeError"}
    assert set(missing) <= ours | {"CompileException", "Device", "Stream", "Event"} | set(
        sys.stdlib_module_names
    )
    assert cupy.asarray(np.ones(3)).sum() == 3
