"""Tables that stay readable: one line a row, fitted to the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import click

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: the heading.
        side: where its cells stand.
        least: cells may be shortened to this many characters where the terminal is narrow; 0: never.
        optional: left out where shortening is not enough, the last such column first.
    """

    name: str
    side: Literal["left", "right"] = "left"
    least: int = 0
    optional: bool = False


def print_table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    footer: Sequence[Sequence[str]] = (),
) -> None:
    """A result for people, on stdout.

    Args:
        title: above the table.
        columns: what the cells of a row mean.
        rows: the cells.
        footer: rows that sum up, set apart from the others.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = layout(columns, [*rows, *footer], width)
    click.secho(title, bold=True)
    click.secho(lines[0], underline=True)
    for line in lines[1 : 1 + len(rows)]:
        click.echo(line)
    for line in lines[1 + len(rows) :]:
        click.secho(line, bold=True)


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The heading and the rows as lines of at most `width` characters, if the columns allow it.

    Args:
        columns: what the cells of a row mean.
        rows: the cells.
        width: None for as wide as the cells are.
    """
    shown = list(range(len(columns)))
    cells = [[column.name for column in columns], *rows]
    while True:
        natural = [max(_width(row[i]) for row in cells) for i in shown]
        widths = _fit([columns[i] for i in shown], natural, width)
        optional = [i for i in shown if columns[i].optional]
        if widths is not None or not optional:
            break
        shown.remove(optional[-1])
    widths = widths or natural
    return [
        _GAP.join(_cell(row[i], w, columns[i].side) for i, w in zip(shown, widths, strict=True)).rstrip()
        for row in cells
    ]


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int | None) -> list[int] | None:
    """Widths that add up to no more than `width`, the widest columns shortened first; None if none do."""
    widths = list(natural)
    room = None if width is None else width - len(_GAP) * (len(columns) - 1)
    while room is not None and sum(widths) > room:
        shorter = [i for i, c in enumerate(columns) if c.least and widths[i] > max(c.least, len(c.name))]
        if not shorter:
            return None
        widths[max(shorter, key=lambda i: widths[i])] -= 1
    return widths


def _cell(text: str, width: int, side: str) -> str:
    """Text in its column; the middle goes where it is too long, for names differ at their ends."""
    if _width(text) > width:
        head, tail = (width - 1) * 2 // 5, (width - 1) - (width - 1) * 2 // 5
        text = f"{_prefix(text, head)}…{_prefix(text[::-1], tail)[::-1]}"
    space = " " * (width - _width(text))
    return space + text if side == "right" else text + space


def _prefix(text: str, width: int) -> str:
    """The longest beginning that takes no more than `width` places."""
    taken = 0
    for i, character in enumerate(text):
        taken += _width(character)
        if taken > width:
            return text[:i]
    return text


def _width(text: str) -> int:
    """Places in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
