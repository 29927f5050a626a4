"""The walk over the wire format: every field where it is, nothing beyond the bounds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_writer import field, number, varint

from caffenorm.errors import WeightsError
from caffenorm.weights.wire import Source, encode_header, encode_varint, fields, signed, varints

_FIELDS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1)),
        st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=40)),
        st.tuples(st.integers(1, 300), st.binary(min_size=3000, max_size=9000)),
    ),
    max_size=30,
)


def written(items: list[tuple[int, int | bytes]]) -> bytes:
    return b"".join(number(k, v) if isinstance(v, int) else field(k, v) for k, v in items)


@given(_FIELDS)
def test_every_field_is_found_across_windows(items: list[tuple[int, int | bytes]]) -> None:
    content = written(items)
    source = Source.of_bytes(content)

    found = [
        (key, value if wire == 0 else source.span(value, stop))
        for key, wire, value, stop in fields(source, 0, len(content))
    ]

    assert found == items


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_written_as_protobuf_does(value: int) -> None:
    assert encode_varint(value) == varint(value)
    assert varints(encode_varint(value), 1) == [value]


def test_negative_numbers_take_ten_bytes_and_come_back() -> None:
    assert len(encode_varint(-7)) == 10
    assert signed(varints(encode_varint(-7), 1)[0]) == -7


def test_a_header_is_a_tag_and_a_length() -> None:
    assert encode_header(100, 300) + bytes(300) == field(100, bytes(300))


def test_groups_are_passed_over_with_all_that_is_in_them() -> None:
    group = (
        varint(9 * 8 + 3) + field(1, b"inside") + varint(8 * 8 + 3) + varint(8 * 8 + 4) + varint(9 * 8 + 4)
    )
    content = number(1, 5) + group + number(2, 6)

    found = [(key, value) for key, _, value, _ in fields(Source.of_bytes(content), 0, len(content))]

    assert found == [(1, 5), (2, 6)]


def test_fixed_fields_have_four_and_eight_bytes() -> None:
    content = varint(3 * 8 + 5) + b"abcd" + varint(4 * 8 + 1) + b"abcdefgh"

    found = [(key, wire, stop - value) for key, wire, value, stop in fields(Source.of_bytes(content), 0, 14)]

    assert found == [(3, 5, 4), (4, 1, 8)]


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (varint(8 + 2) + varint(10) + b"abc", "cut off"),
        (varint(8 + 2) + varint(2**63), "cut off"),
        (varint(8 + 5) + b"abc", "cut off"),
        (b"\x08", "cut off"),
        (b"\x80", "cut off"),
        (b"\x08" + b"\xff" * 10, "ten bytes"),
        (b"\xff" * 11, "ten bytes"),
        (varint(6), "no wire type 6"),
        (varint(8 + 7), "no wire type 7"),
        (varint(0) + b"\x00", "no field number 0"),
        (varint((1 << 29) * 8) + b"\x00", "no field number"),
        (varint(8 + 3), "has no end"),
        (varint(8 + 4), "not begun"),
        (varint(8 + 3) + varint(16 + 4), "not begun"),
        (varint(8 + 3) * 200, "nested more than 100"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, pattern: str) -> None:
    with pytest.raises(WeightsError, match=pattern):
        list(fields(Source.of_bytes(content), 0, len(content)))


def test_a_field_may_not_reach_into_the_next_message() -> None:
    content = field(1, b"inner") + field(2, b"next")

    with pytest.raises(WeightsError, match="past the end of its message"):
        list(fields(Source.of_bytes(content), 0, 5))


def test_a_packed_list_has_a_limit() -> None:
    assert varints(varint(300) * 3, 3) == [300] * 3
    with pytest.raises(WeightsError, match="more than 2"):
        varints(varint(300) * 3, 2)
    with pytest.raises(WeightsError, match="ends within"):
        varints(b"\x80", 2)


def test_a_file_that_shrinks_while_it_is_read_is_an_error() -> None:
    raw = io.BytesIO(bytes(100))
    source = Source(raw)
    raw.truncate(50)

    with pytest.raises(WeightsError, match="became shorter"):
        source.span(0, 100)
    with pytest.raises(WeightsError, match="became shorter"):
        source.fill(np.empty(25, np.float32), 0)
