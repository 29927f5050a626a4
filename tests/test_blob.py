"""Blobs and their memory."""

from __future__ import annotations

import numpy as np
import pytest

from caffenorm import Blob, ShapeError
from caffenorm.blob import ShapeClock


def test_a_fresh_blob_takes_no_memory_and_reads_as_zeros() -> None:
    blob = Blob((2, 3))
    assert blob.data_memory.allocated_bytes == 0
    assert blob.data.tolist() == [[0] * 3] * 2
    assert blob.data_memory.allocated_bytes == 24


def test_data_is_a_view_that_may_be_kept() -> None:
    blob = Blob((2, 2))
    kept = blob.data
    kept[0, 1] = 5
    assert blob.data[0, 1] == 5
    assert blob.read()[0, 1] == 5


def test_shrinking_keeps_the_memory_and_growing_loses_the_values() -> None:
    blob = Blob((4,))
    blob.data[...] = [1, 2, 3, 4]
    blob.reshape(2)
    assert blob.data.tolist() == [1, 2]
    blob.reshape(2, 2)
    assert blob.data.tolist() == [[1, 2], [3, 4]]
    blob.reshape(5)
    assert blob.data.tolist() == [0] * 5


def test_reshape_counts_on_the_clock_only_when_the_shape_changes() -> None:
    blob = Blob((2, 3))
    before = ShapeClock.ticks
    blob.reshape(2, 3)
    blob.reshape((2, 3))
    blob.reshape([2, 3])
    assert ShapeClock.ticks == before
    blob.reshape(3, 2)
    assert ShapeClock.ticks == before + 1


@pytest.mark.parametrize(
    "shape", [(-1, 2), (2, 1.5), (1 << 40, 1 << 40)], ids=["negative", "fraction", "overflow"]
)
def test_impossible_shapes_are_refused(shape: tuple[int, ...]) -> None:
    blob = Blob((2,))
    with pytest.raises(ShapeError):
        blob.reshape(shape)
    assert blob.shape == (2,)


def test_legacy_dimensions_are_one_where_missing() -> None:
    blob = Blob((5, 6))
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 6, 1, 1)
    with pytest.raises(ShapeError, match="at most 4 axes"):
        _ = Blob((1,) * 5).num


def test_shared_data_is_one_memory_under_two_shapes() -> None:
    first, second = Blob((2, 3)), Blob((6,))
    second.share_data(first)
    first.data[1, 2] = 7
    assert second.data[5] == 7
    second.diff[0] = 1
    assert not first.diff.any()


def test_blobs_of_different_counts_cannot_share() -> None:
    with pytest.raises(ShapeError, match="6 and 5 values"):
        Blob((5,)).share_data(Blob((6,)))


def test_stable_version_changes_with_every_access_for_writing() -> None:
    blob = Blob((3,))
    before = blob.stable_version()
    blob.read()
    assert blob.stable_version() == before
    blob.write()
    assert blob.stable_version() != before


def test_stable_version_is_unknown_while_a_user_keeps_a_view() -> None:
    blob = Blob((3,))
    kept = blob.data[1:]
    assert blob.stable_version() is None
    del kept
    assert blob.stable_version() is not None


def test_postponed_values_are_made_when_somebody_reads_them() -> None:
    source, target = Blob((2,)), Blob((2,))
    source.data[...] = 3
    made = []

    def make() -> None:
        made.append(True)
        target.write()[...] = source.read() * 2

    target.data_memory.postpone(make, [source.data_memory])
    assert not made
    assert target.data.tolist() == [6, 6]
    assert len(made) == 1


def test_postponed_values_are_made_before_their_source_changes() -> None:
    source, target = Blob((2,)), Blob((2,))
    source.data[...] = 3
    target.data_memory.postpone(
        lambda: target.write().__setitem__(..., source.read() * 2), [source.data_memory]
    )
    source.data[...] = 100
    assert target.data.tolist() == [6, 6]


def test_postponed_values_are_made_at_once_where_a_kept_view_could_change_the_source_unseen() -> None:
    source, target = Blob((2,)), Blob((2,))
    kept = source.data
    kept[...] = 3
    target.data_memory.postpone(
        lambda: target.write().__setitem__(..., source.read() * 2), [source.data_memory]
    )
    kept[...] = 100
    assert target.data.tolist() == [6, 6]


def test_memory_starts_on_a_cache_line() -> None:
    for count in (1, 3, 1000):
        assert Blob((count,)).data.ctypes.data % 64 == 0
        assert Blob((count,), np.float64).diff.ctypes.data % 64 == 0
