"""`caffenorm convert --to torch`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from caffenorm._extras import require
from caffenorm._files import atomic_write
from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli._proof import tell
from caffenorm.cli.convert_request import Request
from caffenorm.convert import Verification, describe, verify
from caffenorm.convert.live import build_module
from caffenorm.convert.proof.report import write_report
from caffenorm.convert.proof.written import compare_written
from caffenorm.convert.source import module_source
from caffenorm.errors import ConfigError
from caffenorm.net import Net
from caffenorm.sources.image import Preprocessing


def run(request: Request) -> int:
    """Write model.py, weights.pt and the report into a folder; the exit status says whether all agrees."""
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
    module = build_module(program)
    with atomic_write(made / "weights.pt") as handle:
        torch.save(module.state_dict(), handle)
    found = _verified(net, request) if request.verify else None
    if found is not None:
        found = replace(found, problems=(*found.problems, *compare_written(net, made, module)))
    files = [made / "model.py", made / "weights.pt"]
    sources = {"prototxt": request.model, **({"weights": request.weights} if request.weights else {})}
    page, data = write_report(made, net, program, found, sources=sources, files=files)
    if request.as_json:
        click.echo(data.read_text(encoding="utf-8"), nl=False)
    else:
        for remark in program.notes:
            _output.note(remark)
        tell(found, [*files, page, data])
    return 0 if found is None or found.ok else 1


def _verified(net: Net, request: Request) -> Verification:
    preparation = Preprocessing(
        resize=request.resize,
        crop=request.crop,
        mean=request.mean,
        scale=1.0 if request.scale is None else request.scale,
    )
    with _output.steps("comparing with the Caffe net") as say:
        return verify(
            net,
            batch_sizes=request.batch_sizes,
            pictures=request.pictures,
            preparation=preparation,
            progress=say,
        )
