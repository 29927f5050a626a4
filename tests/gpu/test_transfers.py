"""What a net copies between host and GPU, and what it waits for: nothing but what docs/gpu.md says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation import emulated_cupy

import caffenorm
from caffenorm import Net

BODY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  num_output: 4 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param {
  num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv2" top: "bn2" }
layer { name: "sum" type: "Eltwise" bottom: "conv1" bottom: "bn2" top: "sum" }
layer { name: "prelu" type: "PReLU" bottom: "sum" top: "prelu" }
layer { name: "pool" type: "Pooling" bottom: "prelu" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "lrn" type: "LRN" bottom: "pool" top: "lrn" }
layer { name: "drop" type: "Dropout" bottom: "lrn" top: "drop" }
layer { name: "score" type: "InnerProduct" bottom: "drop" top: "score" inner_product_param {
  num_output: 5 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
PROB = """
layer { name: "silence" type: "Silence" bottom: "label" }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
WATCHED = ("to_device", "to_host", "synchronise")


@pytest.fixture
def emulated(gpu: Any) -> Any:
    if gpu is not emulated_cupy:
        pytest.skip("counts what the emulation is asked for")
    return gpu


def made(text: str, phase: int, **options: Any) -> Net:
    caffenorm.set_random_seed(3)
    net = Net.from_text(BODY + text, phase, device="gpu", **options)
    net.blobs["data"].data[...] = np.random.default_rng(5).standard_normal((2, 3, 8, 8))
    net.blobs["label"].data[...] = [1, 4]
    return net


def seen_in(work: Callable[[], None]) -> tuple[int, ...]:
    """Copies to the device and to the host, and waits."""
    emulated_cupy.events.clear()
    work()
    return tuple(emulated_cupy.events[name] for name in WATCHED)


@pytest.mark.parametrize("fuse", [True, False])
def test_inference_copies_the_inputs_and_parameters_once_and_waits_for_nothing(
    emulated: Any, fuse: bool
) -> None:
    net = made(PROB, caffenorm.TEST, fuse=fuse)

    net.run_forward()
    again = seen_in(net.run_forward)
    net.blobs["data"].data[...] = 1
    new_input = seen_in(net.run_forward)

    assert again == (0, 0, 0)
    assert new_input == (1, 0, 0)


@pytest.mark.parametrize("fuse", [True, False])
def test_training_reads_the_losses_sum_and_nothing_else(emulated: Any, fuse: bool) -> None:
    net = made(LOSS, caffenorm.TRAIN, fuse=fuse)
    net.run_forward()
    net.run_backward()

    forward, backward = seen_in(net.run_forward), seen_in(net.run_backward)

    assert forward == (0, 1, 1)
    assert backward == (0, 0, 0)


def test_the_loss_is_on_the_host_already(emulated: Any) -> None:
    net = made(LOSS, caffenorm.TRAIN)
    net.run_forward()

    assert seen_in(lambda: float(net.loss)) == (0, 0, 0)
    assert net.loss > 0


def test_waiting_is_what_the_caller_asks_for(emulated: Any) -> None:
    net = made(PROB, caffenorm.TEST)

    assert seen_in(net.wait) == (0, 0, 1)


def test_clearing_gradients_copies_nothing(emulated: Any) -> None:
    net = made(LOSS, caffenorm.TRAIN)
    net.run_forward()
    net.run_backward()

    assert seen_in(net.clear_param_diffs) == (0, 0, 0)
    assert not net.params["conv1"][0].diff.any()


def test_results_come_back_when_they_are_asked_for(emulated: Any) -> None:
    net = made(PROB, caffenorm.TEST)

    seen = seen_in(lambda: net.forward())

    assert seen[1:] == (1, 1)
    assert seen_in(lambda: net.blobs["prob"].data.sum()) == (0, 0, 0)


@pytest.mark.parametrize("fuse", [True, False])
def test_a_net_gives_on_the_gpu_what_it_gives_on_the_cpu(gpu: Any, fuse: bool) -> None:
    def results(device: str) -> dict[str, np.ndarray]:
        caffenorm.set_random_seed(3)
        net = Net.from_text(BODY + LOSS, caffenorm.TRAIN, device=device, fuse=fuse)
        net.blobs["data"].data[...] = np.random.default_rng(5).standard_normal((2, 3, 8, 8))
        net.blobs["label"].data[...] = [1, 4]
        net.clear_param_diffs()
        caffenorm.set_random_seed(4)
        for _ in range(2):
            net.forward()
            net.backward()
        found = {
            f"{name} {i}": blob.diff for name, blobs in net.params.items() for i, blob in enumerate(blobs)
        }
        return {**found, "loss": np.array(net.loss), **{name: blob.data for name, blob in net.blobs.items()}}

    on_cpu, on_gpu = results("cpu"), results("gpu")

    for name, value in on_cpu.items():
        np.testing.assert_allclose(on_gpu[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_the_same_net_runs_on_another_stream(gpu: Any) -> None:
    net = Net.from_text(BODY + PROB, caffenorm.TEST, device="gpu")
    net.blobs["data"].data[...] = 1
    expected = net.forward()["prob"].copy()

    with gpu.cuda.Stream(non_blocking=True):
        net.run_forward()

    np.testing.assert_array_equal(net.blobs["prob"].data, expected)


def test_nets_share_parameters_over_two_devices(gpu: Any) -> None:
    if gpu.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two devices")
    first = Net.from_text(BODY + PROB, caffenorm.TEST, device="gpu:0")
    second = Net.from_text(BODY + PROB, caffenorm.TEST, device="gpu:1")
    second.share_with(first)

    results = []
    for net in (first, second, first):
        net.blobs["data"].data[...] = 1
        results.append(net.forward()["prob"].copy())

    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
