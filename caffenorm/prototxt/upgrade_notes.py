"""What the upgrades share: a list of what they noticed, and setting a field of any kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from caffenorm.prototxt.fields import is_repeated


@dataclass
class Notes:
    """What an upgrade noticed, by the layer's place in the old net (-1: the net itself).

    Attributes:
        changes: what was upgraded, in words.
        findings: what did not fit and was dropped.
        faults: what makes no sense; to be raised.
    """

    changes: list[str] = field(default_factory=list)
    findings: list[tuple[int, str]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def change(self, number: int, thing: str, state: str) -> None:
        """Note a change to so many things, if to any, and what they were like before."""
        if number:
            self.changes.append(f"{number} {thing}{'' if number == 1 else 's'} {state}")

    def finding(self, layer: int, message: str) -> None:
        self.findings.append((layer, message))

    def fault(self, layer: int, message: str) -> None:
        self.faults.append((layer, message))


def assign(message: Message, name: str, value: Any) -> None:  # Any: whatever the field holds
    """Set a field: copy a message, append one value or all values to a repeated field."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if is_repeated(field):
        values = value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]
        getattr(message, name).extend(values)
    elif field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)
