"""DummyData: blobs that fillers fill."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.fillers import fill
from caffenorm.layer import Layer, register_layer


@register_layer("DummyData")
class DummyData(Layer):
    """Tops of given shapes, filled by data_filler.

    Shape: of `shape`, one for all tops or one for each; or of the old num, channels, height, width.
    Raises: LayerError for another number of shapes or fillers, or both forms of shapes.
    Caffe: constant fillers fill once, so a layer that works in place on such a top changes it for good;
        others fill at each forward.
    """

    num_bottoms = 0
    num_tops = (1, None)

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, tops = self.param.dummy_data_param, len(top)
        if len(param.data_filler) not in (0, 1, tops):
            raise LayerError(
                f"has {len(param.data_filler)} data_filler for {tops} top(s); give none, one, or one for each"
            )
        old = [param.num, param.channels, param.height, param.width]
        if param.shape:
            if any(old):
                raise LayerError("has both shape and the old num, channels, height, width; give shape alone")
            if len(param.shape) not in (1, tops):
                raise LayerError(
                    f"has {len(param.shape)} shapes for {tops} top(s); give one, or one for each"
                )
            shapes = [tuple(shape.dim) for shape in param.shape]
        else:
            if any(len(values) not in (1, tops) for values in old):
                raise LayerError(f"needs shape, or num, channels, height and width, one each or {tops} each")
            shapes = [
                tuple(values[i if len(values) > 1 else 0] for values in old)
                for i in range(max(map(len, old)))
            ]
        fillers = list(param.data_filler) or [schema.FillerParameter(type="constant", value=0)]
        for i, blob in enumerate(top):
            blob.reshape(shapes[i if len(shapes) > 1 else 0])
        self._fillers = [fillers[i if len(fillers) > 1 else 0] for i in range(tops)]
        self._filled = [False] * tops

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The shapes are given."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, (blob, filler) in enumerate(zip(top, self._fillers, strict=True)):
            if not self._filled[i] or filler.type != "constant":
                fill(blob.write(), filler, self.rng)
                self._filled[i] = True

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing lies before it."""
