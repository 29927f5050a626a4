"""What loss layers share: labels, what the sum is divided by, the loss weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Count, Layer, canonical_axis
from caffenorm.synced import Array

FLT_MIN = 1.1754943508222875e-38  # smallest normal float; Caffe's floor of probabilities, in float64 nets too
LOG_THRESHOLD = 1e-20  # the floor of the older losses

View = tuple[int, int, int]


class LossLayer(Layer):
    """A loss: bottoms are predictions and what they should be, the top is one number.

    Raises: ShapeError if the first axes of bottoms 0 and 1 differ.
    Caffe: the top has no axes. In backward its gradient holds the loss weight.
    """

    is_loss = True
    num_bottoms: ClassVar[Count] = 2
    num_tops: ClassVar[Count] = 1
    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        check_batch(bottom)
        top[0].reshape(())

    def set_loss(self, top: Sequence[Blob], value: float) -> None:
        """Write the loss, on the host: there it comes from, and there it is read."""
        top[0].write()[...] = value

    def loss_weight(self, top: Sequence[Blob]) -> float:
        """The weight of this loss in the net's, as backward finds it."""
        return float(top[0].read_diff())  # on the host, where reshape wrote it


def check_batch(bottom: Sequence[Blob]) -> None:
    """Bottoms 0 and 1 must hold the same number of examples.

    Raises:
        ShapeError: they do not, or one has no axes.
    """
    shapes = [list(blob.shape) for blob in bottom[:2]]
    if not shapes[0] or not shapes[1] or shapes[0][0] != shapes[1][0]:
        raise ShapeError(
            f"bottoms 0 and 1 must agree in their first axis, they have shapes {shapes[0]} and {shapes[1]}"
        )


def check_counts(bottom: Sequence[Blob], first: int, second: int) -> None:
    """Two bottoms must hold the same number of values.

    Raises:
        ShapeError: they do not.
    """
    a, b = bottom[first], bottom[second]
    if a.count != b.count:
        raise ShapeError(
            f"bottoms {first} and {second} must have the same number of values, "
            f"they have {a.count} ({list(a.shape)}) and {b.count} ({list(b.shape)})"
        )


def only_to(propagate_down: Sequence[bool], *allowed: int) -> None:
    """Refuse gradients that do not exist.

    Args:
        propagate_down: what is asked for.
        allowed: the bottoms that can have a gradient.

    Raises:
        LayerError: another bottom's gradient is asked for.
    """
    for index, wanted in enumerate(propagate_down):
        if wanted and index not in allowed:
            raise LayerError(
                f"has no gradient for bottom {index}; "
                "remove what asks for it, a propagate_down or a layer before it that learns"
            )


def class_view(shape: Sequence[int], axis: int, labels: Blob) -> View:
    """Scores as (outer, classes, inner), with a label for each of outer * inner positions.

    Args:
        shape: of the scores.
        axis: of the classes; may be negative.
        labels: of any shape that has as many values as there are positions.

    Raises:
        ShapeError: there is no such axis, or the number of labels differs.
    """
    at = canonical_axis(axis, len(shape))
    view = math.prod(shape[:at]), shape[at], math.prod(shape[at + 1 :])
    if labels.count != view[0] * view[2]:
        raise ShapeError(
            f"bottom 0 has shape {list(shape)}: with classes on axis {at} it takes {view[0] * view[2]} "
            f"labels, bottom 1 has {labels.count} ({list(labels.shape)})"
        )
    return view


def row_view(bottom: Sequence[Blob]) -> tuple[int, int]:
    """Scores as (examples, classes), where all axes but the first are classes, with a label for each example.

    Raises:
        ShapeError: the number of labels differs.
    """
    scores, labels = bottom[0].shape, bottom[1]
    if labels.count != scores[0]:
        raise ShapeError(
            f"bottom 0 has {scores[0]} examples, bottom 1 {labels.count} labels ({list(labels.shape)})"
        )
    return scores[0], math.prod(scores[1:])


def refuse_label(
    bad: int, labels: Array, shape: Sequence[int], classes: int, *, can_ignore: bool = True
) -> None:
    """Complain about the label that an op found to be no class.

    Args:
        bad: its index in the flat labels; -1: all are good.
        labels: their values. shape: of their blob.
        classes: how many there are.
        can_ignore: whether the layer has an ignore_label.

    Raises:
        LayerError: it names the label, its place and the classes.

    Caffe: reads whatever memory the label points at.
    """
    if bad < 0:
        return
    place = []
    rest = bad
    for dim in reversed(shape):
        place.append(rest % dim)
        rest //= dim
    value = float(labels.reshape(-1)[bad])
    hint = "; if it marks what should not count, give it as ignore_label" if can_ignore else ""
    raise LayerError(
        f"label {value:g} at {place[::-1]} of bottom 1 is no class: "
        f"bottom 0 has {classes}, numbered 0 to {classes - 1}{hint}"
    )


@dataclass(frozen=True)
class Normalizer:
    """What a sum over positions is divided by.

    Attributes:
        mode: of `schema.LossParameter.NormalizationMode`.
        ignore_label: positions with it do not count; None: all count.
        fixed: the divisor of the mode PRE_FIXED.
    """

    mode: int
    ignore_label: int | None
    fixed: float = 1.0

    def divisor(self, outer: int, inner: int, counted: int) -> float:
        """The divisor, at least 1.

        Args:
            outer: examples. inner: positions of an example. counted: positions that are not ignored.
        """
        modes = schema.LossParameter
        by_mode: dict[int, float] = {
            modes.FULL: outer * inner,
            modes.VALID: counted,
            modes.BATCH_SIZE: outer,
            modes.NONE: 1.0,
            modes.PRE_FIXED: self.fixed,
        }
        return max(1.0, by_mode[self.mode])


def read_normalizer(param: schema.LossParameter, default: int) -> Normalizer:
    """What a `loss_param` says.

    Args:
        param: the message.
        default: the layer's mode where nothing is said.

    Caffe: `normalize` is the old switch, true VALID and false BATCH_SIZE; `normalization` wins.
    """
    mode = default
    if param.HasField("normalization"):
        mode = param.normalization
    elif param.HasField("normalize"):
        mode = schema.LossParameter.VALID if param.normalize else schema.LossParameter.BATCH_SIZE
    ignored = param.ignore_label if param.HasField("ignore_label") else None
    return Normalizer(mode, ignored, param.pre_fixed_normalizer)
