"""The message classes of caffe.proto: `schema.NetParameter`, `schema.BlobProto`, `schema.SolverParameter` ...

They come from the descriptor set that setup.py compiles from proto/caffe.proto, in a descriptor pool of
their own: no tie to one version of the protobuf runtime, and no clash with pycaffe or another
caffe.proto in the same process. Top-level enum values are attributes too (`schema.TRAIN`,
`schema.TEST`); nested ones belong to their message (`schema.PoolingParameter.MAX`), and enums translate
names (`schema.Phase.Name(0)`). Every field is optional or repeated: `HasField` tells what a file said.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

from caffenorm.errors import CaffenormError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

_DESCRIPTOR_SET = Path(__file__).parent / "proto" / "caffe.desc"


def _load(path: Path) -> FileDescriptor:
    """The descriptor of caffe.proto, read from its compiled form into a pool of its own."""
    try:
        files = FileDescriptorSet.FromString(path.read_bytes())
    except FileNotFoundError:
        raise CaffenormError(
            f"{path} is missing: the schema is not compiled. Install with `python -m pip install .`, "
            "or in a checkout run `python setup.py build_ext --inplace`."
        ) from None
    pool = DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(files.file[-1].name)


DESCRIPTOR = _load(_DESCRIPTOR_SET)


def _names() -> dict[str, type[Message] | EnumTypeWrapper | int]:
    """All top-level messages, enums and enum values by name."""
    found: dict[str, type[Message] | EnumTypeWrapper | int] = {
        name: GetMessageClass(message) for name, message in DESCRIPTOR.message_types_by_name.items()
    }
    for enum in DESCRIPTOR.enum_types_by_name.values():
        found[enum.name] = EnumTypeWrapper(enum)
        found.update((value.name, value.number) for value in enum.values)
    return found


_NAMES = _names()
globals().update(_NAMES)
__all__ = ["DESCRIPTOR", *_NAMES]
