"""InfogainLoss: the cross entropy with a gain for every pair of true and predicted class."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._loss import LOG_THRESHOLD, only_to, read_normalizer, refuse_label
from caffenorm.layers._softmax import SoftmaxLossLayer
from caffenorm.synced import Array
from caffenorm.weights import read_blob


@register_layer("InfogainLoss")
class InfogainLoss(SoftmaxLossLayer):
    """loss = -sum over positions and classes of H[label, c] * log(softmax(x)[c]) / divisor.

    Shape: x any, with K classes on `axis`; labels any shape with one value for each other position of x; H,
        with K * K values, is bottom 2 or a blob in the file `source`; a second top gets the probabilities, in
        the shape of x.
    Raises: ShapeError if labels or H do not fit; LayerError for a label that is no class, or where H is
        missing.
    Caffe: bottom 0 holds scores, not probabilities. Probabilities are raised to 1e-20 in the loss, not in the
        gradient. The divisor is that of SoftmaxWithLoss; the old `normalize` is refused. Under
        `force_backward` Caffe's backward fails where H is a bottom, here H gets no gradient.
    """

    num_bottoms = (2, 3)

    def allow_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().layer_setup(bottom, top)
        if self.param.loss_param.HasField("normalize"):
            raise LayerError("loss_param.normalize is too old for this layer; write normalization")
        self._axis = self.param.infogain_loss_param.axis
        self._normalizer = read_normalizer(self.param.loss_param, schema.LossParameter.VALID)
        self._counted = 0
        self.matrix = self._read_matrix() if len(bottom) == 2 else None

    def _read_matrix(self) -> Blob:
        source = self.param.infogain_loss_param.source
        if not source:
            raise LayerError(
                "takes its matrix from bottom 2 or from the file infogain_loss_param.source; there is neither"
            )
        path = os.path.join(self.context.folder, source)
        values = read_blob(source if os.path.exists(source) or not os.path.exists(path) else path)
        matrix = self.new_blob(values.shape)
        matrix.data[...] = values
        return matrix

    def _gains(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[2] if self.matrix is None else self.matrix

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        classes, gains = self._view[1], self._gains(bottom)
        if math.prod(gains.shape) != classes * classes:
            raise ShapeError(
                f"the matrix must have {classes} x {classes} values, one for each pair of classes; "
                f"it has shape {list(gains.shape)}"
            )

    def _read_gains(self, bottom: Sequence[Blob]) -> Array:
        return self.read(self._gains(bottom)).reshape(self._view[1], self._view[1])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        prob, labels = self.compute_probabilities(bottom, top), self.labels(bottom)
        total, self._counted, bad = self.ops.infogain_loss(
            prob, labels, self._read_gains(bottom), LOG_THRESHOLD, ignore_label=self._normalizer.ignore_label
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1])
        self.set_loss(top, total / self._divisor())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0)
        if not propagate_down[0]:
            return
        labels = self.labels(bottom)
        bad = self.ops.infogain_loss_backward(
            self.probabilities(top),
            labels,
            self._read_gains(bottom),
            self.write_diff(bottom[0]).reshape(self._view),
            self.loss_weight(top) / self._divisor(),
            ignore_label=self._normalizer.ignore_label,
        )
        refuse_label(bad, labels, bottom[1].shape, self._view[1])

    def _divisor(self) -> float:
        return self._normalizer.divisor(self._view[0], self._view[2], self._counted)
