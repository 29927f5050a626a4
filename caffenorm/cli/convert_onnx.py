"""`caffenorm convert --to onnx`."""

from __future__ import annotations

from dataclasses import asdict

import click

from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli.convert_request import Request
from caffenorm.convert.onnx import Saved, save_onnx
from caffenorm.convert.options import ConvertOptions, Preprocessing
from caffenorm.convert.proof.inputs import Values, picture_sets
from caffenorm.net import Net
from caffenorm.sources import image


def run(request: Request) -> int:
    """Write the model, compare it with the Caffe net; the exit status says whether all agrees."""
    net = load_net(request.model, request.weights, quiet=request.as_json, **request.net_options)
    with _output.progress("writing and comparing", None):
        saved = save_onnx(
            net,
            request.output,
            opset=request.opset,
            options=ConvertOptions(request.fold_batch_norm, preprocessing=_preparation(request)),
            check=request.verify,
            batch_sizes=request.batch_sizes,
            inputs=_pictures(net, request),
        )
    if request.as_json:
        _print_json(request, saved)
    else:
        _say(request, saved)
    return 0 if saved.check is None or saved.check.ok else 1


def _preparation(request: Request) -> Preprocessing | None:
    """What the model does to pictures by itself; nothing unless an option asks for something."""
    if request.mean is None and request.scale is None and request.channel_order is None:
        return None
    return Preprocessing(
        mean=request.mean,
        scale=1.0 if request.scale is None else request.scale,
        channel_order=(request.channel_order or "bgr").lower(),
    )


def _pictures(net: Net, request: Request) -> list[Values]:
    """The user's pictures as the model takes them: in BGR order unless it takes RGB, 0 to 255."""
    order = "RGB" if (request.channel_order or "").lower() == "rgb" else "BGR"
    preparation = image.Preprocessing(resize=request.resize, crop=request.crop, channel_order=order)
    return [found.values for found in picture_sets(net, request.pictures, preparation)]


def _say(request: Request, saved: Saved) -> None:
    graph, check = saved.graph, saved.check
    for remark in graph.notes:
        _output.note(remark)
    size = sum(array.nbytes for array in graph.constants.values())
    batch = "any batch size" if graph.dynamic else "one batch size"
    click.echo(
        f"written: {request.output}, opset {graph.opset}, {len(graph.nodes)} nodes, {_output.size(size)} of "
        f"constants, for {batch}"
    )
    if check is None:
        click.echo("not compared with the Caffe net")
    else:
        good, bad = click.style("agrees: ", fg="green"), click.style("DIFFERS: ", fg="red", bold=True)
        click.echo((good if check.ok else bad) + str(check))


def _print_json(request: Request, saved: Saved) -> None:
    graph, check = saved.graph, saved.check
    verified = None if check is None else {"ok": check.ok, "says": str(check), **asdict(check)}
    _output.print_json(
        {
            "files": [request.output],
            "opset": graph.opset,
            "nodes": len(graph.nodes),
            "dynamic_batch": graph.dynamic,
            "inputs": {name: list(dims) for name, dims in graph.inputs.items()},
            "outputs": {name: list(dims) for name, dims in graph.outputs.items()},
            "notes": graph.notes,
            "verified": verified,
        }
    )
