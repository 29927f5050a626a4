"""How norm kernels share out an array (outer, channels, inner): pieces, groups, blocks.

What is added to what follows from shape, dtype and alignment alone, so that results are the same on every
device; the device decides how many blocks work and how many channels a group has.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

COLUMNS_BELOW = 16  # values of a channel in a row from which on threads stand along them
MANY_CHANNELS = 512  # from here on a channel gets few threads, for blocks fill every device
WHOLE_THREADS = 512  # of a block that holds a channel, at most
PIECE_THREADS = 256  # of a block that takes pieces
MOST_PIECES = 1024  # of a channel: whoever finishes it adds up as many sums
BLOCKS_A_MULTIPROCESSOR = 4  # what the launch bounds of kernels that take pieces let run at once
_DOWN = 8  # rows of threads in blocks that go down columns
_COLUMN_RUNS = 8  # rows that each of these takes at once
_COLUMN_BLOCKS = 1024  # that sums of columns are shared out to
_NARROW = 256  # columns that an array should have at least, by taking several rows as one
_COLUMNS_WHOLE = 16  # rows that a thread of a block holds, and threads that share a column


class Kind(NamedTuple):
    """Of kernel: runs that a thread holds, 16 bytes or one value each, and arrays that it reads."""

    whole_packed: int
    whole_single: int
    packed: int
    single: int
    arrays: int


FORWARD = Kind(8, 16, 4, 16, 1)
BACKWARD = Kind(4, 12, 2, 8, 2)
APPLY = Kind(0, 0, 4, 8, 1)
APPLY_BACKWARD = Kind(0, 0, 2, 8, 2)


class RowsPlan(NamedTuple):
    """For threads along a channel's values.

    Attributes:
        whole: threads of a block for each channel, or 0: channels are taken in pieces.
        pieces: of a channel.
        runs_in_piece: of 16 bytes, or one value.
        group: channels whose sums and results follow each other.
        blocks: for sums and results.
        blocks_for_sums: for sums alone.
    """

    whole: int
    pieces: int
    runs_in_piece: int
    group: int
    blocks: int
    blocks_for_sums: int


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def whole_threads(runs: int, slots: int, channels: int) -> int:
    """Threads that hold so many runs, `slots` each at most; 0 where a block cannot."""
    if runs > slots * WHOLE_THREADS:
        return 0
    each = slots if channels >= MANY_CHANNELS else max(1, slots // 4)
    return min(WHOLE_THREADS, max(32, _power_of_two(-(-runs // each))))


@functools.lru_cache(maxsize=4096)
def plan_rows(
    shape: tuple[int, int, int], itemsize: int, packed: bool, kind: Kind, multiprocessors: int, l2_bytes: int
) -> RowsPlan:
    """The plan of an array that is not empty.

    A group is as many channels as blocks take pieces of at once, but no less than a sixth of the cache: the
    sums of the next group are under way while this one's results are written, and there is room for both.
    """
    outer, channels, inner = shape
    width = 16 // itemsize if packed else 1
    runs = outer * (inner // width)
    whole = whole_threads(runs, kind.whole_packed if packed else kind.whole_single, channels)
    chunk = PIECE_THREADS * (kind.packed if packed else kind.single)
    runs_in_piece = chunk * -(-runs // (chunk * MOST_PIECES))
    pieces = -(-runs // runs_in_piece)
    resident = multiprocessors * BLOCKS_A_MULTIPROCESSOR
    channel_bytes = outer * inner * itemsize * kind.arrays
    at_once = resident * runs_in_piece * width * itemsize * kind.arrays
    group = min(channels, max(1, max(at_once, l2_bytes // 6) // channel_bytes))
    tasks = channels * pieces
    return RowsPlan(whole, pieces, runs_in_piece, group, min(resident, 2 * tasks), min(resident, tasks))


class ColumnsPlan(NamedTuple):
    """For threads side by side across channels.

    Attributes:
        width: columns: `repeat` rows taken as one.
        repeat: such rows.
        whole: blocks along x and threads that share a column, of blocks that hold channels; 0 blocks: too
            many rows.
        rows_in_piece: of sums.
        sums: blocks along columns and pieces.
        apply_packed: blocks of results with 16 bytes a thread; None where that cannot be.
        apply: the same with one value a thread.
    """

    width: int
    repeat: int
    whole: tuple[int, int]
    rows_in_piece: int
    sums: tuple[int, int]
    apply_packed: tuple[int, int] | None
    apply: tuple[int, int]


@functools.lru_cache(maxsize=4096)
def plan_columns(shape: tuple[int, int, int], itemsize: int) -> ColumnsPlan:
    """The plan of an array that is not empty, with inner below COLUMNS_BELOW."""
    outer, channels, inner = shape
    row = channels * inner
    repeat = 1 if row >= _NARROW else _power_of_two(-(-_NARROW // row))
    width = row * repeat
    rows = -(-outer // repeat)
    tiles = -(-width // 32)
    chunk = _DOWN * _COLUMN_RUNS
    pieces = min(-(-rows // chunk), max(1, _COLUMN_BLOCKS // tiles))
    rows_in_piece = chunk * -(-rows // (chunk * pieces))
    pieces = -(-rows // rows_in_piece)
    down = min(_COLUMNS_WHOLE, _power_of_two(-(-outer // (_COLUMNS_WHOLE // 4))))
    whole = -(-channels // (32 // inner)) if outer <= _COLUMNS_WHOLE**2 else 0
    deep = min(65535, -(-rows // (4 * _DOWN)))
    pack = 16 // itemsize
    fits = width % pack == 0 and math.prod(shape) % pack == 0
    return ColumnsPlan(
        width,
        repeat,
        (whole, down),
        rows_in_piece,
        (tiles, pieces),
        (-(-width // (32 * pack)), deep) if fits else None,
        (tiles, deep),
    )
