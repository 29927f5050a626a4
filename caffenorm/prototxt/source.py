"""Prototxt files as text."""

from __future__ import annotations

import os

from caffenorm._files import Pathish, read_bytes
from caffenorm.errors import PrototxtError, Where

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Pathish) -> str:
    """The text of a prototxt file.

    Bytes that are not UTF-8 stay in the text as lone surrogates: harmless in comments, where old files have
    them in other encodings, and faults elsewhere. Files whose line ends are bare carriage returns get
    newlines, or the first comment would swallow all that follows.

    Raises:
        PrototxtError: the file is missing, a folder, unreadable, empty, binary or UTF-16.
    """
    where = Where(file=os.fspath(path))
    raw = read_bytes(path, PrototxtError, "a prototxt")
    if raw.startswith(_UTF16):
        raise PrototxtError("this text is in UTF-16; save it as UTF-8", where)
    if b"\0" in raw:
        hint = "a prototxt is the text that describes a net; a .caffemodel holds its weights"
        raise PrototxtError(f"this is a binary file, not a prototxt ({hint})", where)
    text = raw.decode("utf-8", "surrogateescape")
    return text if "\n" in text else text.replace("\r", "\n")


def require_fields(text_is_empty: bool, file: str) -> None:
    """Refuse a text in which nothing is said."""
    if text_is_empty:
        raise PrototxtError("the text is empty: no field stands in it", Where(file=file))
