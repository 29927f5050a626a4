"""Weights files that are broken, by accident or on purpose: a WeightsError, soon, and without much memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import golden
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_writer import (
    blob,
    doubles,
    field,
    floats,
    layer,
    number,
    old_blob,
    shape,
    v0_layer,
    v1_layer,
    varint,
)

from caffenorm import weights
from caffenorm.errors import CaffenormWarning, WeightsError

SNAPSHOTS = golden.FOLDER / "snapshots"
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
UNPACKED = b"".join(varint(5 * 8 + 5) + floats([value]) for value in VALUES.ravel())
HALF = field(7, shape(2, 3)) + number(10, 2) + field(12, VALUES.astype("<f2").tobytes())
C3D = b"".join(number(i + 1, dim) for i, dim in enumerate((1, 1, 1, 2, 3))) + field(6, floats(range(6)))
DOUBLE = field(8, doubles(range(6))) + field(7, shape(2, 3))
OPENCL = field(7, shape(2, 3)) + field(11, floats(range(6))) + number(13, 0)
GROUP = varint(9 * 8 + 3) + number(1, 5) + varint(9 * 8 + 4)
SMALL = (
    field(1, "net")
    + layer(
        "a", "InnerProduct", [blob(VALUES), UNPACKED + field(7, shape(2, 3)), HALF], field(117, number(1, 2))
    )
    + v1_layer("b", 14, [old_blob(VALUES), C3D], GROUP)
    + v0_layer("c", "conv", [DOUBLE, OPENCL])
    + layer("bn", "BatchNorm", [blob(VALUES[0]), blob(VALUES[1]), blob(VALUES[0, :1])])
)
MOST_MEMORY = 4 << 20


class Peak:
    """Fails if the block takes more memory than a file of a few KB may ask for."""

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *_: object) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_MEMORY


def attempt(path: Path) -> bool:
    """Read everything that can be read from the file; whether its weights were readable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffenormWarning)
        for read in (weights.read_blobs, weights.read_net_from_caffemodel):
            with contextlib.suppress(WeightsError):
                read(path)
    try:
        model = weights.read_weights(path)
        targets = {one.name: one.blobs for one in model.layers}
        weights.match(model, targets, skip_mismatched=True, allow_nan=True)
    except WeightsError as error:
        message = str(error)
    else:
        return True
    assert path.name in message
    return False


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "net.caffemodel"


def test_the_small_file_is_whole(path: Path) -> None:
    path.write_bytes(SMALL)
    model = weights.read_weights(path)
    assert [len(one.blobs) for one in model.layers] == [3, 2, 2, 3]
    for one in model.layers[:3]:
        for array in one.blobs:
            assert array.ravel().tolist() == list(range(6))


def test_cut_off_at_every_byte(path: Path) -> None:
    readable = []
    with Peak():
        for length in range(len(SMALL)):
            path.write_bytes(SMALL[:length])
            if attempt(path):
                readable.append(length)
    ends = np.cumsum([len(part) for part in whole_fields(SMALL)])
    assert set(readable) == set(
        ends[1:-1].tolist()
    )  # only where a layer ends, and nothing tells that more should come


def whole_fields(content: bytes) -> list[bytes]:
    """The top-level fields of SMALL: the name and the four layers."""
    parts, start = [], 0
    while start < len(content):
        i = start + (2 if content[start] & 128 else 1)
        length, shift = 0, 0
        while True:
            length |= (content[i] & 127) << shift
            shift += 7
            i += 1
            if content[i - 1] < 128:
                break
        parts.append(content[start : i + length])
        start = i + length
    return parts


@pytest.mark.parametrize("name", ["model", "legacy_v0", "legacy_v1", "legacy_double"])
def test_files_of_caffe_cut_off_anywhere(path: Path, name: str) -> None:
    content = (SNAPSHOTS / f"{name}.caffemodel").read_bytes()
    with Peak():
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            attempt(path)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_byte_flipped(path: Path, flip: int) -> None:
    with Peak():
        for position in range(len(SMALL)):
            content = bytearray(SMALL)
            content[position] ^= flip
            path.write_bytes(content)
            attempt(path)


@given(
    st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.binary(max_size=12), st.integers(0, 12)), max_size=8
    )
)
def test_pieces_replaced(path: Path, changes: list[tuple[int, bytes, int]]) -> None:
    content = SMALL
    for position, piece, removed in changes:
        content = content[:position] + piece + content[position + removed :]
    path.write_bytes(content)
    with Peak():
        attempt(path)


@given(st.binary(max_size=2000))
def test_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with Peak():
        attempt(path)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_layer_and_as_a_blob(path: Path, content: bytes) -> None:
    with Peak():
        for key in (2, 100):
            path.write_bytes(field(key, content))
            attempt(path)
        path.write_bytes(layer("x", "InnerProduct", [content]))
        attempt(path)


HUGE = [2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("length", HUGE)
def test_lengths_beyond_the_file(path: Path, length: int) -> None:
    lie = varint(length) + b"abc"
    with Peak():
        for content in (
            varint(100 * 8 + 2) + lie,
            field(100, varint(7 * 8 + 2) + lie),
            field(100, field(7, varint(5 * 8 + 2) + lie)),
            field(100, field(7, field(7, varint(1 * 8 + 2) + lie))),
            field(2, field(1, varint(50 * 8 + 2) + lie)),
        ):
            path.write_bytes(content)
            assert not attempt(path)


@pytest.mark.parametrize("dim", HUGE)
def test_shapes_beyond_the_file(path: Path, dim: int) -> None:
    with Peak():
        for message in (
            field(5, floats([1])) + field(7, shape(dim)),
            field(5, floats([1])) + field(7, shape(dim, dim, dim)),
            field(7, shape(dim, 0, dim)),
            field(7, shape(dim)),
            number(1, dim) + number(2, dim) + number(3, dim) + number(4, dim) + field(5, floats([1])),
            field(7, shape(dim)) + number(10, 2) + field(12, b"ab"),
        ):
            path.write_bytes(layer("x", "InnerProduct", [message]))
            assert not attempt(path)


def test_the_shape_of_a_blob_times_four_is_not_trusted(path: Path) -> None:
    path.write_bytes(layer("x", "InnerProduct", [field(5, floats(range(8))) + field(7, shape(1 << 28))]))
    with Peak(), pytest.raises(WeightsError, match="needs 268435456 values, and the file holds 8 values"):
        weights.read_weights(path)


def test_messages_within_messages_without_end(path: Path) -> None:
    for key in (1, 2, 7, 100):
        nested = b""
        for _ in range(2000):
            nested = field(key, nested)
        path.write_bytes(nested)
        attempt(path)
        path.write_bytes(layer("x", "InnerProduct", extra=field(117, nested)))
        attempt(path)


def test_groups_within_groups_without_end(path: Path) -> None:
    for content in (varint(8 + 3) * 100_000, (varint(8 + 3) + varint(8 + 4)) * 50_000):
        path.write_bytes(layer("x", "InnerProduct", extra=content))
        attempt(path)


def test_many_small_things_take_little_more_than_the_file(path: Path) -> None:
    count = 20_100
    for content in (
        number(9, 1) * count,
        layer("x", "InnerProduct", extra=number(150, 1) * count),
        layer("x", "InnerProduct", [field(5, b"") * count]),
        layer("x", "InnerProduct", [(number(3, 1) + varint(45) + b"abcd") * count]),
        field(100, b"") * count,
        field(2, b"") * count,
        layer("x", "InnerProduct", [b""] * count),
    ):
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(WeightsError):
            weights.match(weights.read_weights(path), {"x": [VALUES]})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (64 << 20)


def test_hdf5_files_with_flipped_bytes(tmp_path: Path) -> None:
    """In a process of its own, as the library for HDF5 is not ours: a crash of it would show here."""
    pytest.importorskip("h5py")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from caffenorm import weights\n"
        "from caffenorm.errors import WeightsError\n"
        "original, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])\n"
        "cut = [original[:n] for n in range(0, len(original), 97)]\n"
        "for position in range(0, len(original), 11):\n"
        "    content = bytearray(original)\n"
        "    content[position] ^= 255\n"
        "    cut.append(bytes(content))\n"
        "for content in cut:\n"
        "    path.write_bytes(content)\n"
        "    try:\n"
        "        weights.read_weights(path)\n"
        "    except WeightsError:\n"
        "        pass\n"
        "print('done')\n"
    )
    source = SNAPSHOTS / "model.caffemodel.h5"
    done = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / "net.h5")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "done", done.stderr[-2000:]
