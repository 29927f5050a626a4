"""Calls an op of the CPU and the GPU's with the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffenorm.backends.cpu import CpuOps

CPU = CpuOps(1)


def unaligned(xp: Any, array: np.ndarray) -> Any:
    """A copy on the device that begins one value behind a 16-byte boundary."""
    memory = xp.empty(array.size + 1, array.dtype)
    memory[1:] = xp.asarray(array.reshape(-1))
    return memory[1:].reshape(array.shape)


def run_on_both(
    gpu_ops: Any,
    name: str,
    *args: Any,
    aligned: bool = True,
    alias: dict[int, int] | None = None,
    **kwargs: Any,
) -> tuple[list[Any], list[Any]]:
    """All array arguments after the op, and what it returned: the CPU's, the GPU's.

    Args:
        gpu_ops: the GPU's ops.
        name: of the op.
        args: its arguments; arrays are copied, so that nothing is changed here.
        aligned: whether the GPU's arrays begin at a 16-byte boundary.
        alias: argument number -> number of the argument that is the very same array.
        kwargs: further arguments.
    """
    xp = gpu_ops.xp

    def to_device(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [to_device(part) for part in value]
        if not isinstance(value, np.ndarray):
            return value
        return xp.asarray(value) if aligned else unaligned(xp, value)

    def copied(value: Any) -> Any:
        if isinstance(value, list):
            return [copied(part) for part in value]
        return value.copy() if isinstance(value, np.ndarray) else value

    results = []
    for ops, take, back in ((CPU, copied, copied), (gpu_ops, to_device, xp.asnumpy)):
        given = [take(value) for value in args]
        for number, other in (alias or {}).items():
            given[number] = given[other]
        named = {key: take(value) for key, value in kwargs.items()}
        returned = getattr(ops, name)(*given, **named)
        arrays = [back(v) for v in (*given, *named.values()) if hasattr(v, "dtype") and hasattr(v, "shape")]
        results.append([returned, *arrays])
    return results[0], results[1]


def assert_same(gpu_ops: Any, name: str, *args: Any, rtol: float | None = None, **options: Any) -> None:
    """What the op writes and returns is the same on both, but for rounding."""
    on_cpu, on_gpu = run_on_both(gpu_ops, name, *args, **options)

    for cpu, gpu in zip(on_cpu, on_gpu, strict=True):
        if cpu is None or gpu is None:
            assert cpu is gpu
            continue
        tolerance = rtol
        if tolerance is None:
            tolerance = 2e-6 if any(getattr(v, "dtype", None) == np.float32 for v in on_cpu) else 1e-13
        np.testing.assert_allclose(gpu, cpu, rtol=tolerance, atol=tolerance, err_msg=name)
