"""What PyTorch writes with several operators and Caffe with one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from caffenorm.convert.torch_to_caffe.op import operator_name

_RESHAPES = frozenset({"view", "reshape", "_unsafe_view"})
_SHAPES = _RESHAPES | {"unsqueeze", "squeeze"}


@dataclass(frozen=True)
class Pattern:
    """An operator of our own in place of several.

    Attributes:
        kind: its name. arguments: by name; nodes among them are what it reads.
    """

    kind: str
    arguments: dict[str, Any]  # Any: nodes and numbers


def find_patterns(graph: fx.Graph) -> dict[fx.Node, Pattern]:
    """Last node -> what ends there."""
    found = {node: _local_response_norm(node) for node in graph.nodes if _is(node, "div")}
    found |= {node: _channel_shuffle(node) for node in graph.nodes if _is(node, *_RESHAPES)}
    return {node: pattern for node, pattern in found.items() if pattern is not None}


def _is(node: Any, *kinds: str) -> bool:  # Any: what stands in args
    return isinstance(node, fx.Node) and node.op == "call_function" and operator_name(node) in kinds


def _local_response_norm(last: Any) -> Pattern | None:  # Any: a node, whose args could be anything
    """x / (k + alpha * average of neighbours' squares) ^ beta, as F.local_response_norm does it."""
    x, power = last.args[:2]
    if not _is(power, "pow") or not _is(power.args[0], "add"):
        return None
    added, beta = power.args[:2]
    if not _is(added.args[0], "mul") or not isinstance(beta, int | float):
        return None
    scaled, k = added.args[:2]
    average, alpha = scaled.args[:2]
    average = _through_shapes(average)
    if not _is(average, "avg_pool2d", "avg_pool3d") or not all(
        isinstance(n, int | float) for n in (k, alpha)
    ):
        return None
    size, others = average.args[1][0], average.args[1][1:]
    padded = average.args[0]
    square = _through_shapes(padded.args[0]) if _is(padded, "pad", "constant_pad_nd") else None
    if any(n != 1 for n in others) or not size % 2 or not _is_square(square, x):
        return None
    return Pattern(
        "caffenorm.lrn", {"self": x, "size": size, "alpha": alpha, "beta": float(beta), "k": float(k)}
    )


def _channel_shuffle(last: Any) -> Pattern | None:  # Any: a node, whose args could be anything
    """(N, C, ...) as (N, g, C / g, ...), transposed, and back: ShuffleNet's mixing of channels."""
    moved = last.args[0]
    while _is(moved, "contiguous", "clone"):
        moved = moved.args[0]
    if not _is(moved, "transpose", "permute") or not _is(moved.args[0], *_RESHAPES):
        return None
    split = moved.args[0]
    x = split.args[0]
    before, parts, after = (_shape(node) for node in (x, split, last))
    if len(before) < 3 or before != after or len(parts) != len(before) + 1 or parts[3:] != before[2:]:
        return None
    swapped = [0, 2, 1, *range(3, len(parts))]
    order = moved.args[1] if _is(moved, "permute") else swapped
    dims = moved.args[1:] if _is(moved, "transpose") else (1, 2)
    if parts[0] != before[0] or list(order) != swapped or {dim % len(parts) for dim in dims} != {1, 2}:
        return None
    return Pattern("caffenorm.shuffle_channel", {"self": x, "groups": int(parts[1])})


def _shape(node: Any) -> tuple[Any, ...]:  # Any: what stands in args; numbers, symbolic ones too
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(getattr(value, "shape", ()))


def _through_shapes(node: Any) -> Any:  # Any: what stands in args
    while _is(node, *_SHAPES):
        node = node.args[0]
    return node


def _is_square(node: Any, x: Any) -> bool:  # Any: what stands in args
    if _is(node, "mul"):
        return bool(node.args[0] is x and node.args[1] is x)
    return _is(node, "pow") and bool(node.args[0] is x and node.args[1] == 2)
