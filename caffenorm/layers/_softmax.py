"""The softmax inside SoftmaxWithLoss and InfogainLoss."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from caffenorm.blob import Blob
from caffenorm.layer import Layer
from caffenorm.layers._loss import LossLayer, View, class_view
from caffenorm.synced import Array

# Options of forks, for training, that are read and not applied.
_NOT_APPLIED = frozenset(
    (
        *("hard_ratio", "class_weight", "hard_mining_label", "cutting_point", "normalize_type"),
        *("label_smooth_factor", "weigh_instance", "background_weight"),
    )
)


def note_unused(layer: Layer, *messages: Message) -> None:
    """Tell the user of options that are not applied."""
    for message in messages:
        for field, _ in message.ListFields():
            if field.name in _NOT_APPLIED:
                layer.notes.append(f"{field.name}, an option of another Caffe for training, is not applied")


class SoftmaxLossLayer(LossLayer):
    """A loss of scores against labels that applies the softmax itself; a second top gets the probabilities.

    Caffe: the second top passes no gradient back.
    """

    num_tops = (1, 2)
    _axis = 1
    _view: View = (0, 0, 0)

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        note_unused(self, self.param.softmax_param, self.param.loss_param)
        if len(top) == 2 and len(self.param.loss_weight) == 2 and self.param.loss_weight[1]:
            self.notes.append(
                "the loss weight of top 1 counts in the loss, the probabilities have no gradient"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self._view = class_view(bottom[0].shape, self._axis, bottom[1])
        if len(top) == 2:
            top[1].reshape(bottom[0].shape)

    def labels(self, bottom: Sequence[Blob]) -> Array:
        """The labels as (outer, inner)."""
        return self.read(bottom[1]).reshape(self._view[0], self._view[2])

    def compute_probabilities(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Array:
        """The softmax of bottom 0 as (outer, channels, inner), kept for backward."""
        prob = self.probabilities(top, forward=True)
        self.ops.softmax(self.read(bottom[0]).reshape(self._view), prob)
        if len(top) == 2 and not self.keeps_top(1):
            self.ops.xp.copyto(self.write(top[1]).reshape(self._view), prob)
        return prob

    def probabilities(self, top: Sequence[Blob], *, forward: bool = False) -> Array:
        """Where they are kept: in top 1, unless there is none or somebody works over it."""
        if len(top) == 2 and self.keeps_top(1):
            return (self.write(top[1]) if forward else self.read(top[1])).reshape(self._view)
        return self.scratch("probabilities", self._view)
