"""Solvers as read: the message in today's form."""

from __future__ import annotations

import os

from caffenorm import schema
from caffenorm._files import Pathish
from caffenorm.errors import Where
from caffenorm.prototxt.findings import Finding, report
from caffenorm.prototxt.parse import parse
from caffenorm.prototxt.source import read_text, require_fields
from caffenorm.prototxt.upgrade_solver import upgrade_solver


def read_solver(path: Pathish, *, strict: bool = False) -> schema.SolverParameter:
    """Read a prototxt file as a solver, and upgrade it.

    Args:
        strict: unknown fields are errors, not warnings.

    Raises:
        PrototxtError: the file is missing, is no prototxt or breaks the grammar; faults of values come
            together.
    """
    solver, findings = _read(read_text(path), os.fspath(path), strict)
    report(findings, strict=strict, stacklevel=3)
    return solver


def parse_solver(text: str, file: str = "<string>", *, strict: bool = False) -> schema.SolverParameter:
    """The same from text."""
    solver, findings = _read(text, file, strict)
    report(findings, strict=strict, stacklevel=3)
    return solver


def _read(text: str, file: str, strict: bool) -> tuple[schema.SolverParameter, list[Finding]]:
    parsed = parse(text, schema.SolverParameter, file, strict=strict)
    require_fields(not parsed.message.ListFields() and not parsed.findings, file)
    where = Where(file, next(iter(parsed.lines.get("solver_type", ())), 0))
    return upgrade_solver(parsed.message, where).solver, parsed.findings
