"""What the fields of a message class take: for each name whether it repeats, and how its value is read.

Made from the descriptors, once a class. Values are what protobuf's text_format takes, but for a few
spellings that only Python's own number parsers know (1_000, 0b1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, NoReturn

from google.protobuf.descriptor import FieldDescriptor

from caffenorm.prototxt.findings import near
from caffenorm.prototxt.layer_types import layer_type_enum, v1_type_strings
from caffenorm.prototxt.tokens import NAME, NUMBER

Value = int | float | bool | str | bytes
Bare = Callable[[int, str], Value]
Quoted = Callable[[bytes], Value]

_INTEGER = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0+|[1-9][0-9]*))|(-?)0([0-7]+)")
_FLOAT = re.compile(r"(?!-?0[0-9])([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fF]*")
_NOT_FINITE = re.compile(r"([+-]?(?:infinity|inf|nan))f?", re.IGNORECASE)
_BOOLS = dict.fromkeys(("true", "True", "t", "1"), True) | dict.fromkeys(("false", "False", "f", "0"), False)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Field(NamedTuple):
    """A field of a message class.

    Attributes:
        message: the class of its sub-messages, or None for plain values.
        bare: the value of an unquoted token, by its kind and text; ValueError says what was expected, and may
            add a hint as its second argument.
        quoted: the value of a string, by its bytes; ValueError as well.
        is_enum: its values are names, which should not be quoted.
    """

    name: str
    repeated: bool
    message: Any  # Descriptor | None; its class depends on the protobuf runtime
    bare: Bare
    quoted: Quoted
    is_enum: bool = False


@cache
def fields_of(message: Any) -> dict[str, Field]:
    """The fields of a message class by name."""
    return {field.name: _describe(field) for field in message.fields}


def is_repeated(field: Any) -> bool:  # Any: the class of descriptors depends on the protobuf runtime
    """Whether a field repeats, in old and new protobuf runtimes."""
    try:
        return bool(field.is_repeated)
    except AttributeError:
        return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def _describe(field: Any) -> Field:  # Any: as above
    bare: Bare
    quoted: Quoted
    if field.enum_type is not None:
        bare, quoted = _enum(field.enum_type)
    elif field.cpp_type in _RANGES:
        bare, quoted = _integer(*_RANGES[field.cpp_type]), _refuse("a whole number")
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        bare, quoted = _bool, _refuse("true or false, without quotes")
    elif field.type == FieldDescriptor.TYPE_STRING:
        bare, quoted = _unquoted, _text
    elif field.type == FieldDescriptor.TYPE_BYTES:
        bare, quoted = _unquoted, bytes
    else:
        bare, quoted = _float, _refuse("a number")
    is_enum = field.enum_type is not None
    return Field(field.name, is_repeated(field), field.message_type, bare, quoted, is_enum)


def _refuse(expected: str) -> Quoted:
    def refuse(raw: bytes) -> NoReturn:
        raise ValueError(expected)

    return refuse


def _integer(least: int, most: int) -> Bare:
    def read(kind: int, text: str) -> int:
        value = parse_integer(text) if kind == NUMBER else None
        if value is None:
            raise ValueError("a whole number")
        if not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def parse_integer(text: str) -> int | None:
    """A decimal, hexadecimal (0x1F) or octal (017) number; None where the text is none of them."""
    match = _INTEGER.fullmatch(text)
    if not match:
        return None
    sign, hexadecimal, decimal, octal_sign, octal = match.groups()
    if hexadecimal or octal:
        value = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
    else:
        value = int(decimal[:100])  # longer ones are far out of range either way, and int() is slow on them
    return -value if "-" in (sign, octal_sign) else value


def parse_float(text: str) -> float | None:
    """A number as float fields take it (1, .5, 1e-3, 1.f, inf, nan); None where the text is none."""
    match = _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text)
    return float(match[1]) if match else None


def _float(kind: int, text: str) -> float:
    value = parse_float(text)
    if value is None:
        raise ValueError("a number")
    return value


def _bool(kind: int, text: str) -> bool:
    if text not in _BOOLS:
        raise ValueError("true or false")
    return _BOOLS[text]


def _enum(enum: Any) -> tuple[Bare, Quoted]:
    numbers = {value.name: value.number for value in enum.values}
    known = set(numbers.values())
    # V1 nets are found with the later type strings in place of the enum.
    is_v1 = enum.full_name == layer_type_enum().full_name
    others = {text: n for n, text in v1_type_strings().items()} if is_v1 else {}

    def bare(kind: int, text: str) -> int:
        value = numbers.get(text) if kind == NAME else parse_integer(text)
        if value is None or value not in known:
            names = ", ".join(list(numbers)[:8]) + (" ..." if len(numbers) > 8 else "")
            raise ValueError(f"a {enum.name} ({names})", near(text, numbers))
        return value

    def quoted(raw: bytes) -> int:
        text = raw.decode("utf-8", "replace")
        return others[text] if text in others else bare(NAME, text)

    return bare, quoted


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("text in UTF-8") from None


def _unquoted(kind: int, text: str) -> NoReturn:
    raise ValueError(f'a string in quotes, "{text}"' if kind in (NAME, NUMBER) else "a string in quotes")


def _anything(kind: int, text: str) -> Value:
    if kind != NAME and parse_integer(text) is None and parse_float(text) is None:
        raise ValueError("a value")
    return text


# Stands in for a field that the class does not have: takes whatever a field may hold.
UNKNOWN = Field("", True, None, _anything, bytes)
