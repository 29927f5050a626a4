"""Statistics ops on the GPU: the bits of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from device_arrays import to_device

from caffenorm.backends.cpu import CpuOps
from caffenorm.errors import ShapeError


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("channels", [0, 1, 3, 1000])
@pytest.mark.parametrize("counted", [False, True])
def test_store(gpu_ops, dtype, channels, counted):
    values = np.random.default_rng(0).normal(size=(4, channels)).astype(dtype)
    host = [*values, np.full(1, 2.5, dtype) if counted else None]
    device = [None if a is None else to_device(gpu_ops, a) for a in host]

    gpu_ops.store_statistics(*device, 0.999, 0.3, 0.7)

    CpuOps(1).store_statistics(*host, 0.999, 0.3, 0.7)
    for found, expected in zip(device, host, strict=True):
        if expected is not None:
            np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("factor", [0, 1, 3.7])
@pytest.mark.parametrize("channels", [0, 1, 300])
def test_read(gpu_ops, dtype, factor, channels):
    sums = np.random.default_rng(0).normal(size=(2, channels)).astype(dtype)
    host = [*sums, np.full(1, factor, dtype), np.ones(channels, dtype), np.ones(channels, dtype)]
    device = [to_device(gpu_ops, a) for a in host]

    gpu_ops.read_statistics(*device)

    CpuOps(1).read_statistics(*host)
    for found, expected in zip(device, host, strict=True):
        np.testing.assert_array_equal(found.get(), expected)


def test_faults(gpu_ops):
    three, two, one = (to_device(gpu_ops, np.ones(n, "f4")) for n in (3, 2, 1))

    with pytest.raises(ShapeError):
        gpu_ops.store_statistics(three, three, three, two, one, 0.9)
    with pytest.raises(ShapeError):
        gpu_ops.read_statistics(three, three, two, three, three)
    with pytest.raises(TypeError):
        gpu_ops.store_statistics(*[to_device(gpu_ops, np.ones(3, "i4"))] * 4, None, 0.9)
