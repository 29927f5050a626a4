"""Hypothesis strategies that make messages of any class from its descriptor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


def repeats(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)
    return field.label == FieldDescriptor.LABEL_REPEATED if repeated is None else bool(repeated)


def _values(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type in _INTEGERS:
        return _INTEGERS[field.cpp_type]
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32, allow_nan=False) | st.just(math.nan)  # text keeps no NaN's sign or payload
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats(allow_nan=False) | st.just(math.nan)
    return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else _TEXT


def _fill(draw: Callable[..., Any], message: Message, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    if depth == 0:
        fields = [field for field in fields if field.message_type is None]
    if not fields:
        return
    for field in draw(st.lists(st.sampled_from(fields), max_size=5, unique_by=lambda field: field.name)):
        if field.message_type is not None:
            for _ in range(draw(st.integers(1, 3)) if repeats(field) else 1):
                inner = getattr(message, field.name)
                if repeats(field):
                    inner = inner.add()
                else:
                    inner.SetInParent()
                _fill(draw, inner, depth - 1)
        elif repeats(field):
            getattr(message, field.name).extend(draw(st.lists(_values(field), max_size=3)))
        else:
            setattr(message, field.name, draw(_values(field)))


@st.composite
def messages(draw: Callable[..., Any], message_class: type[Message], depth: int = 3) -> Message:
    """A message with a few random fields set, sub-messages down to `depth`."""
    message = message_class()
    _fill(draw, message, depth)
    return message


def same(one: Message, other: Message) -> bool:
    """Whether two messages hold the same, NaN equal to NaN."""
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
