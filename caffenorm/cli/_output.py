"""How commands talk: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

Side = Literal["left", "right"]
_MIN_WIDTH = 100  # columns of a table where stdout is no terminal


def result_console() -> Console:
    """Where results go; wide enough for a table when stdout is a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, _MIN_WIDTH), color_system=None)
    return console


def error(message: str) -> None:
    """One failure, on stderr."""
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)


def warning(message: str) -> None:
    """One doubt, on stderr."""
    click.echo(click.style("warning: ", fg="yellow") + message, err=True)


def note(message: str) -> None:
    """Something to know, on stderr."""
    click.echo(click.style("note: ", fg="cyan") + message, err=True)


def print_json(value: Any) -> None:  # Any: whatever json takes
    """A result for scripts, on stdout."""
    click.echo(json.dumps(value, indent=2))


def print_table(
    title: str, columns: Sequence[tuple[str, Side]], rows: Iterable[Sequence[str]], footer: Sequence[str] = ()
) -> None:
    """A result for people, on stdout.

    Args:
        title: above the table.
        columns: (name, "left" or "right") of each.
        rows: the cells. footer: a last row, set apart.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        show_footer=bool(footer),
        box=None,
        pad_edge=False,
    )
    for i, (name, justify) in enumerate(columns):
        table.add_column(
            name,
            footer=footer[i] if footer else "",
            justify=justify,
            overflow="fold",
            no_wrap=justify == "right",
        )
    for row in rows:
        table.add_row(*row)
    result_console().print(table, soft_wrap=False)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Any]:  # Any: a call that takes how much is done
    """A bar on stderr while the block runs, if stderr is a terminal; gives `advance(amount)`."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount=1: bar.advance(task, amount)


def count(value: float) -> str:
    """A large number, short: 23.8 M."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:g}"


def size(value: float) -> str:
    """Bytes, short: 22.7 MB."""
    for factor, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:g} B"
