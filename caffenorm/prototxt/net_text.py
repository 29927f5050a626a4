"""Nets as read: the message in today's form, with the line of each layer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from caffenorm import schema
from caffenorm._files import Pathish
from caffenorm.prototxt.findings import Finding, report
from caffenorm.prototxt.parse import parse
from caffenorm.prototxt.source import read_text, require_fields
from caffenorm.prototxt.upgrade_net import upgrade_net


@dataclass
class NetText:
    """A net and where it came from.

    Attributes:
        net: in today's form; never changed by the functions that take a NetText.
        lines: the line of each layer, 0 where unknown.
        findings: unknown fields and what an upgrade dropped.
        changes: what was upgraded, in words.
    """

    net: schema.NetParameter
    file: str
    lines: list[int]
    findings: list[Finding] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def with_layers(self, layers: Iterable[schema.LayerParameter], lines: list[int]) -> NetText:
        """A copy with other layers."""
        net = schema.NetParameter()
        net.CopyFrom(self.net)
        del net.layer[:]
        net.layer.extend(layers)
        return replace(self, net=net, lines=lines)


def read_net(path: Pathish, *, strict: bool = False) -> NetText:
    """Read a prototxt file as a net, and upgrade it.

    Args:
        strict: unknown fields and what does not fit into today's form are errors, not warnings.

    Raises:
        PrototxtError: the file is missing, is no prototxt or breaks the grammar; faults of values come
            together.
    """
    net = _read(read_text(path), os.fspath(path), strict)
    report(net.findings, strict=strict, stacklevel=3)
    return net


def parse_net(text: str, file: str = "<string>", *, strict: bool = False) -> NetText:
    """The same from text."""
    net = _read(text, file, strict)
    report(net.findings, strict=strict, stacklevel=3)
    return net


def wrap_net(message: schema.NetParameter, file: str = "<message>") -> NetText:
    """A net given as a message: copied and upgraded, without lines."""
    copy = schema.NetParameter()
    copy.CopyFrom(message)
    upgraded = upgrade_net(copy, file)
    report(upgraded.findings, strict=False, stacklevel=3)
    return NetText(upgraded.net, file, upgraded.lines, upgraded.findings, upgraded.changes)


def _read(text: str, file: str, strict: bool) -> NetText:
    parsed = parse(text, schema.NetParameter, file, strict=strict)
    require_fields(not parsed.message.ListFields() and not parsed.findings, file)
    upgraded = upgrade_net(parsed.message, file, parsed.lines)
    return NetText(upgraded.net, file, upgraded.lines, parsed.findings + upgraded.findings, upgraded.changes)
