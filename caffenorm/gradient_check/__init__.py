"""Analytic gradients held against numeric ones.

`check_gradients` takes a net and checks every layer in it by itself, so that a wrong layer is named and not
only what lies before it; `scope="net"` checks the whole instead. `check_layer` makes the net from one layer's
text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from caffenorm import _random, prototxt, schema
from caffenorm.blob import Blob
from caffenorm.errors import CaffenormError, ConfigError
from caffenorm.gradient_check.numeric import Settings, check_subject
from caffenorm.gradient_check.report import GradientCheck, GradientError, GradientReport
from caffenorm.gradient_check.subjects import Kept, LayerSubject, NetSubject, Subject, Target, parameters
from caffenorm.layer import Layer, registered_layers
from caffenorm.net import Net
from caffenorm.plan import LayerStep

__all__ = ["GradientCheck", "GradientError", "GradientReport", "check_gradients", "check_layer"]

_NUDGE = 0.3  # by how much of their spread parameters of a net made here are moved off their fillers' values


def check_gradients(
    net: Net | str | os.PathLike[str] | schema.NetParameter,
    *,
    inputs: Mapping[str, ArrayLike] | None = None,
    layers: Iterable[str] | None = None,
    scope: Literal["layers", "net"] = "layers",
    step: float = 1e-5,
    tolerance: float = 1e-6,
    kink: float = 0.0,
    kink_range: float = -1.0,
    samples: int | None = 20,
    exhaustive: bool = False,
    seed: int = 0,
    raise_on_failure: bool = False,
    **net_options: Any,
) -> GradientReport:
    """Compare the gradients that backward gives with central differences, in float64.

    Args:
        net: a net, which is left as it was, or what one is made of. A float32 net is checked as a copy in
        float64.
        inputs: values of input blobs. An input without, or which holds only zeros, gets random ones (labels 0
        or 1).
        layers: names of the layers to check; None: all.
        scope: "layers" checks each layer at the values that its bottoms have in the net; "net" the loss (or,
            without one, the outputs) as a function of inputs and parameters.
        step: of the differences, in units of the spread of an array's values.
        tolerance: the largest relative error allowed.
        kink, kink_range: as in Caffe's checker, elements whose absolute value lies within kink_range of kink
            are left out. Without that too, elements where the function has no derivative are found and left
            out.
        samples: elements of an array to check, picked at random; None: all.
        exhaustive: check each output by itself; else a random combination of all outputs.
        seed: of all random choices.
        raise_on_failure: raise what would otherwise only be reported.
        net_options: of `Net` (phase, weights, stages ...), where `net` is none yet; the phase is TRAIN unless
            given, and parameters without weights are moved a little off what their fillers give.

    Returns:
        The report; print it.

    Raises:
        GradientError: gradients are wrong, with `raise_on_failure`.
        ConfigError: a bad argument. Others as `Net`.

    Caffe: the same idea as its gradient checker. Parameters with lr_mult 0 are left out. Random masks repeat,
        and statistics that a forward moves are put back.
    """
    if scope not in ("layers", "net"):
        raise ConfigError(f'scope must be "layers" or "net", found {scope!r}')
    if not (step > 0 and tolerance > 0):
        raise ConfigError(f"step and tolerance must be above 0, found {step} and {tolerance}")
    settings = Settings(step, tolerance, kink, kink_range, samples, exhaustive, seed)
    rng = np.random.default_rng(seed)
    drawn = _random.generator().bit_generator.state
    try:
        checked = _net_to_check(net, rng, net_options)
        kept = Kept(_all_blobs(checked))
        try:
            _fill_inputs(checked, dict(inputs or {}), rng)
            check = _check_layers if scope == "layers" else _check_net
            with np.errstate(all="ignore"):  # what is not finite shows in the report
                report = check(checked, layers, settings)
        finally:
            kept.restore()
    finally:
        _random.generator().bit_generator.state = drawn
    if raise_on_failure and not report.ok:
        raise GradientError(report)
    return report


def check_layer(
    layer: str | schema.LayerParameter,
    shapes: Sequence[Sequence[int]],
    *,
    inputs: Sequence[ArrayLike | None] | None = None,
    tops: int | None = None,
    in_place: bool = False,
    phase: int = schema.TRAIN,
    samples: int | None = 100,
    **options: Any,
) -> GradientReport:
    """Check the gradients of one layer.

    Args:
        layer: type and parameters, as text (`type: "Scale" scale_param { bias_term: true }`) or message.
        shapes: of the bottoms.
        inputs: values of the bottoms; None: random ones.
        tops: how many; None: as many as the layer needs.
        in_place: whether top 0 is bottom 0.
        phase: `caffenorm.TRAIN` or `caffenorm.TEST`.
        samples: elements of an array to check; None: all.
        options: of `check_gradients`.

    Returns:
        The report.

    Raises:
        GradientError: gradients are wrong, with `raise_on_failure`. Others as `Net`.

    Example:
        >>> check_layer("type: 'Scale' scale_param { bias_term: true }", [(2, 3, 4, 4)]).ok
        True
    """
    net = schema.NetParameter(force_backward=True)
    names = [f"x{i}" for i in range(len(shapes))]
    for name, shape in zip(names, shapes, strict=True):
        source = net.layer.add(name=name, type="Input", top=[name])
        source.input_param.shape.add(dim=list(shape))
    message = net.layer.add()
    if isinstance(layer, str):
        message.CopyFrom(prototxt.parse_net(f"layer {{ {layer} }}").net.layer[0])
    else:
        message.CopyFrom(layer)
    message.name = message.name or "layer"
    message.bottom[:] = names
    message.top[:] = [
        f"y{i}" for i in range(_needed_tops(message.type, len(names)) if tops is None else tops)
    ]
    if in_place:
        message.top[0] = names[0]
    given = {name: value for name, value in zip(names, inputs or (), strict=False) if value is not None}
    layers = [message.name]
    return check_gradients(net, inputs=given, layers=layers, phase=phase, samples=samples, **options)


def _needed_tops(layer_type: str, bottoms: int) -> int:
    cls = registered_layers().get(layer_type, Layer)
    if cls.same_number_of_tops:
        return bottoms
    return cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]


# --- the net ---


def _net_to_check(
    net: Any, rng: np.random.Generator, options: dict[str, Any]
) -> Net:  # Any: as check_gradients
    if isinstance(net, Net):
        if options:
            raise ConfigError(f"{', '.join(options)}: these are for making a net, and here is one already")
        return net if net.layers == [] or net.layers[0].dtype == np.float64 else _in_float64(net)
    options.setdefault("phase", schema.TRAIN)
    made = Net(net, dtype=np.float64, **options)
    if options.get("weights") is None:
        for target in (target for layer in made.layers for target in parameters(layer)):
            values = target.values()
            values += _NUDGE * (values.std() or 1.0) * rng.normal(size=values.size)
    return made


def _in_float64(net: Net) -> Net:
    """A copy of a float32 net with its inputs and parameters."""
    may_import = any(layer.context.allow_python for layer in net.layers)
    twin = Net(net.net_param, net.phase, dtype=np.float64, allow_python=may_import)
    for name in net.inputs:
        twin.blobs[name].reshape(net.blobs[name].shape)
        twin.blobs[name].data[...] = net.blobs[name].data
    twin.reshape()
    for name, blobs in net.params.items():
        for ours, theirs in zip(twin.params[name], blobs, strict=True):
            ours.data[...] = theirs.data
    return twin


def _all_blobs(net: Net) -> list[Blob]:
    blobs = list(net.blobs.values())
    for step in net._steps:
        blobs += [*step.top, *step.layer.blobs]
    return blobs


def _fill_inputs(net: Net, given: dict[str, ArrayLike], rng: np.random.Generator) -> None:
    unknown = [name for name in given if name not in net.inputs]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no input of this net; inputs are {net.inputs}")
    labels = _label_blobs(net)
    for name in net.inputs:
        blob = net.blobs[name]
        if name in given:
            values = np.asarray(given[name], dtype=np.float64)
            blob.reshape(values.shape)
            blob.data[...] = values
        elif not blob.data.any():
            random = rng.integers(0, 2, blob.shape) if id(blob) in labels else rng.normal(size=blob.shape)
            blob.data[...] = random
    net.reshape()


def _label_blobs(net: Net) -> set[int]:
    """Blobs that only layers read that can give them no gradient."""
    readers: dict[int, list[bool]] = {}
    found: set[int] = set()
    for step in reversed(net._steps):
        passes_on = bool(step.top) and all(id(top) in found for top in step.top)
        for i, blob in enumerate(step.bottom):
            is_label = passes_on or not step.layer.allow_force_backward(i)
            readers.setdefault(id(blob), []).append(is_label)
            if all(readers[id(blob)]):
                found.add(id(blob))
            else:
                found.discard(id(blob))
    return found


# --- checking ---


def _check_layers(net: Net, names: Iterable[str] | None, settings: Settings) -> GradientReport:
    """Run the net layer by layer, and check each before it goes on."""
    wanted = None if names is None else set(names)
    unknown = sorted((wanted or set()) - set(net.layer_dict))
    if unknown:
        raise ConfigError(f"no layer {', '.join(unknown)} in this net")
    checks: list[GradientCheck] = []
    left_out: list[tuple[str, str]] = []
    for step in net._steps:
        layer = step.layer
        try:
            if wanted is None or layer.name in wanted:
                found, reasons = _check_step(step, net.bottom_names[layer.name], settings)
                checks += found
                left_out += [(layer.name, reason) for reason in reasons]
            layer.forward(step.bottom, step.top)
        except CaffenormError as error:
            if error.where is None:
                error.where = step.where
            raise
    return GradientReport(tuple(checks), tuple(left_out))


def _check_step(
    step: LayerStep, bottom_names: Sequence[str], settings: Settings
) -> tuple[list[GradientCheck], list[str]]:
    """The checks of one layer, and what was left out for which reason."""
    if not step.bottom and not step.layer.blobs:
        return [], []
    if type(step.layer).backward is Layer.backward:
        return [], ["has no backward"]
    kept = Kept([*step.bottom, *step.top, *step.layer.blobs])
    try:
        subject = LayerSubject(step, bottom_names)
        reasons = [f"{what}: {message}" for what, message in subject.refused]
        if not subject.targets:
            return [], reasons or ["has no gradient"]
        return _compared(subject, settings), reasons
    finally:
        kept.restore()


def _check_net(net: Net, names: Iterable[str] | None, settings: Settings) -> GradientReport:
    if names is not None:
        raise ConfigError('layers can be picked in scope "layers" only')
    return GradientReport(tuple(_compared(NetSubject(net), settings)))


def _compared(subject: Subject, settings: Settings) -> list[GradientCheck]:
    if subject.repeats:
        return check_subject(subject, settings)
    message = "two runs on the same values give different results, so there is nothing to compare"
    return [_failed(target, settings, message) for target in subject.targets]


def _failed(target: Target, settings: Settings, message: str) -> GradientCheck:
    layer = target.layer
    unknown = float("nan")
    place = layer.name, layer.type, target.what, target.name, target.shape
    return GradientCheck(*place, 0, 0, float("inf"), (), unknown, unknown, settings.tolerance, message)
