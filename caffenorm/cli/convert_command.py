"""`caffenorm convert`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from caffenorm._extras import require
from caffenorm._files import atomic_write
from caffenorm.cli import _output
from caffenorm.cli._options import load_net, net_options
from caffenorm.convert import describe, verify
from caffenorm.convert.live import build_module
from caffenorm.convert.source import module_source
from caffenorm.errors import ConfigError


@click.command("convert")
@click.argument("model")
@click.argument("weights")
@net_options()
@click.option("--to", "target", type=click.Choice(["torch"]), default="torch", show_default=True)
@click.option(
    "-o", "--output", "folder", required=True, help="The folder to write model.py and weights.pt into."
)
@click.option("--no-verify", is_flag=True, help="Do not compare the result with the Caffe net.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str, weights: str, target: str, folder: str, no_verify: bool, as_json: bool, **options: Any
) -> int:
    r"""Write the net MODEL with WEIGHTS for PyTorch: model.py, which needs torch alone, and weights.pt.

    Every blob is compared with the Caffe net on random input. Where one differs the files are kept, the first
    layer that departs is named, and the exit status is 1.

    \b
    Example:
      caffenorm convert deploy.prototxt net.caffemodel --to torch -o converted
      python -c "import sys; sys.path.append('converted'); import model; print(model.load())"
    """
    torch = require("torch", extra="torch", to="convert to PyTorch")
    net = load_net(model, weights, quiet=as_json, **options)
    program = describe(net)
    made = Path(folder)
    try:
        made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    with atomic_write(made / "model.py", "w") as handle:
        handle.write(module_source(program))
    with atomic_write(made / "weights.pt") as handle:
        torch.save(build_module(program).state_dict(), handle)
    found = None
    if not no_verify:
        with _output.progress("comparing with the Caffe net", None):
            found = verify(net)
    if as_json:
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
