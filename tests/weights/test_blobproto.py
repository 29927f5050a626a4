"""Blobs in every storage that Caffe and its forks have used."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_writer import blob, doubles, field, floats, number, old_blob, shape, varint

from caffenorm import schema
from caffenorm.errors import WeightsError
from caffenorm.weights.blobproto import StoredBlob, read_blob_message
from caffenorm.weights.wire import Source

VALUES = np.array([[1.5, -2.25, 3e-30], [0.0, np.inf, 6.0]], np.float32)
SHAPE = field(7, shape(2, 3))


def read(message: bytes) -> StoredBlob:
    return read_blob_message(Source.of_bytes(message), 0, len(message))


def unpacked(key: int, values: np.ndarray) -> bytes:
    wire, one = (5, floats) if key < 8 else (1, doubles)
    return b"".join(varint(key * 8 + wire) + one([value]) for value in values.ravel())


@given(st.lists(st.integers(0, 5), max_size=5), st.integers(0, 2**32 - 1))
def test_packed_floats_come_back_bit_for_bit(dims: list[int], seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2**32, dims, np.uint32)
    message = field(5, bits.tobytes()) + field(7, shape(*dims))

    stored = read(message)

    assert stored.array.shape == tuple(dims)
    assert stored.array.dtype == np.float32
    assert (stored.array.view(np.uint32) == bits).all()
    assert not stored.legacy
    assert not stored.note


def test_the_array_is_its_own_and_may_be_written() -> None:
    message = bytearray(blob(VALUES))
    stored = read(bytes(message))
    assert stored.array.flags.owndata or stored.array.base.flags.owndata
    assert stored.array.flags.writeable
    assert stored.array.flags.aligned
    assert stored.array.flags.c_contiguous


@given(st.integers(1, 40), st.integers(0, 1000), st.booleans())
def test_chunks_packed_or_not_in_any_order_of_fields_are_one_blob(
    count: int, seed: int, double: bool
) -> None:
    chance = random.Random(seed)
    values = np.arange(count, dtype=np.float64 if double else np.float32) + 0.25
    key, pack = (8, doubles) if double else (5, floats)
    parts, start = [], 0
    while start < count:
        stop = min(count, start + chance.randint(1, 12))
        part = values[start:stop]
        parts.append(unpacked(key, part) if chance.random() < 0.5 else field(key, pack(part)))
        if chance.random() < 0.3:
            parts.append(field(99, b"something else"))
        start = stop
    parts.insert(chance.randint(0, len(parts)), field(7, shape(count)))

    stored = read(b"".join(parts))

    assert stored.array.dtype == values.dtype
    assert (stored.array == values).all()


def test_a_long_run_of_unpacked_floats_crosses_blocks() -> None:
    values = np.arange(300_000, dtype=np.float32)
    records = np.empty((values.size, 5), np.uint8)
    records[:, 0] = 5 * 8 + 5
    records[:, 1:] = values.view(np.uint8).reshape(-1, 4)

    stored = read(records.tobytes() + field(7, shape(values.size)))

    assert (stored.array == values).all()


def test_protobuf_reads_the_same() -> None:
    for message in (blob(VALUES), unpacked(5, VALUES) + SHAPE, old_blob(VALUES)):
        theirs = schema.BlobProto.FromString(message)
        assert read(message).array.ravel().tolist() == list(theirs.data)


def test_doubles_stay_doubles() -> None:
    values = np.array([1 / 3, -1e300, 0.0])
    stored = read(field(7, shape(3)) + field(8, doubles(values)))
    assert stored.array.dtype == np.float64
    assert (stored.array == values).all()


def test_doubles_win_over_floats() -> None:
    stored = read(field(5, floats([9, 9])) + field(8, doubles([1, 2])) + field(7, shape(2)))
    assert stored.array.tolist() == [1, 2]


def test_diffs_are_passed_over() -> None:
    message = (
        field(5, floats([1, 2])) + field(6, floats([3, 4])) + field(7, shape(2)) + field(9, doubles([5]))
    )
    assert read(message).array.tolist() == [1, 2]


def test_unpacked_diffs_are_passed_over() -> None:
    message = unpacked(5, VALUES) + unpacked(6, VALUES) + SHAPE
    assert (read(message).array == VALUES).all()


def test_old_blobs_have_four_axes() -> None:
    stored = read(old_blob(VALUES))
    assert stored.array.shape == (1, 1, 2, 3)
    assert stored.legacy


def test_old_axes_decide_where_both_are_there() -> None:
    stored = read(old_blob(VALUES) + field(7, shape(6)))
    assert stored.array.shape == (1, 1, 2, 3)


def test_missing_old_axes_are_zero_as_in_caffe() -> None:
    with pytest.raises(WeightsError, match=r"\(2, 0, 0, 0\) needs 0 values, and the file holds 2"):
        read(number(1, 2) + field(5, floats([1, 2])))


def test_without_any_shape_the_count_is_one_axis() -> None:
    stored = read(field(5, floats([1, 2, 3])))
    assert stored.array.shape == (3,)
    assert stored.legacy


def test_a_shape_without_axes_is_one_value() -> None:
    stored = read(field(5, floats([7])) + field(7, b""))
    assert stored.array.shape == ()
    assert stored.array == 7


def test_dims_may_be_unpacked() -> None:
    stored = read(field(5, floats(range(6))) + field(7, number(1, 2) + number(1, 3)))
    assert stored.array.shape == (2, 3)


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [(0, "<f8", "f8"), (1, "<f4", "f4"), (2, "<f2", "f4"), (3, "<i4", "f4"), (4, "<u4", "f4")],
)
def test_raw_data_of_nvidia(kind: int, dtype: str, expected: str) -> None:
    values = np.array([[0, 1, 2], [3, 65504, 7]], dtype)
    message = SHAPE + number(10, kind) + number(11, kind) + field(12, values.tobytes()) + field(13, bytes(5))

    stored = read(message)

    assert stored.array.dtype == np.dtype(expected)
    assert (stored.array == values).all()
    assert "NVIDIA" in stored.note


def test_half_floats_keep_subnormals_infinity_and_nan() -> None:
    halves = np.array([6e-8, -np.inf, np.nan, 65504], "<f2")
    stored = read(field(7, shape(4)) + number(10, 2) + field(12, halves.tobytes()))
    np.testing.assert_array_equal(stored.array, halves.astype(np.float32))


def test_nvidia_prefers_data_to_raw_data() -> None:
    stored = read(SHAPE + field(5, floats(range(6))) + number(10, 1) + field(12, floats([9] * 6)))
    assert stored.array.ravel().tolist() == list(range(6))
    assert not stored.note


@pytest.mark.parametrize(("kind", "dtype"), [(0, "<f4"), (1, "<f2"), (2, "<f8")])
def test_packed_data_of_opencl(kind: int, dtype: str) -> None:
    values = np.array([[0, 1, 2], [3, 4, 7]], dtype)
    message = SHAPE + field(10, shape(3, 1)) + field(11, values.tobytes()) + number(13, kind)
    stored = read(message + field(12, b"diff"))
    assert (stored.array == values).all()
    assert "OpenCL" in stored.note


def test_opencl_diffs_in_packed_data_do_not_replace_data() -> None:
    message = SHAPE + field(5, floats(range(6))) + field(11, floats([9] * 6)) + number(13, 0)
    assert read(message).array.ravel().tolist() == list(range(6))


def test_quantized_opencl_values_are_refused() -> None:
    with pytest.raises(WeightsError, match="type number 3"):
        read(SHAPE + field(11, bytes(6)) + number(13, 3))


def test_masks_of_xilinx_are_passed_over() -> None:
    message = blob(VALUES) + field(10, floats([1] * 6)) + field(11, doubles([1])) + number(12, 4)
    assert (read(message).array == VALUES).all()


def test_c3d_puts_a_length_before_height() -> None:
    dims = (2, 1, 3, 1, 2)
    message = b"".join(number(i + 1, dim) for i, dim in enumerate(dims))
    values = floats(range(12))

    for content in (field(6, values), field(6, values) + field(7, values), unpacked(6, np.arange(12.0))):
        stored = read(message + content)
        assert stored.array.shape == dims
        assert stored.array.ravel().tolist() == list(range(12))
        assert stored.legacy
        assert "C3D" in stored.note


def test_a_number_beside_the_data_does_not_make_it_c3d() -> None:
    assert (read(number(5, 7) + blob(VALUES)).array == VALUES).all()


def test_video_caffe_keeps_its_length_apart() -> None:
    message = number(1, 2) + number(2, 1) + number(3, 1) + number(4, 2) + number(7777, 3)
    stored = read(message + field(5, floats(range(12))))
    assert stored.array.shape == (2, 1, 3, 1, 2)


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        (SHAPE + field(5, floats([1, 2])), r"\(2, 3\) needs 6 values, and the file holds 2 values"),
        (SHAPE, "the file holds no values"),
        (SHAPE + field(5, bytes(23)), "23 bytes of values do not divide by 4"),
        (SHAPE + field(8, bytes(46)), "46 bytes of values do not divide by 8"),
        (SHAPE + number(10, 2) + field(12, bytes(11)), "do not divide by 2"),
        (SHAPE + number(10, 5) + field(12, bytes(6)), "type number 5"),
        (field(7, shape(-2, -3)) + field(5, floats(range(6))), "negative axis"),
        (number(1, -1) + number(2, -6) + field(5, floats(range(6))), "negative axis"),
        (field(7, shape(*[1] * 33)) + field(5, floats([1])), "32"),
        (field(7, b"".join(number(1, 1) for _ in range(33))) + field(5, floats([1])), "32 axes"),
        (field(7, shape(*[1] * 20)) * 2 + field(5, floats([1])), "40 axes"),
        (field(7, shape(2**62, 2**62, 2**62)) + field(5, floats([1])), "needs"),
        (field(7, shape(2**32, 2**32)), r"needs 18446744073709551616 values"),
        (field(7, shape(0, 2**62, 2**62)), "cannot be"),
        (field(5, floats([1])) + field(7, shape(*[1] * 33)), "32"),
        (field(5, b"") + field(7, shape(0, 2**62, 2**62)), "cannot be"),
        (field(5, bytes(80)) + field(7, shape(2) + shape(1)), r"\(2, 1\) needs 2 values"),
        (SHAPE + field(12, bytes(24)), "no values"),
        (field(7, b"\x0a\x01\x80"), "ends within a number"),
        (varint(5 * 8 + 5) + b"abc", "cut off"),
        (b"\xad\x00abcd" + field(7, shape(1)), "tag longer"),
    ],
)
def test_a_blob_that_cannot_be_is_refused(message: bytes, pattern: str) -> None:
    with pytest.raises(WeightsError, match=pattern):
        read(message)


def test_values_in_too_many_pieces_are_refused() -> None:
    with pytest.raises(WeightsError, match="pieces"):
        read(field(5, b"") * 17_000)
