"""Reading `.caffemodel` files: names, types and blobs, in all layouts and dialects.

A net's message holds `layer` 100 (V2, since 2014), or `layers` 2 (V1), or `layers` whose `layer` 1 holds
everything (V0). Only
names, types and blobs are decoded: their numbers are the same in every dialect, while those of the layers'
    parameters are
not, so these stay bytes (see `structure.py` for who wants them).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from caffenorm._files import Pathish
from caffenorm.errors import WeightsError, Where
from caffenorm.weights.blobproto import read_blob_message
from caffenorm.weights.files import open_weights
from caffenorm.weights.model import LayerWeights, ModelWeights, some_names
from caffenorm.weights.sniff import HEAD, is_hdf5, what_else
from caffenorm.weights.wire import BYTES, VARINT, Source, encode_header, fields

_NET_LAYERS, _NET_LAYER = 2, 100
_V1_NESTED = 1

_MOST_LAYERS = 20_000  # the deepest nets have a few thousand; a file that has more was made to waste memory
_MOST_BLOBS = 1_000  # in one layer; the most that is known is 8


@dataclass(frozen=True)
class _Numbers:
    """The field numbers of a layer's message in one of the three layouts."""

    name: int
    type: int
    blobs: int


_V2, _V1, _V0 = _Numbers(1, 2, 7), _Numbers(4, 5, 6), _Numbers(1, 2, 50)


def read_caffemodel(path: Pathish) -> ModelWeights:
    """Read a `.caffemodel`; each blob's values are copied once, from the file into an array of their own.

    Args:
        path: the file.

    Returns:
        All layers with their blobs. `notes` says which dialect's storage was found, if an unusual one.

    Raises:
        WeightsError: there is no such file, it is something else (the message says what, where its first
            bytes tell), or it is cut off or damaged (the message names the layer).

    Caffe: in a file with both `layer` and `layers`, `layers` decide and `layer` is passed over; here both are
    read.
    """
    with open_weights(path) as (source, file):
        head = source.span(0, min(HEAD, source.size))
        if is_hdf5(head):
            raise WeightsError("this is an HDF5 file; read it with read_hdf5 or read_weights", Where(file))
        other = what_else(head)
        if other:
            raise WeightsError(f"this is {other}", Where(file))
        return _Reader(source, file).read()


class _Reader:
    """Reads one file; keeps what it has seen so that errors and notes can name it."""

    def __init__(self, source: Source, file: str) -> None:
        self._source = source
        self._file = file
        self._layers: list[LayerWeights] = []
        self._formats: set[str] = set()
        self._dialects: defaultdict[str, list[str]] = defaultdict(list)
        self._net_fields: list[bytes] = []
        self._name = ""

    def read(self) -> ModelWeights:
        try:
            self._read_net()
        except WeightsError as error:
            raise self._placed(error) from error
        if not self._layers:
            raise WeightsError(f"this file holds no layers{self._guess()}", Where(self._file))
        newest = max(self._formats)
        notes = [f"{what} in {some_names(layers)}" for what, layers in self._dialects.items()]
        if len(self._formats) > 1:
            notes.append(f"layers in several layouts ({', '.join(sorted(self._formats))}) in one file")
        return ModelWeights(
            self._file, f"caffemodel {newest}", self._layers, notes, b"".join(self._net_fields)
        )

    def _read_net(self) -> None:
        source = self._source
        kept_from = position = 0
        for number, wire, value, stop in fields(source, 0, source.size):
            if wire == BYTES and number in (_NET_LAYER, _NET_LAYERS):
                if len(self._layers) == _MOST_LAYERS:
                    raise WeightsError(f"more than {_MOST_LAYERS} layers")
                if number == _NET_LAYER:
                    self._formats.add("V2")
                    self._layers.append(self._layer(value, stop, _V2))
                else:
                    self._layers.append(self._old_layer(value, stop))
                self._name = ""
                self._net_fields.append(source.span(kept_from, position))
                kept_from = stop
            position = stop
        self._net_fields.append(source.span(kept_from, position))

    def _old_layer(self, start: int, end: int) -> LayerWeights:
        layer = self._layer(start, end, _V1)
        inner = [
            (value, stop)
            for number, wire, value, stop in fields(Source.of_bytes(layer.raw), 0, len(layer.raw))
            if number == _V1_NESTED and wire == BYTES
        ]
        layer.layout = "V0" if inner else "V1"
        self._formats.add(layer.layout)
        return layer

    def _layer(self, start: int, end: int, numbers: _Numbers) -> LayerWeights:
        source = self._source
        layer = LayerWeights("", "", [], [], [], layout="V2" if numbers is _V2 else "V1")
        kept: list[bytes] = []
        kept_from = position = start
        for number, wire, value, stop in fields(source, start, end):
            if wire == BYTES:
                if number == numbers.blobs:
                    self._add_blob(layer, value, stop)
                    kept.append(source.span(kept_from, position))
                    kept_from = stop
                elif number == numbers.name:
                    layer.name = self._name = lenient_text(source.span(value, stop))
                elif number == numbers.type:
                    layer.type = lenient_text(source.span(value, stop))
                elif number == _V1_NESTED and numbers is _V1:
                    kept += source.span(kept_from, position), self._merge_nested(layer, value, stop)
                    kept_from = stop
            elif wire == VARINT and number == numbers.type:
                layer.type = v1_type_name(value)
            position = stop
        kept.append(source.span(kept_from, position))
        layer.raw = b"".join(kept)
        layer.indices = list(range(len(layer.blobs)))
        return layer

    def _merge_nested(self, layer: LayerWeights, start: int, end: int) -> bytes:
        """Take name, type and blobs of a V0 layer; return its field without the blobs."""
        nested = self._layer(start, end, _V0)
        layer.name, layer.type = nested.name, nested.type
        layer.blobs += nested.blobs
        layer.legacy += nested.legacy
        return encode_header(_V1_NESTED, len(nested.raw)) + nested.raw

    def _add_blob(self, layer: LayerWeights, start: int, end: int) -> None:
        index = len(layer.blobs)
        if index == _MOST_BLOBS:
            raise WeightsError(f"more than {_MOST_BLOBS} blobs")
        try:
            blob = read_blob_message(self._source, start, end)
        except WeightsError as error:
            raise WeightsError(f"blob {index}: {error.message}") from error
        layer.blobs.append(blob.array)
        layer.legacy.append(blob.legacy)
        if blob.note and layer.name not in self._dialects[blob.note]:
            self._dialects[blob.note].append(layer.name)

    def _placed(self, error: WeightsError) -> WeightsError:
        """The same error with what the walk knows of the place."""
        if self._name:
            return WeightsError(error.message, Where(self._file, layer=self._name))
        if self._layers:
            return WeightsError(f'after layer "{self._layers[-1].name}": {error.message}', Where(self._file))
        return WeightsError(f"this is no caffemodel{self._guess()} ({error.message})", Where(self._file))

    def _guess(self) -> str:
        """What a protobuf file without layers seems to be, from the types of its first fields."""
        seen = set()
        try:
            for number, wire, _value, _stop in fields(self._source, 0, self._source.size):
                seen.add((number, wire))
                if len(seen) > 8:
                    break
        except WeightsError:
            pass
        if {(1, VARINT), (3, BYTES)} <= seen:
            return "; it looks like a solver's state, whose weights are in the .caffemodel beside it"
        if {(1, VARINT), (7, BYTES)} <= seen or {(1, VARINT), (5, BYTES)} <= seen:
            return "; it looks like a mean image (.binaryproto) or an ONNX model"
        return ""


def lenient_text(content: bytes) -> str:
    """A name in the file as text; bytes that are not UTF-8 become escapes: distinct and printable."""
    return content.decode("utf-8", "backslashreplace")


@cache
def v1_type_name(number: int) -> str:
    """The name of a V1 layer's type ("CONVOLUTION"), or the number where BVLC gives it no name."""
    from caffenorm import schema

    for value in schema.V1LayerParameter.LayerType.DESCRIPTOR.values:
        if value.number == number:
            return str(value.name)
    return str(number)
