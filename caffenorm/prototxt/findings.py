"""What a reader notices: findings, which become warnings, and faults, which become one error."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from caffenorm.errors import CaffenormWarning, PrototxtError, Where

_MOST_LISTED = 20


@dataclass(frozen=True)
class Finding:
    """Something doubtful in a text that reads nevertheless.

    Attributes:
        file, line, layer: where; line 0 and an empty layer where unknown or outside of layers.
        message: what was found. Findings of one kind have the same message.
    """

    file: str
    line: int
    layer: str
    message: str

    @property
    def where(self) -> Where:
        return Where(self.file, self.line, self.layer)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if str(self.where) else self.message


Fault = tuple[Where, str]


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing where no name is near."""
    lower: dict[str, str] = {}
    for other in known:
        lower.setdefault(other.lower(), other)
    found = difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.7)
    return "; did you mean " + " or ".join(f'"{lower[f]}"' for f in found) + "?" if found else ""


def raise_faults(file: str, faults: Sequence[Fault]) -> None:
    """Raise one PrototxtError for all faults, or return where there is none."""
    if not faults:
        return
    if len(faults) == 1:
        where, message = faults[0]
        raise PrototxtError(message, where)
    rows = [f"  {where}: {message}" for where, message in faults[:_MOST_LISTED]]
    if len(faults) > _MOST_LISTED:
        rows.append(f"  and {len(faults) - _MOST_LISTED} more")
    raise PrototxtError(f"{len(faults)} faults:\n" + "\n".join(rows), Where(file=file))


def report(findings: Sequence[Finding], *, strict: bool, stacklevel: int) -> None:
    """Warn about findings, once a kind; with `strict` raise them all.

    Args:
        stacklevel: 2 blames the caller of this function for the warnings, 3 its caller, and so on.
    """
    if strict and findings:
        raise_faults(findings[0].file, [(finding.where, finding.message) for finding in findings])
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.message, []).append(finding)
    for first, *others in kinds.values():
        more = f" ({len(others)} more like this)" if others else ""
        warnings.warn(f"{first}{more}", CaffenormWarning, stacklevel=stacklevel)
