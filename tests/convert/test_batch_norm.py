"""batch_norm_to_torch and batch_norm_from_torch, there and back."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import caffenorm
from caffenorm import Net, schema
from caffenorm.convert import batch_norm_from_torch, batch_norm_to_torch
from caffenorm.errors import ConversionError, ShapeError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SHAPES = {1: (4, 3, 5), 2: (4, 3, 5, 6), 3: (2, 3, 4, 3, 2)}


def arrays(layer: schema.LayerParameter) -> list[np.ndarray]:
    return [
        np.array(blob.double_data or blob.data, np.float64 if blob.double_data else np.float32).reshape(
            tuple(blob.shape.dim)
        )
        for blob in layer.blobs
    ]


def net_of(layers: list[schema.LayerParameter], shape: tuple[int, ...], dtype: Any) -> Net:
    message = schema.NetParameter()
    data = message.layer.add(name="data", type="Input", top=["data"])
    data.input_param.shape.add().dim.extend(shape)
    for layer in layers:
        message.layer.add().CopyFrom(layer)
    net = Net(message, caffenorm.TEST, dtype=dtype)
    for layer in layers:
        for blob, value in zip(net.params[layer.name], arrays(layer), strict=True):
            blob.data[...] = value
    return net


def random_module(dims: int, seed: int, dtype: Any, **options: Any) -> Any:
    module = getattr(torch.nn, f"BatchNorm{dims}d")(3, dtype=dtype, **options).eval()
    rng = np.random.default_rng(seed)
    for name, value in module.state_dict().items():
        if name != "num_batches_tracked":
            value.copy_(torch.from_numpy(rng.uniform(0.1, 4, value.shape)))
    return module


@given(
    dims=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 2**32 - 1),
    double=st.booleans(),
    affine=st.booleans(),
    momentum=st.sampled_from([None, 0.1, 0.01, 0.5, 0.003]),
    eps=st.sampled_from([1e-5, 1e-3, 2e-5]),
)
def test_from_torch_and_back_keeps_every_parameter(
    dims: int, seed: int, double: bool, affine: bool, momentum: float | None, eps: float
) -> None:
    dtype = torch.float64 if double else torch.float32
    module = random_module(dims, seed, dtype, affine=affine, momentum=momentum, eps=eps)
    if momentum is None:
        module.num_batches_tracked.fill_(1)

    layers = batch_norm_from_torch(module)
    made = batch_norm_to_torch(
        arrays(layers[0]),
        arrays(layers[1]) if affine else None,
        dims=dims,
        eps=layers[0].batch_norm_param.eps,
        moving_average_fraction=layers[0].batch_norm_param.moving_average_fraction,
    )

    assert type(made) is type(module)
    assert made.eps == module.eps
    assert made.momentum == pytest.approx(momentum, rel=1e-5) if momentum else made.momentum is None
    state = made.state_dict()
    assert state.keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        if name != "num_batches_tracked" or momentum is None:
            assert torch.equal(state[name], value), name
            assert state[name].dtype == value.dtype


@given(count=st.integers(1, 1 << 20), seed=st.integers(0, 1000))
def test_the_cumulative_average_keeps_its_count_and_its_statistics(count: int, seed: int) -> None:
    module = random_module(2, seed, torch.float32, momentum=None)
    module.num_batches_tracked.fill_(count)

    layers = batch_norm_from_torch(module)
    made = batch_norm_to_torch(arrays(layers[0]), arrays(layers[1]), moving_average_fraction=1.0)

    assert int(made.num_batches_tracked) == count
    exact = count & (count - 1) == 0
    for name in ("running_mean", "running_var"):
        found, expected = getattr(made, name).numpy(), getattr(module, name).numpy()
        np.testing.assert_array_max_ulp(found, expected, 0 if exact else 3)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_sides_compute_the_same(dims: int, affine: bool, dtype: Any, rng: np.random.Generator) -> None:
    module = random_module(dims, 7, getattr(torch, np.dtype(dtype).name), affine=affine, eps=1e-3)
    net = net_of(batch_norm_from_torch(module, "bn", "data"), SHAPES[dims], dtype)
    x = rng.standard_normal(SHAPES[dims]).astype(dtype)

    net.forward(data=x)
    back = batch_norm_to_torch(net.layers[1], net.layers[2] if affine else None, dims=dims)

    with torch.no_grad():
        for made in (module, back):
            found = made(torch.from_numpy(x)).numpy()
            np.testing.assert_allclose(found, net.blobs["bn"].data, rtol=1e-5, atol=1e-6)


def test_sync_batch_norm_becomes_a_batch_norm() -> None:
    module = torch.nn.SyncBatchNorm(3)

    layers = batch_norm_from_torch(module, "n", "x", "y")

    assert [layer.type for layer in layers] == ["BatchNorm", "Scale"]
    assert [layer.name for layer in layers] == ["n", "n/scale"]
    assert [(list(layer.bottom), list(layer.top)) for layer in layers] == [(["x"], ["y"]), (["y"], ["y"])]


def test_a_factor_of_zero_gives_zero_statistics() -> None:
    module = batch_norm_to_torch([[1.0, 2.0], [3.0, 4.0], [0.0]])

    assert not module.running_mean.any()
    assert not module.running_var.any()
    assert not module.affine


def test_a_scale_without_offset_has_bias_zero() -> None:
    module = batch_norm_to_torch([[1.0, 2.0], [3.0, 4.0], [2.0]], [[5.0, 6.0]])

    assert module.weight.tolist() == [5.0, 6.0]
    assert module.bias.tolist() == [0.0, 0.0]
    assert module.running_mean.tolist() == [0.5, 1.0]
    assert not module.training


def test_eps_and_fraction_come_from_the_layer() -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn"
            batch_norm_param { eps: 0.25 moving_average_fraction: 0.75 } }"""

    module = batch_norm_to_torch(Net.from_text(text, caffenorm.TEST).layers[1], dims=1)

    assert (module.eps, module.momentum) == (0.25, 0.25)


def test_a_module_without_running_statistics_normalises_by_the_batch() -> None:
    layer = batch_norm_from_torch(torch.nn.BatchNorm2d(3, track_running_stats=False))[0]

    assert layer.batch_norm_param.HasField("use_global_stats")
    assert not layer.batch_norm_param.use_global_stats


@pytest.mark.parametrize(
    ("blobs", "scale", "options", "message"),
    [
        ([[1.0], [1.0]], None, {}, "BatchNorm has 3 blobs, found 2"),
        ([[1.0], [1.0, 2.0], [1.0]], None, {}, "the mean has 1 channels, and a blob beside it 2"),
        ([[1.0], [1.0], [1.0]], [[1.0, 2.0]], {}, "a blob beside it 2"),
        ([[1.0], [1.0], [1.0]], [[1.0], [1.0], [1.0]], {}, "Scale has 1 or 2 blobs, found 3"),
        ([[1.0], [1.0], [1.0]], None, {"dims": 4}, "dims must be 1, 2 or 3, found 4"),
        ([[1.0], [1.0], [1.0, 1.0]], None, {}, "the factor is one value, found 2"),
    ],
)
def test_blobs_that_do_not_fit_are_refused(blobs: Any, scale: Any, options: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        batch_norm_to_torch(blobs, scale, **options)


@pytest.mark.parametrize("module", [torch.nn.Conv2d(1, 1, 1), torch.nn.InstanceNorm2d(2), torch.nn.ReLU()])
def test_other_modules_are_refused(module: Any) -> None:
    with pytest.raises(ConversionError, match=f"{type(module).__name__} is no batch norm"):
        batch_norm_from_torch(module)
