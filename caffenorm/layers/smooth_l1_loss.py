"""SmoothL1Loss of region detectors and of SSD."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import LayerContext, register_layer
from caffenorm.layers._loss import LossLayer, check_counts, only_to
from caffenorm.synced import Array


@register_layer("SmoothL1Loss")
class SmoothL1Loss(LossLayer):
    """loss = sum w_out * f(w_in * (a - b)) / N.

    f(d) = (sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2).

    Shape: a (N, ...); b, w_in (bottom 2) and w_out (bottom 3) with the same number of values; bottoms 2 and 3
        may be left out.
    Raises: ShapeError if the counts differ; LayerError for a sigma of 0 or less.
    Caffe: not BVLC's. Bottoms 0 and 1 get a gradient, 1 not under `force_backward`.
    Dialects: the region detectors' where there is a `smooth_l1_loss_param` or a bottom 3, else SSD's. The
        former has no loss weight unless one is written. The latter's gradient is not multiplied by w_in,
        which shows for weights other than 0 and 1.
    See: Girshick 2015, Fast R-CNN.
    """

    num_bottoms, num_tops = (2, 4), 1

    def __init__(self, param: schema.LayerParameter, context: LayerContext) -> None:
        super().__init__(param, context)
        self._of_regions = param.HasField("smooth_l1_loss_param") or len(param.bottom) == 4
        if self._of_regions:
            self.is_loss = False  # type: ignore[misc]  # a fact of the class, but for layers of two dialects

    def allow_force_backward(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._sigma = self.param.smooth_l1_loss_param.sigma
        if not self._sigma > 0:
            raise LayerError(f"smooth_l1_loss_param.sigma must be above 0, found {self._sigma:g}")
        if self._of_regions and not self.param.loss_weight:
            self.notes.append(
                "region detectors' SmoothL1Loss without a loss_weight: it does not count in the loss"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        for index in range(1, len(bottom)):
            check_counts(bottom, 0, index)

    def _arrays(self, bottom: Sequence[Blob]) -> list[Array | None]:
        """a, b, w_in, w_out, flat; None for weights that are not there."""
        given = [self.read(blob).reshape(-1) for blob in bottom]
        return given + [None] * (4 - len(given))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b, inside, outside = self._arrays(bottom)
        total = self.ops.smooth_l1_loss(a, b, self._sigma, inside=inside, outside=outside)
        self.set_loss(top, total / max(1, bottom[0].shape[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        only_to(propagate_down, 0, 1)
        a, b, inside, outside = self._arrays(bottom)
        scale = self.loss_weight(top) / max(1, bottom[0].shape[0])
        for index, sign in ((0, 1.0), (1, -1.0)):
            if propagate_down[index]:
                self.ops.smooth_l1_loss_backward(
                    a,
                    b,
                    self.write_diff(bottom[index]).reshape(-1),
                    sign * scale,
                    self._sigma,
                    inside=inside,
                    outside=outside,
                    weigh_inside=self._of_regions,
                )
