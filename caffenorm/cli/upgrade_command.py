"""`caffenorm upgrade`."""

from __future__ import annotations

import click

from caffenorm import prototxt
from caffenorm._files import atomic_write
from caffenorm.cli import _output


@click.command("upgrade")
@click.argument("prototxt_file", metavar="PROTOTXT")
@click.argument("output", required=False)
@click.option("--solver", is_flag=True, help="PROTOTXT is a solver, not a net.")
@click.option("--strict", is_flag=True, help="Unknown fields are errors.")
def command(prototxt_file: str, output: str | None, solver: bool, strict: bool) -> None:
    r"""Write an old PROTOTXT in today's form, to OUTPUT or to stdout.

    \b
    Example:
      caffenorm upgrade old_deploy.prototxt deploy.prototxt
    """
    if solver:
        text = prototxt.format_message(prototxt.read_solver(prototxt_file, strict=strict))
    else:
        text = prototxt.format_message(prototxt.read_net(prototxt_file, strict=strict).net)
    if output is None:
        click.echo(text, nl=False)
        return
    with atomic_write(output, "w") as handle:
        handle.write(text)
    _output.note(f"{output} is written")
