"""Whatever the text, it reads or PrototxtError says why: no other exception, no endless loop."""

from __future__ import annotations

import warnings
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import schema
from caffenorm.errors import CaffenormWarning, PrototxtError
from caffenorm.prototxt import (
    filter_net,
    format_message,
    insert_splits,
    parse,
    parse_net,
    parse_solver,
    read_net,
)

VALID = [
    """name: "net" input: "data" input_shape { dim: 1 dim: 3 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1.5 }
  convolution_param { num_output: 8 kernel_size: [3, 3] weight_filler < type: 'xavier' > engine: CAFFE } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" param { } param { } param { }
  include { phase: TEST } }
layer { name: "loss" type: "EuclideanLoss" bottom: "conv" bottom: "conv" top: "loss" loss_weight: 2 } # end
""",
    """name: 'v1' input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "a" top: "b" blobs_lr: 1 blobs_lr: 2 weight_decay: 0
  param: "w" inner_product_param { num_output: 10 } exclude { stage: "x\\n" not_stage: "y" min_level: -1 } }
layers { name: "d" type: DATA top: "x" data_param { source: "db" scale: 0.5 mirror: true } }
""",
    """input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
layers { layer { name: "p" type: "padding" pad: 2 } bottom: "a" top: "b" }
layers { layer { name: "c" type: "conv" num_output: 3 kernelsize: 3 weight_filler { type: "xavier" } }
  bottom: "b" top: "c" }
layers { layer { name: "s" type: "softmax" dropout_ratio: 0.1 } bottom: "c" top: "s" }
""",
]
SOLVER = """net: "n" base_lr: 0.1 solver_type: ADAM stepvalue: [1, 2] test_iter: 1
net_param { layer { name: "x" } }"""
# What real texts are made of, and what they are not.
PIECES = [
    *"{}<>[]:;,\"'#\\\n\r\t .-+",
    "\0",
    "\ufeff",
    "\u00e9",
    "\udcff",
    "0x",
    "1e",
    "inf",
    "layer",
    "layers {",
    "type: ",
    "1",
]


def survive(text: str) -> None:
    """Take a text all the way, as a net and as a solver."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffenormWarning)
        with suppress(PrototxtError):
            parse_solver(text)
        with suppress(PrototxtError):
            net = insert_splits(filter_net(parse_net(text), schema.TEST))
            again = parse(format_message(net.net), schema.NetParameter)
            assert len(net.lines) == len(net.net.layer)
            assert again.message.SerializeToString() == net.net.SerializeToString()


@st.composite
def damaged(draw, texts):
    """A valid text with a few characters cut out, put in, doubled or swapped."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        new = draw(st.sampled_from(["", text[start:end] * 2, *PIECES]) | st.text(max_size=3))
        text = text[:start] + new + text[end:]
    return text


@given(damaged([*VALID, SOLVER]))
def test_damaged_texts(text):
    survive(text)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_texts_of_odd_pieces(text):
    survive(text)


@given(st.text())
def test_any_text(text):
    survive(text)


@pytest.mark.parametrize("text", [*VALID, SOLVER])
def test_truncation_anywhere(text):
    for end in range(len(text)):
        survive(text[:end])


@pytest.mark.parametrize("text", VALID)
def test_each_token_left_out(text):
    words = text.split(" ")
    for at in range(len(words)):
        survive(" ".join(words[:at] + words[at + 1 :]))


@given(content=st.binary(max_size=200))
def test_any_file(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.prototxt"
    path.write_bytes(content)

    with warnings.catch_warnings(), suppress(PrototxtError):
        warnings.simplefilter("ignore", CaffenormWarning)
        read_net(path)


MANY = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "a {" * MANY,
        "a <" * MANY,
        "a: [" * MANY,
        "layer { moe_param { expert_net {" * MANY,
        "layer: [" * MANY,
        "}" * MANY,
        '"' * MANY,
        "'\"" * MANY,
        'name: "' + "\\a" * MANY,
        'name: "' + "\\" * MANY,
        'name: "' + '\\"' * MANY,
        'a: "' * MANY,
        'a: "\n' * MANY,
        "#" * MANY,
        "# a # b" * MANY + "\n$",
        " \n" * MANY + "$",
        "input_dim: " + "9" * MANY,
        "input_dim: 0x" + "f" * MANY,
        "input_dim: 0" + "7" * MANY,
        "layer { loss_weight: " + "9" * MANY + " }",
        "layer { loss_weight: 1e" + "9" * MANY + " }",
        "a" * MANY,
        "mystery: " + "1" * MANY,
        "name: " + '"a" ' * MANY,
        "mystery: 1 " * MANY,
        "input_dim: x " * MANY,
        "input: [" + '"a", ' * MANY,
    ],
    ids=lambda text: text[:20],
)
def test_huge_texts_end_soon(text):
    """Anything that took quadratic time would take minutes here."""
    survive(text)


def test_many_layers_with_unknown_fields_warn_once():
    text = "".join(f'layer {{ name: "l{index}" mystery: {index} }}\n' for index in range(2000))

    with pytest.warns(CaffenormWarning) as caught:
        net = parse_net(text)

    assert len(caught) == 1
    assert "1999 more like this" in str(caught[0].message)
    assert len(net.findings) == 2000
