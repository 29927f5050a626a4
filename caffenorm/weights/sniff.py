"""What a file is that was given as weights and is none: from its first bytes, in words for the user."""

from __future__ import annotations

import re

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD = 4096  # bytes to look at

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (PyTorch and NumPy save such files too), not Caffe weights"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"\x80\x02", "a Python pickle (an old PyTorch checkpoint?), not Caffe weights"),
    (b"\x80\x04", "a Python pickle, not Caffe weights"),
    (b"\x93NUMPY", "a NumPy array, not Caffe weights"),
    (b"\x89PNG", "a PNG image, not Caffe weights"),
    (b"\xff\xd8\xff", "a JPEG image, not Caffe weights"),
    (b"\x7fELF", "a program, not Caffe weights"),
    (b"%PDF", "a PDF document, not Caffe weights"),
)
_LFS = b"version https://git-lfs.github.com/spec/"
_NET_TEXT = re.compile(
    rb"^\s*(name\s*:|layers?\s*\{|input\s*:|input_dim\s*:|net\s*:|base_lr\s*:)", re.MULTILINE
)
_TEXT = bytes(range(32, 127)) + b"\t\n\r\f\v\x1b"


def is_hdf5(head: bytes) -> bool:
    """Whether the file begins as HDF5; the signature may stand at 512, 1024 ... behind a user block."""
    return any(head.startswith(HDF5_SIGNATURE, offset) for offset in (0, 512, 1024, 2048))


def what_else(head: bytes) -> str:
    """What a file with these first bytes (up to HEAD) surely is, if not weights; empty where open."""
    if not head:
        return "an empty file"
    if head.startswith(_LFS):
        return "a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if not head.strip(b"\x00"):
        return "a file of zeros: a download or a copy that did not finish?"
    return _what_text(head)


def _what_text(head: bytes) -> str:
    """The same for text: empty if it is none."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character that the end of `head` cuts
            return ""
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not plain or any(byte < 128 and byte not in _TEXT for byte in head):
        return ""
    start = plain[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "an HTML page: the download gave a web page in place of the file"
    if start.startswith((b"<?xml", b"<error")):
        return "an XML document: the download gave a message of the server in place of the file?"
    if _NET_TEXT.search(plain):
        return "a prototxt (text that describes a net), not weights; give the .caffemodel"
    return "text, not weights"
