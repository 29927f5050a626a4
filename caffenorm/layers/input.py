"""Input: a blob that the user fills."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer


@register_layer("Input")
class Input(Layer):
    """Tops that the user fills.

    Shape: of input_param.shape: one for all tops, one for each, or none, which leaves scalars until they are
        reshaped.
    Raises: LayerError for another number of shapes.
    """

    num_bottoms = 0
    num_tops = (1, None)

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shapes = self.param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            raise LayerError(
                f"has {len(shapes)} shapes for {len(top)} top(s); give none, one, or one for each"
            )
        for i, blob in enumerate(top):
            if shapes:
                blob.reshape(tuple(shapes[i if len(shapes) > 1 else 0].dim))

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The user shapes the tops."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The user fills the tops."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing lies before an input."""
