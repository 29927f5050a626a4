"""GroupNorm: normalises each example in groups of its channels."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError, ShapeError
from caffenorm.layer import register_layer
from caffenorm.layers._channels import split_axes
from caffenorm.layers._grouped_norm import ONE, ZERO, GroupedNorm

_GROUP_FIELDS = ("num_groups", "group", "group_num", "group_ratio", "channels_per_group")
_AFFINE_FIELDS = (
    "affine",
    "num_groups",
    "group",
    "channels_per_group",
    "scale_filler",
    "slope_filler",
    "bias_filler",
)


@register_layer("GroupNorm", "GN")
class GroupNorm(GroupedNorm):
    """y = gamma * (x - mean) / sqrt(var + eps) + beta, over positions and the channels of a group.

    `group_norm_param`: `num_groups` divides the channels, `eps` 1e-5, `affine` true (gamma and beta, one
        value a channel), with
    `scale_filler` (1) and `bias_filler` (0): torch.nn.GroupNorm's arguments. Forks' layers are run as well:
        `group`, `group_num`
    (32 where no field says the number), `group_ratio` (groups a channel) and `channels_per_group` say the
    number of groups, `slope_filler` is `scale_filler`, and type GN has its `gn_param`. Where only `group_num`
    or `group_ratio` is given there are no blobs, as in the forks that have these fields.

    Shape: x is (N, C, ...). gamma is blobs[0], beta blobs[1]: (C), or (1, C, 1, 1) in the forks' forms.
    Raises: LayerError where the number of groups is given twice. ShapeError where it does not divide the
        channels.
    See: Wu and He, Group Normalization, 2018.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.gn_param if self.param.HasField("gn_param") else self.param.group_norm_param
        if bottom[0].num_axes < 2:
            raise ShapeError(f"needs channels on axis 1, and bottom 0 has shape {list(bottom[0].shape)}")
        self._channels = bottom[0].shape[1]
        self.eps = param.eps
        self.groups = _number_of_groups(param, self._channels)
        if param.affine and any(param.HasField(name) for name in _AFFINE_FIELDS):
            ours = param.HasField("num_groups") and self.type == "GroupNorm"
            scale = param.slope_filler if param.HasField("slope_filler") else param.scale_filler
            given = param.HasField("slope_filler") or param.HasField("scale_filler")
            self.make_affine(
                (self._channels,) if ours else (1, self._channels, 1, 1),
                scale if given else ONE,
                param.bias_filler if param.HasField("bias_filler") else ZERO,
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] != self._channels:
            raise ShapeError(
                f"was made for {self._channels} channels on axis 1, and bottom 0 now has shape {list(shape)}"
            )
        self.set_view(split_axes(shape, 1, 1))
        top[0].reshape(shape)


def _number_of_groups(param: schema.GroupNormParameter, channels: int) -> int:
    given = [name for name in _GROUP_FIELDS if param.HasField(name)]
    if len(given) > 1:
        raise LayerError(f"the number of groups is given twice, by {' and '.join(given)}; keep one of them")
    name = given[0] if given else "group_num"
    value = getattr(param, name)
    if name == "group_ratio":
        groups = int(channels * value)
    elif name == "channels_per_group":
        groups = channels // value if value and channels % value == 0 else 0
    else:
        groups = value
    if groups < 1 or channels % groups:
        raise ShapeError(f"{name} {value:g} does not divide {channels} channels into groups of equal size")
    return int(groups)
