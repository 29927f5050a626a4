"""LayerNorm: normalises each example over its last axes."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.blob import Blob
from caffenorm.errors import ShapeError
from caffenorm.layer import canonical_axis, register_layer
from caffenorm.layers._channels import split_axes
from caffenorm.layers._grouped_norm import ONE, ZERO, GroupedNorm


@register_layer("LayerNorm")
class LayerNorm(GroupedNorm):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta, over the axes from `axis` to the last.

    `layer_norm_param`: `normalized_shape` gives those axes by their sizes, as torch.nn.LayerNorm does;
        without it they are all from
    `axis` (1, may be negative) on. `eps` 1e-5. `elementwise_affine: false` leaves out gamma and beta, `bias:
    false` beta.

    Shape: gamma is blobs[0] and beta blobs[1], both of the shape of those axes.
    Raises: ShapeError where the bottom does not end with `normalized_shape`, or changes in those axes.
    Caffe: BVLC has no such layer; a fork's, of the same name and fields, normalises all axes from 1 on, as
        this does by default.
    See: Ba, Kiros and Hinton, Layer Normalization, 2016.
    """

    groups = 1

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.layer_norm_param
        self.eps = param.eps
        shape = bottom[0].shape
        if param.normalized_shape:
            self._shape = tuple(param.normalized_shape)
        else:
            self._shape = shape[canonical_axis(param.axis, len(shape)) :]
        self._require_shape(shape)
        if param.elementwise_affine:
            self.make_affine(
                self._shape,
                param.scale_filler if param.HasField("scale_filler") else ONE,
                (param.bias_filler if param.HasField("bias_filler") else ZERO) if param.bias else None,
            )

    def _require_shape(self, shape: Sequence[int]) -> None:
        if tuple(shape[max(0, len(shape) - len(self._shape)) :]) != self._shape:
            raise ShapeError(
                f"normalises axes of the sizes {list(self._shape)}, and bottom 0 has shape {list(shape)}"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if self.has_gamma or self.param.layer_norm_param.normalized_shape:
            self._require_shape(shape)
            first = len(shape) - len(self._shape)
        else:
            first = canonical_axis(self.param.layer_norm_param.axis, len(shape))
        self.set_view(split_axes(shape, first, len(shape) - first))
        top[0].reshape(shape)
