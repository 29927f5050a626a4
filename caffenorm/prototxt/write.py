"""Messages as prototxt text, in protobuf's order of fields; reading the text gives the same message again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffenorm.prototxt.fields import Value, is_repeated

_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
# Octal, since any digits may follow it: after "\x1" a digit would be taken as part of the escape.
_ESCAPES = {code: f"\\{code:03o}" for code in (*range(32), 127)} | _ESCAPES


def format_message(message: Message) -> str:
    """The text of a message: a line a value, sub-messages indented, floats as short as float32 allows.

    Caffe: fields stand in the order of their numbers, as Caffe's own tools print them.
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for field, content in message.ListFields():
        values = content if is_repeated(field) else [content]
        if field.message_type is not None:
            for value in values:
                yield f"{indent}{field.name} {{"
                yield from _lines(value, indent + "  ")
                yield indent + "}"
        else:
            show = _writer(field)
            for value in values:
                yield f"{indent}{field.name}: {show(value)}"


def _writer(field: FieldDescriptor) -> Callable[[Value], str]:
    """What turns the values of a field into text."""
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda value: names.get(int(value), str(value))
    return _WRITERS.get(field.type, str)


def _float(value: Value) -> str:
    number = np.float32(value)
    if 1e-4 <= abs(number) < 1e10:  # where NumPy itself would write 1.6777216e+07
        return np.format_float_positional(number, trim="-")
    return str(number).removesuffix(".0")


def _double(value: Value) -> str:
    return repr(float(value)).removesuffix(".0")


def _bool(value: Value) -> str:
    return "true" if value else "false"


def _string(value: Value) -> str:
    return f'"{str(value).translate(_ESCAPES)}"'


def _bytes(value: Value) -> str:
    assert isinstance(value, bytes)
    escaped = value.decode("latin-1").translate(_ESCAPES)
    return '"' + "".join(char if char < "\x80" else f"\\{ord(char):03o}" for char in escaped) + '"'


_WRITERS: dict[int, Callable[[Value], str]] = {
    FieldDescriptor.TYPE_FLOAT: _float,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_STRING: _string,
    FieldDescriptor.TYPE_BYTES: _bytes,
}
