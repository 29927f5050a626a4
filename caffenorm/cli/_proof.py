"""How a proof is told on a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from caffenorm.cli._table import Column, print_table
from caffenorm.convert import Verification
from caffenorm.convert.proof.plot import short
from caffenorm.convert.proof.results import Comparison, Gradients

_COLUMNS = (
    Column("compared"),
    Column("values", "right"),
    Column("largest error", "right"),
    Column("by itself", "right", optional=True),
    Column("result", least=12),
)


def tell(found: Verification | None, files: list[Path]) -> None:
    """What was written, what was compared and what came out, on stdout.

    Args:
        found: None if nothing was compared.
        files: that were written, the report's page among them.
    """
    click.echo(f"written to {files[0].parent}: {', '.join(file.name for file in files)}")
    if found is None:
        click.echo("not compared with the Caffe net")
        return
    inputs = len(found.rules.inputs)
    title = (
        f"compared with the Caffe net on {inputs} input{'s' if inputs != 1 else ''} in {found.seconds:.0f} s"
    )
    print_table(title, _COLUMNS, list(_rows(found)))
    for said in (*found.rules.said, *_known(found), *found.problems):
        click.echo(_wrapped(said))
    mark = ("agrees: ", "green") if found.ok else ("DIFFERS: ", "red")
    lines = _wrapped(mark[0] + str(found))
    click.echo(click.style(lines[: len(mark[0])], fg=mark[1], bold=True) + lines[len(mark[0]) :])
    if not found.ok:
        page = next((file for file in files if file.suffix == ".html"), None)
        click.echo(f"the files are kept; see {page}" if page is not None else "the files are kept")


def _rows(found: Verification) -> Iterator[tuple[str, ...]]:
    for comparison in (found.rules, found.practice):
        if comparison is not None:
            yield _of_blobs(comparison)
    for part, what in ((found.gradients, "gradients"), (found.step, "one step of SGD")):
        if part is not None:
            yield _of_values(part, what)


def _known(found: Verification) -> Iterator[str]:
    for part, what in ((found.gradients, "gradients"), (found.step, "values after the step")):
        known = len([check for check in part.values if check.said]) if part is not None else 0
        if known:
            yield f"{known} {what} are known to differ, as Caffe's rule is another; the report says why"


def _of_blobs(comparison: Comparison) -> tuple[str, ...]:
    wrong = len([check for check in comparison.blobs if not check.ok])
    result = "agree" if not wrong else f"{wrong} depart"
    count, worst, own = len(comparison.blobs), comparison.worst, comparison.worst_own
    return f"blobs, {comparison.dtype}", str(count), _error(worst), _error(own), result


def _of_values(part: Gradients, what: str) -> tuple[str, ...]:
    if part.skipped:
        return what, "", "", "", f"not compared: {part.skipped}"
    wrong = len([check for check in part.values if not check.ok])
    result = "agree" if not wrong else f"{wrong} depart"
    count = len([check for check in part.values if not check.said])
    return f"{what}, {part.dtype}", str(count), _error(part.worst), "", result


def _error(value: float) -> str:
    return short(value if value < float("inf") else None)


def _wrapped(sentence: str) -> str:
    """Whole words in each line of a terminal; one line for scripts."""
    if not sys.stdout.isatty():
        return sentence
    return textwrap.fill(sentence, shutil.get_terminal_size().columns, break_long_words=False)
