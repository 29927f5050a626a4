"""`caffenorm gradcheck`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from caffenorm import check_gradients
from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options


@click.command("gradcheck")
@click.argument("model")
@click.argument("weights", required=False)
@net_options(phase="train")
@click.option("--layer", "layers", multiple=True, help="A layer to check; may be repeated. All if not given.")
@click.option("--tolerance", type=float, default=1e-6, show_default=True, help="The largest relative error.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str, weights: str | None, layers: tuple[str, ...], tolerance: float, as_json: bool, **options: Any
) -> int:  # Any: of load_net
    r"""Compare the gradients of MODEL with numeric ones, in float64. The exit status is 1 where they differ.

    \b
    Example:
      caffenorm gradcheck net.prototxt
      caffenorm --import my_layers gradcheck net.prototxt --layer mine
    """
    net = load_net(model, weights, dtype="float64", quiet=as_json, **options)
    with _output.progress("checking", None):
        report = check_gradients(net, layers=layers or None, tolerance=tolerance)
    if as_json:
        _output.print_json({"ok": report.ok, **asdict(report)})
    else:
        click.echo(str(report))
    return 0 if report.ok else 1
