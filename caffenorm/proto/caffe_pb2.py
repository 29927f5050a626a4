"""pycaffe's `caffe.proto.caffe_pb2`: the message classes and enum values of `caffenorm.schema` under their old home.

    from caffenorm.proto import caffe_pb2
    net = caffe_pb2.NetParameter()

Enums are wrappers too, as in generated code: `caffe_pb2.Phase.Name(0)` is "TRAIN".
"""

from __future__ import annotations

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from caffenorm import schema
from caffenorm.schema import DESCRIPTOR

globals().update({name: getattr(schema, name) for name in DESCRIPTOR.message_types_by_name})
for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_enum.name] = EnumTypeWrapper(_enum)
    globals().update({value.name: value.number for value in _enum.values})
