"""Messages as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import messages, same

from caffenorm import schema
from caffenorm.prototxt import format_message, parse

CLASSES = st.sampled_from([schema.NetParameter, schema.LayerParameter, schema.SolverParameter, schema.Datum])


@given(data=st.data(), message_class=CLASSES)
def test_reading_what_was_written_gives_the_message_again(data, message_class):
    message = data.draw(messages(message_class))

    parsed = parse(format_message(message), message_class)

    assert same(parsed.message, message)
    assert not parsed.findings


def test_layout():
    net = schema.NetParameter(name="n", force_backward=True)
    layer = net.layer.add(name="c", type="Convolution", bottom=["x"], top=["y", "z"], phase=schema.TEST)
    layer.convolution_param.kernel_size.extend([3, 5])
    layer.convolution_param.weight_filler.SetInParent()
    net.layer.add()

    assert format_message(net) == (
        'name: "n"\n'
        "force_backward: true\n"
        "layer {\n"
        '  name: "c"\n'
        '  type: "Convolution"\n'
        '  bottom: "x"\n'
        '  top: "y"\n'
        '  top: "z"\n'
        "  phase: TEST\n"
        "  convolution_param {\n"
        "    kernel_size: 3\n"
        "    kernel_size: 5\n"
        "    weight_filler {\n"
        "    }\n"
        "  }\n"
        "}\n"
        "layer {\n"
        "}\n"
    )


def test_an_empty_message_is_an_empty_text():
    assert format_message(schema.NetParameter()) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.1, "0.1"), (1.0, "1"), (-2.0, "-2"), (1e-5, "1e-05"), (0.00390625, "0.00390625")),
        *((1 / 3, "0.33333334"), (16777216.0, "16777216"), (3.4028234663852886e38, "3.4028235e+38")),
        *((1e-45, "1e-45"), (-0.0, "-0"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")),
    ],
)
def test_floats_are_as_short_as_float32_allows(value, text):
    assert format_message(schema.ParamSpec(lr_mult=value)) == f"lr_mult: {text}\n"


@pytest.mark.parametrize(
    ("value", "text"), [(0.1, "0.1"), (1 / 3, "0.3333333333333333"), (5.0, "5"), (1e300, "1e+300")]
)
def test_doubles_keep_all_digits(value, text):
    assert format_message(schema.BlobProto(double_data=[value])) == f"double_data: {text}\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ("it's", '"it\'s"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nbreak\ttab\r", r'"line\nbreak\ttab\r"'),
        ("\x01" + "1\x7f", r'"\0011\177"'),
        ("\u5377\u79ef", '"\u5377\u79ef"'),
    ],
)
def test_strings(value, text):
    assert format_message(schema.NetParameter(name=value)) == f"name: {text}\n"


def test_bytes_are_ascii():
    text = format_message(schema.Datum(data=bytes(range(256))))

    assert text.isascii()
    assert parse(text, schema.Datum).message.data == bytes(range(256))
