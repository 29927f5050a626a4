"""What the options change at the beginning and at the end of a program; folding is a matter of rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from caffenorm.convert.options import BYTES, Preprocessing
from caffenorm.convert.parts import Program, Submodule
from caffenorm.convert.text import arguments, number
from caffenorm.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from caffenorm.convert.describer import Describer

_PICTURE_AXES, _CHANNELS = 4, (1, 3)
_FORMATS = {4: "torch.channels_last", 5: "torch.channels_last_3d"}
_SHOWN = 5
_LARGEST = float(np.finfo(np.float16).max)
_SQUARES = frozenset({"LRN", "MVN", "Normalize", "GroupNorm", "GN", "LayerNorm", "InstanceNorm"})


def begin(describer: Describer) -> None:
    """Add what comes before the first layer.

    Raises:
        ConfigError: an option does not go with the net's inputs. ShapeError: nor does the mean.
    """
    options, program = describer.options, describer.program
    prepared = picture_input(describer) if options.preprocessing else ""
    for place, name in enumerate(program.inputs):
        variable = text = program.arguments[place]
        if options.preprocessing and name == prepared:
            program.arguments[place] = describer.blob_names.new("pictures")
            shape = describer.net.blobs[name].shape
            text = _preprocess(describer, options.preprocessing, shape, program.arguments[place])
        if options.channels_last and describer.net.blobs[name].num_axes in _FORMATS:
            kind = _FORMATS[describer.net.blobs[name].num_axes]
            text = f"{text}.contiguous(memory_format={kind})"
        if text != variable:
            program.lines.append(f"{variable} = {text}")


def picture_input(describer: Describer) -> str:
    """The input that preprocessing is for.

    Raises:
        ConfigError: there is none, or several that may be.
    """
    net, preprocessing = describer.net, describer.options.preprocessing
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    fitting = [n for n, shape in shapes.items() if len(shape) == _PICTURE_AXES and shape[1] in _CHANNELS]
    wanted = preprocessing.input if preprocessing else ""
    if wanted in fitting:
        return wanted
    if not wanted and len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "none"
    asked = f'"{wanted}", which is none' if wanted else f"the only one, and there are {len(fitting)}"
    raise ConfigError(
        f"preprocessing is for an input of pictures, (batch, 1 or 3, height, width): {asked}; "
        f"inputs: {listed}"
    )


def _preprocess(describer: Describer, given: Preprocessing, shape: tuple[int, ...], pictures: str) -> str:
    """The submodule, and how it is called."""
    if given.swaps and shape[1] != len("rgb"):
        raise ShapeError(f"pictures of {shape[1]} channel have no order of channels to swap")
    mean = given.fitted_mean(shape)
    flat = [number(value) for value in mean.reshape(-1)] if mean.shape[1:] == (1, 1) else []
    text = flat[0] if len(flat) == 1 else f"({', '.join(flat)})" if flat else f"torch.zeros{mean.shape}"
    listed = arguments(
        mean=(text, "0"),
        scale=(number(given.scale), "1"),
        swap_channels=(str(given.swaps), "False"),
        maximum=(number(given.maximum), number(BYTES)),
    )
    describer.program.helpers.append("Preprocess")
    describer.program.colours = shape[1] == len("rgb")
    name = describer.module_names.new("preprocess")
    state = {"mean": mean.astype(describer.net.layers[0].dtype)}
    describer.program.submodules.append(Submodule(name, f"Preprocess({listed})", state, ()))
    return f"self.{name}({pictures})"


def finish(describer: Describer) -> None:
    """Note what the options cost, once everything is known.

    Raises:
        ConfigError: channels_last does not go with the net.
    """
    if describer.options.fold_batch_norm:
        _note_left(describer.program)
    if describer.options.half:
        _note_half(describer)
    if describer.options.channels_last:
        memory_format(describer.program)


def _batch_norms(program: Program) -> list[str]:
    return [part.name for part in program.submodules if re.match(r"nn\.BatchNorm\dd", part.constructor)]


def _note_left(program: Program) -> None:
    """Say which batch norms are still there."""
    left = _batch_norms(program)
    if left:
        some = ", ".join(left[:_SHOWN]) + (" ..." if len(left) > _SHOWN else "")
        program.notes.append(
            f"{len(left)} batch norms are not folded, as no convolution or inner product of their own comes "
            f"before them, or they normalise by the batch: {some}"
        )


def memory_format(program: Program) -> str:
    """The memory format of parameters and buffers under channels_last.

    Raises:
        ConfigError: there are none of four or five axes, or of both.
    """
    axes = {value.ndim for part in program.submodules for value in part.state.values()} & set(_FORMATS)
    if len(axes) != 1:
        found = "has weights of 4 axes and of 5" if axes else "has no weights of 4 or 5 axes"
        raise ConfigError(f"channels_last is for nets of convolutions along 2 axes, or along 3; this {found}")
    return _FORMATS[axes.pop()]


def _note_half(describer: Describer) -> None:
    notes, state = describer.program.notes, describer.program.state()
    lost: dict[str, int] = {}
    for name, value in state.items():
        above = int((np.abs(value) > _LARGEST).sum())
        if above:
            notes.append(f"half precision: {above} of {name} are above {_LARGEST:g}, and become infinite")
        with np.errstate(over="ignore"):
            lost[name] = int(((value != 0) & (value.astype(np.float16) == 0)).sum())
    worst = max(lost, key=lambda name: lost[name] / max(1, state[name].size), default="")
    if worst and lost[worst]:
        total = sum(value.size for value in state.values())
        notes.append(
            f"half precision: {sum(lost.values())} of {total} values are too small and become 0, "
            f"most of all in {worst}, {lost[worst]} of {state[worst].size}"
        )
    norms = _batch_norms(describer.program)
    if norms:
        notes.append(
            f"half precision: {len(norms)} batch norms keep their statistics with 11 bits, and divide by "
            "them; folded into convolutions they lose less"
        )
    squares = [layer.name for layer in describer.net.layers if layer.type in _SQUARES]
    if squares:
        notes.append(
            f"half precision: {', '.join(squares)} square what they are given, and what is above 255 becomes "
            "infinite"
        )
    if describer.program.train:
        notes.append("half precision is for running a net: its losses, and steps of training, lose too much")
