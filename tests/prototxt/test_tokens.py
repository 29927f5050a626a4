"""Cutting text into tokens, and what strings stand for."""

from __future__ import annotations

import pytest

from caffenorm.prototxt.tokens import BAD, END, MARK, NAME, NUMBER, STRING, Tokens, unquote


def cut(text: str) -> list[tuple[int, str]]:
    tokens = Tokens(text)
    pairs = list(zip(tokens.kinds, tokens.texts, strict=True))
    return pairs[: pairs.index((END, ""))]


def test_every_kind_of_token():
    text = "name_1: -1.5e-3 .5 \"a 'b'\" 'c \"d\"' {}<>[],; # comment"
    assert cut(text) == [
        (NAME, "name_1"),
        (MARK, ":"),
        (NUMBER, "-1.5e-3"),
        (NUMBER, ".5"),
        (STRING, "\"a 'b'\""),
        (STRING, "'c \"d\"'"),
        *((MARK, mark) for mark in "{}<>[],;"),
    ]


def test_comments_end_with_the_line_and_do_not_start_in_strings():
    assert cut("# a: 1\nb # c\r\n'#d'#e") == [(NAME, "b"), (STRING, "'#d'")]


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "# only this", "#\n#\n  #"])
def test_a_text_without_tokens_has_an_end(text):
    tokens = Tokens(text)

    assert (tokens.kinds[0], tokens.texts[0]) == (END, "")
    assert tokens.shown(0) == "the end of the text"


def test_line_and_column_count_from_one():
    tokens = Tokens("a\n  b\r\n\tc")

    assert [(tokens.line(i), tokens.column(i)) for i in range(3)] == [(1, 1), (2, 3), (3, 2)]


def test_a_byte_order_mark_is_passed_over_and_takes_no_column():
    tokens = Tokens("\ufeffname")

    assert tokens.texts[0] == "name"
    assert tokens.column(0) == 1


@pytest.mark.parametrize(
    "text", ['"open', "'open", '"open\nclose"', '"ends in \\"', "\u00e9", "$", ".", "\0"]
)
def test_what_is_no_token_is_bad(text):
    assert Tokens(text).kinds[0] == BAD


@pytest.mark.parametrize(
    ("token", "meant"),
    [
        ('""', b""),
        ('"plain"', b"plain"),
        (r'"\a\b\f\n\r\t\v"', b"\a\b\f\n\r\t\v"),
        (r'"\\ \' \" \?"', b"\\ ' \" ?"),
        (r'"\0 \18 \101"', b"\0 \x018 A"),
        (r'"\x1 \x41 \x411"', b"\x01 A A1"),
        (r'"\u00e9 \U0001F600"', "\u00e9 \U0001f600".encode()),
        ('"\u4e2d"', "\u4e2d".encode()),
        (r"'\377\xff'", b"\xff\xff"),
    ],
)
def test_escapes(token, meant):
    assert unquote(token) == (meant, "")


def test_an_escape_that_does_not_exist_stays_and_is_named():
    assert unquote(r'"C:\Data\list"') == (rb"C:\Data\list", r"\D")
    assert unquote('"\\\u00e9"') == ("\\\u00e9".encode(), "\\\u00e9")


@pytest.mark.parametrize("token", [r'"\400"', r'"\x"', r'"\u12"', r'"\ud800"', r'"\U00110000"', '"\udcff"'])
def test_escapes_that_stand_for_nothing(token):
    with pytest.raises(ValueError, match=r"needs hexadecimal|more than a byte|no Unicode|not UTF-8"):
        unquote(token)
