"""The structure of a net from its binary, whatever fork wrote it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from google.protobuf import text_format
from wire_writer import field, floats, layer, number, v0_layer, v1_layer, varint

from caffenorm import schema, weights
from caffenorm.errors import CaffenormWarning

NET = """
name: "n" input: "data" input_shape { dim: 1 dim: 3 } state { stage: "deploy" } force_backward: true
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 name: "w" } phase: TEST
        propagate_down: true include { phase: TEST } convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" batch_norm_param { eps: 0.5 } }
layer { name: "sc" type: "Scale" bottom: "bn" top: "sc" scale_param { bias_term: true } }
layer { name: "de" type: "Deconvolution" bottom: "sc" top: "de" convolution_param { stride: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "de" bottom: "data" top: "loss" loss_weight: 0.5
        loss_param { ignore_label: 7 } softmax_param { axis: 2 } }
layer { name: "lstm" type: "LSTM" recurrent_param { num_output: 3 } }
layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 2 } } transform_param { scale: 0.5 } }
"""


def read(tmp_path: Path, content: bytes) -> schema.NetParameter:
    (tmp_path / "net.caffemodel").write_bytes(content)
    return weights.read_net_from_caffemodel(tmp_path / "net.caffemodel")


def test_a_net_of_bvlc_comes_back_as_it_is(tmp_path: Path) -> None:
    net = text_format.Parse(NET, schema.NetParameter())
    assert read(tmp_path, net.SerializeToString()) == net


def test_blobs_are_left_out(tmp_path: Path) -> None:
    net = text_format.Parse(NET, schema.NetParameter())
    full = schema.NetParameter.FromString(net.SerializeToString())
    full.layer[0].blobs.add().data.extend([1, 2])
    assert read(tmp_path, full.SerializeToString()) == net


def test_v1_layers_keep_their_form_for_the_upgrade(tmp_path: Path) -> None:
    text = """
    layers { name: "c" type: CONVOLUTION bottom: "a" top: "b" blobs_lr: 1 weight_decay: 0 param: "w"
             convolution_param { num_output: 2 } }
    """
    net = text_format.Parse(text, schema.NetParameter())
    assert read(tmp_path, net.SerializeToString()) == net


def test_v0_layers_keep_their_form_for_the_upgrade(tmp_path: Path) -> None:
    net = read(tmp_path, v0_layer("c", "conv", [field(5, floats([1]))], number(3, 96)))
    assert net.layers[0].layer.num_output == 96
    assert not net.layers[0].layer.blobs


ROI = number(1, 7) + number(2, 6) + varint(3 * 8 + 5) + struct.pack("<f", 0.0625)


@pytest.mark.parametrize("key", [147, 150, 154, 204, 208, 8266711])
def test_a_parameter_is_known_by_the_layers_type_wherever_a_fork_puts_it(tmp_path: Path, key: int) -> None:
    net = read(tmp_path, layer("roi", "ROIPooling", extra=field(key, ROI)))
    param = net.layer[0].roi_pooling_param
    assert (param.pooled_h, param.pooled_w, param.spatial_scale) == (7, 6, 0.0625)


def test_a_number_that_bvlc_uses_otherwise_is_read_by_the_type(tmp_path: Path) -> None:
    interp = number(1, 33)
    net = read(tmp_path, layer("up", "Interp", extra=field(143, interp)))  # 143 is input_param in BVLC
    assert net.layer[0].interp_param.height == 33
    assert not net.layer[0].HasField("input_param")


def test_numbers_beyond_the_common_ones_are_passed_over(tmp_path: Path) -> None:
    net = read(
        tmp_path,
        layer("ip", "InnerProduct", extra=number(145, 2) + number(149, 1) + field(117, number(1, 5))),
    )
    assert net.layer[0].inner_product_param.num_output == 5


@pytest.mark.parametrize(
    ("extra", "pattern"),
    [
        (field(117, b"\x08\x80"), 'layer "ip" .InnerProduct.: inner_product_param does not decode'),
        (field(149, b"CAFFE"), "field 149 is of a dialect that is not known"),
        (field(6, field(1, b"\xff\xfe")), "param does not decode"),
        (field(130, field(1, b"\xff")), "python_param does not decode"),
    ],
)
def test_what_does_not_decode_costs_only_itself(tmp_path: Path, extra: bytes, pattern: str) -> None:
    bottom = field(3, "data")
    with pytest.warns(CaffenormWarning, match=pattern):
        net = read(tmp_path, layer("ip", "InnerProduct", extra=extra + bottom))
    assert net.layer[0].bottom[:] == ["data"]
    assert net.layer[0].ByteSize() == len(field(1, "ip") + field(2, "InnerProduct") + bottom)


def test_unknown_fields_of_old_layers_and_of_the_net_are_named(tmp_path: Path) -> None:
    with pytest.warns(CaffenormWarning, match='layer "x": field 45'):
        net = read(tmp_path, v1_layer("x", 18, extra=field(45, b"")))
    assert net.layers[0].name == "x"
    with pytest.warns(CaffenormWarning, match="the net: field 9"):
        read(tmp_path, field(9, "MKL2017") + layer("x", "ReLU"))


def test_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    net = read(tmp_path, layer(b"\xe9", "ReLU", extra=field(3, b"caf\xe9") + field(4, "café")))
    assert net.layer[0].name == "\\xe9"
    assert net.layer[0].bottom[:] == ["caf\\xe9"]
    assert net.layer[0].top[:] == ["café"]
    assert net.SerializeToString()
