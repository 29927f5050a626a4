"""`caffenorm summary`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options
from caffenorm.cli._table import Column, print_table
from caffenorm.summary import LayerSummary, summarise

_COLUMNS = (
    Column("layer", least=16),
    Column("type", least=11),
    Column("top", least=12, optional=True),
    Column("shape", least=14),
    Column("parameters", least=12, optional=True),
    Column("values", "right"),
    Column("mult-adds", "right"),
    Column("memory", "right"),
)


def _tops(layer: LayerSummary) -> str:
    if layer.tops == (layer.name,):
        return ""
    return "in place" if layer.tops == layer.bottoms else ", ".join(layer.tops)


def _row(layer: LayerSummary) -> tuple[str, ...]:
    shapes = list(dict.fromkeys(_output.shape(shape) for shape in layer.top_shapes))
    return (
        layer.name,
        layer.type,
        _tops(layer),
        ", ".join(shapes),
        ", ".join(_output.shape(shape) for shape in layer.param_shapes),
        _output.count(layer.parameters) if layer.parameters else "",
        _output.count(layer.multiply_adds) if layer.multiply_adds else "",
        _output.size(layer.activation_bytes) if layer.activation_bytes else "",
    )


@click.command("summary")
@click.argument("model")
@click.argument("weights", required=False)
@net_options()
@click.option("--splits", is_flag=True, help="Show the Split layers that were inserted, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str, weights: str | None, splits: bool, as_json: bool, **options: Any
) -> None:  # Any: of load_net
    r"""Show the layers of MODEL: shapes, parameters, multiply-adds and memory.

    \b
    Example:
      caffenorm summary deploy.prototxt
    """
    net = load_net(model, weights, quiet=as_json, **options)
    found = summarise(net)
    layers = [layer for layer in found.layers if splits or layer.type != "Split"]
    sums = {
        "parameters": found.parameters,
        "multiply_adds": found.multiply_adds,
        "activation_bytes": found.activation_bytes,
    }
    if as_json:
        _output.print_json({"name": found.name, "layers": [asdict(layer) for layer in layers], **sums})
        return
    footer = (
        f"{len(layers)} layers",
        *[""] * 4,
        _output.count(found.parameters),
        _output.count(found.multiply_adds),
        _output.size(found.activation_bytes),
    )
    print_table(found.name or model, _COLUMNS, [_row(layer) for layer in layers], [footer])
