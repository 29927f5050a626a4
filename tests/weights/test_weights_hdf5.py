"""Caffe's HDF5 weights: layout, shared blobs, names with slashes, and files that are made to harm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from caffenorm import weights
from caffenorm.errors import ConfigError, MissingExtraError, WeightsError

h5py = pytest.importorskip("h5py")

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([0.5, -1], np.float32)


def test_layout_is_caffes(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel.h5"

    weights.write_hdf5(
        path,
        {"ip1": [WEIGHT, BIAS], "relu": [], "ip2": [WEIGHT, BIAS]},
        {"ip2": [False, True]},
        {"ip1": [WEIGHT + 1, BIAS + 1], "ip2": [WEIGHT + 2, BIAS + 2]},
    )

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        below = ("", "/ip1", "/ip1/0", "/ip1/1", "/relu", "/ip2", "/ip2/1")
        assert set(names) == {root + path for root in ("data", "diff") for path in below}
        assert (file["data/ip1/0"][()] == WEIGHT).all()
        assert (file["diff/ip2/1"][()] == BIAS + 2).all()
        assert file["data/ip1/0"].dtype == np.dtype("<f4")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    blobs = {
        "conv2/3x3": [WEIGHT, BIAS],
        "conv2/3x3/bn": [BIAS.astype(np.float64), BIAS * 2],
        "conv2": [np.float32(7).reshape(())],
        "empty": [np.empty((0, 4), np.float32)],
        "relu": [],
        "many": [np.float32([index]) for index in range(12)],
        "größe 1": [WEIGHT],
    }
    path = tmp_path / "net.h5"

    weights.write_hdf5(path, blobs)
    model = weights.read_weights(path)

    assert model.format == "HDF5"
    assert model.layer_dict.keys() == blobs.keys()
    for name, arrays in blobs.items():
        found = model.layer_dict[name]
        assert found.indices == list(range(len(arrays)))
        for ours, theirs in zip(found.blobs, arrays, strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            assert (ours == theirs).all()


def test_a_user_block_in_front_does_no_harm(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w", userblock_size=1024) as file:
        file.create_dataset("data/ip/0", data=BIAS)
    assert (weights.read_weights(tmp_path / "net.h5").layers[0].blobs[0] == BIAS).all()


def test_shared_blobs_may_be_missing_where_the_net_shares_them(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    weights.write_hdf5(path, {"a": [WEIGHT, BIAS], "b": [WEIGHT, BIAS]}, {"b": [False, True]})
    model = weights.read_hdf5(path)
    targets = {name: [SimpleNamespace(shape=(2, 3)), SimpleNamespace(shape=(2,))] for name in "ab"}

    report, assignments = weights.match(model, targets, owned={"b": [False, True]})

    assert report.ok
    assert [(one.layer, one.blob) for one in assignments] == [("a", 0), ("a", 1), ("b", 1)]
    with pytest.raises(WeightsError, match=r'"b": 1 blob \(2,\) in the file, 2 blobs'):
        weights.match(model, targets)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a/./b", "..", "a\0b"])
def test_names_that_hdf5_cannot_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"save a \.caffemodel"):
        weights.write_hdf5(tmp_path / "net.h5", {name: [BIAS]})
    assert not list(tmp_path.iterdir())


def test_a_layer_that_looks_like_a_blob_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"conv/0" from a blob of layer "conv"'):
        weights.write_hdf5(tmp_path / "net.h5", {"conv": [BIAS], "conv/0": [BIAS]})


def test_arrays_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="int64"):
        weights.write_hdf5(tmp_path / "net.h5", {"a": [np.arange(3)]})
    with pytest.raises(ConfigError, match='layer "a": the numbers of blobs'):
        weights.write_hdf5(tmp_path / "net.h5", {"a": [BIAS]}, None, {"a": []})
    assert not list(tmp_path.iterdir())


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.h5"
    weights.write_hdf5(path, {"a": [BIAS]})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"caffenorm\[data\]"):
        weights.read_weights(path)


def test_a_binary_model_given_as_hdf5_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(bytes([10, 1, 65, 162, 6, 0]))
    with pytest.raises(WeightsError, match="this is no HDF5 file"):
        weights.read_hdf5(path)
    path.write_bytes(b"<html></html>")
    with pytest.raises(WeightsError, match="an HTML page"):
        weights.read_hdf5(path)


def make(path: Path, fill) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def test_hdf5_files_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no group `data`"):
        weights.read_hdf5(make(tmp_path / "keras.h5", lambda file: file.create_group("model_weights")))
    with pytest.raises(WeightsError, match="no group `data`"):  # an HDF5Data file of inputs
        weights.read_hdf5(make(tmp_path / "inputs.h5", lambda file: file.create_dataset("data", data=WEIGHT)))
    with pytest.raises(WeightsError, match="holds no layers"):
        weights.read_hdf5(make(tmp_path / "empty.h5", lambda file: file.create_group("data")))


def test_values_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", lambda file: file.create_dataset("data/ip/0", data=np.arange(3)))
    with pytest.raises(WeightsError, match=r'layer "ip": blob 0 holds int64'):
        weights.read_hdf5(path)


def test_a_huge_dataset_without_values_takes_no_memory(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", lambda file: file.create_dataset("data/ip/0", (1 << 40,), "f4"))
    with pytest.raises(WeightsError, match="has only 0 bytes"):
        weights.read_hdf5(path)


def test_compressed_datasets_are_read_but_not_bombs(tmp_path: Path) -> None:
    zeros = np.zeros(1 << 20, np.float32)
    path = make(
        tmp_path / "a.h5", lambda file: file.create_dataset("data/ip/0", data=zeros, compression="gzip")
    )
    assert weights.read_hdf5(path).layers[0].blobs[0].shape == zeros.shape

    def bomb(file) -> None:
        file.create_dataset("data/ip/0", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")[:10] = 1

    with pytest.raises(WeightsError, match="has only"):
        weights.read_hdf5(make(tmp_path / "b.h5", bomb))


def test_links_elsewhere_are_not_followed(tmp_path: Path) -> None:
    secret = make(tmp_path / "secret.h5", lambda file: file.create_dataset("x", data=BIAS))

    def external(file) -> None:
        file.create_group("data/ip")["0"] = h5py.ExternalLink(secret, "x")

    def soft(file) -> None:
        file.create_group("data/ip")["0"] = h5py.SoftLink("/nowhere")

    def stored_outside(file) -> None:
        file.create_dataset("data/ip/0", (4,), "f4", external=[(str(secret), 0, 16)])

    for fill, pattern in ((external, "a link"), (soft, "a link"), (stored_outside, "another file")):
        with pytest.raises(WeightsError, match=pattern):
            weights.read_hdf5(make(tmp_path / "a.h5", fill))


def test_groups_in_a_ring_end(tmp_path: Path) -> None:
    def ring(file) -> None:
        group = file.create_group("data/a")
        group["b"] = file["data"]
        group.create_dataset("0", data=BIAS)

    model = weights.read_hdf5(make(tmp_path / "a.h5", ring))
    assert [layer.name for layer in model.layers] == ["a"]


def test_one_dataset_under_many_names_is_refused(tmp_path: Path) -> None:
    def many(file) -> None:
        file.create_dataset("data/ip/0", data=np.zeros(50_000, np.float32))
        for index in range(1, 50):
            file["data/ip"][str(index)] = file["data/ip/0"]

    with pytest.raises(WeightsError, match="shares its bytes"):
        weights.read_hdf5(make(tmp_path / "a.h5", many))
