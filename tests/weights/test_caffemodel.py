"""Whole `.caffemodel` files: layouts, dialects, what is no caffemodel."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from wire_writer import blob, field, floats, layer, number, old_blob, shape, v0_layer, v1_layer, varint

from caffenorm import schema, weights
from caffenorm.errors import WeightsError

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
BIAS = np.array([1, 2, 3], np.float32)
FILLER = field(106, number(1, 3))


@pytest.fixture
def saved(tmp_path: Path):
    def save(content: bytes, name: str = "net.caffemodel") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return save


def test_v2_layers(saved) -> None:
    content = (
        field(1, "net")
        + layer("ip", "InnerProduct", [blob(WEIGHT), blob(BIAS)], FILLER)
        + layer("relu", "ReLU")
    )

    model = weights.read_caffemodel(saved(content))

    assert model.format == "caffemodel V2"
    assert [(one.name, one.type, one.layout) for one in model.layers] == [
        ("ip", "InnerProduct", "V2"),
        ("relu", "ReLU", "V2"),
    ]
    ip = model.layer_dict["ip"]
    assert (ip.blobs[0] == WEIGHT).all()
    assert (ip.blobs[1] == BIAS).all()
    assert ip.indices == [0, 1]
    assert ip.legacy == [False, False]
    assert ip.raw == field(1, "ip") + field(2, "InnerProduct") + FILLER
    assert model.net_fields == field(1, "net")
    assert not model.notes


def test_v1_layers(saved) -> None:
    extra = field(2, "data") + field(3, "ip")
    content = (
        field(1, "net") + v1_layer("ip", 14, [old_blob(WEIGHT), old_blob(BIAS)], extra) + v1_layer("x", 999)
    )

    model = weights.read_caffemodel(saved(content))

    assert model.format == "caffemodel V1"
    ip, unknown = model.layers
    assert (ip.name, ip.type, ip.layout) == ("ip", "INNER_PRODUCT", "V1")
    assert [one.shape for one in ip.blobs] == [(1, 1, 3, 4), (1, 1, 1, 3)]
    assert ip.legacy == [True, True]
    assert schema.V1LayerParameter.FromString(ip.raw).bottom[:] == ["data"]
    assert unknown.type == "999"


def test_v0_layers(saved) -> None:
    content = v0_layer("ip", "innerproduct", [old_blob(WEIGHT)], number(3, 3))

    model = weights.read_caffemodel(saved(content))

    assert model.format == "caffemodel V0"
    (ip,) = model.layers
    assert (ip.name, ip.type, ip.layout) == ("ip", "innerproduct", "V0")
    assert (ip.blobs[0] == WEIGHT).all()
    nested = schema.V1LayerParameter.FromString(ip.raw).layer
    assert (nested.name, nested.num_output, len(nested.blobs)) == ("ip", 3, 0)


def test_layers_of_two_layouts_are_all_read_with_a_note(saved) -> None:
    model = weights.read_caffemodel(saved(layer("a", "ReLU") + v1_layer("b", 18)))
    assert [one.name for one in model.layers] == ["a", "b"]
    assert "several layouts" in model.notes[0]


def test_parameters_that_no_schema_can_read_do_not_matter(saved) -> None:
    broken = (
        field(147, b"\xff\xff\xff") + number(148, 7) + field(200, b"\x0a\x50") + varint(160 * 8 + 5) + b"abcd"
    )
    content = layer("ip", "InnerProduct", [blob(BIAS)], broken) + number(101, 3) + field(9, b"\xff\xfe")

    model = weights.read_caffemodel(saved(content))

    assert (model.layers[0].blobs[0] == BIAS).all()
    assert model.layers[0].raw.endswith(broken)


def test_names_in_other_encodings_stay_distinct(saved) -> None:
    model = weights.read_caffemodel(
        saved(layer(b"caf\xe9", "ReLU") + layer(b"caf\xe8", "ReLU") + layer("café", "ReLU"))
    )
    assert [one.name for one in model.layers] == ["caf\\xe9", "caf\\xe8", "café"]


def test_an_unusual_storage_is_noted_once_with_its_layers(saved) -> None:
    half = field(7, shape(3)) + number(10, 2) + field(12, BIAS.astype("<f2").tobytes())
    content = b"".join(layer(f"ip{i}", "InnerProduct", [half, half]) for i in range(5))

    model = weights.read_caffemodel(saved(content))

    assert model.notes == ['raw float16 values of NVIDIA\'s Caffe in "ip0", "ip1", "ip2" and 2 more']


def test_arrays_do_not_share_memory(saved) -> None:
    model = weights.read_caffemodel(saved(layer("ip", "InnerProduct", [blob(WEIGHT), blob(WEIGHT)])))
    first, second = model.layers[0].blobs
    first[...] = -1
    assert (second == WEIGHT).all()


def test_a_model_outlives_its_file(saved) -> None:
    path = saved(layer("ip", "InnerProduct", [blob(WEIGHT)]))
    model = weights.read_caffemodel(path)
    path.write_bytes(b"")
    assert (model.layers[0].blobs[0] == WEIGHT).all()


def test_large_blobs_lie_behind_small_ones(saved, rng: np.random.Generator) -> None:
    blobs = [rng.standard_normal(n).astype(np.float32) for n in (1, 70_000, 3, 5_000, 20, 1_000_000)]
    model = weights.read_caffemodel(
        saved(layer("a", "X", [blob(b) for b in blobs]) + layer("b", "Y", [blob(BIAS)]))
    )
    assert all((ours == theirs).all() for ours, theirs in zip(model.layers[0].blobs, blobs, strict=True))
    assert (model.layers[1].blobs[0] == BIAS).all()


# What is no weights file: each says what it is.


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.caffemodel: there is no such file"):
        weights.read_weights(tmp_path / "nowhere.caffemodel")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="this is a folder"):
        weights.read_weights(tmp_path)


def test_a_device_is_not_read_without_end() -> None:
    with pytest.raises(WeightsError, match="a device or a pipe"):
        weights.read_weights("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="a device or a pipe"):
        weights.read_weights(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 23815355\n",
            "git-lfs pointer.*git lfs pull",
        ),
        (b"\n\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "an HTML page"),
        (b'\xef\xbb\xbf<html lang="en">', "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b'name: "net"\nlayer {\n  name: "data"\n}\n', "a prototxt .* not weights"),
        (b"# LeNet\nlayers { name: 'conv' type: CONVOLUTION }", "a prototxt"),
        ("# réseau\ninput: 'data'\n".encode(), "a prototxt"),
        (b"net: 'train.prototxt'\nbase_lr: 0.1\n", "a prototxt"),
        (b"hello, world\n" * 1000, "text, not weights"),
        (("x" + "ä" * 5000).encode(), "text, not weights"),
        (gzip.compress(bytes(100)), "a gzip archive"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (bytes(257) + b"ustar" + bytes(100), "a tar archive"),
        (bytes(5000), "a file of zeros"),
        (field(1, "name only\x01"), "holds no layers"),
        (number(1, 8) + field(7, b"graph"), "no layers.* ONNX"),
        (
            number(1, 1000) + field(2, "n.caffemodel") + field(3, blob(BIAS)),
            "no caffemodel.*a solver's state",
        ),
        (old_blob(BIAS), "no layers.*a mean image"),
        (np.random.default_rng(1).bytes(4000), "no caffemodel"),
    ],
)
def test_other_files_are_named_for_what_they_are(saved, content: bytes, pattern: str) -> None:
    with pytest.raises(WeightsError, match=rf"net\.caffemodel: .*{pattern}"):
        weights.read_weights(saved(content))


def test_a_zip_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("data.pkl", "x")
    with pytest.raises(WeightsError, match="a zip archive"):
        weights.read_weights(tmp_path / "net.pth")


def test_an_error_names_the_layer_and_the_blob(saved) -> None:
    wrong = field(5, floats([1, 2])) + field(7, shape(3))
    content = layer("good", "InnerProduct", [blob(BIAS)]) + layer("bad", "InnerProduct", [blob(BIAS), wrong])
    with pytest.raises(
        WeightsError, match=r'net\.caffemodel: layer "bad": blob 1: shape \(3,\) needs 3 values'
    ):
        weights.read_caffemodel(saved(content))


def test_a_file_cut_off_between_layers_names_the_last_one(saved) -> None:
    content = (
        layer("first", "InnerProduct", [blob(BIAS)]) + layer("second", "InnerProduct", [blob(WEIGHT)])[:-5]
    )
    with pytest.raises(
        WeightsError, match=r'after layer "first": the file ends at byte .* cut off or damaged'
    ):
        weights.read_caffemodel(saved(content))


def test_too_many_layers_or_blobs_are_refused(saved) -> None:
    with pytest.raises(WeightsError, match="more than 20000 layers"):
        weights.read_caffemodel(saved(field(100, b"") * 20_001))
    with pytest.raises(WeightsError, match="more than 1000 blobs"):
        weights.read_caffemodel(saved(layer("x", "Y", [field(7, shape(0))] * 1001)))
