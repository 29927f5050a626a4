"""How forward is laid out: in blocks where the net branches and joins again, and with short names in chains.

A net's long names make lines that do not fit. Then a value that only the next statement reads is called `x`,
and names stay where values are kept: at branches, in blocks' results, in what forward returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from caffenorm.convert.parts import Program
from caffenorm.convert.text import joined

_LEAST_BLOCKS = 2  # below that, blank lines and comments say nothing
_SHORT = "x"


@dataclass
class _Group:
    """Statements that work on one variable, one after the other.

    Attributes:
        targets: variables that are assigned. reads: those of other groups.
        lines: the statements.
    """

    targets: tuple[str, ...]
    reads: frozenset[str]
    lines: list[str]


@dataclass
class Section:
    """Some lines of forward.

    Attributes:
        title: of a block; "" for what is in a row. lines: statements. parts: attributes of `self` in them.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)


def sections(program: Program) -> list[Section]:
    """The statements of forward in blocks; in one section without a title where there are no blocks."""
    groups = _groups(program.lines)
    runs = _runs(groups, _returned(program))
    texts = _texts(groups, program)
    if sum(branches for branches, _ in runs) < _LEAST_BLOCKS:
        return [_section("", texts)]
    found = []
    for branches, places in runs:
        inside = [groups[place] for place in places]
        title = _title(inside) if branches else ""
        found.append(_section(title, [texts[place] for place in places]))
    return found


def _section(title: str, texts: Sequence[list[str]]) -> Section:
    lines = [line for part in texts for line in part]
    return Section(title, lines, {name for line in lines for name in _parts(line)})


def _parts(line: str) -> list[str]:
    return re.findall(r"\bself\.(\w+)", line)


def _returned(program: Program) -> set[str]:
    return {program.variables[name] for name in program.outputs}


def _groups(lines: Sequence[str]) -> list[_Group]:
    groups: list[_Group] = []
    for line in lines:
        targets, reads = _names(line)
        last = groups[-1] if groups else None
        if last is not None and len(targets) == 1 and last.targets == targets and targets[0] in reads:
            last.lines.append(line)
            last.reads |= reads - set(targets)
        else:
            groups.append(_Group(targets, reads, [line]))
    return groups


def _names(line: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """What a statement assigns and reads."""
    names = [node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)]
    targets = tuple(dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Store)))
    return targets, frozenset(node.id for node in names if isinstance(node.ctx, ast.Load))


def _runs(groups: Sequence[_Group], returned: set[str]) -> list[tuple[bool, list[int]]]:
    """Places of groups: those between a branch and where all is one value again, and those in a row."""
    runs: list[tuple[bool, list[int]]] = []
    begun: list[int] = []
    waiting: set[str] = set()
    for place, group in enumerate(groups):
        begun.append(place)
        waiting |= set(group.targets)
        later = {name for other in groups[place + 1 :] for name in other.reads}
        waiting &= later
        if len(waiting) > 1:
            continue
        branches = len(begun) > 1
        if branches or not runs or runs[-1][0]:
            runs.append((branches, begun))
        else:
            runs[-1][1].extend(begun)
        begun = []
    if begun:
        runs.append((False, begun))
    return runs


def _texts(groups: Sequence[_Group], program: Program) -> list[list[str]]:
    """The lines of every group, in short names where long ones do not fit."""
    used = {*program.arguments, *program.variables.values()}
    texts = [_joined(group.lines) for group in groups]
    if _SHORT in used or all(len(text) == 1 for text in texts):
        return texts
    returned, kept = _returned(program), set(program.arguments)
    result, known = [], ""
    for place, group in enumerate(groups):
        lines = [_renamed(line, known, right=True) for line in group.lines[:1]] + group.lines[1:]
        known = _read_next_alone(groups, place, returned | kept)
        text = _joined(lines, known)
        if len(text) > 1 and not known:
            text = _joined(_stepping(text, group.targets[0]))
        result.append(text)
    return result


def _stepping(lines: Sequence[str], name: str) -> list[str]:
    """Statements on one variable, called x until the last one gives it its name."""
    *before, last = lines
    first = f"{_SHORT} = {before[0].partition(' = ')[2]}"
    return [first, *(_renamed(line, name) for line in before[1:]), _renamed(last, name, right=True)]


def _read_next_alone(groups: Sequence[_Group], place: int, kept: set[str]) -> str:
    """The variable of a group that the next group reads and no other does; "" if it is kept for more."""
    group, rest = groups[place], groups[place + 1 :]
    if len(group.targets) != 1 or not rest or group.targets[0] in kept:
        return ""
    name = group.targets[0]
    first, *others = rest
    if name not in first.reads or name in first.targets or len(_names(first.lines[0])[0]) != 1:
        return ""
    if any(name in _names(line)[1] for line in first.lines[1:]):
        return ""
    for other in others:
        if name in other.reads:
            return ""
        if name in other.targets:
            break
    return name


def _renamed(line: str, name: str, *, right: bool = False) -> str:
    """A statement where `name` is called x: behind the = alone, or on both sides."""
    if not name:
        return line
    target, joint, value = line.partition(" = ")
    pattern = rf"(?<![\w.\"]){re.escape(name)}\b(?!=)"
    value = re.sub(pattern, _SHORT, value)
    return f"{target if right else re.sub(pattern, _SHORT, target)}{joint}{value}"


def _joined(lines: Sequence[str], short: str = "") -> list[str]:
    """Statements on one variable as few as fit.

    Args:
        lines: the statements.
        short: the variable if its value is to be called x.
    """
    found = [_renamed(lines[0], short)]
    for line in lines[1:]:
        one = joined(found[-1], _renamed(line, short))
        if one is None:
            found.append(_renamed(line, short))
        else:
            found[-1] = one
    return found


def _title(groups: Sequence[_Group]) -> str:
    """What the names in a block have in common, or the name of its result."""
    names = {name for group in groups for line in group.lines for name in (*group.targets, *_parts(line))}
    split = [name.split("_") for name in names]
    first = min(split, key=lambda parts: (len(parts), parts))
    for length in range(len(first), 0, -1):
        for start in range(len(first) - length + 1):
            run = first[start : start + length]
            text = "_".join(run)
            if re.search("[A-Za-z]", text) and all(_has(parts, run) for parts in split):
                return text
    return groups[-1].targets[0]


def _has(parts: Sequence[str], run: Sequence[str]) -> bool:
    return any(list(parts[i : i + len(run)]) == list(run) for i in range(len(parts) - len(run) + 1))
