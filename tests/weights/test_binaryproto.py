"""Mean images and other single blobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from wire_writer import blob, field, layer, number, old_blob

from caffenorm import schema, weights
from caffenorm.errors import ConfigError, WeightsError

MEAN = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)


@given(arrays.arrays(st.sampled_from([np.float32, np.float64]), arrays.array_shapes(min_dims=0, max_side=4)))
def test_a_written_blob_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("blob") / "mean.binaryproto"

    weights.write_blob(path, array)
    found = weights.read_blob(path)

    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_protobuf_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    weights.write_blob(path, MEAN)
    theirs = schema.BlobProto.FromString(path.read_bytes())
    assert list(theirs.shape.dim) == [1, 2, 3, 4]
    assert list(theirs.data) == MEAN.ravel().tolist()
    assert theirs.SerializeToString() == blob(MEAN) == path.read_bytes()


def test_mean_images_of_caffes_tool_have_four_axes(tmp_path: Path) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(old_blob(MEAN))
    found = weights.read_blob(tmp_path / "mean.binaryproto")
    assert found.shape == MEAN.shape
    assert (found == MEAN).all()


def test_an_array_that_is_not_contiguous_is_written_in_its_own_order(tmp_path: Path) -> None:
    weights.write_blob(tmp_path / "a", MEAN.T)
    assert (weights.read_blob(tmp_path / "a") == MEAN.T).all()


def test_half_floats_are_written_as_floats(tmp_path: Path) -> None:
    weights.write_blob(tmp_path / "a", MEAN.astype(np.float16))
    assert weights.read_blob(tmp_path / "a").dtype == np.float32


def test_a_list_of_blobs(tmp_path: Path) -> None:
    path = tmp_path / "many.binaryproto"
    path.write_bytes(field(1, blob(MEAN)) + field(1, blob(MEAN[0])))

    found = weights.read_blobs(path)

    assert [one.shape for one in found] == [(1, 2, 3, 4), (2, 3, 4)]
    with pytest.raises(WeightsError, match=r"2 blobs; read_blobs"):
        weights.read_blob(path)
    path.write_bytes(field(1, blob(MEAN)))
    assert (weights.read_blob(path) == MEAN).all()


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "an empty file"),
        (b"<html>", "an HTML page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
        (blob(MEAN)[:-20], "cut off"),
        (field(1, blob(MEAN)[:-1]), "cut off"),
        (layer("ip", "InnerProduct", [blob(MEAN)]), "neither a shape nor values"),
        (b"".join(number(i, 2) for i in (1, 2, 3, 4)), "needs 16 values, and the file holds no values"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, pattern: str) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(content)
    with pytest.raises(WeightsError, match=pattern):
        weights.read_blob(tmp_path / "mean.binaryproto")


def test_what_is_no_float_is_not_written(tmp_path: Path) -> None:
    for array in (np.arange(3), np.array(["a"]), np.array([1j]), np.zeros(2, np.longdouble)):
        with pytest.raises(ConfigError, match="Caffe stores float32 and float64"):
            weights.write_blob(tmp_path / "a", array)
    assert not list(tmp_path.iterdir())
