"""Known causes of wrong conversions: the layers behind a blob are changed as each has it, and run again.

They are given the reference's own inputs, so a cause is found however deep in the net it is, and in a single
layer. The cause that leaves least of the difference explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.convert.options import BYTES, Preprocessing
from caffenorm.convert.proof.copies import blob_names
from caffenorm.convert.proof.figures import relative
from caffenorm.errors import CaffenormError
from caffenorm.layer import Layer
from caffenorm.net import Net
from caffenorm.plan import LayerStep

Array = NDArray[Any]  # Any: float64
_EXPLAINS = 1e-3  # of the difference may be left
_SAME = 1e-9
_NORMS = ("BatchNorm", "SyncBatchNorm")
_WEIGHTED = ("Convolution", "DepthwiseConvolution", "Deconvolution", "InnerProduct")
_CONVOLUTIONS = ("Convolution", "DepthwiseConvolution", "Deconvolution")
Change = Callable[[schema.LayerParameter], None]
Adjust = Callable[[Layer, Blob], None]
Turn = Callable[[Array], Array]


@dataclass(frozen=True)
class Cause:
    """Something that conversions get wrong.

    Attributes:
        says: the words after "it is what comes out if".
        types: of the layers that it concerns; empty for what concerns the inputs alone.
        change: of the parameter message. adjust: of the layer's blobs, given its bottom. turn: of the values
            that come in.
    """

    says: str
    types: tuple[str, ...] = ()
    change: Change | None = None
    adjust: Adjust | None = None
    turn: Turn | None = None


def explain(net: Net, blob: str, found: Array, folded: Collection[str] = ()) -> str:
    """Which known cause would make the layers behind a blob give `found`; empty if none does.

    Args:
        net: in float64, every layer by itself, after forward.
        blob: the first that departs.
        found: what the module made of it.
        folded: blobs that the module does not have, so that the layers behind them count too.
    """
    names = blob_names(net)
    steps = _behind(net, names, blob, folded)
    if all(step.layer.type == "Input" for step in steps):
        return ""
    expected = next(b.read() for step in steps for b in step.top if names[id(b)] == blob)
    inputs = _inputs(steps, names)
    types = {step.layer.type for step in steps}
    same = _result(net, steps, names, blob, inputs, None)
    if same is None or same.shape != expected.shape or relative(expected, same) > _SAME:
        return ""
    best, least = "", _EXPLAINS
    for cause in CAUSES:
        if cause.types and not types & set(cause.types):
            continue
        value = _result(net, steps, names, blob, inputs, cause)
        left = _left(value, expected, found)
        if left <= least and not (best and left == least):
            best, least = cause.says, left
    return best


def _behind(net: Net, names: Mapping[int, str], blob: str, folded: Collection[str]) -> list[LayerStep]:
    """The layers that make a blob, in place as well, of blobs that the module has."""
    wanted, found = {blob}, []
    for step in reversed(net.steps):
        if any(names[id(top)] in wanted for top in step.top):
            found.append(step)
            wanted |= {names[id(b)] for b in step.bottom if names[id(b)] in folded}
    return found[::-1]


def _inputs(steps: list[LayerStep], names: Mapping[int, str]) -> dict[str, Array]:
    """What those layers read that none of them has made."""
    made: set[str] = set()
    values = {}
    for step in steps:
        values.update({names[id(b)]: b.read().copy() for b in step.bottom if names[id(b)] not in made})
        made |= {names[id(b)] for b in step.top}
    return values


def _result(
    net: Net,
    steps: list[LayerStep],
    names: Mapping[int, str],
    blob: str,
    inputs: dict[str, Array],
    cause: Cause | None,
) -> Array | None:
    """What those layers make of the inputs, as the cause would have it; None if they cannot."""
    message = schema.NetParameter(force_backward=False)
    for name, value in inputs.items():
        layer = message.layer.add(name=f"{name} (input)", type="Input", top=[name])
        layer.input_param.shape.add(dim=list(value.shape))
    for step in steps:
        layer = message.layer.add()
        layer.CopyFrom(step.layer.param)
        del layer.bottom[:], layer.top[:]
        layer.bottom.extend(names[id(b)] for b in step.bottom)
        layer.top.extend(names[id(b)] for b in step.top)
        if cause is not None and cause.change is not None and layer.type in cause.types:
            cause.change(layer)
    turn = cause.turn if cause is not None and cause.turn is not None else lambda value: value
    given: dict[str, Any] = {name: turn(value) for name, value in inputs.items()}  # Any: arrays
    try:
        other = Net(message, net.phase, dtype=np.float64, fuse=False, allow_python=True)
        for step in steps:
            mine = other.layer_dict[step.layer.name]
            for target, source in zip(mine.blobs, step.layer.blobs, strict=True):
                target.write()[...] = source.read()
            if cause is not None and cause.adjust is not None and mine.type in cause.types:
                cause.adjust(mine, step.bottom[0])
        other.forward(**given)
    except (CaffenormError, ValueError):
        return None
    return np.array(other.blobs[blob].read())


def _left(value: Array | None, expected: Array, found: Array) -> float:
    """The share of the difference that a cause leaves; infinite if it does not explain it at all."""
    if value is None or value.shape != found.shape:
        return np.inf
    if expected.shape != found.shape:
        return relative(value, found)
    off = float(np.abs(expected - found).max(initial=0.0))
    left = float(np.abs(value - found).max(initial=0.0))
    return left / off if off and np.isfinite(off) and np.isfinite(left) else np.inf


def explain_pictures(preprocessing: Preprocessing, pictures: Array, found: Array) -> str:
    """Which known cause would make a module's first part give `found` for pictures; empty if none does.

    Args:
        preprocessing: as it should be. pictures: as the module takes them.
    """
    expected = preprocessing.apply(pictures)
    mean = np.asarray(0.0 if preprocessing.mean is None else preprocessing.mean, np.float64)
    turned = "rgb" if preprocessing.channel_order == "bgr" else "bgr"
    variants = {
        "the pictures' channels come in the opposite order": replace(preprocessing, channel_order=turned),
        "the mean is not subtracted": replace(preprocessing, mean=None),
        "the mean's channels are in the opposite order": replace(preprocessing, mean=np.flip(mean)),
        "the scale is left out": replace(preprocessing, scale=1.0),
        "the pictures' largest value is not taken into account": replace(preprocessing, maximum=BYTES),
        "the scale is applied before the mean": replace(preprocessing, mean=mean / preprocessing.scale),
    }
    for says, variant in variants.items():
        if _left(variant.apply(pictures), expected, found) <= _EXPLAINS:
            return says
    return ""


# --- the causes ---


def _eps(value: float) -> Change:
    def change(layer: schema.LayerParameter) -> None:
        layer.batch_norm_param.eps = value

    return change


def _batch_statistics(value: bool) -> Change:
    def change(layer: schema.LayerParameter) -> None:
        layer.batch_norm_param.use_global_stats = value

    return change


def _filled(index: int, value: float) -> Adjust:
    def adjust(layer: Layer, bottom: Blob) -> None:
        if len(layer.blobs) > index:
            layer.blobs[index].write()[...] = value

    return adjust


def _biased(layer: Layer, bottom: Blob) -> None:
    values = bottom.count / max(1, bottom.shape[1])
    layer.blobs[1].update()[...] *= max(0.0, values - 1) / values


def _turned_kernels(layer: Layer, bottom: Blob) -> None:
    weights = layer.blobs[0]
    axes = tuple(range(2, weights.num_axes))
    weights.write()[...] = np.flip(weights.read().copy(), axes)


def _transposed(layer: Layer, bottom: Blob) -> None:
    weights = layer.blobs[0].read().copy()
    if weights.ndim >= 2 and weights.shape[0] == weights.shape[1]:
        layer.blobs[0].write()[...] = weights.swapaxes(0, 1)


def _no_dilation(layer: schema.LayerParameter) -> None:
    layer.convolution_param.ClearField("dilation")


def _no_padding(layer: schema.LayerParameter) -> None:
    for param in (layer.convolution_param, layer.pooling_param):
        for field in ("pad", "pad_h", "pad_w"):
            param.ClearField(field)


def _floor(layer: schema.LayerParameter) -> None:
    layer.pooling_param.round_mode = schema.PoolingParameter.FLOOR


def _alpha_by_element(layer: schema.LayerParameter) -> None:
    param = layer.lrn_param
    within = param.norm_region == schema.LRNParameter.WITHIN_CHANNEL
    param.alpha *= param.local_size ** (2 if within else 1)


def _no_slope(layer: schema.LayerParameter) -> None:
    layer.relu_param.ClearField("negative_slope")


def _no_coefficients(layer: schema.LayerParameter) -> None:
    layer.eltwise_param.ClearField("coeff")


def _last_axis(layer: schema.LayerParameter) -> None:
    layer.softmax_param.axis = -1


def _flipped_channels(value: Array) -> Array:
    return np.flip(value, 1) if value.ndim >= 3 else value


def _channels_last(value: Array) -> Array:
    return np.moveaxis(value, 1, -1).reshape(value.shape) if value.ndim >= 3 else value


CAUSES = (
    Cause("the scale factor of BatchNorm is ignored", _NORMS, adjust=_filled(2, 1)),
    Cause("eps is 1e-5, PyTorch's default", _NORMS, change=_eps(1e-5)),
    Cause("eps is left out", _NORMS, change=_eps(0)),
    Cause("the stored variance is taken for a biased one", _NORMS, adjust=_biased),
    Cause(
        "BatchNorm takes the batch's statistics, not the stored ones", _NORMS, change=_batch_statistics(False)
    ),
    Cause("BatchNorm takes the stored statistics, not the batch's", _NORMS, change=_batch_statistics(True)),
    Cause("the factor of Scale is left out", ("Scale",), adjust=_filled(0, 1)),
    Cause("the offset of Scale is left out", ("Scale",), adjust=_filled(1, 0)),
    Cause("the bias is left out", _WEIGHTED, adjust=_filled(1, 0)),
    Cause("the weights are transposed", _WEIGHTED, adjust=_transposed),
    Cause("the kernels are turned by 180 degrees", _CONVOLUTIONS, adjust=_turned_kernels),
    Cause("the dilation is left out", _CONVOLUTIONS, change=_no_dilation),
    Cause("the padding is left out", (*_CONVOLUTIONS, "Pooling"), change=_no_padding),
    Cause("pooling rounds its output size down, where Caffe rounds up", ("Pooling",), change=_floor),
    Cause("LRN's alpha is not divided by the size of its window", ("LRN",), change=_alpha_by_element),
    Cause("the negative slope of ReLU is left out", ("ReLU",), change=_no_slope),
    Cause("the coefficients of Eltwise are left out", ("Eltwise",), change=_no_coefficients),
    Cause("the softmax goes along the last axis", ("Softmax",), change=_last_axis),
    Cause("what comes in was flattened with the channels last", ("InnerProduct",), turn=_channels_last),
    Cause("the channels come in the opposite order (RGB for BGR, perhaps)", turn=_flipped_channels),
)
