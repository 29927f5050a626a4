"""The parser of prototxt, protobuf's text format: text to message, with lines and with all findings at once.

The grammar is that of google.protobuf.text_format, driven by the descriptors of the message class:

    message: { field [","|";"] }
    field:   name [":"] ("{" message "}" | "<" message ">")    sub-messages; ":" is optional
             name ":" value                                    a name, a number, or strings in a row
             name ":" "[" value { "," value } "]"              repeated fields; sub-messages too

Three things differ. An unknown field is a finding, not an error; its value is read by the same grammar and
dropped. An enum value in quotes is a finding. And wrong values do not stop the parser: all are raised
together at the end.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from caffenorm.errors import Where
from caffenorm.prototxt.fields import UNKNOWN, Field, fields_of
from caffenorm.prototxt.findings import Finding, near, raise_faults
from caffenorm.prototxt.tokens import BAD, END, MARK, NAME, STRING, Tokens, unquote

MAX_DEPTH = 100
_CLOSERS = {"{": "}", "<": ">"}
_LAYERS = {"LayerParameter", "V1LayerParameter"}

M = TypeVar("M", bound=Message)


@dataclass
class Parsed(Generic[M]):
    """What a text said.

    Attributes:
        findings: unknown fields and the like, in order.
        lines: for each field of the outermost message, the line of each of its values.
    """

    message: M
    findings: list[Finding] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=dict)


def parse(text: str, message_class: type[M], file: str = "<string>", *, strict: bool = False) -> Parsed[M]:
    """Read a text as a message of a class.

    Args:
        file: for messages.
        strict: findings are errors too.

    Raises:
        PrototxtError: with file, line and column: what breaks the grammar, values that do not fit their
            fields, unknown enum values, a second value for a field that takes one.
    """
    reader = _Parser(text, file)
    message = message_class()
    with suppress(_UnreadableError):
        reader.body(message, "", 0, 0)
    marks = [*reader.faults, *(reader.findings if strict else [])]
    marks.sort(key=lambda mark: mark.token)
    raise_faults(file, [(reader.where(mark), mark.message) for mark in marks])
    return Parsed(message, [reader.finding(mark) for mark in reader.findings], reader.lines)


class _UnreadableError(Exception):
    """The grammar is broken, and the parser cannot go on."""


@dataclass(frozen=True)
class _Mark:
    """Something to say about a token."""

    token: int
    layer: Message | None
    message: str


class _Parser:
    """One pass over the tokens; `at` is the next one."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.tokens = Tokens(text)
        self.kinds, self.texts = self.tokens.kinds, self.tokens.texts
        self.at = 0
        self.layer: Message | None = None
        self.faults: list[_Mark] = []
        self.findings: list[_Mark] = []
        self.lines: dict[str, list[int]] = {}
        self._unknown: dict[tuple[str, str], str] = {}

    def body(self, message: Message | None, closer: str, opened: int, depth: int) -> None:
        """Fields until `closer`, which is "" at the end of the text.

        Args:
            message: takes the values; None lets any field pass and drops it.
            opened: the token of the bracket that `closer` closes.
        """
        fields = fields_of(message.DESCRIPTOR) if message is not None else None
        kinds, texts = self.kinds, self.texts
        while True:
            name = texts[self.at]
            if kinds[self.at] != NAME:
                if name != closer:
                    raise self.no_field(closer, opened)
                self.at += 1
                return
            known = fields.get(name) if fields is not None else None
            if known is None and message is not None:
                self.find_unknown(message, name)
            self.at += 1
            if known is None:
                self.field(UNKNOWN, None, depth)
            else:
                self.field(known, message, depth)
            if texts[self.at] == "," or texts[self.at] == ";":
                self.at += 1

    def field(self, field: Field, message: Message | None, depth: int) -> None:
        """What follows a field's name."""
        start = self.at - 1
        colon = self.texts[self.at] == ":"
        if colon:
            self.at += 1
        text = self.texts[self.at]
        if not colon and field.message is None and not (field is UNKNOWN and text in ("{", "<", "[")):
            raise self.expected('":"' if field is not UNKNOWN else '":" or "{"')
        if text != "[" or not field.repeated:
            self.value(field, message, start, depth)
            return
        self.at += 1
        if self.texts[self.at] == "]":
            self.at += 1
            return
        while True:
            self.value(field, message, self.at, depth)
            separator = self.texts[self.at]
            if separator not in ("]", ","):
                raise self.expected('"," or "]"')
            self.at += 1
            if separator == "]":
                return

    def value(self, field: Field, message: Message | None, start: int, depth: int) -> None:
        """One value or sub-message."""
        if depth == 0 and message is not None:
            self.lines.setdefault(field.name, []).append(self.tokens.line(start))
        if field.message is not None or (field is UNKNOWN and self.texts[self.at] in _CLOSERS):
            self.sub_message(field, message, start, depth)
        else:
            self.plain(field, message, start)

    def sub_message(self, field: Field, message: Message | None, start: int, depth: int) -> None:
        opened = self.at
        closer = _CLOSERS.get(self.texts[opened])
        if closer is None:
            raise self.expected('"{"')
        if depth >= MAX_DEPTH:
            raise self.broken(f"messages are nested more than {MAX_DEPTH} deep here")
        self.at += 1
        child: Message | None = None
        if message is not None:
            if field.repeated:
                child = getattr(message, field.name).add()
            elif message.HasField(field.name):
                self.fault(start, f'"{field.name}" is given twice')
            else:
                child = getattr(message, field.name)
                child.SetInParent()
        outer = self.layer
        if child is not None and child.DESCRIPTOR.name in _LAYERS:
            self.layer = child
        self.body(child, closer, opened, depth + 1)
        self.layer = outer

    def plain(self, field: Field, message: Message | None, start: int) -> None:
        """A value that is no message."""
        here = self.at
        kind, text = self.kinds[here], self.texts[here]
        try:
            if kind == STRING:
                value = field.quoted(self.strings(kept=message is not None))
                if field.is_enum:
                    self.find(here, f'"{field.name}" takes its value without quotes')
            else:
                value = field.bare(kind, text)
                self.at += 1
        except ValueError as problem:
            wanted, hint = (*problem.args, "")[:2]
            if kind in (MARK, BAD, END):
                not_listed = f' ("{field.name}" takes one value, not a list)' if text == "[" else ""
                raise self.expected(f"{wanted}{not_listed}") from None
            self.fault(here, f'"{field.name}" takes {wanted}, found {self.tokens.shown(here)}{hint}')
            self.at = max(self.at, here + 1)
            return
        if message is None:
            return
        if field.repeated:
            getattr(message, field.name).append(value)
        elif message.HasField(field.name):
            self.fault(start, f'"{field.name}" is given twice')
        else:
            setattr(message, field.name, value)

    def strings(self, *, kept: bool) -> bytes:
        """Strings in a row, as one; in those that nobody keeps an odd escape is not worth a word."""
        parts = []
        while self.kinds[self.at] == STRING:
            try:
                content, strange = unquote(self.texts[self.at])
            except ValueError as problem:
                self.fault(self.at, str(problem))
            else:
                parts.append(content)
                if strange and kept:
                    stays = f'there is no escape "{strange}", so it stays as it is'
                    self.find(self.at, f'{stays}; write "\\\\" for a backslash')
            self.at += 1
        return b"".join(parts)

    def find_unknown(self, message: Message, name: str) -> None:
        owner = message.DESCRIPTOR.name
        if (owner, name) not in self._unknown:
            hint = near(name, fields_of(message.DESCRIPTOR))
            self._unknown[owner, name] = f'unknown field "{name}" in {owner} is left out{hint}'
        self.find(self.at, self._unknown[owner, name])

    def find(self, token: int, message: str) -> None:
        self.findings.append(_Mark(token, self.layer, message))

    def fault(self, token: int, message: str) -> None:
        self.faults.append(_Mark(token, self.layer, message))

    def broken(self, message: str) -> _UnreadableError:
        """To be raised: what ends the parse."""
        self.fault(self.at, message)
        return _UnreadableError()

    def expected(self, what: str) -> _UnreadableError:
        return self.broken(f"expected {what}, found {self.tokens.shown(self.at)}")

    def no_field(self, closer: str, opened: int) -> _UnreadableError:
        if self.kinds[self.at] == END:
            bracket, line = self.texts[opened], self.tokens.line(opened)
            return self.broken(f'the text ends, but the "{bracket}" of line {line} is not closed')
        return self.expected(f'a field name or "{closer}"' if closer else "a field name")

    def where(self, mark: _Mark) -> Where:
        column = self.tokens.column(mark.token)
        return Where(self.file, self.tokens.line(mark.token), _layer_name(mark.layer), column=column)

    def finding(self, mark: _Mark) -> Finding:
        return Finding(self.file, self.tokens.line(mark.token), _layer_name(mark.layer), mark.message)


def _layer_name(layer: Any) -> str:  # Any: a LayerParameter or V1LayerParameter of any pool, or None
    """The name of a layer, also of one in V0 form."""
    if layer is None:
        return ""
    inner = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
    return str(inner.name)
