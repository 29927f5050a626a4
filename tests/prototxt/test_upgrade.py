"""Old nets and solvers in today's form, held to what Caffe's own upgrade tools make of them."""

from __future__ import annotations

import base64
import json
import warnings

import golden
import pytest

from caffenorm import schema
from caffenorm.errors import CaffenormWarning, PrototxtError
from caffenorm.prototxt import needs_upgrade, parse, parse_net, parse_solver, upgrade_net, wrap_net

CASES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in golden.paths("upgrade", "json")}


def cases(kind: str) -> list[str]:
    return [name for name, case in CASES.items() if case["kind"] == kind]


def quietly(text: str):
    """A net from text whose findings are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffenormWarning)
        return parse_net(text, "net.prototxt")


@pytest.mark.parametrize("name", cases("net"))
def test_golden_nets(name):
    case = CASES[name]
    expected = parse(case["upgraded"], schema.NetParameter).message

    net = quietly(case["input"])

    assert net.net == expected
    assert len(net.lines) == len(expected.layer)
    # Dropping an input without dimensions is complete for Caffe; we still say it.
    assert bool(net.findings) == (not case["complete"] or name == "input_no_shape")


@pytest.mark.parametrize("name", cases("net_binary"))
def test_golden_saved_nets(name):
    case = CASES[name]
    saved = schema.NetParameter.FromString(base64.b64decode(case["input_base64"]))
    before = saved.SerializeToString()

    upgraded = upgrade_net(saved)

    assert upgraded.net == schema.NetParameter.FromString(base64.b64decode(case["upgraded_base64"]))
    assert upgraded.changes
    assert saved.SerializeToString() == before


@pytest.mark.parametrize("name", cases("solver"))
def test_golden_solvers(name):
    case = CASES[name]

    assert parse_solver(case["input"]) == parse(case["upgraded"], schema.SolverParameter).message


@pytest.mark.parametrize("name", [*cases("net"), *cases("net_binary")])
def test_what_is_upgraded_needs_no_upgrade(name):
    upgraded = parse(CASES[name]["upgraded"], schema.NetParameter).message

    assert needs_upgrade(upgraded) == []
    assert upgrade_net(upgraded).net is upgraded


# All types of BVLC's V1 nets, as Caffe's documentation of the upgrade names them.
V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "NONE": "",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}
# Types that forks registered later under a string.
FORK_TYPES = {
    "BATCH_NORM": "BatchNorm",
    "BN": "BN",
    "CROP": "Crop",
    "CRELU": "CReLU",
    "DENSE_CRF": "DenseCRF",
    "ELTWISE_AFFINE": "EltwiseAffine",
    "ELU": "ELU",
    "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield",
    "PRELU": "PReLU",
    "RELU6": "ReLU6",
    "ROIPOOLING": "ROIPooling",
    "SCALE": "Scale",
    "SEG_ACCURACY": "SegAccuracy",
    "SPP": "SPP",
}


@pytest.mark.parametrize(("old", "new"), [*V1_TYPES.items(), *FORK_TYPES.items()])
def test_types_of_v1_layers(old, new):
    layer = parse_net(f'layers {{ name: "l" type: {old} }}').net.layer[0]

    assert layer == schema.LayerParameter(name="l", type=new)


def test_every_v1_type_gets_a_string_of_its_own_but_for_synonyms():
    enum = schema.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"]
    types = [parse_net(f"layers {{ type: {value.name} }}").net.layer[0].type for value in enum.values]

    doubled = {name for name in types if types.count(name) > 1}

    assert doubled == {"Normalize", "PriorBox", "ROIPooling"}


def test_v0_pooling_methods():
    net = parse_net(
        "".join(f'layers {{ layer {{ type: "pool" pool: {m} }} }}' for m in ("MAX", "AVE", "STOCHASTIC"))
    )

    pooling = schema.PoolingParameter
    assert [layer.pooling_param.pool for layer in net.net.layer] == [
        pooling.MAX,
        pooling.AVE,
        pooling.STOCHASTIC,
    ]


def test_parameters_of_forks_survive():
    net = parse_net('layers { name: "p" type: PRELU prelu_param { channel_shared: true } }').net

    assert net.layer[0].prelu_param.channel_shared


def test_v1_layers_keep_their_blobs():
    net = schema.NetParameter()
    net.layers.add(name="ip", type=schema.V1LayerParameter.INNER_PRODUCT).blobs.add(num=1, data=[1, 2])

    assert list(wrap_net(net).net.layer[0].blobs[0].data) == [1, 2]


def test_a_v1_field_without_a_successor_is_a_finding():
    with pytest.warns(CaffenormWarning, match="strict_dim"):
        net = parse_net('layers { name: "a" type: RELU strict_dim: true }')

    assert net.net.layer[0] == schema.LayerParameter(name="a", type="ReLU")


def test_lines_follow_the_layers():
    net = quietly(
        'input: "a"\ninput_dim: [1, 2, 3, 4]\n'
        'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "a" top: "p" }\n\n'
        'layers { layer { name: "c" type: "conv" } bottom: "p" top: "c" }\n'
        'layers { layer { name: "r" type: "relu" pad: 3 }\n bottom: "c" top: "r" }'
    )

    assert [layer.name for layer in net.net.layer] == ["input", "c", "r"]
    assert net.lines == [1, 5, 6]
    assert [(finding.line, finding.layer) for finding in net.findings] == [(6, "r")]


def test_v0_keeps_input_shape():
    net = parse_net(
        'input: "a" input_shape { dim: 7 } layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" }'
    )

    assert list(net.net.layer[0].input_param.shape[0].dim) == [7]


def test_v0_and_v1_layers_may_stand_together():
    net = parse_net('layers { layer { name: "a" type: "relu" } } layers { name: "b" type: RELU }').net

    assert [(layer.name, layer.type) for layer in net.layer] == [("a", "ReLU"), ("b", "ReLU")]


def test_a_batch_norm_with_two_param_blocks_stays():
    net = parse_net('layer { name: "n" type: "BatchNorm" param { lr_mult: 1 } param { } }')

    assert net.changes == []
    assert net.net.layer[0].param[0].lr_mult == 1


def test_input_shape_counts_where_there_is_input_dim_too():
    net = quietly('input: "a" input_shape { dim: 5 } input_dim: [1, 2, 3, 4]')

    assert list(net.net.layer[0].input_param.shape[0].dim) == [5]
    assert "input_dim is dropped" in net.findings[0].message


def test_too_many_shapes_are_a_finding():
    net = quietly('input: "a" input_shape { dim: 5 } input_shape { dim: 6 }')

    assert len(net.net.layer[0].input_param.shape) == 1
    assert "too many" in net.findings[0].message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            'layers { name: "old" type: RELU }\nlayer { name: "new" type: "ReLU" }',
            ['net.prototxt:1: layer "old"', '"layers" (1', '"layer" (1, first on line 2)'],
        ),
        (
            '\ninput: "a" input_dim: 1 input_dim: 2',
            ["net.prototxt:2: ", "1 inputs take 4 input_dim", "found 2"],
        ),
        ('input: "a" input: "b" input_shape { dim: 1 }', ["2 inputs take as many input_shape, found 1"]),
        (
            'layers { layer { name: "a" type: "convv" } }\nlayers { layer { name: "b" type: "poool" } }',
            ["2 faults", ':1: layer "a"', '"convv"; did you mean "conv"', ':2: layer "b"', '"pool"'],
        ),
        (
            'layers { layer { name: "p" type: "padding" } bottom: "a" top: "p" }\n'
            'layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }',
            [':2: layer "r": reads the padding layer "p"', "only a conv or pool"],
        ),
        (
            'layers { layer { name: "p" type: "padding" } bottom: "a" top: "p" }\n'
            'layers { layer { name: "c" type: "conv" } bottom: "p" bottom: "q" top: "r" }',
            ["no other bottom"],
        ),
        (
            'layers { layer { name: "p" type: "padding" } bottom: "a" bottom: "b" top: "p" }\n'
            'layers { layer { name: "c" type: "conv" } bottom: "p" top: "c" }',
            ["one bottom and one top"],
        ),
    ],
    ids=["both forms", "input_dim", "input_shape", "v0 types", "relu", "two bottoms", "padding"],
)
def test_what_cannot_be_upgraded_is_refused_with_its_place(text, parts):
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "net.prototxt")

    for part in parts:
        assert part in str(caught.value)


def test_a_solver_with_both_types_is_refused():
    with pytest.raises(PrototxtError, match=r'^solver\.prototxt:2: .*"solver_type".*"type"'):
        parse_solver('type: "Adam"\nsolver_type: ADAM', "solver.prototxt")


def test_all_solver_types():
    old = ["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"]

    types = [parse_solver(f"solver_type: {name}").type for name in old]

    assert types == ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ('layer { type: "ReLU" }', []),
        ("layers { type: RELU }", ["1 layer in V1 form (layers { ... })"]),
        (
            'layers { layer { type: "relu" } } layers { layer { type: "relu" } }',
            ["2 layers in V0 form (layers { layer { ... } })"],
        ),
        (
            "layers { type: DATA data_param { scale: 2 } }",
            ["1 layer in V1", "1 data layer without transform_param"],
        ),
        ('input: "a" input_shape { }', ["1 input field without an Input layer"]),
        (
            'layer { type: "BatchNorm" param {} param {} param {} }',
            ["1 BatchNorm layer with three param blocks"],
        ),
    ],
)
def test_what_needs_an_upgrade_is_said_in_words(text, changes):
    found = needs_upgrade(parse(text, schema.NetParameter).message)

    assert len(found) == len(changes)
    assert all(said.startswith(change) for said, change in zip(found, changes, strict=True))
    assert parse_net(text).changes == found


def test_what_a_solver_needs_is_said_in_words():
    solver = schema.SolverParameter(solver_type=schema.SolverParameter.ADAM)

    assert needs_upgrade(solver) == ["solver_type ADAM, an enum, in place of the string type"]
    assert needs_upgrade(schema.SolverParameter(type="Adam")) == []
    assert solver.HasField("solver_type")
