"""Blobs on a GPU: both sides show the same values, and what is copied is only what has to be."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from emulation import emulated_cupy

from caffenorm import Net
from caffenorm.backends import select
from caffenorm.blob import Blob
from caffenorm.errors import DeviceError
from caffenorm.synced import Synced

F4 = np.dtype("f4")
TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "reshape" type: "Reshape" bottom: "data" top: "out" reshape_param { shape { dim: -1 } } }
"""


@pytest.fixture
def ops() -> Any:
    emulated_cupy.events.clear()
    from caffenorm.backends.gpu import GpuOps

    return GpuOps(0, emulated_cupy)


def transfers() -> tuple[int, int]:
    """To the device and back, since the last time."""
    events = emulated_cupy.events
    seen = events["to_device"], events["to_host"]
    events.clear()
    return seen


# --- both sides ---


def test_host_and_gpu_show_the_same_values(gpu_ops: Any) -> None:
    blob = Blob((2, 3), F4, gpu_ops)

    blob.data[...] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(gpu_ops.xp.asnumpy(blob.gpu_data), np.arange(6).reshape(2, 3))
    blob.gpu_data[1] = 7
    np.testing.assert_array_equal(blob.data, [[0, 1, 2], [7, 7, 7]])
    blob.gpu_diff[...] = 2
    np.testing.assert_array_equal(blob.diff, np.full((2, 3), 2))


def test_what_nobody_wrote_is_zero_on_the_gpu_too_and_is_not_copied_there(ops: Any) -> None:
    blob = Blob((3,), F4, ops)

    values = blob.gpu_data.get()

    assert (values == 0).all()
    assert transfers() == (0, 1)


def test_values_are_copied_when_the_other_side_was_written_and_only_then(ops: Any) -> None:
    memory = Synced(4, F4)

    memory.write()[...] = 1
    memory.read(ops)
    memory.read(ops)
    memory.read()
    memory.read(ops)
    assert transfers() == (1, 0)

    memory.update(ops)[...] = 2
    assert (memory.read() == 2).all()
    memory.read()
    memory.read(ops)
    assert transfers() == (0, 1)

    memory.write(ops)
    memory.write()
    memory.write(ops)
    assert transfers() == (0, 0)


def test_what_is_overwritten_whole_is_not_copied(ops: Any) -> None:
    memory = Synced(4, F4)
    memory.write()[...] = 1

    memory.write(ops)[...] = 3

    assert transfers() == (0, 0)
    assert (memory.read() == 3).all()


def test_values_move_from_gpu_to_gpu(ops: Any) -> None:
    from caffenorm.backends.gpu import GpuOps

    other = GpuOps(1, emulated_cupy)
    memory = Synced(4, F4)
    memory.write(ops).fill(5)

    moved = memory.read(other)

    assert int(moved.device) == 1
    with other.selected():
        assert (moved.get() == 5).all()
    assert (memory.read() == 5).all()


def test_growing_loses_the_gpu_copy_too(ops: Any) -> None:
    blob = Blob((2,), F4, ops)
    blob.gpu_data[...] = 1

    blob.reshape(3)

    assert (blob.gpu_data.get() == 0).all()


def test_a_blob_on_the_cpu_says_where_it_is() -> None:
    for blob in (Blob((2,)), Blob((2,), home=select.ops_for("cpu"))):
        with pytest.raises(DeviceError, match="host memory"):
            _ = blob.gpu_data
        with pytest.raises(DeviceError, match="host memory"):
            blob.gpu_diff = 1


# --- kept arrays ---


def test_a_kept_gpu_array_is_the_blobs_memory(gpu_ops: Any) -> None:
    blob = Blob((2, 3), F4, gpu_ops)

    kept = blob.gpu_data[0]
    gc.collect()
    kept[...] = 4
    assert (blob.data[0] == 4).all()
    kept[...] = 5
    del kept

    assert (gpu_ops.xp.asnumpy(blob.gpu_data[0]) == 4).all(), "blob.data was handed out last, and counts"


def test_a_kept_gpu_array_counts_as_changed_until_it_is_dropped(ops: Any) -> None:
    memory = Synced(4, F4)
    kept = memory.expose_device((2, 2), 4, ops)
    view = kept[1:]
    del kept
    assert memory.stable_version() is None

    view[...] = 1
    assert memory.read()[3] == 1
    view[...] = 2
    assert memory.read()[3] == 2

    del view
    gc.collect()
    assert memory.stable_version() is not None
    memory.read()
    transfers()
    memory.read()
    assert transfers() == (0, 0)


def test_a_kept_host_array_is_copied_before_each_use_until_the_gpu_writes(ops: Any) -> None:
    memory = Synced(4, F4)
    kept = memory.expose((4,), 4)

    kept[...] = 1
    assert (memory.read(ops).get() == 1).all()
    kept[...] = 2
    assert (memory.read(ops).get() == 2).all()
    memory.write(ops).fill(3)
    kept[...] = 4
    assert (memory.read(ops).get() == 3).all()


# --- streams ---


def test_another_stream_waits_for_the_one_before(ops: Any) -> None:
    memory = Synced(4, F4)
    events = emulated_cupy.events
    stream = emulated_cupy.cuda.Stream(non_blocking=True)

    memory.write(ops)
    memory.read(ops)
    assert events["wait"] == 0
    with stream:
        memory.read(ops)
        memory.read(ops)
        assert events["wait"] == 1
    memory.read()
    assert events["wait"] == 2


def test_scratch_memory_belongs_to_a_stream(ops: Any) -> None:
    device = ops.device

    first = device.scratch("sums", 100)
    with emulated_cupy.cuda.Stream():
        second = device.scratch("sums", 100)

    assert device.scratch("sums", 50) is first
    assert second is not first
    assert device.scratch("sums", 100000).nbytes >= 100000


def test_kernels_run_on_their_device_whatever_the_current_one_is() -> None:
    from caffenorm.backends.gpu import GpuOps

    other = GpuOps(1, emulated_cupy)
    blob = Blob((4,), F4, other)
    blob.data[...] = -1

    other.activate("relu", blob.read(other), blob.write_diff(other))

    assert (blob.diff == 0).all()


# --- exchange ---


class Tensor:
    """What PyTorch's tensors on a GPU look like from outside."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__
        self.shape, self.ndim = array.shape, array.ndim

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda xp: 3,
        lambda xp: 3.0,
        lambda xp: np.full((2, 3), 3.0),
        lambda xp: [[3, 3, 3]],
        lambda xp: xp.full((2, 3), 3, np.float32),
        lambda xp: xp.full(3, 3, np.float64),
    ],
)
def test_numbers_and_arrays_of_both_sides_are_assigned(gpu_ops: Any, make: Any) -> None:
    blob = Blob((2, 3), F4, gpu_ops)

    blob.gpu_data = make(gpu_ops.xp)
    blob.gpu_diff = make(gpu_ops.xp)

    assert (blob.data == 3).all()
    assert (blob.diff == 3).all()


def test_what_exports_dlpack_is_assigned_without_the_host(ops: Any) -> None:
    blob = Blob((2, 3), F4, ops)
    tensor = Tensor(emulated_cupy.full((2, 3), 6, np.float32))
    transfers()

    blob.gpu_data = tensor

    assert transfers() == (0, 0)
    assert (blob.data == 6).all()


def test_a_gpu_tensor_is_an_input_of_forward(gpu: Any) -> None:
    net = Net.from_text(TEXT, device="gpu")

    out = net.forward(data=gpu.full((4, 3), 2, np.float32))

    np.testing.assert_array_equal(out["out"], np.full(12, 2))


@pytest.mark.torch
def test_pytorch_shares_a_blobs_memory(gpu: Any) -> None:
    import torch

    net = Net.from_text(TEXT, device="gpu")
    blob = net.blobs["data"]

    tensor = torch.from_dlpack(blob.gpu_data)
    tensor += 1

    assert (blob.data == 1).all()
    assert tensor.data_ptr() == blob.gpu_data.data.ptr


@pytest.mark.torch
def test_pytorchs_tensors_are_assigned(gpu: Any) -> None:
    import torch

    net = Net.from_text(TEXT, device="gpu")
    where = "cuda" if gpu is not emulated_cupy else "cpu"

    net.blobs["data"].gpu_data = torch.full((2, 3), 3.0, device=where)
    net.blobs["data"].gpu_diff[...] = gpu.from_dlpack(torch.full((2, 3), 4.0, device=where))

    assert (net.blobs["data"].data == 3).all()
    assert (net.blobs["data"].diff == 4).all()
