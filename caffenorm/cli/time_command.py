"""`caffenorm time`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options
from caffenorm.cli._table import Column, print_table
from caffenorm.timing import measure

_COLUMNS = (
    Column("layer", least=16),
    Column("type", least=8),
    Column("forward ms", "right"),
    Column("backward ms", "right"),
    Column("share", "right"),
)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


@click.command("time")
@click.argument("model")
@click.argument("weights", required=False)
@net_options()
@click.option("--iterations", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str, weights: str | None, iterations: int, as_json: bool, **options: Any
) -> None:  # Any: of load_net
    r"""Measure every layer of MODEL, forward and backward, on random input.

    Layers are measured one by one, the whole net as it runs, with chains such as BatchNorm, Scale, ReLU
    fused. Backward is measured where the net has a loss, or `force_backward: true`.

    \b
    Example:
      caffenorm time train_val.prototxt --phase train --iterations 10
    """
    net = load_net(model, weights, quiet=as_json, **options)
    with _output.progress("measuring", iterations) as advance:
        found = measure(net, iterations, tick=advance)
    if as_json:
        _output.print_json(asdict(found))
        return
    spent = [layer.forward_ms + (layer.backward_ms or 0.0) for layer in found.layers]
    total = sum(spent) or 1.0
    rows = [
        (t.name, t.type, f"{t.forward_ms:.3f}", _milliseconds(t.backward_ms), f"{100 * took / total:.1f} %")
        for t, took in zip(found.layers, spent, strict=True)
    ]
    forward = sum(layer.forward_ms for layer in found.layers)
    backward = [layer.backward_ms for layer in found.layers if layer.backward_ms is not None]
    footer = [
        ("sum of layers", "", f"{forward:.3f}", _milliseconds(sum(backward) if backward else None), ""),
        ("whole net", "fused", f"{found.forward_ms:.3f}", _milliseconds(found.backward_ms), ""),
    ]
    print_table(f"{net.name or model}: median of {iterations}", _COLUMNS, rows, footer)
