"""The parser: the grammar, values, findings, faults and places."""

from __future__ import annotations

import math

import pytest

from caffenorm import schema
from caffenorm.errors import PrototxtError
from caffenorm.prototxt import Parsed, parse


def read(text: str, message_class=schema.NetParameter, **options) -> Parsed:
    return parse(text, message_class, "net.prototxt", **options)


def layer_of(text: str):
    return read(f"layer {{ {text} }}").message.layer[0]


def refusal(text: str, message_class=schema.NetParameter, **options) -> str:
    with pytest.raises(PrototxtError) as caught:
        read(text, message_class, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" top: "b" top: "c" pooling_param { pad: 1 kernel_size: 3 } }',
        'layer: { name: "a", top: "b", top: "c", pooling_param: { pad: 1, kernel_size: 3, }, },',
        'layer < name: "a"; top: "b"; top: "c"; pooling_param < pad: 1; kernel_size: 3; >; >;',
        "layer { name: 'a' top: ['b', 'c'] pooling_param { pad: 1 kernel_size: 3 } }",
        'layer: [ { name: "a" top: ["b"] top: [] top: "c" pooling_param <pad:1 kernel_size:3> } ]',
        'layer{name:"a"top:"b"top:"c"pooling_param{pad:1kernel_size:3}}'.replace("1k", "1 k"),
        '# top\nlayer { # in\nname: "a" # end }\ntop: "b" top: "c"\r\n'
        "pooling_param { pad: 1\tkernel_size: 3 }\r\n}#",
        "\ufefflayer { name: \"a\" top: \"\" 'b' top: 'c' pooling_param { pad: 0x1 kernel_size: 03 } }",
    ],
    ids=["plain", "commas", "angles", "lists", "list of messages", "tight", "comments", "byte order mark"],
)
def test_ways_to_write_the_same(text):
    expected = schema.NetParameter()
    layer = expected.layer.add(name="a", top=["b", "c"])
    layer.pooling_param.pad, layer.pooling_param.kernel_size = 1, 3

    assert read(text).message == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", 1), ("-3", -3), ("0x1F", 31), ("0X1f", 31), ("017", 15), ("-017", -15), ("00", 0), ("+2", 2)),
        *(("2147483647", 2**31 - 1), ("-2147483648", -(2**31))),
    ],
)
def test_whole_numbers(text, value):
    assert list(read(f"input_dim: {text}").message.input_dim) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("1.f", 1.0),
            ("2F", 2.0),
            ("1e3", 1e3),
            ("-1.5E-2f", -0.015),
        ),
        *(("inf", math.inf), ("-Infinity", -math.inf), ("inff", math.inf), ("1e999", math.inf), ("-0", -0.0)),
    ],
)
def test_floats(text, value):
    param = schema.TransformationParameter()
    param.scale = value

    assert read(f"scale: {text}", schema.TransformationParameter).message == param


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "nanf"])
def test_nan(text):
    assert math.isnan(read(f"scale: {text}", schema.TransformationParameter).message.scale)


@pytest.mark.parametrize("text", ["true", "True", "t", "1"])
def test_true(text):
    assert read(f"force_backward: {text}").message.force_backward is True


@pytest.mark.parametrize("text", ["false", "False", "f", "0"])
def test_false(text):
    message = read(f"force_backward: {text}").message

    assert message.HasField("force_backward")
    assert message.force_backward is False


def test_enums_by_name_and_by_number():
    assert layer_of("phase: TEST").phase == schema.TEST
    assert layer_of("phase: 1").phase == schema.TEST


def test_strings_in_a_row_are_one():
    assert layer_of("""name: "a" 'b'\n"c" """).name == "abc"


def test_text_beyond_ascii():
    assert layer_of('name: "\u5377\u79ef" top: "\\345\\215\\267"').name == "\u5377\u79ef"
    assert layer_of('top: "\\345\\215\\267"').top[0] == "\u5377"


def test_bytes_take_any_escapes():
    assert read(r'data: "\000\377a"', schema.Datum).message.data == b"\x00\xffa"


def test_an_empty_message_is_present():
    assert layer_of("relu_param { }").HasField("relu_param")
    assert not layer_of("").HasField("relu_param")


def test_lines_of_the_outermost_fields():
    parsed = read('name: "n"\n\nlayer {\n name: "a"\n}\ninput: ["x",\n "y"]\nlayer { }\nlayer:\n{ }')

    assert parsed.lines == {"name": [1], "layer": [3, 8, 9], "input": [6, 7]}


# Findings


def test_unknown_fields_are_found_and_their_content_is_passed_over():
    text = """layer {
      mystery: 1  secret: -inf;  odd: word, many: [1, "a" 'b', x]  none: []
      deep { any { thing: [ { a: 1 }, < b: { } > ] } thing < c: "}" > }
      deeper: { a { b { c: 0x1f d: 1.5f e: 017 } } }
      name: "after"
      alos [ { a: 1 } ]
    }"""

    parsed = read(text)

    assert parsed.message.layer[0] == schema.LayerParameter(name="after")
    names = ["mystery", "secret", "odd", "many", "none", "deep", "deeper", "alos"]
    assert [finding.message.split('"')[1] for finding in parsed.findings] == names
    assert [finding.line for finding in parsed.findings] == [2] * 5 + [3, 4, 6]


def test_a_finding_names_file_line_and_layer_even_if_the_name_comes_later():
    finding = read('layer {\n top: "t"\n pooling_param {\n kernel_sise: 3 }\n name: "pool1" }').findings[0]

    assert (finding.file, finding.line, finding.layer) == ("net.prototxt", 4, "pool1")
    assert str(finding).startswith(
        'net.prototxt:4: layer "pool1": unknown field "kernel_sise" in PoolingParameter'
    )
    assert 'did you mean "kernel_size"' in str(finding)


def test_a_finding_in_a_v0_layer_names_the_layer():
    assert read('layers { layer { nmu_output: 3 name: "old" } }').findings[0].layer == "old"


def test_a_finding_outside_of_layers_names_none():
    findings = read('layer { name: "a" }\nmystery: 1').findings

    assert [finding.layer for finding in findings] == [""]


def test_a_field_in_the_wrong_message_is_unknown_there():
    assert [finding.line for finding in read("layer { }\nkernel_size: 3").findings] == [2]


def test_strict_makes_errors_of_all_findings():
    text = (
        'layer { name: "a" mystery: 1 }\nlayer { name: "b" secret { x: 1 } }\nlayer { relu_param { x: 1 } }'
    )

    message = refusal(text, strict=True)

    for part in (
        'net.prototxt:1:19: layer "a"',
        "mystery",
        'net.prototxt:2:19: layer "b"',
        "secret",
        ":3:",
        '"x"',
    ):
        assert part in message


def test_strict_lists_findings_and_faults_in_their_order():
    message = refusal("first: 1 input_dim: x second: 2 input_dim: y", strict=True)

    parts = ("first", "'x'", "second", "'y'")
    assert sorted(parts, key=message.index) == list(parts)


def test_names_may_hold_signs_after_their_first_letter():
    assert "foo-b+r" in read("foo-b+r: 1").findings[0].message


def test_an_enum_in_quotes_is_a_finding():
    parsed = read('layer { phase: "TEST" }')

    assert parsed.message.layer[0].phase == schema.TEST
    assert "without quotes" in parsed.findings[0].message


@pytest.mark.parametrize("shown", ['"INNER_PRODUCT"', '"InnerProduct"', "'InnerProduct'"])
def test_v1_types_in_quotes(shown):
    parsed = read(f"layers {{ type: {shown} }}")

    assert parsed.message.layers[0].type == schema.V1LayerParameter.INNER_PRODUCT
    assert len(parsed.findings) == 1


def test_a_backslash_that_escapes_nothing_is_a_finding_where_the_string_is_kept():
    parsed = read(r'layer { data_param { source: "C:\Data" } mystery: "C:\Data" }')

    assert parsed.message.layer[0].data_param.source == "C:\\Data"
    assert [finding.message.split('"')[1] for finding in parsed.findings] == ["\\D", "mystery"]


# Faults


@pytest.mark.parametrize(
    ("text", "place", "parts"),
    [
        ('layer { name: "a" ', "1:19", ['"{" of line 1 is not closed']),
        ('layer {\n name: "a" }\n}', "3:1", ["expected a field name", "'}'"]),
        ('layer { name: "a" >', "1:19", ['expected a field name or "}"', "'>'"]),
        ("layer { name 'a' }", "1:14", ['expected ":"']),
        ("layer ( )", "1:7", ['expected "{"', "'('"]),
        ("layer: 1", "1:8", ['expected "{"', "'1'"]),
        ("name: }", "1:7", ["expected a string", "'}'"]),
        ("name: ", "1:7", ["expected a string", "the end of the text"]),
        ('name: "abc\n', "1:7", ["closing quote"]),
        ("input: ['a', 'b'", "1:17", ['expected "," or "]"', "the end"]),
        ("input: ['a' 'b',]", "1:17", ["expected a string", "']'"]),
        ("name: ['a']", "1:7", ['"name" takes one value, not a list']),
        ("mystery 1", "1:9", ['expected ":" or "{"']),
        ("mystery: [[1]]", "1:11", ["expected a value"]),
        ("mystery: 1x", "1:10", ["a value", "'1x'"]),
        ("mystery { 5: 1 }", "1:11", ["expected a field name"]),
        ("1: 2", "1:1", ["expected a field name"]),
        ("[ext]: 2", "1:1", ["expected a field name"]),
        ("name: 'a',, name: 'b'", "1:11", ["expected a field name"]),
        ("\u00e9: 1", "1:1", ["the character '\u00e9'"]),
    ],
)
def test_broken_grammar_names_the_place_and_what_was_expected(text, place, parts):
    message = refusal(text)

    assert f"net.prototxt:{place}: " in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("layer { type: ReLU }", '"type" takes a string in quotes, "ReLU"'),
        ("input_dim: 1.5", "a whole number, found '1.5'"),
        ("input_dim: x", "a whole number"),
        ("input_dim: '1'", "a whole number"),
        ("input_dim: 2147483648", "from -2147483648 to 2147483647"),
        ("input_dim: 09", "a whole number"),
        ("input_dim: " + "9" * 5000, "from -2147483648 to 2147483647"),
        ("layer { pooling_param { pad: -1 } }", "from 0 to 4294967295"),
        ("layer { loss_weight: abc }", "a number"),
        ("layer { loss_weight: 0x1 }", "a number"),
        ("layer { loss_weight: 01.5 }", "a number"),
        ("layer { loss_weight: '1' }", "a number"),
        ("force_backward: yes", "true or false"),
        ("force_backward: 2", "true or false"),
        ("force_backward: 'true'", "true or false, without quotes"),
        ('name: "\\377"', "text in UTF-8"),
        ('name: "\\ud800"', "no Unicode character"),
        ('name: "a" name: "b"', '"name" is given twice'),
        ("layer { relu_param { } relu_param { } }", '"relu_param" is given twice'),
        ("state { phase: TEST phase: TEST }", '"phase" is given twice'),
    ],
)
def test_values_that_do_not_fit(text, part):
    assert part in refusal(text)


@pytest.mark.parametrize("value", ["MAXX", "max", "77", "'MAXX'", "true"])
def test_unknown_enum_values_always_raise(value):
    message = refusal(f'\nlayer {{ name: "p" pooling_param {{ pool: {value} }} }}')

    assert message.startswith('net.prototxt:2:41: layer "p": "pool" takes a PoolMethod (MAX, AVE, STOCHASTIC')


def test_unknown_enum_values_are_told_near_names():
    assert 'did you mean "MAX"?' in refusal("layer { pooling_param { pool: MAXX } }")
    assert 'did you mean "CONVOLUTION" or' in refusal("layers { type: CONVOLUTOIN }")


def test_all_faults_come_at_once_with_the_one_that_breaks_the_grammar_last():
    message = refusal(
        "layer { name: 1 pooling_param { pool: NO pad: x } }\nlayer { phase: NO }\nlayer { name }"
    )

    assert message.startswith("net.prototxt: 5 faults:\n")
    places = [line.split(":")[1:3] for line in message.splitlines()[1:]]
    assert places == [["1", "15"], ["1", "39"], ["1", "47"], ["2", "16"], ["3", "14"]]


def test_many_faults_are_cut_short():
    message = refusal("input_dim: x\n" * 1000)

    assert message.startswith("net.prototxt: 1000 faults:")
    assert len(message.splitlines()) < 30
    assert "980 more" in message


def test_an_error_knows_its_place():
    with pytest.raises(PrototxtError) as caught:
        read('layer { name: "a"\n  phase: 7 }')

    where = caught.value.where
    assert (where.file, where.line, where.column, where.layer) == ("net.prototxt", 2, 10, "a")


def test_nesting_has_a_limit():
    inside = "".join(f"a{depth} {{ " for depth in range(99))

    assert read(inside + "}" * 99).findings
    assert "nested more than 100 deep" in refusal("a { " * 101 + "}" * 101)
    assert "nested more than 100 deep" in refusal("layer { moe_param { expert_net { " * 50)
