"""What both sides are run on: random numbers from seeds, at several batch sizes, and the user's pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.convert.options import BYTES as _BYTES
from caffenorm.convert.options import Preprocessing
from caffenorm.errors import CaffenormError, ConfigError, ShapeError
from caffenorm.net import Net
from caffenorm.plan import LayerStep
from caffenorm.sources.image import Preprocessing as PicturePreparation
from caffenorm.summary import summarise

Values = dict[str, NDArray[Any]]  # Any: float32, of which float64 is made without loss
SEEDS = (0, 1)
_LOUD = 50.0  # odd seeds give pictures numbers as large as those of bytes less their mean
_PICTURE_AXES, _PICTURE_CHANNELS = 4, (1, 3)
_MULTIPLY_ADDS = 12e9  # of one forward of all that is run by default; two cores take about 2 s in float64
_ACTIVATION_BYTES = 1 << 29  # of all blobs of one forward by default, in float64
_FLOAT64 = 8  # bytes
_EXAMPLES = 8  # at once by default; more show nothing else


@dataclass(frozen=True)
class InputSet:
    """Values for all inputs of a net.

    Attributes:
        name: for people. values: input blob -> values that Caffe's net takes.
        given: input blob -> values that the module takes, where it prepares pictures by itself.
        batch: size of the first axis; 0 for a net without inputs. seed: of random numbers. picture: its file.
    """

    name: str
    values: Values
    batch: int
    given: Values = field(default_factory=dict)
    seed: int | None = None
    picture: str | None = None

    def for_module(self, name: str) -> NDArray[Any]:  # Any: as above
        """What the module takes for an input."""
        return self.given.get(name, self.values[name])


def random_inputs(net: Net, seed: int) -> Values:
    """Values for a net's inputs: normal numbers, and whole ones for what is read as labels or indices.

    Args:
        net: shaped as it is to run.
        seed: of the generator; odd ones give numbers fifty times as large for what may be pictures.
    """
    rng = np.random.default_rng(seed)
    labels = _label_classes(net)
    loud = bool(seed % 2) and all(layer.type != "Exp" for layer in net.layers)
    values: Values = {}
    for name in net.inputs:
        shape = net.blobs[name].shape
        if name in labels:
            values[name] = np.array(rng.integers(0, labels[name], shape), np.float32)
        else:
            picture = len(shape) == _PICTURE_AXES and shape[1] in _PICTURE_CHANNELS
            factor = _LOUD if loud and picture else 1.0
            values[name] = np.array(rng.standard_normal(shape) * factor, np.float32)
    return values


def batch_of(net: Net) -> int:
    """The first axis that all inputs have in common; 0 if there is none."""
    firsts = {net.blobs[name].shape[0] if net.blobs[name].shape else 0 for name in net.inputs}
    return firsts.pop() if len(firsts) == 1 else 0


def room(net: Net) -> float:
    """How many examples at once run in reasonable time and memory."""
    whole = summarise(net)
    size = whole.activation_bytes // (net.layers[0].dtype.itemsize if net.layers else _FLOAT64) * _FLOAT64
    forwards = min(_MULTIPLY_ADDS / max(1, whole.multiply_adds), _ACTIVATION_BYTES / max(1, size))
    return forwards * max(1, batch_of(net))


def default_batches(net: Net) -> list[int]:
    """The net's own batch size and another one, smaller where it is large or the net is."""
    own = min(batch_of(net), _EXAMPLES)
    if not own:
        return []
    most = max(2 if net.phase == schema.TRAIN else 1, int(min(room(net), own + 1)))
    first = min(own, most)
    second = 3 if first == 2 else 2
    return [first] if second > most and first > 1 else [first, second]


def random_sets(
    net: Net, seeds: Sequence[int], batches: Sequence[int]
) -> tuple[list[InputSet], dict[int, str]]:
    """All seeds at the first batch size, and one more seed at each other batch size.

    Args:
        net: comes back shaped as it was. For a large one, each seed has a batch size of its own.
        seeds: at least one.
        batches: none for nets without inputs, or with inputs of several first axes: these run as they are.

    Returns:
        The values, and the batch sizes that Caffe's net cannot take, with what it says.
    """
    if not net.inputs:
        return [InputSet("the net's own data", {}, 0)], {}
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    own = batch_of(net)
    first = batches[0] if batches else own
    pairs = [(seed, first) for seed in seeds]
    pairs += [(max(seeds) + i, batch) for i, batch in enumerate(batches[1:], 1)]
    if room(net) < 1:
        pairs = [(seed, batches[i] if i < len(batches) else first) for i, seed in enumerate(seeds)]
        pairs += [(max(seeds) + i, batch) for i, batch in enumerate(batches[len(seeds) :], 1)]
    sets: list[InputSet] = []
    refused: dict[int, str] = {}
    for seed, batch in pairs:
        try:
            _reshape(net, {n: (batch, *s[1:]) if batch else s for n, s in shapes.items()})
        except CaffenormError as error:
            refused[batch] = str(error)
            continue
        name = f"seed {seed}, batch of {batch}" if batch else f"seed {seed}"
        sets.append(InputSet(name, random_inputs(net, seed), batch, seed=seed))
    _reshape(net, shapes)
    if not sets:
        sets = [InputSet(f"seed {seed}", random_inputs(net, seed), own, seed=seed) for seed in seeds]
    return sets, refused


def _reshape(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        net.blobs[name].reshape(shape)
    net.reshape()


def with_pictures(net: Net, values: InputSet, preprocessing: Preprocessing) -> InputSet:
    """The same inputs, but for the picture: random bytes, as a module takes them that prepares by itself."""
    name = preprocessing.input or _picture_input(net)
    pictures = np.random.default_rng(values.seed).integers(0, 256, values.values[name].shape)
    given = (pictures * (preprocessing.maximum / _BYTES)).astype(np.float32)
    prepared = values.values | {name: preprocessing.apply(given)}
    return replace(values, values=prepared, given={name: given})


def picture_sets(
    net: Net,
    pictures: Sequence[str],
    preparation: PicturePreparation,
    preprocessing: Preprocessing | None = None,
) -> list[InputSet]:
    """Each of the user's pictures by itself, as Caffe's net takes it.

    Args:
        net: for the size of its input.
        pictures: files.
        preparation: what is done to them; with `preprocessing`, only resize and crop count.
        preprocessing: what the module does by itself.

    Raises:
        ConfigError: the net takes no pictures. ShapeError: a picture does not fit.
    """
    if not pictures:
        return []
    name = (preprocessing.input if preprocessing is not None else "") or _picture_input(net)
    shape = net.blobs[name].shape
    size = (shape[2], shape[3])
    prepare = replace(
        preparation,
        resize=preparation.resize if preparation.resize or preparation.crop else size,
        crop=preparation.crop or (size if preparation.resize else None),
        gray=shape[1] == 1,
    )
    if preprocessing is None:
        return [InputSet(path, {name: prepare(path)[None]}, 1, picture=path) for path in pictures]
    prepare = replace(prepare, channel_order=preprocessing.channel_order.upper(), mean=None, scale=1.0)
    sets = []
    for path in pictures:
        given = (prepare(path)[None] * (preprocessing.maximum / _BYTES)).astype(np.float32)
        sets.append(InputSet(path, {name: preprocessing.apply(given)}, 1, {name: given}, picture=path))
    return sets


def _picture_input(net: Net) -> str:
    """The one input that is a picture.

    Raises:
        ConfigError: there are several inputs. ShapeError: it is no picture.
    """
    if len(net.inputs) != 1:
        raise ConfigError(
            f"the net has {len(net.inputs)} inputs, {net.inputs}; a picture is for a net with one"
        )
    shape = net.blobs[net.inputs[0]].shape
    if len(shape) != _PICTURE_AXES or shape[1] not in _PICTURE_CHANNELS:
        raise ShapeError(f'input "{net.inputs[0]}" has shape {list(shape)}, which is no picture')
    return net.inputs[0]


def _label_classes(net: Net) -> Mapping[str, int]:
    """Input blob -> number of classes, for inputs that are read as whole numbers, also through Splits."""
    origin: dict[int, str] = {id(blob): name for name, blob in net.blobs.items()}
    classes: dict[str, int] = {}
    for step in net.steps:
        kind, bottoms = step.layer.type, [origin.get(id(blob), "") for blob in step.bottom]
        if kind in ("Split", "Reshape", "Flatten"):
            origin.update({id(blob): bottoms[0] for blob in step.top})
        place, size = _whole_numbers(step, kind)
        if size and place < len(bottoms):
            classes[bottoms[place]] = size
    return classes


def _whole_numbers(step: LayerStep, kind: str) -> tuple[int, int]:
    """Which bottom is read as whole numbers, and how many there are to choose from; 0 if none is."""
    layer, shape = step.layer, step.bottom[0].shape if step.bottom else ()
    param = layer.param
    axes = {
        "SoftmaxWithLoss": param.softmax_param.axis,
        "InfogainLoss": param.infogain_loss_param.axis,
        "Accuracy": param.accuracy_param.axis,
    }
    if kind in axes:
        return 1, shape[axes[kind]]
    if kind in ("MultinomialLogisticLoss", "HingeLoss"):
        return 1, math.prod(shape[1:])
    if kind == "Embed":
        return 0, layer.blobs[0].shape[0]
    if kind == "BatchReindex":
        return 1, shape[0]
    if kind in ("Filter", "ContrastiveLoss"):
        return len(step.bottom) - 1, 2
    return 0, 0
