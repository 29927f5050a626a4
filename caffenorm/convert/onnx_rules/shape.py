"""Layers that route, cut and join blobs, and those that reduce them."""

from __future__ import annotations

import numpy as np

from caffenorm import schema
from caffenorm.convert.onnx_graph import product
from caffenorm.convert.onnx_part import BatchMattersError, Part, rule
from caffenorm.layer import canonical_axis
from caffenorm.layers.pad import Pad

_REDUCTION = schema.ReductionParameter
_PAD_MODES = {"constant": 1, "reflect": 1, "replicate": 1, "circular": 19}  # since which opset
_ONNX_MODES = {"replicate": "edge", "circular": "wrap"}


@rule("Input")
def net_input(part: Part) -> None:
    """The graph's inputs; nothing to compute."""


@rule("Silence")
def silence(part: Part) -> None:
    """Nothing comes out of it."""


@rule("Split")
def split(part: Part) -> None:
    """The same value under several names."""
    for i in range(len(part.top)):
        part.set(part.x, i)


@rule("DummyData")
def dummy_data(part: Part) -> None:
    """Constants."""
    fillers = list(part.layer.param.dummy_data_param.data_filler)
    for i, blob in enumerate(part.top):
        filler = fillers[min(i, len(fillers) - 1)] if fillers else schema.FillerParameter()
        if filler.type != "constant":
            raise part.fail("its values are random and new at each forward; make it an Input")
        part.set(part.constant(np.full(blob.shape, filler.value, np.float64), f"value_{i}"), i)


@rule("Parameter")
def parameter(part: Part) -> None:
    """A parameter of the net itself."""
    part.set(part.param(part.layer.blobs[0], "weight"))


@rule("Softmax")
def softmax(part: Part) -> None:
    axis = canonical_axis(part.layer.param.softmax_param.axis, part.bottom[0].num_axes)
    part.set(part.node("Softmax", part.x, axis=axis))


@rule("Concat")
def concat(part: Part) -> None:
    param = part.layer.param.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    part.set(part.node("Concat", *part.inputs, axis=canonical_axis(axis, part.bottom[0].num_axes)))


@rule("Slice")
def slice_(part: Part) -> None:
    """Split."""
    param = part.layer.param.slice_param
    axis = canonical_axis(
        param.slice_dim if param.HasField("slice_dim") else param.axis, part.bottom[0].num_axes
    )
    if len(part.top) == 1:
        part.set(part.x)
        return
    sizes = part.ints(_known(part, [part.dims(blob)[axis] for blob in part.top]), "sizes")
    for i, value in enumerate(part.nodes("Split", part.x, sizes, count=len(part.top), axis=axis)):
        part.set(value, i)


def _known(part: Part, sizes: list[int | None]) -> list[int]:
    """The sizes, none of which may follow the batch size."""
    if None in sizes:
        raise BatchMattersError(f'layer "{part.layer.name}" cuts the batch')
    return [size for size in sizes if size is not None]


@rule("Flatten")
def flatten(part: Part) -> None:
    """Flatten, where everything behind the batch becomes one axis."""
    param, bottom = part.layer.param.flatten_param, part.bottom[0]
    first, last = (canonical_axis(axis, bottom.num_axes) for axis in (param.axis, param.end_axis))
    if first == 1 and last == bottom.num_axes - 1:
        part.set(part.node("Flatten", part.x, axis=1))
    else:
        part.set(part.reshape(part.x, part.dims(part.top[0])))


@rule("Reshape")
def reshape(part: Part) -> None:
    part.set(part.reshape(part.x, part.dims(part.top[0])))


@rule("Permute")
def permute(part: Part) -> None:
    """Transpose."""
    order = list(part.layer.param.permute_param.order)
    order += [i for i in range(part.bottom[0].num_axes) if i not in order]
    part.set(part.node("Transpose", part.x, perm=order))


@rule("ShuffleChannel")
def shuffle_channel(part: Part) -> None:
    """Reshape, Transpose, Reshape."""
    groups, dims = part.layer.param.shuffle_channel_param.group, part.dims(part.bottom[0])
    channels = part.bottom[0].shape[1]
    inner = product(dims[2:])
    x = part.reshape(part.x, (dims[0], groups, channels // groups, inner), "groups")
    part.set(part.reshape(part.node("Transpose", x, at="turn", perm=[0, 2, 1, 3]), dims))


@rule("Crop")
def crop(part: Part) -> None:
    """Slice."""
    param, source = part.layer.param.crop_param, part.bottom[0]
    axes = list(range(canonical_axis(param.axis, source.num_axes), source.num_axes))
    offsets = list(param.offset) or [0]
    starts = [offsets[min(i, len(offsets) - 1)] for i in range(len(axes))]
    sizes = _known(part, [part.dims(part.top[0])[axis] for axis in axes])
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    listed = (part.ints(starts, "starts"), part.ints(ends, "ends"), part.ints(axes, "axes"))
    part.set(part.node("Slice", part.x, *listed))


@rule("Pad", "MirrorPad")
def pad(part: Part) -> None:
    """Pad; a border mirrored about the edge itself has no form in ONNX."""
    layer = part.layer
    assert isinstance(layer, Pad)
    since = _PAD_MODES.get(layer.mode)
    if since is None:
        raise part.fail(f"ONNX has no border of mode {layer.mode}")
    if part.graph.opset < since:
        raise part.fail(f"a border of mode {layer.mode} needs opset {since} or newer")
    pads = part.ints([before for before, _ in layer.pads] + [after for _, after in layer.pads], "pads")
    param, mirror = layer.param.pad_param, layer.param.mirror_pad_param
    value = param.value if param.HasField("value") else param.constant_values
    if layer.type == "MirrorPad":
        value = mirror.constant_values
    listed = [part.constant(float(value), "value")] if layer.mode == "constant" else []
    part.set(part.node("Pad", part.x, pads, *listed, mode=_ONNX_MODES.get(layer.mode, layer.mode)))


@rule("Tile")
def tile(part: Part) -> None:
    param, axes = part.layer.param.tile_param, part.bottom[0].num_axes
    counts = [1] * axes
    counts[canonical_axis(param.axis, axes)] = param.tiles
    part.set(part.node("Tile", part.x, part.ints(counts, "tiles")))


@rule("Reduction")
def reduction(part: Part) -> None:
    """ReduceSum, ReduceL1, ReduceSumSquare or ReduceMean."""
    param, axes = part.layer.param.reduction_param, part.bottom[0].num_axes
    op = {
        _REDUCTION.SUM: "ReduceSum",
        _REDUCTION.ASUM: "ReduceL1",
        _REDUCTION.SUMSQ: "ReduceSumSquare",
        _REDUCTION.MEAN: "ReduceMean",
    }[param.operation]
    over = list(range(canonical_axis(param.axis, axes), axes))
    at = "" if param.coeff == 1 else "reduced"
    part.set(part.times(part.reduce(op, part.x, over, keep=False, at=at), float(param.coeff)))


@rule("ArgMax")
def arg_max(part: Part) -> None:
    """ArgMax, or TopK from the end on: of equal values the later one comes first."""
    param, bottom, top = part.layer.param.argmax_param, part.bottom[0], part.top[0]
    if param.min_first:
        raise part.fail("min_first of a fork has no rule")
    dims, by_axis = part.dims(bottom), param.HasField("axis")
    x = part.x
    axis = canonical_axis(param.axis, bottom.num_axes) if by_axis else 1
    if not by_axis and bottom.num_axes != 2:
        x = part.reshape(x, (dims[0], product(dims[1:])), "rows")
    if param.top_k == 1 and not param.out_max_val:
        place = part.node("ArgMax", x, at="place", axis=axis, keepdims=1, select_last_index=1)
        y = part.to_float(place, "" if by_axis else "float")
        part.set(y if by_axis else part.reshape(y, part.dims(top)))
        return
    size = _known(part, [dims[axis]])[0] if by_axis else int(np.prod(bottom.shape[1:]))
    ends = (
        part.ints([-1], "start"),
        part.ints([-size - 1], "end"),
        part.ints([axis], "axis"),
        part.ints([-1], "step"),
    )
    turned = part.node("Slice", x, *ends, at="turned")
    values, places = part.nodes("TopK", turned, part.ints([param.top_k], "k"), at="top", count=2, axis=axis)
    index = part.to_float(part.node("Sub", part.constant(size - 1, "last"), places, at="places"), "index")
    if by_axis:
        part.set(values if param.out_max_val else index)
    elif param.out_max_val:
        both = part.node("Concat", index, values, at="both", axis=1)
        part.set(part.reshape(both, part.dims(top)))
    else:
        part.set(part.reshape(index, part.dims(top)))


@rule("BatchReindex")
def batch_reindex(part: Part) -> None:
    """Gather."""
    x, index = part.inputs
    rows = part.node("Cast", part.reshape(index, (None,), "flat"), at="index", to="INT64")
    part.set(part.node("Gather", x, rows, axis=0))
