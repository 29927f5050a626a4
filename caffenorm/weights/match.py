"""Weights of a file -> blobs of a net, matched by layer name as Caffe does."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from caffenorm.errors import WeightsError, Where
from caffenorm.weights.batchnorm import Statistics, is_batch_norm, recognise, stored_form
from caffenorm.weights.model import Array, LayerWeights, ModelWeights, some_names
from caffenorm.weights.report import LoadReport


class TargetBlob(Protocol):
    """A parameter of the net: all that counts is its shape."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Assignment(NamedTuple):
    """Values for one parameter of the net, in its shape; float32 or float64 as the file holds them."""

    layer: str
    blob: int
    array: Array


def match(
    weights: ModelWeights,
    targets: Mapping[str, Sequence[TargetBlob]],
    *,
    followers: Mapping[str, str] | None = None,
    owned: Mapping[str, Sequence[bool]] | None = None,
    averages: Collection[str] = (),
    allow_nan: bool = False,
    skip_mismatched: bool = False,
) -> tuple[LoadReport, list[Assignment]]:
    """Decide which values of a file go where in a net; nothing is copied yet.

    Args:
        weights: the file.
        targets: the parameters of each layer of the net, by layer name; layers without any may be left out.
        followers: for batch normalisation layers of the net, the Scale layer that alone reads their top:
            where the file holds both as one layer (Intel, NVIDIA), its scale and offset go there.
        owned: by layer, which of its parameters are its own; those that it shares with another layer may be
            missing in an HDF5 file, which stores them with their owner.
        averages: the batch normalisation layers of the net that hold averages and ignore the scale factor, as
            NVIDIA's do: sums of other dialects are divided for them. One that has five blobs, where the file
            has BVLC's three, is taken for such a layer.
        allow_nan: accept NaN and infinity in the statistics of batch normalisation, with a note.
        skip_mismatched: pass over layers that do not fit, and list them in the report, instead of raising.

    Returns:
        The report, and the values in the order of the file; where two are for the same parameter the later
        one counts.

    Raises:
        WeightsError: a layer that both have differs in number or shapes of blobs, or statistics are not
            finite; the message names all such layers, with both shapes.

    Caffe: layers on one side only are passed over. Blobs without a shape message, with four old axes, fit a
    parameter of fewer axes where the first ones are 1. Equal counts do not make shapes equal.
    """
    matcher = _Matcher(weights, targets, followers or {}, owned or {}, averages, allow_nan)
    for layer in weights.layers:
        matcher.take(layer)
    report = matcher.report()
    mismatched = () if skip_mismatched else report.mismatched
    if matcher.faults or mismatched:
        raise WeightsError(_complaint(matcher.faults, mismatched), Where(weights.file))
    return report, matcher.assignments


class _Matcher:
    """Goes through the layers of a file; collects what fits, what does not, and what the user should know."""

    def __init__(
        self,
        weights: ModelWeights,
        targets: Mapping[str, Sequence[TargetBlob]],
        followers: Mapping[str, str],
        owned: Mapping[str, Sequence[bool]],
        averages: Collection[str],
        allow_nan: bool,
    ) -> None:
        self._weights = weights
        self._stored = weights.layer_dict
        self._targets = targets
        self._followers = followers
        self._owned = owned
        self._averages = averages
        self._allow_nan = allow_nan
        self._loaded: dict[str, None] = {}  # as an ordered set
        self._unused: dict[str, None] = {}
        self._notes: defaultdict[str, list[str]] = defaultdict(list)
        self._doubts: defaultdict[str, list[str]] = defaultdict(list)
        self.assignments: list[Assignment] = []
        self.mismatched: dict[str, list[str]] = {}
        self.faults: list[str] = []

    def take(self, layer: LayerWeights) -> None:
        """Match one layer of the file."""
        name = layer.name
        if name not in self._targets:
            if layer.blobs:
                self._unused[name] = None
            return
        if layer is not self._stored[name]:
            self._doubts["more than once in the file; the last one counts"].append(name)
            return
        if not layer.blobs and name in self._followers.values():
            return  # a Scale whose blobs the file holds with the BatchNorm in front; if not, it is missing
        batch_norm = self._is_batch_norm(layer)
        statistics = recognise(layer) if batch_norm else None
        if statistics is not None:
            self._take_batch_norm(layer, statistics)
            return
        if batch_norm and stored_form(layer):
            self._notes[stored_form(layer)].append(name)
        legacy = dict(zip(layer.indices, layer.legacy, strict=True))
        self._load(name, dict(zip(layer.indices, layer.blobs, strict=True)), legacy, channelwise=batch_norm)

    def report(self) -> LoadReport:
        known = self._loaded.keys() | self.mismatched.keys()
        doubts = _told(self._doubts)
        return LoadReport(
            loaded=tuple(self._loaded),
            missing=tuple(name for name, blobs in self._targets.items() if len(blobs) and name not in known),
            unused=tuple(self._unused),
            mismatched=tuple(fault for faults in self.mismatched.values() for fault in faults),
            notes=(*self._weights.notes, *_told(self._notes), *doubts),
            doubts=doubts,
            file=self._weights.file,
        )

    def _is_batch_norm(self, layer: LayerWeights) -> bool:
        """By the type in the file; HDF5 holds none: what a Scale follows, or has BatchNorm's shapes."""
        if layer.type:
            return is_batch_norm(layer)
        shapes = [blob.shape for blob in self._targets[layer.name]]
        return layer.name in self._followers or (
            len(shapes) == 3 and shapes[0] == shapes[1] and shapes[2] == (1,)
        )

    def _take_batch_norm(self, layer: LayerWeights, statistics: Statistics) -> None:
        name = layer.name
        for fault in statistics.not_finite():
            if self._allow_nan:
                self._doubts[fault].append(name)
            else:
                self.faults.append(f'layer "{name}": {fault}; allow_nan takes them as they are')
        for doubt in statistics.doubts():
            self._doubts[doubt].append(name)
        want, have = len(self._targets[name]), len(layer.blobs)
        averages = name in self._averages or (want == 5 and have == 3)
        if averages and statistics.averaged() is not statistics:
            statistics = statistics.averaged()
            self._notes["sums divided by their scale factor, as the net holds averages"].append(name)
        if statistics.form:
            self._notes[statistics.form].append(name)
        as_stored = want == have and not averages and not (want == 5 and statistics.reordered)
        blobs = layer.blobs if as_stored else statistics.blobs
        if want == 3:
            if self._hand_on(name, statistics):
                self._load(name, dict(enumerate(blobs[:3])), channelwise=True)
        elif want == 5 or (want == 4 and (have == 4 or not statistics.has_offset())):
            if len(blobs) < want:
                self._notes["scale or offset are not in the file; the net's stay"].append(name)
            self._load(name, dict(enumerate(blobs[:want])), channelwise=True, optional=True)
        else:
            self._load(name, dict(enumerate(layer.blobs)), channelwise=True)

    def _hand_on(self, name: str, statistics: Statistics) -> bool:
        """Give scale and offset to the Scale layer that follows; whether all is well."""
        if statistics.gamma is None:
            return True
        scale = self._followers.get(name)
        taken = scale is not None and scale in self._stored and bool(self._stored[scale].blobs)
        if scale is None or taken:
            if statistics.is_plain():
                self._notes["scale 1 and offset 0 in the file; the net needs none there"].append(name)
                return True
            why = (
                f'"{scale}", which follows it, has its own in the file'
                if taken
                else "no Scale layer follows it in the net"
            )
            self.mismatched[name] = [
                f'layer "{name}": the file holds a scale and an offset with it, and {why}'
            ]
            return False
        offset = statistics.beta if statistics.beta is not None else np.zeros_like(statistics.gamma)
        want = len(self._targets.get(scale, ()))
        if want == 1 and statistics.has_offset():
            self.mismatched[name] = [
                f'layer "{name}": the file holds an offset with it, and Scale "{scale}" has no bias_term'
            ]
            return False
        self._notes[_HANDED_ON].append(scale)
        self._load(scale, dict(enumerate([statistics.gamma, offset][:want])), channelwise=True)
        return scale in self._loaded

    def _load(
        self,
        name: str,
        blobs: Mapping[int, Array],
        legacy: Mapping[int, bool] | None = None,
        *,
        channelwise: bool,
        optional: bool = False,
    ) -> None:
        """Assign the blobs of one layer, all or none.

        Args:
            name: of the layer.
            blobs: by index.
            legacy: by index, whether a blob has no shape message in the file.
            channelwise: axes of 1 do not count.
            optional: blobs from 3 on may be missing.
        """
        targets = self._targets[name]
        faults = self._count_faults(name, blobs, optional)
        found = []
        for index, blob in sorted(blobs.items()) if not faults else ():
            shape = tuple(targets[index].shape)
            old = legacy is not None and legacy[index]
            if _fits(blob.shape, shape, old) or (channelwise and _vector(blob.shape) == _vector(shape)):
                found.append(Assignment(name, index, blob.reshape(shape)))
            else:
                faults.append(f'layer "{name}", blob {index}: {blob.shape} in the file, {shape} in the net')
        if faults:
            self.mismatched[name] = faults
            return
        self.assignments += found
        if len(targets):
            self._loaded[name] = None

    def _count_faults(self, name: str, blobs: Mapping[int, Array], optional: bool) -> list[str]:
        """What is wrong with the numbers of the blobs, apart from their shapes."""
        targets = self._targets[name]
        own = self._owned.get(name, [True] * len(targets))
        hdf5 = self._weights.format == "HDF5"
        lacking = [
            index
            for index in range(len(targets))
            if index not in blobs and not (hdf5 and not own[index]) and not (optional and index >= 3)
        ]
        if not lacking and all(index < len(targets) for index in blobs):
            return []
        stored = [blobs[index].shape for index in sorted(blobs)]
        shapes = [tuple(blob.shape) for blob in targets]
        return [f'layer "{name}": {_blobs(stored)} in the file, {_blobs(shapes)} in the net']


_HANDED_ON = "scale and offset taken from the BatchNorm layer in front, with which the file holds them"


def _fits(stored: tuple[int, ...], shape: tuple[int, ...], legacy: bool) -> bool:
    """Whether a blob of the file fits a parameter by Caffe's rules."""
    if not legacy:
        return stored == shape
    if len(stored) == 1:  # no shape at all in the file: the count must do
        return stored[0] == math.prod(shape)
    return len(shape) <= len(stored) and (1,) * (len(stored) - len(shape)) + shape == stored


def _vector(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of 1."""
    return tuple(dim for dim in shape if dim != 1)


def _told(found: Mapping[str, list[str]]) -> tuple[str, ...]:
    """One sentence for each finding, with the layers it is about."""
    return tuple(
        f"{'layer' if len(names) == 1 else 'layers'} {some_names(names)}: {what}"
        for what, names in found.items()
    )


def _complaint(faults: Sequence[str], mismatched: Sequence[str]) -> str:
    """All that is wrong in one message, one fault a line if there are several."""
    lines = [*mismatched, *faults]
    hint = "the file and the net seem to differ; compare them with `caffenorm summary`" if mismatched else ""
    if len(lines) == 1:
        return "; ".join(filter(None, (lines[0], hint)))
    return "\n  ".join(filter(None, (f"{len(lines)} things are wrong:", *lines, hint)))


def _blobs(shapes: Sequence[tuple[int, ...]]) -> str:
    if not shapes:
        return "no blobs"
    listed = ", ".join(str(shape) for shape in shapes)
    return f"1 blob {listed}" if len(shapes) == 1 else f"{len(shapes)} blobs {listed}"
