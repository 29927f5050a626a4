"""What routes, cuts, joins and reduces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Shape, Value
from caffenorm.convert.torch_to_caffe.op import Op, refuse, rule, written
from caffenorm.convert.torch_to_caffe.steps import power, reshape, tile
from caffenorm.errors import ConversionError

_POOL, _REDUCTION = schema.PoolingParameter, schema.ReductionParameter

# --- nothing to compute ---


@rule(
    *("contiguous", "clone", "detach", "detach_", "alias", "lift_fresh_copy", "lift_fresh", "positive"),
    *("feature_dropout", "alpha_dropout", "feature_alpha_dropout", "to", "_to_copy", "type_as", "identity"),
)
def nothing(op: Op) -> Value:
    """Also what only drops in training, in a way that no layer does."""
    if op.kind.endswith("dropout"):
        op.note("does nothing when it is not training, and no layer does what it does then; it is left out")
        return op.x("input")
    if op.rounds:
        raise ConversionError("no layer rounds")
    return op.x()


# --- shapes ---


@rule(
    *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as"),
    *("reshape_as", "_reshape_alias"),
)
def reshaped(op: Op) -> Value:
    x, shape = op.x(), op.shape
    if len(x.shape) > 1 and shape == (x.shape[0], math.prod(x.shape[1:])) and x.shape != shape:
        return op.layer("Flatten", [x])
    joined = _joined_axes(x.shape, shape)
    if joined is not None and op.kind == "flatten":
        first, last = joined
        param = ({} if first == 1 else {"axis": first}) | (
            {} if last == len(x.shape) - 1 else {"end_axis": last}
        )
        return op.layer("Flatten", [x], flatten_param=param)
    return reshape(op, x, shape)


def _joined_axes(before: Shape, after: Shape) -> tuple[int, int] | None:
    """The axes [first, last] that are one afterwards, where that is all that changes."""
    count = len(before) - len(after)
    for first in range(len(after)):
        last = first + count
        if count > 0 and after == (*before[:first], math.prod(before[first : last + 1]), *before[last + 1 :]):
            return first, last
    return None


@rule("permute", "transpose", "t", "numpy_T", "swapaxes", "movedim")
def permute(op: Op) -> Value:
    x = op.x()
    axes = len(x.shape)
    if op.kind == "permute":
        order = [dim % axes for dim in op["dims"]]
    elif op.kind in ("t", "numpy_T"):
        order = list(reversed(range(axes)))
    elif op.kind == "movedim":
        raise ConversionError("write it as permute")
    else:
        order = list(range(axes))
        a, b = op.get("dim0", op.get("axis0")) % axes, op.get("dim1", op.get("axis1")) % axes
        order[a], order[b] = order[b], order[a]
    if order == list(range(axes)):
        return x
    return op.layer("Permute", [x], permute_param={"order": order})


@rule("caffenorm.shuffle_channel", "channel_shuffle")
def shuffle_channel(op: Op) -> Value:
    """Also what `patterns` finds a view, a transposition and a view to be."""
    return op.layer("ShuffleChannel", [op.x()], shuffle_channel_param={"group": op["groups"]})


@rule("pixel_shuffle", "pixel_unshuffle")
def pixel_shuffle(op: Op) -> Value:
    """Two Reshapes around a Permute."""
    x = op.x()
    if len(x.shape) != 4:
        raise ConversionError("needs 4 axes, (N, C, H, W)")
    n = x.shape[0]
    if op.kind == "pixel_shuffle":
        r, (c, h, w) = op["upscale_factor"], x.shape[1:]
        split, order = (n, c // r**2, r, r, h, w), [0, 1, 4, 2, 5, 3]
    else:
        r, (c, h, w) = op["downscale_factor"], x.shape[1:]
        split, order = (n, c, h // r, r, w // r, r), [0, 1, 3, 5, 2, 4]
    y = reshape(op, x, split, "split")
    moved = tuple(split[i] for i in order)
    y = op.layer("Permute", [y], moved, suffix="permute", permute_param={"order": order})
    return reshape(op, y, op.shape)


@rule("expand", "repeat", "expand_as")
def expanded(op: Op) -> Value:
    x = op.x()
    if op.kind != "repeat":
        return tile(op, x, op.shape, "")
    repeats = [int(n) for n in op["repeats"]]
    shape = (1,) * (len(repeats) - len(x.shape)) + x.shape
    y = reshape(op, x, shape, "axes")
    for axis, count in enumerate(repeats):
        if count != 1:
            grown = tuple(n * count if i == axis else n for i, n in enumerate(y.shape))
            y = op.layer("Tile", [y], grown, tile_param={"axis": axis, "tiles": count})
    return y


# --- cutting and joining ---


@rule("cat", "concat", "concatenate")
def cat(op: Op) -> Value:
    parts = [part for part in op["tensors"] if not (isinstance(part, Value) and part.shape == (0,))]
    _computed(parts)
    if len(parts) == 1:
        return Value(parts[0].blob, op.shape)
    return _concat(op, parts, op["dim"] % len(op.shape))


def _concat(op: Op, parts: Sequence[Value], axis: int) -> Value:
    return op.layer("Concat", parts, **written("concat_param", axis=None if axis == 1 else axis))


def _computed(parts: Sequence[Any]) -> None:  # Any: Values and tensors
    if not all(isinstance(part, Value) for part in parts):
        raise ConversionError("one of its parts is a constant; Concat takes blobs")


@rule("stack")
def stack(op: Op) -> Value:
    parts = op["tensors"]
    _computed(parts)
    axis = op["dim"] % len(op.shape)
    shape = tuple(1 if i == axis else n for i, n in enumerate(op.shape))
    return _concat(op, [reshape(op, part, shape, f"part{i + 1}") for i, part in enumerate(parts)], axis)


@rule("split", "chunk", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split", "unbind")
def split(op: Op) -> Sequence[Value | None]:
    x = op.x()
    axis = op["dim"] % len(x.shape)
    if op.kind == "unbind":
        ones = [tuple(1 if i == axis else n for i, n in enumerate(x.shape))] * x.shape[axis]
        parts = _sliced(op, x, axis, ones, "slice")
        wanted = [i for i in range(len(parts)) if i in op.wanted]
        op.silence([part for i, part in enumerate(parts) if i not in wanted])
        made = {i: reshape(op, parts[i], op.shape, f"part{i + 1}") for i in wanted}
        return [made.get(i) for i in range(len(parts))]
    parts = _sliced(op, x, axis, op.shapes)
    op.silence([part for i, part in enumerate(parts) if i not in op.wanted])
    return parts


def _sliced(op: Op, x: Value, axis: int, shapes: Sequence[Shape], suffix: str = "") -> list[Value]:
    if len(shapes) == 1:
        return [Value(x.blob, shapes[0])]
    sizes = [shape[axis] for shape in shapes]
    param: dict[str, Any] = {} if axis == 1 else {"axis": axis}  # Any: a number, and a list of some
    if len(set(sizes)) > 1:
        param["slice_point"] = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
    return op.layers("Slice", [x], shapes, suffix=suffix, **written("slice_param", **param))


@rule("slice", "narrow", "select")
def cut(op: Op) -> Value:
    """Part of an axis: the middle top of a Slice, the others silenced."""
    x = op.x()
    axis = op["dim"] % len(x.shape)
    size = x.shape[axis]
    first = op.get("start", op.get("index", 0)) or 0
    if op.get("step", 1) != 1:
        return _every(op, x, axis)
    first = min(max(first + size if first < 0 else first, 0), size)
    taken = 1 if op.kind == "select" else op.shape[axis]
    sizes = [first, taken, size - first - taken]
    shapes = [tuple(n if i == axis else m for i, m in enumerate(x.shape)) for n in sizes if n]
    if not taken:
        raise ConversionError("nothing is left of it")
    parts = _sliced(op, x, axis, shapes)
    kept = parts.pop(1 if first else 0)
    op.silence(parts)
    return reshape(op, kept, op.shape, "squeeze") if op.kind == "select" else kept


def _every(op: Op, x: Value, axis: int) -> Value:
    """Every n-th position of a spatial axis, from the first on: a pooling of single values."""
    whole = (op.get("start") or 0) == 0 and op.shape[axis] == -(-x.shape[axis] // op["step"])
    if not whole or axis < 2 or not 3 <= len(x.shape) <= 5:
        raise ConversionError("only every n-th position of a spatial axis, from the first on, is a Pooling")
    strides = [op["step"] if i == axis else 1 for i in range(2, len(x.shape))]
    sizes = {"stride_h": strides[0], "stride_w": strides[1]} if len(strides) == 2 else {"stride": strides}
    if len(strides) == 3:
        raise ConversionError("pooling of three axes has one stride")
    if len(strides) == 1:
        sizes = {"stride": strides[0]}
    param = {"pool": _POOL.MAX, "kernel_size": 1, "round_mode": _POOL.FLOOR, **sizes}
    return op.layer("Pooling", [x], pooling_param=param)


# --- pads ---

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


@rule(
    "pad",
    "constant_pad_nd",
    *(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)),
)
def pad(op: Op) -> Value:
    given = op.get("pad", op.get("padding"))
    named = {"reflection": "reflect", "replication": "replicate", "constant": "constant"}
    mode = op.get("mode") or named.get(op.kind.split("_")[0], "constant")
    param: dict[str, Any] = {"pads": [int(n) for n in given]}  # Any: numbers and a word
    if not any(param["pads"]):
        return op.x()
    if mode != "constant":
        param["mode"] = _PAD_MODES[mode]
    elif op.get("value"):
        param["value"] = op["value"]
    return op.layer("Pad", [op.x()], pad_param=param)


# --- reductions ---


@rule("mean", "sum", "amax", "linalg_vector_norm")
def reduce(op: Op) -> Value:
    """Global pooling over all spatial axes; else Reduction, which takes the last axes."""
    x = op.x()
    axes = len(x.shape)
    given = op.get("dim")
    given = list(range(axes)) if given is None or given == [] else given
    dims = sorted(dim % axes for dim in ([given] if isinstance(given, int) else given))
    if op.kind in ("mean", "amax") and 3 <= axes <= 5 and dims == list(range(2, axes)):
        method = _POOL.AVE if op.kind == "mean" else _POOL.MAX
        param = {"pool": method, "global_pooling": True}
        pooled = (*x.shape[:2], *(1,) * (axes - 2))
        y = op.layer("Pooling", [x], pooled, pooling_param=param)
        return reshape(op, y, op.shape, "flatten")
    if op.kind == "amax":
        raise ConversionError("a maximum is taken over all spatial axes by Pooling, not over others")
    kept = [i for i in range(axes) if i not in dims]
    if dims != list(range(len(kept), axes)):
        order = [*kept, *dims]
        moved = tuple(x.shape[i] for i in order)
        x = op.layer("Permute", [x], moved, suffix="permute", permute_param={"order": order})
    operation = _operation(op)
    reduced = x.shape[: len(kept)]
    fields = {"operation": operation} | ({"axis": len(kept)} if kept else {})
    y = op.layer("Reduction", [x], reduced, reduction_param=fields)
    if operation == _REDUCTION.SUMSQ:
        y = power(op, y, power=0.5, suffix="root")
    return reshape(op, y, op.shape, "keep")


def _operation(op: Op) -> int:
    if op.kind != "linalg_vector_norm":
        return _REDUCTION.MEAN if op.kind == "mean" else _REDUCTION.SUM
    if op["ord"] not in (1, 2):
        raise ConversionError(f"a norm of order {op['ord']:g} is no Reduction; 1 and 2 are")
    return _REDUCTION.ASUM if op["ord"] == 1 else _REDUCTION.SUMSQ


@rule("argmax")
def argmax(op: Op) -> Value:
    """ArgMax along an axis; among equal values PyTorch and Caffe may choose another."""
    x = op.x()
    if op["dim"] is None:
        raise ConversionError("give the axis; ArgMax of all values counts from each example")
    axis = op["dim"] % len(x.shape)
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    return reshape(op, op.layer("ArgMax", [x], shape, argmax_param={"axis": axis}), op.shape, "squeeze")


# --- tables ---


@rule("embedding")
def embedding(op: Op) -> Value:
    weight = op.constant("weight")
    assert weight is not None
    param = {"num_output": weight.shape[1], "input_dim": weight.shape[0], "bias_term": False}
    return op.layer("Embed", [op.x("indices")], blobs=[op.stored(weight)], embed_param=param)


refuse("no layer picks by computed places", "index", "index_select", "gather", "index_put", "masked_select")
refuse("no layer writes into a part of a blob", "slice_scatter", "select_scatter", "scatter", "copy")
refuse("Caffe has no recurrent layers of PyTorch's form here", "lstm", "gru", "rnn_tanh", "rnn_relu")
