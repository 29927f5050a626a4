"""A walk over protobuf's wire format, which trusts no length before it is checked against the file's size.

Why not protobuf itself: it turns every float of a weights file into its own storage and back, and one
parameter message of a fork that does not fit our schema would make the whole file unreadable. This walk looks
at tags and lengths only: it says where things are, and whoever wants them copies them once, straight from the
file into an array.

Nothing here recurses, nothing is mapped into memory (a mapped file that another process cuts short kills the
reader), and no buffer is larger than what the file really holds.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from caffenorm.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_GROUP_START, _GROUP_END = 3, 4

_WINDOW = 4096  # bytes of headers read at once: most layers without large blobs fit in one
_LONGEST_HEADER = 20  # a tag and a varint of ten bytes each
_DEEPEST_GROUP = 100  # protobuf's own limit for nesting
_64_BITS = (1 << 64) - 1


class Source:
    """Bytes read by position, from a file or from memory; each read is checked against the size at opening.

    Raises:
        WeightsError: by each read, where the file has become shorter meanwhile or cannot be read.
    """

    def __init__(self, raw: io.FileIO | io.BytesIO) -> None:
        self._raw = raw
        self.size = raw.seek(0, os.SEEK_END)
        self._window = b""
        self._base = 0

    @classmethod
    def of_bytes(cls, content: bytes) -> Source:
        return cls(io.BytesIO(content))

    def window(self, position: int, end: int) -> tuple[bytes, int]:
        """Bytes from `position` or before on, and where they start; a whole header, or all up to `end`."""
        window, base = self._window, self._base
        reach = base + len(window)
        if not (base <= position and (position + _LONGEST_HEADER <= reach or end <= reach)):
            count = min(_WINDOW, self.size - position)
            self._window, self._base = window, base = self._read(position, count), position
        return window, base

    def span(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from `start` to `stop`."""
        offset = start - self._base
        if offset >= 0 and stop <= self._base + len(self._window):
            return self._window[offset : offset + stop - start]
        return self._read(start, stop - start)

    def fill(self, array: NDArray[Any], start: int) -> None:  # Any: floats, doubles or plain bytes
        """Copy the bytes from `start` on into a contiguous array, as many as it holds."""
        self._raw.seek(start)
        done = self._raw.readinto(array.data) or 0
        if done < array.nbytes:  # the system reads at most 2 GiB in one call
            rest = array.data.cast("B")
            while done < array.nbytes:
                more = self._raw.readinto(rest[done:])
                if not more:
                    raise _shorter()
                done += more

    def _read(self, start: int, count: int) -> bytes:
        self._raw.seek(start)
        parts = []
        while count > 0:
            part = self._raw.read(count)
            if not part:
                raise _shorter()
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def fields(source: Source, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk the fields of the message that lies from `start` to `end`.

    Yields:
        `(number, wire type, value, stop)`: for a varint `value` is the number itself (64 bits, unsigned), for
        the others the position where the content starts; `stop` is where it ends, which is where the next
        field starts. Groups, which no Caffe dialect has, are checked and passed over.

    Raises:
        WeightsError: the bytes are not a message, or a length reaches past `end`.
    """
    position, last = start, start - 1
    data, base = b"", start
    groups: list[int] = []
    try:
        while position < end:
            if position > last:
                data, base = source.window(position, end)
                reach = base + len(data)
                last = end if reach >= end else reach - _LONGEST_HEADER
            i = position - base
            tag = data[i]
            i += 1
            if tag > 127:
                tag, i = read_varint(data, i - 1)
            number, wire = tag >> 3, tag & 7
            if wire == BYTES:
                length = data[i]
                i += 1
                if length > 127:
                    length, i = read_varint(data, i - 1)
                value = base + i
                position = value + length
            elif wire == VARINT:
                value = data[i]
                i += 1
                if value > 127:
                    value, i = read_varint(data, i - 1)
                position = base + i
            elif wire == FIXED32:
                value = base + i
                position = value + 4
            elif wire == FIXED64:
                value = base + i
                position = value + 8
            else:
                _enter_or_leave_group(groups, number, wire, position)
                position = base + i
                continue
            if position > end:
                raise _too_long(source, position, end)
            if number == 0 or number >= 1 << 29:
                raise WeightsError(f"byte {base + i}: there is no field number {number}")
            if not groups:
                yield number, wire, value, position
    except IndexError:
        raise _too_long(source, end + 1, end) from None
    if groups:
        raise WeightsError(f"byte {end}: a group of fields has no end")


def signed(value: int) -> int:
    """A varint as the int32 or int64 it stands for."""
    return value - (1 << 64) if value >> 63 else value


def varints(content: bytes, limit: int) -> list[int]:
    """The unsigned varints packed in `content`.

    Raises:
        WeightsError: there are more than `limit`, or the last one is cut off.
    """
    values: list[int] = []
    position = 0
    while position < len(content):
        if len(values) == limit:
            raise WeightsError(f"more than {limit} numbers where a few were expected")
        try:
            value, position = read_varint(content, position)
        except IndexError:
            raise WeightsError("a packed list of numbers ends within a number") from None
        values.append(value)
    return values


def encode_varint(value: int) -> bytes:
    """A number of 0 to 2^64 - 1 as a varint; a negative one as the ten bytes protobuf gives it."""
    value &= _64_BITS
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_header(number: int, length: int) -> bytes:
    """The tag and length that stand before `length` bytes of field `number`."""
    return encode_varint(number << 3 | BYTES) + encode_varint(length)


def read_varint(data: bytes, i: int) -> tuple[int, int]:
    """The varint at `data[i]` and the index after it; IndexError where the bytes end first."""
    value = shift = 0
    while shift < 70:
        byte = data[i]
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _64_BITS, i
        shift += 7
    raise WeightsError("a number of more than ten bytes: these bytes are not a protobuf message")


def _enter_or_leave_group(groups: list[int], number: int, wire: int, position: int) -> None:
    if wire == _GROUP_START and len(groups) < _DEEPEST_GROUP:
        groups.append(number)
    elif wire == _GROUP_START:
        raise WeightsError(f"byte {position}: groups of fields nested more than {_DEEPEST_GROUP} deep")
    elif wire != _GROUP_END:
        raise WeightsError(f"byte {position}: there is no wire type {wire}")
    elif not groups or groups.pop() != number:
        raise WeightsError(f"byte {position}: a group of fields ends that was not begun")


def _too_long(source: Source, stop: int, end: int) -> WeightsError:
    if end >= source.size:
        return WeightsError(
            f"the file ends at byte {source.size} within a field"
            + (f" that needs {stop - end:,} more bytes" if stop > end + 1 else "")
            + ": it is cut off or damaged"
        )
    return WeightsError(f"byte {end}: a field reaches {stop - end:,} bytes past the end of its message")


def _shorter() -> WeightsError:
    return WeightsError("the file became shorter while it was read")
