"""The parser and the writer held to google.protobuf.text_format: what one takes, the other takes alike."""

from __future__ import annotations

import json
import re
import warnings
from contextlib import suppress

import golden
import google.protobuf
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import messages, same

from caffenorm import schema
from caffenorm.errors import PrototxtError
from caffenorm.prototxt import format_message, parse

NET = schema.NetParameter
# Before, it refused 0f and took 010 as a decimal float, and knew no \\u.
recent = pytest.mark.skipif(
    int(google.protobuf.__version__.split(".")[0]) < 6, reason="text_format of protobuf 6 or newer"
)


def ours(text: str, message_class: type[Message] = NET) -> Message | None:
    """What we read, unknown fields being errors as they are for text_format; None for a refusal."""
    try:
        return parse(text, message_class, strict=True).message
    except PrototxtError:
        return None


def theirs(text: str, message_class: type[Message] = NET) -> Message | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about odd escapes
        try:
            return text_format.Parse(text, message_class())
        except text_format.ParseError:
            return None


def agree(text: str, message_class: type[Message] = NET) -> bool:
    one, other = ours(text, message_class), theirs(text, message_class)
    if one is None or other is None:
        return one is other
    return same(one, other)


def golden_texts(family: str) -> list[tuple[str, str]]:
    texts = [(golden.name(path), golden.load(path).meta["prototxt"]) for path in golden.paths(family)]
    for path in golden.paths(family, "json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        keys = ("prototxt", "input", "upgraded")
        texts += [
            (f"{golden.name(path)}/{key}", content[key]) for key in keys if isinstance(content.get(key), str)
        ]
    return texts


@pytest.mark.parametrize("family", [*golden.layer_families(), "netfilter", "rejects", "splits"])
def test_golden_nets(family):
    texts = golden_texts(family)

    assert texts
    assert not [name for name, text in texts if ours(text) is None or not agree(text)]


def test_golden_upgrades():
    for name, text in golden_texts("upgrade"):
        message_class = schema.SolverParameter if "solver" in name else NET

        assert ours(text, message_class) is not None, name
        assert agree(text, message_class), name


# Texts that both take, then texts that both refuse.
TAKEN = r"""
name: "a" ; layer { name: 'b' ; } , layer < name: 'c' ; >
layer: { } layer: < > layer { param { } param: { lr_mult: 1 } }
layer: [] input: [] input: ['a'] input: ["b" "c", 'd']
layer [ { name: "x" }, < name: "y" > ] layer: [ { } ]
input_dim: 0x7fffffff input_dim: -0x80000000 input_dim: 017 input_dim: -017 input_dim: 000 input_dim: +5
layer { loss_weight: [1, 1., .5, 1e5, 1E-5, -1.5e+3, 1.f, 1F, 0f, 0, -0, +1] }
layer { loss_weight: [inf, -inf, nan, INF, Infinity, -nan] }
layer { loss_weight: 1e40 loss_weight: 1e-50 loss_weight: 123456789012345678901234567890 loss_weight: inff }
force_backward: t debug_info: False
layer { propagate_down: [true, True, t, 1, false, False, f, 0] phase: 1 } state { phase: TEST }
layer { phase: 0x1 }
layer { blobs { data: [1, 2] shape { dim: 9223372036854775807 dim: -9223372036854775808 } } }
layer { type: "\x41\101\n\t\\\"\'\a\b\f\r\v\u00e9\U0001F600\x4" name: '"' top: "'" }
name: "\345\215\267" input: "" input: '' ""
state{phase:TEST,level:1;stage:"a"stage:'b'}
# nothing
""".strip().split("\n")
TAKEN += [
    "",
    'layer { name: "a" # }\n top: "b" }',
    "# a\r\n#\nname: 'b' # c",
    'name: "\u5377\u79ef \U0001f600"',
    'layer\u00a0{ name:\u3000"space" }\x0c\x0b',
]

REFUSED = r"""
layer
layer {
layer { }}
layer { >
layer < }
layer ( )
layer = { }
layer: 1
layer {{ }}
name
name "a"
name: a
name: 1
name: "a
name: 'a"
name: "a" name: "b"
name: ["a"]
name: { }
name:: "a"
: "a"
,
;
name: "a",,
name: "a";,
name: "\777"
name: "\x"
name: "\u12"
name: "\ud800"
name: "\377"
name: "a\"
input: ["a",]
input: ["a" "b"
input: [["a"]]
input: [,]
input_dim: 1.5
input_dim: 1e3
input_dim: "1"
input_dim: one
input_dim: 2147483648
input_dim: -2147483649
input_dim: 08
input_dim: 0xg
input_dim: - 1
input_dim: --1
input_dim: 1-1
input_dim:
layer { pooling_param { pad: -1 } }
layer { pooling_param { pad: 4294967296 } }
layer { loss_weight: 0x10 }
layer { loss_weight: 010 }
layer { loss_weight: 01.5 }
layer { loss_weight: 1.5.2 }
layer { loss_weight: . }
layer { loss_weight: e5 }
layer { loss_weight: true }
layer { loss_weight: "1" }
layer { phase: PHASE }
layer { phase: test }
layer { phase: 2 }
layer { phase: -1 }
layer { phase: 1.0 }
layer { phase: TRAIN phase: TRAIN }
layer { relu_param { } relu_param { } }
force_backward: 2
force_backward: TRUE
force_backward: "true"
force_backward: yes
unknown: 1
unknown { }
layer { unknown: [1, 2] }
1: 2
-name: "a"
[ext.name]: 1
name: "a" $
@
""".strip().split("\n")
REFUSED += ['name: "a\nb"', 'name: "a\\\nb"', "\0", "name: 'a' \0", 'name: "a\u2028', "\u00e9: 1"]


@recent
@pytest.mark.parametrize("text", TAKEN)
def test_both_take(text):
    assert ours(text) is not None
    assert agree(text)


@recent
@pytest.mark.parametrize("text", REFUSED)
def test_both_refuse(text):
    assert theirs(text) is None
    assert ours(text) is None


CLASSES = st.sampled_from(
    [NET, schema.LayerParameter, schema.V1LayerParameter, schema.SolverParameter, schema.Datum]
)


@given(data=st.data(), message_class=CLASSES)
def test_what_text_format_prints_reads_the_same(data, message_class):
    message = data.draw(messages(message_class))
    names = ("as_utf8", "as_one_line", "use_short_repeated_primitives", "pointy_brackets", "force_colon")
    options = data.draw(st.fixed_dictionaries(dict.fromkeys(names, st.booleans())))
    text = text_format.MessageToString(message, **options)

    found = parse(text, message_class)

    assert same(found.message, message)
    assert not found.findings


@given(data=st.data(), message_class=CLASSES)
def test_what_we_print_reads_the_same_by_text_format(data, message_class):
    message = data.draw(messages(message_class))

    assert same(text_format.Parse(format_message(message), message_class()), message)


WORDS = r"""layer name top loss_weight param lr_mult phase state stage level blobs shape dim input_dim
    force_backward relu_param unknown { } < > [ ] : , ; "a" 'b' "\n" "\x4" 1 -2 0x1f 017 09 1.5 1.f .5 1e3
    inf -inf nan true t f TRAIN TEST - . ( $ " ' #x"""
TOKENS = st.sampled_from(WORDS.split())
PIECES = (
    """layer { name: "a" top: ["b", "c"] loss_weight: [1, 2.5] param { lr_mult: 1 }
    phase: TEST relu_param { } }""",
    """state: < phase: TRAIN level: -1 stage: 'a' 'b' stage: 'c' >
    force_backward: true input_dim: 3, input_dim: 04;""",
    "layer { blobs { shape { dim: [1, 2] } } blobs: { shape: { dim: 1 } } } layer: [ { name: 'x' }, < > ]",
)


@recent
@given(data=st.data())
def test_texts_with_a_few_tokens_changed(data):
    tokens = re.findall(r""""[^"]*"|'[^']*'|[\w.-]+|\S""", data.draw(st.sampled_from(PIECES)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(tokens) - 1))
        removed = data.draw(st.integers(0, 2))
        tokens[at : at + removed] = data.draw(st.lists(TOKENS, max_size=2))
        tokens = tokens or ["layer"]

    assert agree(data.draw(st.sampled_from([" ", "\n"])).join(tokens))


@recent
@given(st.lists(TOKENS, max_size=12), st.sampled_from([" ", "\n", ""]))
def test_any_tokens_in_a_row(tokens, between):
    assert agree(between.join(tokens))


NUMBERS = st.from_regex(r"[+-]?[0-9]{0,3}(\.[0-9]{0,2})?([eE][+-]?[0-9]{1,3})?[fFx]?", fullmatch=True)


@recent
@given(NUMBERS)
def test_spellings_of_numbers(text):
    for line in (
        f"input_dim: {text}",
        f"layer {{ loss_weight: {text} }}",
        f"layer {{ pooling_param {{ pad: {text} }} }}",
    ):
        assert agree(line)


@recent
@given(st.text(st.sampled_from("abx0178\\nrtu'\"e9F "), max_size=8))
def test_spellings_of_strings(text):
    quoted = f'name: "{text}"'
    with warnings.catch_warnings(record=True) as odd_escapes:
        warnings.simplefilter("always", DeprecationWarning)
        expected = None
        with suppress(text_format.ParseError):
            expected = text_format.Parse(quoted, NET())

    found = ours(quoted)

    if odd_escapes:  # which text_format lets pass; reading strictly, we do not
        assert found is None
    else:
        assert (found is None) == (expected is None)
        assert found is None or same(found, expected)
