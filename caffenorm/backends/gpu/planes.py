"""Launches of kernels whose threads own a place of a plane and go through planes."""

from __future__ import annotations

from caffenorm.backends.gpu.cuda import Device

_THREADS = 256
_WAVES = 4  # times over that a full device is filled with blocks; more planes are a thread's next ones
_MOST_ROWS = 65535  # blocks along y, on every device


def over_planes(device: Device, places: int, planes: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Blocks and threads of a block, along places and planes.

    A thread works out what it needs for its place once, so that it should meet many planes; but the device
    has to be filled.

    Args:
        device: that it runs on.
        places: of a plane, 1 or more.
        planes: 1 or more.
    """
    across = 1 << min((places - 1).bit_length(), _THREADS.bit_length() - 1)
    deep = _THREADS // across
    columns = -(-places // across)
    wanted = -(-_WAVES * device.multiprocessors * (2048 // _THREADS) // columns)
    rows = min(-(-planes // deep), wanted, _MOST_ROWS)
    return (columns, rows), (across, deep)
