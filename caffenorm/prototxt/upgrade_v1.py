"""V1 nets (`layers { type: CONVOLUTION ... }`, types are an enum) to today's (`layer { type: "..." }`)."""

from __future__ import annotations

from functools import cache

from caffenorm import schema
from caffenorm.prototxt.fields import is_repeated
from caffenorm.prototxt.layer_types import layer_type_enum, v1_type_strings
from caffenorm.prototxt.upgrade_notes import Notes, assign

_OWN_WAY = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay"}
# Once every data layer had its own copy of these; they all went into transform_param.
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAMS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}


def move_transformations(net: schema.NetParameter) -> int:
    """Move the transformation fields of V1 data layers into transform_param, in place.

    Returns:
        The number of layers that had such fields.
    """
    names = layer_type_enum().values_by_number
    moved = 0
    for layer in net.layers:
        param = _DATA_PARAMS.get(names[layer.type].name)
        if param is None:
            continue
        source = getattr(layer, param)
        fields = [name for name in _TRANSFORM_FIELDS if source.HasField(name)]
        for name in fields:
            setattr(layer.transform_param, name, getattr(source, name))
            source.ClearField(name)
        moved += bool(fields)
    return moved


def upgrade_v1(net: schema.NetParameter, notes: Notes, origins: list[int]) -> None:
    """Turn the V1 layers of a net into today's, in place.

    Args:
        notes: gets fields that no longer exist, as findings.
        origins: for each V1 layer, the number under which to note something.
    """
    for origin, old in zip(origins, net.layers, strict=True):
        _convert(old, net.layer.add(), notes, origin)
    del net.layers[:]


def _convert(old: schema.V1LayerParameter, new: schema.LayerParameter, notes: Notes, origin: int) -> None:
    if old.HasField("type"):
        new.type = v1_type_strings()[old.type]
    for field, value in old.ListFields():
        if field.name in _same_fields():
            assign(new, field.name, value)
        elif field.name not in _OWN_WAY:
            notes.finding(origin, f'"{field.name}" has no place in a layer of today and is dropped')
    specs = max(len(old.param), len(old.blob_share_mode), len(old.blobs_lr), len(old.weight_decay))
    for _ in range(specs):
        new.param.add()
    for name, spec in zip(old.param, new.param, strict=False):
        spec.name = name
    for mode, spec in zip(old.blob_share_mode, new.param, strict=False):
        spec.share_mode = schema.ParamSpec.DimCheckMode.Value(schema.V1LayerParameter.DimCheckMode.Name(mode))
    for rate, spec in zip(old.blobs_lr, new.param, strict=False):
        spec.lr_mult = rate
    for decay, spec in zip(old.weight_decay, new.param, strict=False):
        spec.decay_mult = decay


@cache
def _same_fields() -> frozenset[str]:
    """The fields that V1 layers and today's have in common."""
    new = schema.LayerParameter.DESCRIPTOR.fields_by_name
    return frozenset(
        old.name
        for old in schema.V1LayerParameter.DESCRIPTOR.fields
        if old.name in new
        and old.name not in _OWN_WAY
        and old.type == new[old.name].type
        and old.message_type is new[old.name].message_type
        and is_repeated(old) == is_repeated(new[old.name])
    )
