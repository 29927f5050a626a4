"""from_torch: whole networks there and back, bits, names, shared parameters, and what cannot be expressed."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm import Net, prototxt, schema
from caffenorm.convert import from_torch, to_torch
from caffenorm.convert.from_pytorch import convert_module
from caffenorm.convert.statistics import stored_statistics
from caffenorm.errors import ConfigError, ConversionError

torch = pytest.importorskip("torch")
torch_nets = pytest.importorskip("torch_nets")
pytestmark = pytest.mark.torch
nn, F = torch.nn, torch.nn.functional


def x(*shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def by_value(module: Any) -> list[Any]:
    """Parameters and buffers in order, but for the counter that only momentum=None reads."""
    return [value for name, value in module.state_dict().items() if "num_batches" not in name]


def kinds(net: schema.NetParameter) -> str:
    return " ".join(layer.type for layer in net.layer if layer.type != "Input")


# --- whole networks ---

NETS = {
    "ResNet-50": torch_nets.ResNet50,
    "DenseNet-121": torch_nets.DenseNet121,
    "VGG-16-BN": lambda: torch_nets.VGG16BN(size=64, hidden=256),
    "MobileNetV2": torch_nets.MobileNetV2,
}


@pytest.mark.parametrize("name", NETS)
def test_a_network_comes_back_as_it_was(name: str, tmp_path: Any) -> None:
    module = torch_nets.trained(NETS[name]())
    images = x(2, 3, 64, 64)

    found = convert_module(module, images)
    found.net.save(tmp_path / "net.caffemodel")
    (tmp_path / "deploy.prototxt").write_text(prototxt.format_message(found.net_param))
    net = Net(tmp_path / "deploy.prototxt", caffenorm.TEST, weights=tmp_path / "net.caffemodel")
    back = to_torch(net, check=False)

    assert found.agreement.ok, str(found.agreement)
    assert found.agreement.other_batch == "agrees"
    assert not found.notes
    before, after = by_value(module), by_value(back)
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with torch.no_grad():
        expected = module(images).numpy()
        np.testing.assert_allclose(back(images).numpy(), expected, rtol=1e-5, atol=1e-5)
    made = net.forward(data=images.numpy())[found.outputs[0]]
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_network_reads_as_if_written_by_hand() -> None:
    found = convert_module(torch_nets.ResNet50(), x(1, 3, 64, 64), check=False)

    block = [layer for layer in found.net_param.layer if layer.name.startswith("layer1.0.")]

    assert found.net_param.name == "ResNet50"
    assert list(found.net.inputs) == ["data"]
    assert [(layer.name, layer.type, list(layer.bottom), list(layer.top)) for layer in block[:4]] == [
        ("layer1.0.conv1", "Convolution", ["maxpool"], ["layer1.0.conv1"]),
        ("layer1.0.bn1", "BatchNorm", ["layer1.0.conv1"], ["layer1.0.conv1"]),
        ("layer1.0.bn1/scale", "Scale", ["layer1.0.conv1"], ["layer1.0.conv1"]),
        ("layer1.0.relu", "ReLU", ["layer1.0.conv1"], ["layer1.0.conv1"]),
    ]
    assert [(layer.type, layer.top[0]) for layer in block[-2:]] == [
        ("Eltwise", "layer1.0.add"),
        ("ReLU", "layer1.0.add"),
    ]
    assert not any(layer.param for layer in found.net_param.layer)
    tail = [(layer.name, layer.type) for layer in found.net_param.layer[-2:]]
    assert tail == [("avgpool", "Pooling"), ("fc", "InnerProduct")]
    assert "Flatten" not in kinds(found.net_param)


def test_a_converted_net_trains_as_the_module_does() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).double()
    images, gradient = x(4, 3, 6, 6).double(), x(4, 4, 4, 4, seed=1).double()
    message, made = from_torch(module, images)
    message.force_backward = True  # there is no loss to begin at
    net = Net(message, schema.TRAIN, dtype=np.float64)
    net.share_with(made)

    net.forward(data=images.numpy())
    net.blobs[net.outputs[0]].diff[...] = gradient.numpy()
    net.backward()
    module.train()(images).backward(gradient)

    for (name, index), parameter in zip(
        [("0", 0), ("0", 1), ("1/scale", 0), ("1/scale", 1)], module.parameters(), strict=True
    ):
        expected = parameter.grad.numpy()
        found = net.params[name][index].diff
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max() + 1e-12)


# --- batch norm's statistics ---


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.003, 0.3, 0.9, 1.0])
def test_statistics_keep_their_bits_and_the_next_batch_its_weight(momentum: float) -> None:
    rng = np.random.default_rng(1)
    mean, var = rng.normal(size=(2, 999)).astype(np.float32) * np.float32(1e3)

    kept = stored_statistics(mean, np.abs(var), momentum, 0)

    factor = kept.factor[0]
    assert kept.exact
    assert np.array_equal(kept.mean_sum / factor, mean)
    assert np.array_equal(kept.var_sum / factor, np.abs(var))
    weight = 1 / (kept.fraction * factor + 1)
    assert momentum / 1.5 < weight < momentum * 1.5


@pytest.mark.parametrize("batches", [0, 1, 3, 7, 64, 1000, 12345])
def test_a_cumulative_average_keeps_its_count(batches: int) -> None:
    module = nn.BatchNorm2d(200, momentum=None)
    module.running_mean = x(200) * 10
    module.running_var = x(200, seed=1).abs() + 0.1
    module.num_batches_tracked.fill_(batches)

    found = convert_module(module, x(2, 200, 2, 2))
    back = to_torch(found.net, check=False)

    norm = next(part for part in back.modules() if isinstance(part, nn.BatchNorm2d))
    param = found.net_param.layer[1].batch_norm_param
    assert param.moving_average_fraction == 1
    assert norm.momentum is None
    assert int(norm.num_batches_tracked) == max(1, batches)
    for name in ("running_mean", "running_var"):
        found_value, expected = getattr(norm, name).numpy(), getattr(module, name).numpy()
        np.testing.assert_array_max_ulp(found_value, expected, 1)
        assert (found_value == expected).mean() > 0.75, "sums next to the product were not tried"
    exact = max(1, batches) & (max(1, batches) - 1) == 0
    assert exact == (not found.notes)


def test_a_batch_norm_without_statistics_uses_the_batchs() -> None:
    module = nn.BatchNorm2d(3, track_running_stats=False, affine=False)
    net, _ = from_torch(module, x(4, 3, 2, 2))
    param = net.layer[1].batch_norm_param
    assert param.HasField("use_global_stats")
    assert not param.use_global_stats


def test_a_synchronised_batch_norm_is_a_batch_norm_with_a_note() -> None:
    module = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    found = convert_module(module, x(2, 3, 4, 4))
    assert kinds(found.net_param) == "Convolution BatchNorm Scale"
    assert "SyncBatchNorm" in found.notes[0]


# --- parameters ---


def test_double_precision_stays() -> None:
    module = nn.Linear(3, 2).double()
    _, net = from_torch(module, x(1, 3).double())
    assert net.params[net.layers[1].name][0].data.dtype == np.float64
    assert np.array_equal(net.params[net.layers[1].name][0].data, module.weight.detach().numpy())


class Tied(nn.Module):
    """The same weights at two places, and the same module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.mix = nn.Linear(5, 5)
        self.out = nn.Linear(5, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, ids: Any) -> Any:
        return self.out(self.mix(torch.relu(self.mix(self.embedding(ids)))))


def test_shared_parameters_are_shared_by_name() -> None:
    module = Tied()
    found = convert_module(module, torch.tensor([[0, 6, 3]]))

    names = {layer.name: [spec.name for spec in layer.param] for layer in found.net_param.layer}

    assert names["embedding"] == names["out"]
    assert names["mix"] == names["mix_2"] == ["mix.weight", "mix.bias"]
    assert len(found.net.learnable_params) == 3
    back = to_torch(found.net, check=False)
    assert len(list(back.parameters())) == 3


def test_what_does_not_learn_has_no_learning_rate() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    net, _ = from_torch(module, x(1, 3))
    assert [spec.lr_mult for spec in net.layer[1].param] == [0, 1]
    assert not net.layer[2].param


def test_a_frozen_module_is_written_without_learning_rates() -> None:
    net, _ = from_torch(nn.Linear(3, 4).requires_grad_(False), x(1, 3))
    assert not net.layer[1].param


class Upsampled(nn.Module):
    def forward(self, image: Any) -> Any:
        return F.interpolate(image, scale_factor=2, mode="bilinear")


def test_bilinear_weights_can_be_filled_and_do_not_learn() -> None:
    net, made = from_torch(Upsampled(), x(1, 3, 4, 5))
    deconvolution = net.layer[-1]
    assert deconvolution.convolution_param.weight_filler.type == "bilinear"
    assert [spec.lr_mult for spec in deconvolution.param] == [0]
    filled = Net(net, schema.TEST)
    for name, blobs in made.params.items():
        assert np.allclose(filled.params[name][0].data, blobs[0].data)


# --- names, inputs and outputs ---


class Several(nn.Module):
    """Two inputs, several outputs, some of them more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)

    def forward(self, first: Any, second: Any) -> Any:
        a, b = self.left(first), self.right(second)
        return {"sum": a + b, "parts": [b, a], "again": b, "input": first}


def test_outputs_come_in_the_modules_order() -> None:
    module = Several()
    inputs = (x(2, 3), x(2, 5, seed=1))

    found = convert_module(module, inputs)

    assert found.net.inputs == ["first", "second"]
    assert len(found.outputs) == len(set(found.outputs)) == 5
    assert sorted(found.outputs) == sorted(found.net.outputs)
    made = found.net.forward(first=inputs[0].numpy(), second=inputs[1].numpy())
    with torch.no_grad():
        returned = module(*inputs)
    flat = [returned["sum"], *returned["parts"], returned["again"], returned["input"]]
    for blob, value in zip(found.outputs, flat, strict=True):
        np.testing.assert_allclose(made[blob], value.numpy(), rtol=1e-5, atol=1e-6)


def test_inputs_can_be_named() -> None:
    _, net = from_torch(Several(), (x(2, 3), x(2, 5)), input_names=["p", "q"], name="twins")
    assert net.inputs == ["p", "q"]
    assert net.name == "twins"


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_size_is_free(batch: int) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Unflatten(1, (4, 4)), nn.Linear(4, 2))
    _, net = from_torch(module, x(2, 3, 4, 4))
    images = x(batch, 3, 4, 4, seed=batch)
    net.blobs["data"].reshape(*images.shape)
    made = net.forward(data=images.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(made[net.outputs[0]], module(images).numpy(), rtol=1e-4, atol=1e-5)


class PerBatch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x / x.shape[0]


def test_what_depends_on_the_batch_size_is_said() -> None:
    found = convert_module(PerBatch(), x(2, 3))
    assert "differs by" in found.agreement.other_batch
    assert "keep to the batch size of the example" in found.notes[0]


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_torch(module, x(2, 3, 4, 4))
    assert [part.training for part in module] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# --- what works in place ---


class InPlace(nn.Module):
    """Changes a value that is read again under its old name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        self.relu(y)
        z = y * 2
        y += 1
        return torch.cat([y, z], 1)


class Viewed(nn.Module):
    """Changes a view of a value that is read later."""

    def forward(self, x: Any) -> Any:
        y = torch.sigmoid(x)
        y.view(y.shape[0], -1).add_(1)
        return y * 2


class Assigned(nn.Module):
    """Writes into a part of a value."""

    def forward(self, x: Any) -> Any:
        y = torch.sigmoid(x)
        y[:, 0] *= 3
        return y


class PassedOn(nn.Module):
    """Changes what Dropout passed through, and thereby what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()

    def forward(self, x: Any) -> Any:
        y = x * 3
        self.drop(y).add_(1)
        return y * 2


class Residual(nn.Module):
    """Reads a value again that a ReLU has read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        z = self.relu(y)
        return y * z


def test_what_is_read_again_is_not_written_over() -> None:
    found = convert_module(Residual(), x(2, 3, 4, 4))
    assert found.agreement.ok
    assert [list(layer.top) for layer in found.net_param.layer if layer.type == "ReLU"] == [["relu"]]


def test_what_dropout_passes_on_is_the_same_memory() -> None:
    found = convert_module(PassedOn(), x(2, 3))
    assert found.agreement.ok
    assert found.agreement.other_batch == "agrees"


@pytest.mark.parametrize("strict", [True, False])
def test_exported_programs_that_work_in_place(strict: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(InPlace().eval(), (x(2, 3, 4, 4),), strict=strict)
    found = convert_module(program, x(2, 3, 4, 4))
    out = found.net.forward(data=x(2, 3, 4, 4).numpy())[found.outputs[0]]
    with torch.no_grad():
        expected = program.module()(x(2, 3, 4, 4)).numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_what_is_changed_in_place_is_read_changed() -> None:
    found = convert_module(InPlace(), x(2, 3, 4, 4))
    assert found.agreement.ok
    assert found.agreement.other_batch == "agrees"
    assert kinds(found.net_param) == "Convolution ReLU Power Power Concat"


def test_a_changed_view_changes_its_origin() -> None:
    found = convert_module(Viewed(), x(2, 3, 4, 4))
    assert found.agreement.ok
    assert found.agreement.other_batch == "agrees"


def test_writing_into_a_part_is_refused() -> None:
    with pytest.raises(ConversionError, match="no layer writes into a part of a blob"):
        from_torch(Assigned(), x(2, 3, 4, 4))


# --- exported programs ---


def decomposed(module: Any, *inputs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module.eval(), inputs).run_decompositions()


@pytest.mark.parametrize(
    ("module", "shape", "types"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), (2, 3, 5, 5), "Convolution"),
        (nn.ConvTranspose2d(3, 4, 3, stride=2), (2, 3, 5, 5), "Deconvolution"),
        (nn.Linear(3, 4), (2, 3), "InnerProduct"),
        (nn.Linear(3, 4, bias=False), (2, 3), "InnerProduct"),
        (nn.BatchNorm2d(3), (2, 3, 4, 4), "BatchNorm Scale"),
        (nn.GroupNorm(2, 4), (2, 4, 3, 3), "GroupNorm"),
        (nn.LayerNorm(4), (2, 3, 4), "LayerNorm"),
        (nn.MaxPool2d(2), (2, 3, 4, 4), "Pooling"),
        (nn.AvgPool2d(2), (2, 3, 4, 4), "Pooling"),
        (nn.AdaptiveAvgPool2d(1), (2, 3, 4, 4), "Pooling"),
        (nn.Softmax(1), (2, 3), "Softmax"),
        (nn.LogSoftmax(1), (2, 3), "Softmax Log"),
        (nn.ReLU6(), (2, 3), "ReLU6"),
        (nn.Hardswish(), (2, 3), "Power ReLU Clip Eltwise Power"),
        (nn.ZeroPad2d(1), (2, 3, 4, 4), "Pad"),
        (nn.LocalResponseNorm(3), (2, 4, 5, 5), "LRN"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_decomposed_programs_are_read_as_well(module: Any, shape: tuple[int, ...], types: str) -> None:
    program = decomposed(module, x(*shape))
    found = convert_module(program, x(*shape))
    assert found.agreement.ok
    assert kinds(found.net_param) == types


def test_sizes_that_were_left_open_take_those_of_the_example() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module.eval(), (x(2, 3, 6, 6),), dynamic_shapes=({0: batch},))
    found = convert_module(program, x(3, 3, 6, 6))
    assert found.agreement.ok
    assert found.net.blobs[found.outputs[0]].shape == (3, 4, 36)


# --- what cannot be expressed ---


class Unknown(nn.Module):
    """Three things that Caffe has not."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.GELU())

    def forward(self, x: Any) -> Any:
        y = self.block(x)
        y = torch.where(y < 0, y, x)
        return torch.sin(y)


def test_everything_that_cannot_be_expressed_is_listed_at_once() -> None:
    lines, first = inspect.getsourcelines(Unknown.forward)
    where = {
        text: first + i
        for i, line in enumerate(lines)
        for text in ("where", "sin")
        if f"torch.{text}" in line
    }

    with pytest.raises(ConversionError) as caught:
        from_torch(Unknown(), x(1, 3, 4, 4))

    text = str(caught.value)
    assert "block.1 (GELU)" in text
    assert "gelu: no layer has the error function" in text
    assert f"{__file__}:{where['where']}: where: no layer compares and chooses" in text
    assert f"{__file__}:{where['sin']}: sin: no layer has it" in text
    assert text.startswith("4 operations cannot be expressed in Caffe:")


class Branches(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1 if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("module", "inputs", "says"),
    [
        (nn.MaxPool2d(3, 2, dilation=2), (x(1, 2, 9, 9),), "pooling has no dilation"),
        (nn.AdaptiveAvgPool2d(3), (x(1, 2, 7, 7),), "7 x 7 values do not divide into 3 x 3 windows"),
        (nn.Upsample(scale_factor=1.5), (x(1, 2, 4, 4),), "only whole factors"),
        (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (x(1, 2, 4, 4),), "align_corners"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), (x(1, 2, 4, 4),), "bicubic"),
        (nn.Conv2d(2, 3, 1), (x(2, 4, 4),), "give a batch"),
        (nn.LSTM(3, 4), (x(2, 1, 3),), "recurrent"),
        (nn.Bilinear(3, 4, 5), (x(2, 3), x(2, 4)), "no layer"),
        (Branches(), (x(2, 3),), "torch.export cannot follow Branches"),
        (nn.Softplus(threshold=3), (x(2, 3),), "threshold of 3"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_expressed_says_why(module: Any, inputs: Any, says: str) -> None:
    with pytest.raises(ConversionError, match=says):
        from_torch(module, inputs)


def test_a_program_exported_in_training_mode_is_refused() -> None:
    program = torch.export.export(nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train(), (x(2, 3, 4, 4),))
    with pytest.raises(ConversionError, match=r"call eval\(\) before torch.export"):
        from_torch(program, x(2, 3, 4, 4))


@pytest.mark.parametrize("inputs", [(), ([1.0, 2.0],), ("data",)])
def test_inputs_must_be_tensors(inputs: Any) -> None:
    with pytest.raises(ConfigError, match="tensors that forward takes"):
        from_torch(nn.Linear(3, 4), inputs)


def test_every_input_has_a_name_of_its_own() -> None:
    with pytest.raises(ConversionError, match="give each a name of its own"):
        from_torch(Several(), (x(2, 3), x(2, 5)), input_names=["a", "a"])


def test_a_wrong_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from caffenorm.convert.torch_to_caffe import op

    def without_slope(given: Any) -> Any:
        return given.layer("ReLU", [given.x()])

    monkeypatch.setitem(op._rules, "leaky_relu", without_slope)
    with pytest.raises(ConversionError, match='first blob that departs is "0", written by layer "1"'):
        from_torch(nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.5), nn.Linear(4, 2)), x(5, 3))
