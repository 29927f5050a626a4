"""`caffenorm convert --to state-dict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli.convert_request import Request
from caffenorm.convert.state_dict import load_state_dict, match_state_dict
from caffenorm.convert.state_files import read_mapping, read_state, write_mapping, write_state
from caffenorm.convert.state_modules import modules_of_net
from caffenorm.convert.state_result import Match
from caffenorm.net import Net


def run(request: Request) -> int:
    """Write the net's parameters under the names of the user's class; the exit status."""
    net = load_net(request.model, request.weights, quiet=request.as_json, **request.net_options)
    known = request.mapping is not None and Path(request.mapping).exists()
    mapping = read_mapping(request.mapping) if known and request.mapping is not None else None
    match = match_state_dict(net, read_state(request.names) if request.names else own_names(net), mapping)
    write_state(request.output, match.state)
    files = [request.output]
    if request.mapping is not None and not known:
        write_mapping(request.mapping, match.mapping, net)
        files.append(request.mapping)
    differing = _differing(net, request.output, match) if request.verify else None
    say(request, match, files, differing)
    return 0 if match.ok and not differing else 1


def own_names(net: Net) -> dict[str, Any]:  # Any: arrays
    """The names that a state dict has if nobody says otherwise: layer and role."""
    return {
        name: module.tensors[role] for module in modules_of_net(net) for role, name in module.names.items()
    }


def _differing(net: Net, file: str, match: Match) -> list[str]:
    """Names of what a copy of the net has otherwise after it was filled from the file."""
    twin = Net(net.net_param, net.phase, dtype=net.layers[0].dtype, allow_python=True)
    load_state_dict(twin, read_state(file), match.mapping)
    lost = {one.name for one in match.unmatched if one.side == "caffe"}
    return [
        name
        for ours, theirs in zip(modules_of_net(net), modules_of_net(twin), strict=True)
        for role, name in ours.names.items()
        if name not in lost
        and role != "num_batches_tracked"
        and not np.array_equal(ours.tensors[role], theirs.tensors[role], equal_nan=True)
    ]


def say(request: Request, match: Match, files: list[str], differing: list[str] | None) -> None:
    """The table, for people or for scripts."""
    if request.as_json:
        verified = None if differing is None else {"ok": not differing, "differing": differing}
        _output.print_json(
            {
                "files": files,
                "ok": match.ok,
                "mapping": match.mapping,
                "matched": [asdict(row) for row in match.rows],
                "unmatched": [asdict(one) for one in match.unmatched],
                "doubts": match.doubts,
                "verified": verified,
            }
        )
        return
    click.echo(str(match))
    click.echo(f"written: {', '.join(files)}")
    if differing is None:
        click.echo("not read back")
    elif differing:
        _output.error(
            f"{len(differing)} parameters do not come back as they were: {', '.join(differing[:5])}"
        )
    else:
        click.echo("read back: all that was matched has the same bits")
