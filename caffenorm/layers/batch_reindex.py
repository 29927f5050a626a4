"""BatchReindex: picks rows by number."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._index import checked_index, rows_of


@register_layer("BatchReindex")
class BatchReindex(Layer):
    """top[i] = bottom0[bottom1[i]], row by row.

    Shape: bottom 1 has one axis; the top has as many rows as that has values.
    Raises: ShapeError if it has more axes or, in forward, names a row that is not there. LayerError if its
        gradient is asked for.
    Caffe: the gradient of a row that is picked several times is the sum.
    """

    num_bottoms = 2
    in_place_ok = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[1].num_axes != 1:
            raise ShapeError(f"bottom 1 lists rows, and needs one axis; it has shape {list(bottom[1].shape)}")
        if not bottom[0].shape:
            raise ShapeError("bottom 0 has no axes, so there are no rows to pick")
        top[0].reshape((bottom[1].count, *bottom[0].shape[1:]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._index = checked_index(self.ops.xp, self.read(bottom[1]), bottom[0].shape[0], "row number")
        if top[0].count:
            self.ops.take_rows(rows_of(self.read(bottom[0])), self._index, rows_of(self.write(top[0])))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            raise LayerError("has no gradient for its row numbers")
        if propagate_down[0]:
            dx = self.write_diff(bottom[0])
            dx.fill(0)
            if top[0].count:
                self.ops.add_rows(rows_of(self.read_diff(top[0])), self._index, rows_of(dx))
