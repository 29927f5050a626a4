"""`caffenorm convert --to torch`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from caffenorm._extras import require
from caffenorm._files import atomic_write
from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli.convert_request import Request
from caffenorm.convert import describe, verify
from caffenorm.convert.live import build_module
from caffenorm.convert.source import module_source
from caffenorm.errors import ConfigError


def run(request: Request) -> int:
    """Write model.py and weights.pt into a folder, compare them with the Caffe net; the exit status."""
    torch = require("torch", extra="torch", to="convert to PyTorch")
    net = load_net(request.model, request.weights, quiet=request.as_json, **request.net_options)
    program = describe(net)
    made = Path(request.output)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {made}: {error.strerror or error}") from error
    with atomic_write(made / "model.py", "w") as handle:
        handle.write(module_source(program))
    with atomic_write(made / "weights.pt") as handle:
        torch.save(build_module(program).state_dict(), handle)
    found = None
    if request.verify:
        with _output.progress("comparing with the Caffe net", None):
            found = verify(net)
    if request.as_json:
        result = {"files": [str(made / "model.py"), str(made / "weights.pt")], "notes": program.notes}
        _output.print_json(
            {**result, "verified": None if found is None else asdict(found) | {"ok": found.ok}}
        )
    else:
        for remark in program.notes:
            _output.note(remark)
        click.echo(f"written: {made / 'model.py'}, {made / 'weights.pt'}")
        click.echo("not compared with the Caffe net" if found is None else f"compared in float64: {found}")
    return 0 if found is None or found.ok else 1
