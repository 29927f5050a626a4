"""V0 nets (`layers { layer { ... } bottom: ... }`, all parameters in one message) to V1 nets.

Padding was a layer of its own then; it becomes the `pad` of the convolutions and poolings that read it.
"""

from __future__ import annotations

from caffenorm import schema
from caffenorm.prototxt.findings import near
from caffenorm.prototxt.layer_types import V0_TYPES, layer_type_enum
from caffenorm.prototxt.upgrade_notes import Notes, assign

# Where the parameters of each type went.
_PARAMS = {
    "concat": "concat_param",
    "conv": "convolution_param",
    "data": "data_param",
    "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "pool": "pooling_param",
    "window_data": "window_data_param",
}
# V0 field: its new name, and the types that have it.
_FIELDS = {
    "num_output": ("num_output", {"conv", "innerproduct"}),
    "biasterm": ("bias_term", {"conv", "innerproduct"}),
    "weight_filler": ("weight_filler", {"conv", "innerproduct"}),
    "bias_filler": ("bias_filler", {"conv", "innerproduct"}),
    "pad": ("pad", {"conv", "pool"}),
    "kernelsize": ("kernel_size", {"conv", "pool"}),
    "stride": ("stride", {"conv", "pool"}),
    "group": ("group", {"conv"}),
    "pool": ("pool", {"pool"}),
    "dropout_ratio": ("dropout_ratio", {"dropout"}),
    "local_size": ("local_size", {"lrn"}),
    "alpha": ("alpha", {"lrn"}),
    "beta": ("beta", {"lrn"}),
    "k": ("k", {"lrn"}),
    "source": ("source", {"data", "hdf5_data", "images", "window_data", "infogain_loss"}),
    "batchsize": ("batch_size", {"data", "hdf5_data", "images", "window_data"}),
    "rand_skip": ("rand_skip", {"data", "images"}),
    "shuffle_images": ("shuffle", {"images"}),
    "new_height": ("new_height", {"images"}),
    "new_width": ("new_width", {"images"}),
    "concat_dim": ("concat_dim", {"concat"}),
    "det_fg_threshold": ("fg_threshold", {"window_data"}),
    "det_bg_threshold": ("bg_threshold", {"window_data"}),
    "det_fg_fraction": ("fg_fraction", {"window_data"}),
    "det_context_pad": ("context_pad", {"window_data"}),
    "det_crop_mode": ("crop_mode", {"window_data"}),
}
# These go into transform_param, whatever the type.
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_SAME = {"name", "blobs", "blobs_lr", "weight_decay"}


def is_v0(net: schema.NetParameter) -> bool:
    """Whether a net has V0 layers."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade_v0(net: schema.NetParameter, notes: Notes) -> list[int]:
    """Turn the V0 layers of a net into V1 layers, in place.

    Args:
        notes: gets what does not fit: layers of unknown types and padding in odd places (faults), fields
            that their layer's type does not have (findings).

    Returns:
        For each layer that is left, its place in the old net.
    """
    old = [schema.V1LayerParameter.FromString(layer.SerializeToString()) for layer in net.layers]
    _fold_padding(old, notes)
    kept = [index for index, layer in enumerate(old) if layer.layer.type != "padding"]
    del net.layers[:]
    for index in kept:
        new = net.layers.add()
        new.CopyFrom(old[index])
        if new.HasField("layer"):
            new.ClearField("layer")
            _move_fields(old[index].layer, new, notes, index)
    return kept


def _fold_padding(layers: list[schema.V1LayerParameter], notes: Notes) -> None:
    """Give the padding layers' pads to their readers, which then read what the padding read."""
    makers: dict[str, schema.V1LayerParameter] = {}
    for index, reader in enumerate(layers):
        for position, name in enumerate(reader.bottom):
            padding = makers.get(name)
            if padding is None or padding.layer.type != "padding":
                continue
            which = f'reads the padding layer "{padding.layer.name}", which'
            if reader.layer.type not in ("conv", "pool") or len(reader.bottom) != 1:
                notes.fault(index, f"{which} only a conv or pool can, with no other bottom")
            elif len(padding.bottom) != 1 or len(padding.top) != 1:
                notes.fault(index, f"{which} should have one bottom and one top")
            else:
                reader.layer.pad = padding.layer.pad
                reader.bottom[position] = padding.bottom[0]
        makers.update(dict.fromkeys(reader.top, reader))


def _move_fields(
    old: schema.V0LayerParameter, new: schema.V1LayerParameter, notes: Notes, index: int
) -> None:
    kind = old.type
    if kind in V0_TYPES:
        new.type = layer_type_enum().values_by_name[V0_TYPES[kind]].number
    elif old.HasField("type"):
        notes.fault(index, f'there is no V0 layer type "{kind}"{near(kind, V0_TYPES)}')
    for field, value in old.ListFields():
        target, types = _FIELDS.get(field.name, ("", set()))
        if field.name == "type":
            continue
        if field.name in _SAME:
            assign(new, field.name, value)
        elif field.name in _TRANSFORM:
            assign(new.transform_param, _TRANSFORM[field.name], value)
        elif field.name == "hdf5_output_param" and kind == "hdf5_output":
            new.hdf5_output_param.CopyFrom(value)
        elif kind in types:
            assign(getattr(new, _PARAMS[kind]), target, value)
        else:
            notes.finding(
                index, f'"{field.name}" means nothing in a V0 layer of type "{kind}" and is dropped'
            )
