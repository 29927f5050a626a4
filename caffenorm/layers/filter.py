"""Filter: keeps the rows that a selector names."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import Layer, register_layer
from caffenorm.layers._index import rows_of
from caffenorm.synced import Array


@register_layer("Filter")
class Filter(Layer):
    """top[i] holds those rows of bottom[i] whose entry in the last bottom is not 0.

    Shape: the last bottom has one value a row of the others. A top's number of rows is known when forward
        has run; until the first one it is the bottom's.
    Raises: ShapeError if the last bottom has another number of rows, or more than one value a row.
        LayerError if its gradient is asked for.
    Caffe: rows that are left out get gradient 0. No row selected gives tops of 0 rows.
    """

    num_bottoms = (2, None)
    num_tops = (1, None)
    in_place_ok = False

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) != len(bottom) - 1:
            raise LayerError(
                f"gives one top for each bottom but the last, so {len(bottom) - 1}; has {len(top)}"
            )
        self._chosen: Array | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        selector = bottom[-1]
        rows = selector.shape[0] if selector.shape else 0
        if selector.count != rows:
            raise ShapeError(
                f"the last bottom selects rows, one value each, and has shape {list(selector.shape)}"
            )
        for i, blob in enumerate(bottom[:-1]):
            if not blob.shape or blob.shape[0] != rows:
                raise ShapeError(
                    f"bottom {i} has shape {list(blob.shape)}, and the last bottom selects among {rows} rows"
                )
        kept = rows if self._chosen is None else len(self._chosen)
        for blob, source in zip(top, bottom, strict=False):
            blob.reshape((kept, *source.shape[1:]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        chosen = self.ops.xp.flatnonzero(self.read(bottom[-1])).astype("i8", copy=False)
        self._chosen = chosen
        for blob, source in zip(top, bottom, strict=False):
            blob.reshape((len(chosen), *source.shape[1:]))
            if blob.count:
                self.ops.take_rows(rows_of(self.read(source)), chosen, rows_of(self.write(blob)))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[-1]:
            raise LayerError("has no gradient for its last bottom, which selects")
        for wanted, blob, source in zip(propagate_down, top, bottom, strict=False):
            if wanted:
                dx = self.write_diff(source)
                dx.fill(0)
                if blob.count:
                    self.ops.add_rows(rows_of(self.read_diff(blob)), self._chosen, rows_of(dx))
