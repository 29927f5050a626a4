"""`caffenorm convert --to torch`."""

from __future__ import annotations

from dataclasses import replace

import click

from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli._proof import tell
from caffenorm.cli.convert_request import Request
from caffenorm.convert import ConvertOptions, Preprocessing, Verification, verify, write_torch
from caffenorm.convert.proof.inputs import picture_sets
from caffenorm.convert.proof.report import write_report
from caffenorm.convert.proof.written import compare_written
from caffenorm.net import Net
from caffenorm.sources.image import Preprocessing as PicturePreparation


def run(request: Request) -> int:
    """Write model.py, its weights and the report into a folder; the exit status says whether all agrees."""
    net = load_net(request.model, request.weights, quiet=request.as_json, **request.net_options)
    options = _options(request)
    if request.verify:  # a picture that cannot be read is found before anything is written
        picture_sets(net, request.pictures, _preparation(request), options.preprocessing)
    written = write_torch(net, request.output, options, request.format)
    found = _verified(net, options, request) if request.verify else None
    if found is not None:
        problems = compare_written(net, request.output, written.module)
        found = replace(found, problems=(*found.problems, *problems))
    sources = {"prototxt": request.model, **({"weights": request.weights} if request.weights else {})}
    page, data = write_report(
        request.output, net, written.program, found, sources=sources, files=written.files
    )
    if request.as_json:
        click.echo(data.read_text(encoding="utf-8"), nl=False)
    else:
        for remark in written.program.notes:
            _output.note(remark)
        tell(found, [*written.files, page, data])
    return 0 if found is None or found.ok else 1


def _options(request: Request) -> ConvertOptions:
    """Preprocessing is part of the module where any of its options is given."""
    given = (request.mean, request.scale, request.channel_order)
    preprocessing = Preprocessing(
        mean=request.mean,
        scale=1.0 if request.scale is None else request.scale,
        channel_order=request.channel_order or "bgr",
    )
    wanted = any(value is not None for value in given)
    return ConvertOptions(
        fold_batch_norm=request.fold_batch_norm,
        half=request.half,
        channels_last=request.channels_last,
        preprocessing=preprocessing if wanted else None,
    )


def _preparation(request: Request) -> PicturePreparation:
    return PicturePreparation(resize=request.resize, crop=request.crop)


def _verified(net: Net, options: ConvertOptions, request: Request) -> Verification:
    with _output.steps("comparing with the Caffe net") as say:
        return verify(
            net,
            options=options,
            batch_sizes=request.batch_sizes,
            pictures=request.pictures,
            preparation=_preparation(request),
            progress=say,
        )
