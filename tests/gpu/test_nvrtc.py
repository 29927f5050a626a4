"""All CUDA sources compile with NVIDIA's compiler for all generations of GPUs, without a warning.

NVRTC and the half types' headers come from PyPI; neither needs a driver.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import hashlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulation import driver, sources

from caffenorm.backends.gpu import cuda

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
HERE = sys.platform == "linux" and platform.machine() == "x86_64"
needs_nvrtc = pytest.mark.skipif(not HERE, reason="NVRTC is a test requirement on Linux x86-64 only")


def _file_of(distribution: str, ending: str) -> Path:
    files = importlib.metadata.files(distribution) or []
    found = [file for file in files if str(file).endswith(ending)]
    assert found, f"{distribution} has no {ending}"
    return Path(str(found[0].locate()))


@functools.cache
def nvrtc() -> ctypes.CDLL:
    files = importlib.metadata.files("nvidia-cuda-nvrtc") or []
    name = next(file for file in files if re.fullmatch(r"libnvrtc\.so[.\d]*", file.name))
    return ctypes.CDLL(str(name.locate()))


def log_of(source: str, expressions: list[str], architecture: str) -> str:
    """The compiler's log: empty where all is well. What compiled well once is not compiled again."""
    version = importlib.metadata.version("nvidia-cuda-nvrtc")
    key = hashlib.sha256("\0".join([version, architecture, source, *expressions]).encode()).hexdigest()
    done = driver.cache_folder() / f"nvrtc-{key[:32]}"
    log = "" if done.exists() else compile_with_nvrtc(source, expressions, architecture)
    if not log:
        done.touch()
    return log


def compile_with_nvrtc(source: str, expressions: list[str], architecture: str) -> str:
    """The compiler's log: empty where all is well."""
    library = nvrtc()
    headers = _file_of("nvidia-cuda-runtime", "/cuda_fp16.h").parent
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        for expression in expressions:
            assert library.nvrtcAddNameExpression(program, expression.encode()) == 0
        options = {option for expression in expressions for option in cuda.compile_options(expression)}
        options |= {f"--gpu-architecture={architecture}", f"--include-path={headers}"}
        texts = [option.encode() for option in sorted(options)]
        status = library.nvrtcCompileProgram(program, len(texts), (ctypes.c_char_p * len(texts))(*texts))
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        return log.value.decode().strip() or ("" if status == 0 else f"status {status}")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


@needs_nvrtc
@pytest.mark.parametrize("family", sources.families())
def test_all_kernels_compile_without_a_warning(family: str) -> None:
    expressions = [expression for name, expression in sources.instances() if name == family]
    source = cuda.source_of(family)

    with ThreadPoolExecutor(len(ARCHITECTURES)) as pool:
        logs = pool.map(functools.partial(log_of, source, expressions), ARCHITECTURES)

    assert dict(zip(ARCHITECTURES, logs, strict=True)) == dict.fromkeys(ARCHITECTURES, "")


@needs_nvrtc
def test_a_warning_and_an_error_are_seen() -> None:
    warned = "template <typename T> __global__ void f(T* x) { int unused; x[0] = 1; }"
    wrong = "template <typename T> __global__ void f(T* x) { x[0] = y; }"

    assert "never referenced" in compile_with_nvrtc(warned, ["f<float>"], "sm_90")
    assert "undefined" in compile_with_nvrtc(wrong, ["f<float>"], "sm_90")


@needs_nvrtc
def test_the_header_of_half_types_is_read_where_they_are_used() -> None:
    source = """#include "common.cuh"
    template <typename T> __global__ void f(T* x) { store(x, load(x + 1)); }"""
    text = source.replace('#include "common.cuh"', (sources.FOLDER / "common.cuh").read_text())

    for name in ("float", "double", "__half", "__nv_bfloat16"):
        assert not compile_with_nvrtc(text, [f"f<{name}>"], "sm_75")


# --- what Python asks for is what there is ---


def asked_kernels() -> Iterator[tuple[str, str]]:
    """(family, name) of each `kernel(...)` call in the backend; both are written out there."""
    for path in sources.FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr != "kernel":
                continue
            family, name = node.args[:2]
            assert isinstance(family, ast.Constant), (
                f"{path.name}:{node.lineno}: the family is not written out"
            )
            assert isinstance(name, ast.Constant), f"{path.name}:{node.lineno}: the name is not written out"
            yield family.value, name.value


def test_python_asks_for_each_kernel_and_for_no_other() -> None:
    there = {(family, name) for family in sources.families() for name in sources.global_names(family)}

    assert set(asked_kernels()) == there


def test_each_kernel_is_a_template_with_a_name_of_its_own() -> None:
    for family in sources.families():
        names = sources.global_names(family)

        assert len(set(names)) == len(names)
        assert sorted(names) == sorted(kernel.name for kernel in sources.kernels(family))
