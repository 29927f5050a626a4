"""Which build of the kernels runs, and what is said where none can."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from caffenorm import _kernels
from caffenorm.errors import CaffenormError, ConfigError

CACHED = (_kernels.kernels, _kernels.available_builds, _kernels._usable_builds)


@pytest.fixture(autouse=True)
def fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test chooses anew, and leaves no choice behind."""
    monkeypatch.delenv("CAFFENORM_ISA", raising=False)
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


def test_the_best_build_is_chosen() -> None:
    rising = ["generic", "x86_64_v3", "x86_64_v4"]

    builds = _kernels.available_builds()

    assert list(builds) == sorted(builds, key=rising.index, reverse=True)
    assert _kernels.build_name() == builds[0]
    assert builds[0] in _kernels.kernels("norm").__name__


def test_the_environment_chooses_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    last = [build for build in _kernels.available_builds() if _kernels._is_compiled(build, "norm")][-1]
    monkeypatch.setenv("CAFFENORM_ISA", last)
    _kernels._usable_builds.cache_clear()

    assert _kernels.build_name() == last
    assert _kernels.kernels("norm").__name__ == f"caffenorm._kernels.{last}.norm"


def test_an_unknown_build_is_refused_with_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFENORM_ISA", "avx2")

    with pytest.raises(ConfigError, match="x86_64_v4, x86_64_v3, generic"):
        _kernels.kernels("norm")


def test_a_build_that_the_processor_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldProcessor:
        @staticmethod
        def level() -> int:
            return 0

    monkeypatch.setattr(_kernels, "_processor", OldProcessor)
    monkeypatch.setattr(_kernels, "_compiled_families", lambda build: {"norm"})
    monkeypatch.setenv("CAFFENORM_ISA", "x86_64_v4")

    with pytest.raises(ConfigError, match="newer processor"):
        _kernels.build_name()


def test_a_family_that_is_not_compiled_says_how_to_build_it() -> None:
    with pytest.raises(CaffenormError, match="build_ext --inplace"):
        _kernels.kernels("nonsense")


def test_how_long_threads_spin_is_set_for_this_library_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)

    with _kernels._short_spin():
        during = os.environ.get("GOMP_SPINCOUNT")

    assert during == _kernels._SPIN_COUNT
    assert "GOMP_SPINCOUNT" not in os.environ


def test_what_the_user_says_about_spinning_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")

    with _kernels._short_spin():
        assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_computes_on_one_thread_instead_of_hanging() -> None:
    script = """
import os, signal
import numpy as np
from caffenorm import _kernels
from caffenorm.backends.cpu import CpuOps

ops, x = CpuOps(2), np.ones((8, 64, 4096), np.float32)
y, (mean, var, inv_std) = np.empty_like(x), np.empty((3, 64), np.float32)
ops.batch_norm_train(x, y, mean, var, inv_std, 1e-5)
child = os.fork()
if not child:
    signal.alarm(20)
    mean[...] = 0
    ops.batch_norm_train(x, y, mean, var, inv_std, 1e-5)
    os._exit(0 if (mean == 1).all() and _kernels.thread_count() == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
"""

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.returncode == 0, done.stderr


def test_there_is_at_least_one_thread() -> None:
    assert _kernels.thread_count() >= 1
