"""`caffenorm convert --to npz`, `--to safetensors`, `--to caffemodel`: weights, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffenorm import schema, weights
from caffenorm.cli import _output
from caffenorm.cli._options import load_net
from caffenorm.cli.convert_request import Request
from caffenorm.cli.convert_state_dict import say
from caffenorm.convert.state_dict import load_state_dict
from caffenorm.convert.state_files import is_torch_file, read_mapping, read_state, write_mapping
from caffenorm.errors import ConfigError

Arrays = Mapping[str, Any]  # Any: floats

_WRITERS = {"npz": weights.write_npz, "safetensors": weights.write_safetensors}
_SUFFIXES = {".npz": "npz", ".safetensors": "safetensors", ".caffemodel": "caffemodel"}


def run(request: Request) -> int:
    """Write the weights in another form, read them back and compare the bits; the exit status."""
    suffix = Path(request.output).suffix.lower()
    if _SUFFIXES.get(suffix, request.target) != request.target:
        raise ConfigError(f"-o {request.output} does not go with --to {request.target}")
    if request.weights and (request.mapping or is_torch_file(request.weights)):
        return _from_state(request)
    arrays = _from_net(request) if request.weights else _from_file(request)
    differing = _differing(request.output, arrays) if request.verify else []
    _say(request, arrays, differing)
    return 1 if differing else 0


def _from_net(request: Request) -> Arrays:
    """By way of the net, which gives the parameters their shapes and the caffemodel its layers."""
    net = load_net(request.model, request.weights, quiet=request.as_json, **request.net_options)
    arrays = net.named_parameters()
    if request.target == "caffemodel":
        net.save(request.output)
    else:
        _WRITERS[request.target](request.output, arrays)
    return arrays


def _from_state(request: Request) -> int:
    """From a state dict of PyTorch, which by mapping or by shape and order becomes the net's parameters."""
    assert request.weights is not None
    net = load_net(request.model, None, quiet=request.as_json, **request.net_options)
    known = request.mapping is not None and Path(request.mapping).exists()
    mapping = read_mapping(request.mapping) if known and request.mapping is not None else None
    match = load_state_dict(net, read_state(request.weights), mapping)
    files = [request.output]
    if request.target == "caffemodel":
        net.save(request.output)
    else:
        _WRITERS[request.target](request.output, net.named_parameters())
    if request.mapping is not None and not known:
        write_mapping(request.mapping, match.mapping, net)
        files.append(request.mapping)
    differing = _differing(request.output, net.named_parameters()) if request.verify else None
    say(request, match, files, differing)
    return 0 if match.ok and not differing else 1


def _from_file(request: Request) -> Arrays:
    """Without a prototxt: names and values, as they are in the file."""
    model = weights.read_weights(request.model)
    for remark in model.notes:
        _output.note(remark)
    arrays = weights.named_arrays(model.layers)
    if request.target in _WRITERS:
        _WRITERS[request.target](request.output, arrays)
        return arrays
    if model.format.startswith("caffemodel"):
        raise ConfigError(
            f"{request.model} is a caffemodel already; give the prototxt in front of it to write it anew"
        )
    net = schema.NetParameter(name=Path(request.model).stem)
    for layer in model.layers:
        if layer.indices != list(range(len(layer.blobs))):
            raise ConfigError(
                f'layer "{layer.name}" has some of its blobs in another layer; give the prototxt in front of '
                f"{request.model}"
            )
        net.layer.add(name=layer.name, type=layer.type)
    weights.write_caffemodel(request.output, net, {layer.name: layer.blobs for layer in model.layers})
    _output.note(
        "the file has the layers' names and blobs, which is what Caffe loads into a net; give the prototxt "
        "in front of the weights to have what the layers do in the file too"
    )
    return arrays


def _differing(file: str, arrays: Arrays) -> list[str]:
    """Names of arrays that do not come back from the file bit by bit."""
    found = weights.named_arrays(weights.read_weights(file).layers)
    return sorted(
        name
        for name in arrays.keys() | found.keys()
        if name not in arrays or name not in found or not _same_bits(arrays[name], found[name])
    )


def _same_bits(ours: Any, theirs: Any) -> bool:  # Any: floats
    return (
        ours.shape == theirs.shape
        and ours.dtype == theirs.dtype
        and np.ascontiguousarray(ours).tobytes() == np.ascontiguousarray(theirs).tobytes()
    )


def _say(request: Request, arrays: Arrays, differing: list[str]) -> None:
    count = sum(array.size for array in arrays.values())
    if request.as_json:
        verified = {"ok": not differing, "differing": differing} if request.verify else None
        _output.print_json(
            {"files": [request.output], "arrays": len(arrays), "values": count, "verified": verified}
        )
        return
    click.echo(f"written: {request.output}, {len(arrays)} arrays, {_output.count(count)} values")
    if not request.verify:
        click.echo("not read back")
    elif differing:
        _output.error(f"{len(differing)} arrays did not come back as they were: {', '.join(differing[:5])}")
    else:
        click.echo("read back: all bits are the same")
