"""Reading nets and solvers from files and text: what a file may be, warnings, strictness."""

from __future__ import annotations

import codecs
import warnings

import pytest

from caffenorm import schema
from caffenorm.errors import CaffenormWarning, PrototxtError
from caffenorm.prototxt import parse_net, parse_solver, read_net, read_solver, wrap_net

NET = 'name: "n"\nlayer { name: "a" type: "ReLU" bottom: "x" top: "y" }\n'
READERS = pytest.mark.parametrize("read", [read_net, read_solver])


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | str):
        path = tmp_path / "net.prototxt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def expected():
    return parse_net(NET).net


@pytest.mark.parametrize(
    "content",
    [
        NET,
        codecs.BOM_UTF8 + NET.encode(),
        NET.replace("\n", "\r\n"),
        NET.replace("\n", "\r"),
        "# made by hand\r" + NET.replace("\n", "\r"),
        b"# \xc4\xe3\xba\xc3, in another encoding\n" + NET.encode(),
        NET.rstrip("\n"),
    ],
    ids=[
        "plain",
        "byte order mark",
        "CRLF",
        "CR",
        "CR after a comment",
        "GBK in a comment",
        "no last newline",
    ],
)
def test_files_that_hold_the_same_net(file, content):
    assert read_net(file(content)).net == expected()


def test_the_path_may_be_text_and_names_the_file(file):
    path = file(NET)

    net = read_net(str(path))

    assert net.file == str(path)
    assert net.lines == [2]


@READERS
@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b" \n# nothing\n", "empty"),
        (b"\x0a\x03net\xa2\x06\x00\x00", "binary file"),
        (codecs.BOM_UTF16_LE + NET.encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + NET.encode("utf-16-be"), "UTF-16"),
        (b"\n\x89PNG\r\n", ":2:1: expected a field name"),
        (b'\nnet: "\xff"', ":2:6: this string is not UTF-8"),
    ],
    ids=["nothing", "a comment", "binary", "UTF-16 LE", "UTF-16 BE", "garbage", "not UTF-8"],
)
def test_files_that_are_no_prototxt(read, file, content, part):
    path = file(content.replace(b"net:", b"name:") if read is read_net else content)

    with pytest.raises(PrototxtError) as caught:
        read(path)

    assert str(path) in str(caught.value)
    assert part.replace(":6:", ":7:" if read is read_net else ":6:") in str(caught.value)


@READERS
def test_a_missing_file(read, tmp_path):
    with pytest.raises(PrototxtError, match=r"missing\.prototxt: there is no such file"):
        read(tmp_path / "missing.prototxt")


@READERS
def test_a_folder(read, tmp_path):
    with pytest.raises(PrototxtError, match="folder"):
        read(tmp_path)


@pytest.mark.parametrize("parse", [parse_net, parse_solver])
def test_empty_text(parse):
    with pytest.raises(PrototxtError, match="empty"):
        parse("# nothing")


def test_unknown_fields_warn_once_a_kind_and_name_the_first_place(file):
    path = file(
        'layer {\n name: "a" foo: 1 }\nlayer { name: "b" foo: 2 bar { } }\nlayer { name: "c" foo: 3 }'
    )

    with pytest.warns(CaffenormWarning) as caught:
        net = read_net(path)

    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert texts[0].startswith(f'{path}:2: layer "a": unknown field "foo" in LayerParameter')
    assert texts[0].endswith("(2 more like this)")
    assert texts[1].startswith(f'{path}:3: layer "b": unknown field "bar"')
    assert len(net.findings) == 4


@pytest.mark.parametrize(
    "read",
    [lambda path: read_net(path), lambda path: parse_net(path.read_text()), lambda path: read_solver(path)],
)
def test_warnings_blame_the_caller(read, file):
    with pytest.warns(CaffenormWarning) as caught:
        read(file("foo: 1"))

    assert (caught[0].filename, caught[0].lineno) == (__file__, read.__code__.co_firstlineno)


def test_strict_lists_all_unknown_fields(file):
    with pytest.raises(PrototxtError) as caught:
        read_net(file('layer { name: "a" foo: 1 }\nlayer { name: "b" bar: 2 }'), strict=True)

    assert 'net.prototxt:1:19: layer "a"' in str(caught.value)
    assert 'net.prototxt:2:19: layer "b"' in str(caught.value)


def test_strict_refuses_what_an_upgrade_drops():
    with pytest.raises(PrototxtError, match=r'<string>:1: layer "a": "pad" means nothing'):
        parse_net('layers { layer { name: "a" type: "relu" pad: 1 } }', strict=True)


def test_strict_solvers():
    assert parse_solver('net: "n"', strict=True) == schema.SolverParameter(net="n")
    with pytest.raises(PrototxtError, match=r"^solver\.prototxt:1:10: unknown field"):
        parse_solver('net: "n" foo: 1', "solver.prototxt", strict=True)


def test_a_text_of_unknown_fields_alone_is_not_empty():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffenormWarning)
        assert len(parse_net("foo: 1").findings) == 1


def test_a_message_is_copied_and_upgraded():
    message = schema.NetParameter(input=["x"], input_dim=[1, 2, 3, 4])
    message.layers.add(name="a", type=schema.V1LayerParameter.RELU)

    net = wrap_net(message)
    net.net.name = "changed"

    assert [layer.type for layer in net.net.layer] == ["Input", "ReLU"]
    assert (net.file, net.lines) == ("<message>", [0, 0])
    assert (message.name, len(message.layers), len(message.layer)) == ("", 1, 0)


def test_a_message_in_todays_form_is_copied_too():
    message = expected()

    wrap_net(message).net.layer[0].name = "changed"

    assert message.layer[0].name == "a"
