"""The GPU benchmark without a GPU: its passes, its table, and what it says of the missing one."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from emulation import emulated_cupy

from caffenorm import _extras
from caffenorm.backends.cpu import CpuOps
from caffenorm.backends.gpu import GpuOps
from caffenorm.errors import MissingExtraError

PATH = Path(__file__).parents[2] / "benchmarks" / "bench_gpu.py"


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("bench_gpu", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_gpu", module)
    spec.loader.exec_module(module)
    return module


class TestClock:
    """Runs the calls; all take as long."""

    __test__ = False

    def seconds(self, calls):
        for call in calls:
            call()
        return 2e-6


def test_passes_are_those_of_batch_norm(bench):
    ours = bench.Ours(GpuOps(0, emulated_cupy), (2, 3, 4, 5), "float32", True)
    x, dy, (y, dx) = ours.x.get(), ours.dy.get(), np.empty((2, *ours.view), "f4")
    mean, var, inv_std, dgamma, dbeta = np.zeros((5, 3), "f4")
    parameters = {"gamma": np.ones(3, "f4"), "beta": np.zeros(3, "f4"), "slope": 0.0}

    ours.forward()
    ours.backward()

    CpuOps(1).batch_norm_train(x, y, mean, var, inv_std, bench.EPS, **parameters)
    CpuOps(1).batch_norm_backward(x, dy, dx, mean, inv_std, **parameters, dgamma=dgamma, dbeta=dbeta)
    np.testing.assert_allclose(ours.y.get(), y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.dx.get(), dx, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.dgamma.get(), dgamma, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.stored[0].get(), mean, rtol=1e-6)


def test_the_table(bench, capsys, monkeypatch):
    monkeypatch.setattr(bench, "torch_sees_a_gpu", lambda: False)
    options = argparse.Namespace(relu=False, rounds=2)

    rows = bench.measure(GpuOps(0, emulated_cupy), TestClock(), (2, 3, 4, 5), "float16", options, 4e9)
    bench.report(rows)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    # 120 values of 2 bytes, read and written in 2 us: 240 MB/s of the copy's 4 GB/s.
    assert lines[1].split() == ["2x3x4x5", "float16", "forward", "2.0", "-", "-", "0", "6%"]


def test_ratios(bench, capsys):
    rows = [
        bench.Row((64, 64, 112, 112), "float32", kind, 1e-4, t * 1e-4, 4e12)
        for kind in ("forward", "backward")
        for t in (1, 4)
    ]

    bench.report(rows)

    out = capsys.readouterr().out
    assert "float32 forward: geometric mean 2.00 times PyTorch, worst 1.00" in out
    assert rows[0].needed_bytes == 2 * 4 * 64 * 64 * 112 * 112
    assert rows[2].needed_bytes == 3 * 4 * 64 * 64 * 112 * 112


def test_inputs_exceed_the_cache(bench):
    assert bench.copies_of(1 << 20, 50 << 20) * (1 << 20) >= 50 << 20
    assert bench.copies_of(1 << 30, 50 << 20) == 2


def test_without_a_gpu_it_says_so(bench, capsys, monkeypatch):
    def missing(*args, **options):
        raise MissingExtraError("CuPy is needed to compute on a GPU")

    monkeypatch.setattr(_extras, "require", missing)

    assert bench.main([]) == 1
    assert "nothing is measured: CuPy is needed" in capsys.readouterr().err
