"""`caffenorm time`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options
from caffenorm.timing import measure


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
    rows = [
        (t.name, t.type, f"{t.forward_ms:.3f}", "" if t.backward_ms is None else f"{t.backward_ms:.3f}")
        for t in found.layers
    ]
    whole = f"{found.backward_ms:.3f}" if found.backward_ms is not None else ""
    columns: list[tuple[str, _output.Side]] = [
        ("layer", "left"),
        ("type", "left"),
        ("forward ms", "right"),
        ("backward ms", "right"),
    ]
    _output.print_table(
        f"{net.name or model}: median of {iterations}",
        columns,
        rows,
        ("whole net", "chains fused", f"{found.forward_ms:.3f}", whole),
    )
