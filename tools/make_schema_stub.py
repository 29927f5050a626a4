"""Writes caffenorm/schema.pyi, the types of the message classes that caffenorm.schema makes at run time.

    python tools/make_schema_stub.py  # after a change of proto/caffe.proto and a build

tests/test_schema.py holds the committed file to what this makes.
"""

from __future__ import annotations

import keyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from caffenorm.schema import DESCRIPTOR

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor

STUB = Path(__file__).resolve().parent.parent / "caffenorm" / "schema.pyi"

HEADER = '''\
"""Types of the messages of proto/caffe.proto. Made by tools/make_schema_stub.py; do not edit."""

from typing import ClassVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR: FileDescriptor

class _Message(Message):
    def __init__(self, **fields: object) -> None: ...
'''

PYTHON_TYPES = {
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "int",
    FieldDescriptor.CPPTYPE_UINT64: "int",
    FieldDescriptor.CPPTYPE_ENUM: "int",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_BOOL: "bool",
}


def make_stub() -> str:
    """The text of schema.pyi."""
    parts = [HEADER]
    for enum in DESCRIPTOR.enum_types_by_name.values():
        lines = [f"{enum.name}: EnumTypeWrapper", *(f"{value.name}: int" for value in enum.values)]
        parts.append("\n".join(lines) + "\n")
    for message in DESCRIPTOR.message_types_by_name.values():
        parts.append("\n".join(message_lines(message)) + "\n")
    return "\n".join(parts)


def message_lines(message: Descriptor) -> list[str]:
    """The class of a message: nested messages, enums and their values, then fields."""
    body: list[str] = []
    for nested in message.nested_types:
        body += message_lines(nested)
    for enum in message.enum_types:
        body += enum_lines(enum)
    for field in message.fields:
        body += field_lines(field)
    return [f"class {message.name}(_Message):", *(f"    {line}" for line in body or ["..."])]


def enum_lines(enum: EnumDescriptor) -> list[str]:
    values = [f"{value.name}: ClassVar[int]" for value in enum.values]
    return [f"{enum.name}: ClassVar[EnumTypeWrapper]", *values]


def field_lines(field: FieldDescriptor) -> list[str]:
    """A plain attribute for a scalar, a read-only one for a message or list; nothing for a Python keyword."""
    if keyword.iskeyword(field.name):
        return []
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    kind = python_type(field)
    if is_repeated(field):
        kind = f"Repeated{'Composite' if is_message else 'Scalar'}FieldContainer[{kind}]"
    elif not is_message:
        return [f"{field.name}: {kind}"]
    return ["@property", f"def {field.name}(self) -> {kind}: ..."]


def python_type(field: FieldDescriptor) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        message: Any = field.message_type  # Any: the stubs call it optional, which it is not here
        return str(message.full_name).partition(".")[2]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "str" if field.type == FieldDescriptor.TYPE_STRING else "bytes"
    return PYTHON_TYPES[field.cpp_type]


def is_repeated(field: FieldDescriptor) -> bool:
    """Newer runtimes have a property for it and warn at `label`, which older ones need."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(getattr(field, "label") == FieldDescriptor.LABEL_REPEATED)  # noqa: B009 (unknown to the stubs)


if __name__ == "__main__":
    STUB.write_text(make_stub())
