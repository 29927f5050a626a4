"""The structure of a net from its `.caffemodel`, where no prototxt is at hand.

A prototxt is always the better source: field numbers of layers' parameters clash between forks. What every
    dialect agrees on
(names, types, bottoms, tops, param, include ...) is taken as it is. Each parameter message is decoded on its
own: by its number where our schema's field of that number belongs to the layer's type, else as the message
    that the type can only mean
(a ROIPooling layer has its parameters at 147, 150, 154 or 204: whichever is there is the one). What does not
decode is left out with a warning; it never costs the layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator
from functools import cache

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from caffenorm import schema
from caffenorm._files import Pathish
from caffenorm.errors import CaffenormWarning
from caffenorm.weights.caffemodel import lenient_text, read_caffemodel
from caffenorm.weights.model import LayerWeights
from caffenorm.weights.wire import BYTES, Source, encode_header, fields

# Numbers that mean the same in every dialect.
_COMMON_TO_NETS = range(1, 9)
_COMMON_TO_LAYERS = (*range(1, 12), *range(100, 132))
_COMMON_TO_V1 = (*range(1, 43), 1001, 1002)

# Types whose parameters have another name than the type, and those with several.
_ELSEWHERE = {
    "AnnotatedData": ("data_param", "annotated_data_param"),
    "BN": ("bn_param",),
    "ConvolutionDepthwise": ("convolution_param",),
    "Deconvolution": ("convolution_param",),
    "DepthwiseConvolution": ("convolution_param",),
    "DetectionEvaluate": ("detection_evaluate_param",),
    "EuclideanLoss": (),
    "Im2col": ("convolution_param",),
    "ImageSegData": ("image_data_param",),
    "LSTM": ("recurrent_param", "lstm_param"),
    "Lstm": ("lstm_param",),
    "MultiBoxLoss": ("multibox_loss_param",),
    "Normalize": ("norm_param", "normalize_param"),
    "RNN": ("recurrent_param",),
    "SmoothL1Loss": ("smooth_l1_loss_param",),
    "SoftmaxWithLoss": ("softmax_param",),
}


def read_net_from_caffemodel(path: Pathish) -> schema.NetParameter:
    """Read the structure of a net from a `.caffemodel`, without its blobs.

    Args:
        path: the file.

    Returns:
        The net with the layers as the file has them: `layer`, or `layers` of the old forms, which upgrade
            like a prototxt's.

    Raises:
        WeightsError: as `read_caffemodel`.
    """
    weights = read_caffemodel(path)
    net = schema.NetParameter()
    decoder = _Decoder()
    decoder.net(net, weights.net_fields)
    for layer in weights.layers:
        if layer.layout in ("V0", "V1"):
            decoder.old_layer(net.layers.add(), layer)
        else:
            decoder.layer(net.layer.add(), layer)
    for what in decoder.lost:
        warnings.warn(f"{weights.file}: {what}", CaffenormWarning, stacklevel=2)
    return net


class _Decoder:
    """Fills messages field by field; `lost` says what did not decode."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def net(self, net: schema.NetParameter, raw: bytes) -> None:
        for number, _wire, content, text in _split(raw):
            self._merge(net, number, content, text, "the net", _COMMON_TO_NETS)

    def old_layer(self, message: schema.V1LayerParameter, layer: LayerWeights) -> None:
        for number, _wire, content, text in _split(layer.raw):
            self._merge(message, number, content, text, f'layer "{layer.name}"', _COMMON_TO_V1)

    def layer(self, message: schema.LayerParameter, layer: LayerWeights) -> None:
        """Plain numbers beyond the common ones, precision and debug switches of forks, are passed over."""
        what = f'layer "{layer.name}" ({layer.type})'
        known = schema.LayerParameter.DESCRIPTOR.fields_by_number
        names = _names_of_type(layer.type)
        elsewhere = [name for name in names if _number(name) not in _COMMON_TO_LAYERS]
        for number, wire, content, text in _split(layer.raw):
            if number in _COMMON_TO_LAYERS or (
                wire == BYTES and number in known and known[number].name in names
            ):
                self._merge(message, number, content, text, what, (number,))
            elif wire == BYTES and elsewhere and not any(message.HasField(name) for name in names):
                meant = _number(elsewhere[0])
                self._merge(message, meant, encode_header(meant, len(text)) + text, text, what, (meant,))
            elif wire == BYTES:
                self._lose(what, number)

    def _merge(
        self, message: Message, number: int, content: bytes, text: bytes, what: str, known: Container[int]
    ) -> None:
        """Merge one field, given with its header (`content`) and without (`text`), into the message."""
        field = message.DESCRIPTOR.fields_by_number.get(number)
        if field is None or number not in known:
            self._lose(what, number)
            return
        if field.type == FieldDescriptor.TYPE_STRING:
            _set_text(message, field.name, lenient_text(text))
            return
        scratch = type(message)()
        try:
            scratch.MergeFromString(content)
            _read_texts(scratch)
        except (DecodeError, ValueError) as error:
            self.lost.append(f"{what}: {field.name} does not decode ({error}), and was left out")
            return
        message.MergeFrom(scratch)

    def _lose(self, what: str, number: int) -> None:
        self.lost.append(f"{what}: field {number} is of a dialect that is not known, and was left out")


def _split(raw: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """The fields of a message: number, wire type, all bytes, and the content where it has a length."""
    position = 0
    for number, wire, value, stop in fields(Source.of_bytes(raw), 0, len(raw)):
        yield number, wire, raw[position:stop], raw[value:stop] if wire == BYTES else b""
        position = stop


def _number(name: str) -> int:
    """The number of a field of LayerParameter in our schema."""
    return int(schema.LayerParameter.DESCRIPTOR.fields_by_name[name].number)


def _set_text(message: Message, name: str, text: str) -> None:
    if isinstance(getattr(message, name), str):
        setattr(message, name, text)
    else:
        getattr(message, name).append(text)


def _read_texts(message: Message) -> None:
    """Raise ValueError for a text that is not UTF-8: protobuf notices at access, or gives bytes for it."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                _read_texts(part)
        elif field.type == FieldDescriptor.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                if not isinstance(text, str):
                    raise ValueError(f"{field.name} holds bytes that are no UTF-8 text")


@cache
def _names_of_type(layer_type: str) -> tuple[str, ...]:
    """The fields that hold the parameters of a layer type, apart from those that any type may have."""
    if layer_type in _ELSEWHERE:
        return _ELSEWHERE[layer_type]
    plain = layer_type.lower().replace("_", "")
    return tuple(
        field.name
        for field in schema.LayerParameter.DESCRIPTOR.fields
        if field.name.removesuffix("_param").replace("_", "") == plain and field.message_type is not None
    )
