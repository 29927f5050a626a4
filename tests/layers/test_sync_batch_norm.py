"""SyncBatchNorm: a group of layers, each with a part of the batch, against BatchNorm with the whole of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, TRAIN, LayerError

SHAPE = (7, 3, 4, 2)


class Group:
    """A collective for threads: each call waits for all members, and gives each a copy of the sum."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=30)
        self.lock = threading.Lock()
        self.total: np.ndarray | None = None
        self.calls = 0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        with self.lock:
            self.total = values.copy() if self.total is None else self.total + values
            self.calls += 1
        self.barrier.wait()
        assert self.total is not None
        result = self.total.copy()
        if self.barrier.wait() == 0:
            self.total = None
        self.barrier.wait()
        return result


def body(kind: str, options: str = "") -> str:
    return f'type: "{kind}" batch_norm_param {{ moving_average_fraction: 0.5 {options} }}'


def run_group(nets, parts, dys):
    """Forward and backward of every net in a thread of its own."""

    def member(net, x, dy):
        return run(net, x), run_backward(net, dy)[0]

    with ThreadPoolExecutor(len(nets)) as pool:
        results = list(pool.map(member, nets, parts, dys))
    return np.concatenate([y for y, _ in results]), np.concatenate([dx for _, dx in results])


@pytest.mark.parametrize("options", ["", "scale_bias: true", "use_weight_bias: true relu: true"])
@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 5, 1), (7, 0)])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_group_gives_what_one_process_with_the_whole_batch_gives(dtype, in_place, sizes, options, rng):
    whole = one_layer(body("BatchNorm", options), SHAPE, dtype=dtype, in_place=in_place)
    nets = [
        one_layer(body("SyncBatchNorm", options), (n, *SHAPE[1:]), dtype=dtype, in_place=in_place)
        for n in sizes
    ]
    group = Group(len(nets))
    affine = [rng.uniform(0.5, 2, 3) for _ in whole.params["op"][3:]]
    for net in (whole, *nets):
        net.layer_dict["op"].collective = group
        for blob, value in zip(net.params["op"][3:], affine, strict=True):
            blob.data[...] = value
    cuts = np.cumsum(sizes)[:-1]
    for _ in range(2):
        x, dy = rng.normal(5, 2, (2, *SHAPE)).astype(dtype)
        y = run(whole, x)
        (dx,) = run_backward(whole, dy)
        ours, our_dx = run_group(nets, np.split(x, cuts), np.split(dy, cuts))

    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(ours, y, **close)
    np.testing.assert_allclose(our_dx, dx, **close)
    for net in nets:
        for i in range(3):
            np.testing.assert_allclose(net.params["op"][i].data, whole.params["op"][i].data, **close)
    for i in range(3, len(whole.params["op"])):
        total = sum(net.params["op"][i].diff for net in nets)
        np.testing.assert_allclose(total, whole.params["op"][i].diff, **close)


def test_a_large_mean_does_not_spoil_the_common_variance(rng):
    x = rng.normal(1e6, 1, (8, 2, 50))
    nets = [one_layer(body("SyncBatchNorm"), (4, 2, 50)) for _ in range(2)]
    group = Group(2)
    for net in nets:
        net.layer_dict["op"].collective = group

    run_group(nets, np.split(x, 2), np.zeros((2, 4, 2, 50)))

    np.testing.assert_allclose(nets[0].params["op"][1].data, x.var((0, 2), ddof=1), rtol=1e-8)


def test_a_group_without_values_leaves_the_statistics_alone():
    net = one_layer(body("SyncBatchNorm"), (0, 3, 4))
    run(net, np.ones((0, 3, 4)))
    assert not any(blob.data.any() for blob in net.params["op"])


def test_calls_the_collective_twice_forward_and_once_backward(rng):
    net = one_layer(body("SyncBatchNorm"), SHAPE)
    group = net.layer_dict["op"].collective = Group(1)
    run(net, rng.normal(size=SHAPE))
    assert group.calls == 2
    run_backward(net, rng.normal(size=SHAPE))
    assert group.calls == 3


def test_stored_statistics_need_nobody_else(rng):
    net = one_layer(body("SyncBatchNorm"), SHAPE, phase=TEST)
    group = net.layer_dict["op"].collective = Group(1)
    run(net, rng.normal(size=SHAPE))
    run_backward(net, rng.normal(size=SHAPE))
    assert group.calls == 0


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("overwritten", [False, True])
def test_gradient_is_the_derivative_for_a_group_of_one(phase, overwritten, rng):
    shape = (3, 2, 2, 2)
    net = one_layer(
        body("SyncBatchNorm", "scale_bias: true"), shape, phase=phase, in_place=True, overwritten=overwritten
    )
    net.params["op"][1].data[...] = 1
    params = {i: rng.uniform(0.5, 2, 2) for i in (3, 4)}
    assert gradient_error(net, [2 * spread(rng, shape)], params) < 1e-6


@pytest.mark.parametrize("option", ["stats_batch_size: 1", "disable_mean: true", "disable_variance: true"])
def test_options_that_change_the_statistics_are_refused(option):
    with pytest.raises(LayerError, match="statistics of a group"):
        one_layer(body("SyncBatchNorm", option), SHAPE)
