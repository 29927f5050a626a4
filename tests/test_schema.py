"""The schema is BVLC's, number by number, and lives beside other copies of caffe.proto."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import caffenorm
from caffenorm import schema
from caffenorm.errors import CaffenormError
from caffenorm.proto import caffe_pb2

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data" / "schema"
PROTO_TYPES = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
}


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def all_messages() -> list[Descriptor]:
    found, todo = [], list(schema.DESCRIPTOR.message_types_by_name.values())
    while todo:
        found.append(todo.pop())
        todo += found[-1].nested_types
    return found


def short_name(full_name: str) -> str:
    return full_name.removeprefix("caffe.")


def stub_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_schema_stub", ROOT / "tools" / "make_schema_stub.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(field: FieldDescriptor, is_repeated: bool) -> tuple[str, str]:
    """Type and default of a field as the table writes them."""
    if field.message_type is not None:
        return f"message:{short_name(field.message_type.full_name)}", ""
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        default = names[field.default_value] if field.has_default_value else ""
        return f"enum:{short_name(field.enum_type.full_name)}", default
    value = field.default_value if field.has_default_value and not is_repeated else ""
    quoted = f'"{value}"' if field.has_default_value and isinstance(value, str) else value
    return PROTO_TYPES[field.type], str(quoted).lower() if isinstance(value, bool) else str(quoted)


def same_default(found: str, expected: str) -> bool:
    try:
        return float(found) == pytest.approx(float(expected))
    except ValueError:
        return found == expected


def test_every_field_of_bvlc_has_its_number_type_label_and_default() -> None:
    messages = {short_name(message.full_name): message for message in all_messages()}
    is_repeated = stub_maker().is_repeated

    for row in table("bvlc_fields.tsv"):
        field = messages[row["message"]].fields_by_name[row["field"]]
        where = f"{row['message']}.{row['field']}"
        type_, default = described(field, is_repeated(field))
        assert field.number == int(row["number"]), where
        assert is_repeated(field) == (row["label"] == "repeated"), where
        assert type_ == row["type"], where
        assert same_default(default, row["default"]), where
        assert field.GetOptions().packed == (row["packed"] == "yes"), where


def test_every_enum_value_of_bvlc_has_its_number() -> None:
    enums = {short_name(e.full_name): e for message in all_messages() for e in message.enum_types}
    enums |= schema.DESCRIPTOR.enum_types_by_name

    for row in table("bvlc_enums.tsv"):
        assert enums[row["enum"]].values_by_name[row["value"]].number == int(row["number"]), row


def test_no_field_is_required() -> None:
    for name in schema.DESCRIPTOR.message_types_by_name:
        assert getattr(schema, name)().IsInitialized(), name


def test_our_layer_parameters_have_the_numbers_reserved_for_us() -> None:
    fields = schema.LayerParameter.DESCRIPTOR.fields_by_name

    ours = {name for name, field in fields.items() if 18500 <= field.number <= 18599}

    assert ours == {"instance_norm_param", "group_norm_param", "gn_param"}


def test_nested_and_top_level_enum_values_are_attributes() -> None:
    assert (schema.TRAIN, schema.TEST) == (0, 1)
    assert schema.PoolingParameter.AVE == 1
    assert schema.Phase.Name(1) == "TEST"


def test_torch_like_norm_parameters_read_from_text() -> None:
    text = "group_norm_param { num_groups: 8 affine: false } layer_norm_param { normalized_shape: 7 }"

    layer = text_format.Parse(text, schema.LayerParameter())

    assert (layer.group_norm_param.num_groups, layer.group_norm_param.affine) == (8, False)
    assert list(layer.layer_norm_param.normalized_shape) == [7]
    assert layer.instance_norm_param.momentum == pytest.approx(0.1)


def test_a_clashing_caffe_proto_in_the_default_pool_does_no_harm() -> None:
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
theirs = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
field = theirs.message_type.add(name="NetParameter").field.add(name="name", number=7, label=1, type=5)
pool = descriptor_pool.Default()
pool.AddSerializedFile(theirs.SerializeToString())
from caffenorm import schema
other = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
assert other(name=3).SerializeToString() == bytes([7 << 3, 3])
assert schema.NetParameter(name="n").SerializeToString() == bytes([1 << 3 | 2, 1]) + b"n"
"""
    # The package under test may be on the path of this process only.
    package = str(Path(caffenorm.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {package!r})\n{script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_pycaffe_names_are_the_same_classes() -> None:
    assert caffe_pb2.NetParameter is schema.NetParameter
    assert caffe_pb2.TEST == schema.TEST
    assert caffe_pb2.Phase.Value("TRAIN") == 0
    assert {"BlobProto", "BlobProtoVector", "Datum", "SolverParameter"} <= vars(caffe_pb2).keys()


def test_a_missing_descriptor_set_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(CaffenormError, match="build_ext --inplace"):
        schema._load(tmp_path / "caffe.desc")


def test_the_type_stub_is_up_to_date() -> None:
    maker = stub_maker()

    assert maker.STUB.read_text() == maker.make_stub(), "run python tools/make_schema_stub.py"
