"""How commands talk: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


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
    """A result for scripts, on stdout; numbers that JSON lacks (NaN, infinities) become null."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:  # Any: as above
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Any]:  # Any: a call that takes how much is done
    """A bar on stderr while the block runs, if stderr is a terminal; gives `advance(amount)`."""
    if not sys.stderr.isatty():
        yield lambda amount=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counted = (MofNCompleteColumn(), TimeRemainingColumn()) if total is not None else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *counted)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount=1: bar.advance(task, amount)


@contextmanager
def steps(what: str) -> Iterator[Any]:  # Any: a call that takes what is done now
    """A line on stderr that says what is being done, if stderr is a terminal; gives `say(text)`."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(what) as line:
        yield lambda text: line.update(escape(text))


def shape(dims: tuple[int, ...]) -> str:
    """A shape, short: 1x3x224x224."""
    return "x".join(str(dim) for dim in dims) if dims else "scalar"


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
