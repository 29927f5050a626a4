"""`caffenorm run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from caffenorm import Net
from caffenorm._files import atomic_write, readable_file
from caffenorm.cli import _output
from caffenorm.cli._options import load_net, mean_values, net_options, pair, read_array
from caffenorm.cli._table import Column, print_table
from caffenorm.errors import ConfigError, ShapeError
from caffenorm.sources.image import CHANNEL_ORDERS, Preprocessing


@click.command("run")
@click.argument("model")
@click.argument("weights")
@click.argument("inputs", nargs=-1, required=True)
@net_options()
@click.option(
    "--resize",
    metavar="SIZE",
    help="Resize the whole picture to SIZE or HEIGHTxWIDTH; without --crop, default: the net's input.",
)
@click.option("--crop", metavar="SIZE", help="Then cut SIZE or HEIGHTxWIDTH from the middle.")
@click.option(
    "--mean",
    metavar="VALUES",
    help="Subtract: 104,117,123 (in channel order), a .npy or a .binaryproto file.",
)
@click.option("--scale", type=float, default=1.0, help="Then multiply, such as 0.017.")
@click.option(
    "--channel-order",
    type=click.Choice(CHANNEL_ORDERS, case_sensitive=False),
    default="BGR",
    show_default=True,
)
@click.option("--labels", type=str, help="A text file with one class name a line.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to show.")
@click.option(
    "--blob", "blobs", multiple=True, help="A blob to return instead of the outputs; may be repeated."
)
@click.option("-o", "--output", type=str, help="Write the result here: .npy for one blob, .npz for several.")
@click.option("--no-fuse", is_flag=True, help="Run every layer by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str,
    weights: str,
    inputs: tuple[str, ...],
    resize: str | None,
    crop: str | None,
    mean: str | None,
    scale: float,
    channel_order: str,
    labels: str | None,
    top: int,
    blobs: tuple[str, ...],
    output: str | None,
    no_fuse: bool,
    as_json: bool,
    **options: Any,  # Any: of load_net
) -> None:
    r"""Run the net MODEL with WEIGHTS on INPUTS: pictures, or .npy arrays of the input's shape.

    Several pictures make one batch. Prints the most likely classes, or writes the outputs with --output.

    \b
    Example:
      caffenorm run deploy.prototxt net.caffemodel cat.jpg --resize 256 --crop 224 --mean 104,117,123
    """
    if output is not None and Path(output).suffix not in (".npy", ".npz"):
        raise click.BadParameter(
            f"takes a name ending in .npy or .npz, found {output!r}", param_hint="--output"
        )
    wanted = Preprocessing(
        pair(resize, "--resize"), pair(crop, "--crop"), channel_order.upper(), mean_values(mean), scale
    )
    names = _read_labels(labels)
    net = load_net(model, weights, quiet=as_json, **options)
    net.fuse = not no_fuse
    returned = list(blobs) or net.outputs
    if output is not None and output.endswith(".npy") and len(returned) != 1:
        raise ConfigError(
            f"{output} takes one blob, the results are {returned}; choose one with --blob, or .npz"
        )
    results = net.forward(blobs=blobs, **_read_inputs(net, inputs, wanted))
    if blobs:
        results = {name: results[name] for name in blobs}
    if output is not None:
        _write(output, results)
    if as_json:
        _output.print_json(_as_json(results, inputs, names, top))
    elif output is None:
        _show(results, inputs, names, top)
    else:
        for name, value in results.items():
            _output.note(f"{output}: {name} {list(value.shape)} {value.dtype}")


def _read_labels(path: str | None) -> list[str]:
    if path is None:
        return []
    file = readable_file(path, ConfigError, "a text file with one class name a line")
    return [
        line.strip()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]


def _read_inputs(net: Net, paths: tuple[str, ...], wanted: Preprocessing) -> dict[str, Any]:  # Any: arrays
    if not net.inputs:
        raise ConfigError(f"{net.file} has no Input layer to put a picture into; give a deploy prototxt")
    arrays = [Path(path).suffix == ".npy" for path in paths]
    if any(arrays):
        if not all(arrays) or len(paths) != len(net.inputs):
            raise ConfigError(f"give one .npy array for each input of the net, {net.inputs}")
        return {name: read_array(path) for name, path in zip(net.inputs, paths, strict=True)}
    if len(net.inputs) != 1:
        raise ConfigError(f"the net has {len(net.inputs)} inputs, {net.inputs}; give a .npy array for each")
    shape = net.blobs[net.inputs[0]].shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise ShapeError(
            f'input "{net.inputs[0]}" has shape {list(shape)}, which is no picture; give a .npy array'
        )
    size = (shape[2], shape[3])
    prepare = replace(
        wanted,
        resize=wanted.resize if wanted.resize or wanted.crop else size,
        crop=wanted.crop or (size if wanted.resize else None),
        gray=shape[1] == 1,
    )
    return {net.inputs[0]: np.stack([prepare(path) for path in paths])}


def _write(path: str, results: dict[str, NDArray[Any]]) -> None:
    if path.endswith(".npz"):
        with atomic_write(path) as handle:
            np.savez(handle, **results)  # type: ignore[arg-type]  # numpy's stub takes a positional flag for a name
        return
    with atomic_write(path) as handle:
        np.save(handle, next(iter(results.values())))


def _is_scores(value: NDArray[Any], inputs: tuple[str, ...]) -> bool:
    """Whether an output has one score a class for every picture."""
    return value.ndim >= 2 and len(value) == len(inputs) and value[0].size == value.shape[1] > 1


def _best(scores: NDArray[Any], top: int) -> list[int]:
    return [int(i) for i in np.argsort(-scores.ravel(), kind="stable")[:top]]


def _classes(scores: NDArray[Any], names: list[str], top: int) -> list[dict[str, Any]]:
    return [
        {"index": index, "name": _class_name(index, names), "score": float(scores[index])}
        for index in _best(scores, top)
    ]


def _class_name(index: int, names: list[str]) -> str:
    return names[index] if index < len(names) else f"class {index}"


def _as_json(results: dict[str, NDArray[Any]], inputs: tuple[str, ...], names: list[str], top: int) -> Any:
    shown: dict[str, Any] = {}
    for name, value in results.items():
        if _is_scores(value, inputs):
            rows = [value[i].ravel() for i in range(len(inputs))]
            shown[name] = [
                {"input": path, "classes": _classes(row, names, top)}
                for path, row in zip(inputs, rows, strict=True)
            ]
        else:
            shown[name] = {
                "shape": list(value.shape),
                "values": value.tolist() if value.size <= 1000 else None,
            }
    return shown


def _show(results: dict[str, NDArray[Any]], inputs: tuple[str, ...], names: list[str], top: int) -> None:
    for name, value in results.items():
        if _is_scores(value, inputs):
            for i, path in enumerate(inputs):
                row = value[i].ravel()
                rows = [(_class_name(k, names), f"{row[k]:.6f}") for k in _best(row, top)]
                print_table(f"{name}: {path}", (Column("class", least=16), Column("score", "right")), rows)
        else:
            figures = [f"{figure:.6g}" for figure in (value.mean(), value.min(), value.max())]
            columns = ["shape", "mean", "least", "most"]
            cells = (_output.shape(value.shape), *(figures if value.size else ["", "", ""]))
            print_table(name, [Column(column) for column in columns], [cells])
