"""Whole nets as PyTorch modules: names, sharing, work in place, inputs and outputs; the written text."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import describe, to_torch, verify
from caffenorm.convert import text as program_text
from caffenorm.convert.source import module_source, wrapped
from caffenorm.errors import ConversionError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }\n'
)


def net_of(text: str, phase: int = caffenorm.TEST, seed: int = 3) -> Net:
    """A net in float64 with random parameters; variances and factors of norms are positive."""
    net = Net.from_text(INPUT + text, phase, dtype=np.float64)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            blob.data[...] = rng.uniform(0.5, 2, blob.shape) * (1 if "BatchNorm" in layer.type and i else 0.3)
    return net


def conv(
    name: str, bottom: str, top: str, more: str = "", shape: str = "num_output: 3 kernel_size: 1"
) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" {more} '
        f"convolution_param {{ {shape} }} }}\n"
    )


def one(kind: str, bottom: str, top: str, more: str = "", name: str = "") -> str:
    return f'layer {{ name: "{name or kind}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


@pytest.mark.parametrize(
    "name",
    ["1x1", "res2/a.b-c", "class", "forward", "train", "float", "", "T_destination", "weights\\\\n", "é"],
)
def test_layers_and_blobs_may_have_any_name(name: str) -> None:
    net = net_of(conv(name, "data", name or "top") + one("ReLU", name or "top", "self"))

    module = to_torch(net)

    assert module.verification.ok
    ast.parse(module_source(describe(net)))


def test_names_that_become_the_same_stay_apart() -> None:
    net = net_of(conv("a/b", "data", "a/b") + conv("a_b", "a/b", "a_b") + conv("a-b", "a_b", "a-b"))

    module = to_torch(net)

    assert [name for name, _ in module.named_children()] == ["a_b", "a_b_2", "a_b_3"]


def test_names_of_torch_modules_are_not_hidden() -> None:
    public = {name for name in dir(torch.nn.Module()) if not name.startswith("_")}

    assert public <= program_text.OF_MODULE


def test_helpers_are_not_hidden_by_blobs() -> None:
    from caffenorm.convert import torch_modules

    functions = {
        name
        for name, value in vars(torch_modules).items()
        if callable(value)
        and getattr(value, "__module__", "") == torch_modules.__name__
        and name[0].islower()
    }

    assert functions - {"windows_of", "divisor_of", "hits_of"} <= program_text.RESERVED


def test_a_hostile_name_of_a_net_does_not_run() -> None:
    net = net_of(conv("c", "data", "c"))
    net.name = '"""\nraise SystemExit\n"""'

    tree = ast.parse(module_source(describe(net)))

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def test_what_is_worked_over_in_place_after_a_split_changes_for_all_readers() -> None:
    text = (
        conv("c", "data", "c")
        + 'layer { name: "s" type: "Split" bottom: "c" top: "s1" top: "s2" }\n'
        + one("TanH", "s1", "s1")
        + one("Exp", "s2", "y")
    )
    net = net_of(text)

    module = to_torch(net)

    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(module.blobs(x)["y"], torch.exp(torch.tanh(module.c(x))))


@pytest.mark.parametrize("reader", ["", one("Exp", "c", "y")])
def test_what_shares_memory_with_a_flattened_blob_changes_with_it(reader: str) -> None:
    text = (
        conv("c", "data", "c")
        + 'layer { name: "f" type: "Flatten" bottom: "c" top: "f" }\n'
        + one("TanH", "f", "f")
        + (reader.replace('"c"', '"c"') if reader else "")
    )
    net = net_of(text)

    module = to_torch(net)

    assert module.verification.ok


def test_several_inputs_and_outputs_and_readers() -> None:
    text = (
        INPUT.replace('"data"', '"other"')
        + conv("a", "data", "a")
        + conv("b", "a", "b")
        + 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "other" top: "sum" '
        + "eltwise_param { coeff: 1 coeff: -2 } }\n"
        + one("ReLU", "b", "b")
        + one("Sigmoid", "sum", "out")
        + one("Softmax", "sum", "prob")
    )
    net = net_of(text)

    module = to_torch(net)
    found = module(*(torch.zeros(2, 3, 6, 6, dtype=torch.float64) for _ in range(2)))

    assert net.inputs == ["data", "other"]
    assert len(found) == len(net.outputs) == 3


def test_parameters_shared_by_name_are_one_parameter() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    net = net_of(conv("a", "data", "a", shared) + conv("b", "a", "b", shared))

    module = to_torch(net)

    assert module.b.weight is module.a.weight
    assert module.b.bias is module.a.bias
    assert len(list(module.parameters())) == 2


@pytest.mark.parametrize("first", [False, True])
def test_a_tied_autoencoder_shares_its_weight_transposed(first: bool) -> None:
    def product(name: str, bottom: str, outputs: int, transpose: bool) -> str:
        given = f"inner_product_param {{ num_output: {outputs} transpose: {str(transpose).lower()} }}"
        return one("InnerProduct", bottom, name, f'param {{ name: "w" }} {given}', name)

    net = net_of(product("encode", "data", 5, first) + product("decode", "encode", 108, not first))

    module = to_torch(net)

    assert {tuple(p.shape) for p in module.parameters()} == {(5, 108), (5,), (108,)}


def test_scales_shared_by_name_stay_one_parameter_inside_batch_norms() -> None:
    scale = 'param { name: "g" } param { name: "o" } scale_param { bias_term: true }'
    text = "".join(
        one("BatchNorm", bottom, top, name=f"n{top}") + one("Scale", top, top, scale, f"s{top}")
        for bottom, top in (("data", "x"), ("x", "y"))
    )

    module = to_torch(net_of(text))

    assert module.ny.weight is module.nx.weight
    assert module.ny.running_mean is not module.nx.running_mean


@pytest.mark.parametrize(
    "more",
    [
        'type: "BN" bn_param { slope_filler { value: 1 } }',
        'type: "BN" bn_param { scale_filler { value: 1 } }',
        'type: "BN" bn_param { bn_mode: INFERENCE }',
        'type: "GroupNorm" group_norm_param { num_groups: 3 }',
        'type: "InstanceNorm" instance_norm_param { affine: true track_running_stats: true }',
        'type: "LayerNorm" layer_norm_param { }',
        'type: "LayerNorm" layer_norm_param { axis: 2 bias: false }',
        'type: "SyncBatchNorm"',
        'type: "BatchNorm" batch_norm_param { scale_bias: true fused_relu: true }',
        'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false }',
        'type: "Normalize" norm_param { }',
        'type: "Normalize" normalize_param { }',
        'type: "PReLU" prelu_param { channel_shared: true }',
        'type: "ReLU" relu_param { relu6: true }',
        'type: "ELU" elu_param { alpha: 0.5 }',
        'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }',
        'type: "ShuffleChannel" shuffle_channel_param { group: 3 }',
        'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad_t: 1 pad_l: 0 pad_b: 2 pad_r: 1 }',
        'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE avg_include_pad: false }',
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 pad_t: 1 pad_b: 2 pad_r: 1 }',
        'type: "ConvolutionDepthwise" convolution_param { num_output: 3 kernel_size: 3 }',
    ],
)
@pytest.mark.parametrize("phase", [caffenorm.TEST, caffenorm.TRAIN], ids=["test", "train"])
@pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")
def test_layers_of_forks_and_newer_norms_agree(more: str, phase: int) -> None:
    net = net_of(f'layer {{ name: "op" bottom: "data" top: "y" {more} }}\n', phase)

    assert to_torch(net).verification.ok


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("SoftmaxWithLoss", ""),
        ("HingeLoss", ""),
        ("HingeLoss", "hinge_loss_param { norm: L2 }"),
        ("MultinomialLogisticLoss", ""),
        ("SigmoidCrossEntropyLoss", ""),
        ("EuclideanLoss", ""),
        ("SmoothL1Loss", "loss_weight: 2"),
    ],
)
def test_training_nets_end_in_their_loss(kind: str, more: str) -> None:
    classes = kind in ("SoftmaxWithLoss", "HingeLoss", "MultinomialLogisticLoss")
    label = "" if classes else "dim: 4"
    text = (
        f'layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{ dim: 2 {label} }} }} }}\n'
        + one("InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")
        + f'layer {{ name: "loss" type: "{kind}" bottom: "ip" bottom: "label" top: "loss" {more} }}\n'
    )
    net = net_of(text, caffenorm.TRAIN)

    module = to_torch(net)

    assert module.training
    assert any("loss_weight 2" in note for note in module.notes) == ("loss_weight" in more)


@pytest.mark.parametrize(("pad", "notes"), [("", 0), ("tf_pad: SAME", 1), ("tf_pad: VALID", 0)])
def test_pads_that_follow_the_size_are_noted(pad: str, notes: int) -> None:
    net = net_of(conv("c", "data", "c", "", f"num_output: 2 kernel_size: 3 stride: 2 {pad}"))

    module = to_torch(net)

    assert module.verification.ok
    assert len(module.notes) == notes


def test_a_loss_without_a_top_is_returned() -> None:
    text = (
        'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
        + one("InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }\n'
    )
    net = net_of(text, caffenorm.TRAIN)
    net.forward(data=np.ones((2, 3, 6, 6)), label=np.array([1.0, 3.0]))

    found = to_torch(net)(torch.ones(2, 3, 6, 6, dtype=torch.float64), torch.tensor([1, 3]))

    assert found.item() == pytest.approx(net.loss, rel=1e-9)


def test_all_layers_that_cannot_be_converted_are_listed_at_once() -> None:
    more = "dropout_param { sample_weights_test: true }"
    net = net_of(one("Dropout", "data", "a", more, "first") + one("Dropout", "a", "b", more, "second"))

    with pytest.raises(ConversionError, match="2 layers cannot be converted") as caught:
        to_torch(net)

    assert '"first"' in str(caught.value)
    assert '"second"' in str(caught.value)


def test_the_module_takes_other_batches_than_the_net_had() -> None:
    text = (
        conv("c", "data", "c")
        + one("Reshape", "c", "r", "reshape_param { shape { dim: 0 dim: -1 dim: 9 } }")
        + one("Softmax", "r", "s", "softmax_param { axis: 2 }")
        + one("InnerProduct", "s", "y", "inner_product_param { num_output: 4 }")
    )
    net = net_of(text)
    x = np.random.default_rng(1).standard_normal((5, 3, 6, 6))

    found = to_torch(net)(torch.from_numpy(x))

    net.blobs["data"].reshape(x.shape)
    net.forward(data=x)
    np.testing.assert_allclose(found.detach().numpy(), net.blobs["y"].data, rtol=1e-9)


# --- the text ---


def test_the_module_of_lenet_is_short() -> None:
    net = Net(Path(__file__).parents[2] / "examples" / "lenet.prototxt", caffenorm.TEST)

    text = module_source(describe(net))

    forward = text[text.index("    def forward") : text.index("\n\ndef load")].strip().splitlines()
    assert forward[1].strip() == "conv1 = F.relu(self.conv1_bn(self.conv1(data)))"
    assert len(forward) == 9
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_written_module_runs_without_caffenorm(tmp_path: Path) -> None:
    from caffenorm.cli.main import main

    net = net_of(
        conv("c", "data", "c")
        + one("BatchNorm", "c", "c")
        + one("Pooling", "c", "p", "pooling_param { kernel_size: 3 stride: 2 pad: 2 }")
    )
    (tmp_path / "net.prototxt").write_text(caffenorm.prototxt.format_message(net.net_param))
    net.save(tmp_path / "net.caffemodel")
    assert (
        main(
            [
                "convert",
                str(tmp_path / "net.prototxt"),
                str(tmp_path / "net.caffemodel"),
                "-o",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys; sys.modules['caffenorm'] = None\n"
        "import numpy, torch, model\n"
        "y = model.load().double()(torch.from_numpy(numpy.load('../x.npy')))\n"
        "numpy.save('../y.npy', y.detach().numpy())\n"
    )

    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", check=True, timeout=120)

    net.forward(data=x)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), net.blobs["p"].data, rtol=1e-5)


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("y = f(a, b)", ["y = f(a, b)"]),
        ("y = function(aaaa, bbbb(cc, dd), eeee)", ["y = function(", "    aaaa, bbbb(cc, dd), eeee", ")"]),
        (
            "y = first_term + second_term(a, b) + c",
            ["y = (", "    first_term", "    + second_term(a, b)", "    + c", ")"],
        ),
        (
            "return first_value, second_value, third",
            ["return (", "    first_value,", "    second_value,", "    third,", ")"],
        ),
    ],
)
def test_long_statements_take_several_lines(statement: str, lines: list[str]) -> None:
    assert wrapped(statement, 30) == lines
    ast.parse("def g():\n" + "\n".join("    " + line for line in lines))


def test_verify_takes_own_inputs() -> None:
    net = net_of(conv("c", "data", "c"))

    found = verify(net, [{"data": np.ones((2, 3, 6, 6))}])

    assert [check.name for check in found.blobs] == ["data", "c"]
    assert str(found).startswith("2 blobs agree")
