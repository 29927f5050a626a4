"""`caffenorm convert --to caffe`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffenorm import Net, prototxt, schema
from caffenorm._extras import require
from caffenorm._files import atomic_write
from caffenorm.cli import _output
from caffenorm.cli.convert_request import Request
from caffenorm.convert.from_pytorch import convert_module
from caffenorm.errors import ConfigError

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def run(request: Request) -> int:
    """Write deploy.prototxt and net.caffemodel into a folder; the exit status says whether all agrees."""
    module, inputs, names = _module(request)
    with _output.steps("converting, and comparing with the module" if request.verify else "converting"):
        found = convert_module(module, inputs, input_names=names, check=request.verify)
    files = _write(Path(request.output), found)
    problems = _read_back(files, found.net)
    agreed = (found.agreement is None or found.agreement.ok) and not problems
    if request.as_json:
        _output.print_json(_result(found, files, problems))
    else:
        _say(found, files, problems)
    return 0 if agreed else 1


# --- what to convert ---


def _module(request: Request) -> tuple[Any, tuple[Any, ...], list[str] | None]:  # Any: torch's
    """The module or program, its example inputs, and the names that the user gave them."""
    if request.weights is not None:
        raise ConfigError("--to caffe takes one file; the module brings its weights")
    require("torch", extra="torch", to="convert from PyTorch")
    reader = require("caffenorm.convert.torch_files", extra="torch", to="convert from PyTorch")
    suffix = Path(request.model).suffix.lower()
    if suffix == ".py":
        module, inputs = reader.run_entry(request.model, request.entry)
    elif suffix in _PICKLES:
        raise ConfigError(
            f"{request.model}: a file of torch.save has no graph, or is code; give what torch.export.save "
            "wrote (.pt2), or a .py file with --entry"
        )
    else:
        module = reader.load_archive(request.model)
        inputs = tuple(module.example_inputs[0]) if module.example_inputs else ()
    names, shapes = _shapes(request.input_shapes)
    if shapes:
        torch = require("torch", extra="torch", to="convert from PyTorch")
        kinds = (
            [tensor.dtype for tensor in inputs]
            if len(inputs) == len(shapes)
            else [torch.float32] * len(shapes)
        )
        inputs = tuple(_random(torch, shape, kind) for shape, kind in zip(shapes, kinds, strict=True))
    if not inputs:
        raise ConfigError("give the shape of each input: --input data:1,3,224,224")
    return module, inputs, names


def _random(torch: Any, shape: tuple[int, ...], kind: Any) -> Any:  # Any: torch, a dtype, a tensor
    """Normal numbers, or whole ones of 0 and 1 where the module took such before."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) if kind.is_floating_point else rng.integers(0, 2, shape)
    return torch.from_numpy(np.asarray(values)).to(kind)


def _shapes(given: tuple[str, ...]) -> tuple[list[str] | None, list[tuple[int, ...]]]:
    """Names and shapes of `data:1,3,224,224`; a name may be left out."""
    names, shapes = [], []
    for text in given:
        name, _, listed = text.rpartition(":")
        try:
            shape = tuple(int(part) for part in listed.split(",") if part.strip())
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise ConfigError(f"--input {text}: give a name and sizes, such as data:1,3,224,224")
        names.append(name)
        shapes.append(shape)
    return (names if names and all(names) else None), shapes


# --- what is written ---


def _write(folder: Path, found: Any) -> list[Path]:  # Any: a FromTorch
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    text, weights = folder / "deploy.prototxt", folder / "net.caffemodel"
    with atomic_write(text, "w") as handle:
        handle.write(prototxt.format_message(found.net_param))
    found.net.save(weights)
    return [text, weights]


def _read_back(files: list[Path], net: Net) -> list[str]:
    """What the files do not give back as it was."""
    again = Net(str(files[0]), schema.TEST, weights=str(files[1]), dtype=net.layers[0].dtype)
    return [
        f'layer "{name}": parameter {i} is not the same in {files[1].name}'
        for name, blobs in net.params.items()
        for i, (mine, theirs) in enumerate(zip(blobs, again.params[name], strict=True))
        if not np.array_equal(mine.read(), theirs.read(), equal_nan=True)
    ]


def _result(found: Any, files: list[Path], problems: list[str]) -> dict[str, Any]:  # Any: a FromTorch; JSON
    agreement = found.agreement
    return {
        "files": [str(file) for file in files],
        "inputs": {name: list(found.net.blobs[name].shape) for name in found.net.inputs},
        "outputs": list(found.outputs),
        "notes": list(found.notes),
        "problems": problems,
        "verified": None if agreement is None else asdict(agreement) | {"ok": agreement.ok},
    }


def _say(found: Any, files: list[Path], problems: list[str]) -> None:  # Any: a FromTorch
    for remark in found.notes:
        _output.note(remark)
    click.echo(f"written to {files[0].parent}: {', '.join(file.name for file in files)}")
    click.echo(f"outputs, in the module's order: {', '.join(found.outputs)}")
    for problem in problems:
        _output.error(problem)
    if found.agreement is None:
        click.echo("not compared with the module")
        return
    good = found.agreement.ok
    mark = click.style("agrees: " if good else "differs: ", fg="green" if good else "red", bold=True)
    click.echo(mark + str(found.agreement))
