"""`caffenorm draw`."""

from __future__ import annotations

from typing import Any

import click

from caffenorm._files import atomic_write
from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options
from caffenorm.draw import draw_svg


@click.command("draw")
@click.argument("model")
@click.argument("output")
@net_options()
@click.option("--plain", is_flag=True, help="Use the built-in layout even where graphviz is installed.")
def command(model: str, output: str, plain: bool, **options: Any) -> None:  # Any: of load_net
    r"""Draw the net MODEL into the file OUTPUT, as SVG.

    Layers that work in place stand in the box of the layer whose top they work on.

    \b
    Example:
      caffenorm draw deploy.prototxt net.svg
    """
    net = load_net(model, None, **options)
    picture = draw_svg(net, graphviz=False if plain else None)
    with atomic_write(output, "w") as handle:
        handle.write(picture)
    _output.note(f"{output} is written")
