"""Archives of named arrays that are broken, by accident or on purpose."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import weights
from caffenorm.errors import WeightsError

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
MOST_MEMORY = 4 << 20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "net.bin"


def attempt(path: Path, content: bytes) -> str:
    """The error that reading gives, empty if it reads; never anything else, nor much memory."""
    path.write_bytes(content)
    said = ""
    tracemalloc.start()
    try:
        weights.read_weights(path)
    except WeightsError as error:
        said = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_MEMORY
    assert not said or path.name in said
    return said


def whole(path: Path, write: Callable[..., None]) -> bytes:
    write(path, {"a/b.weight": VALUES, "a/b.bias": VALUES[0], "bn.scale_factor": VALUES[0, :1]})
    return path.read_bytes()


FORMS = pytest.mark.parametrize("write", [weights.write_npz, weights.write_safetensors])


@FORMS
def test_cut_off_at_every_byte(path: Path, write: Callable[..., None]) -> None:
    content = whole(path, write)

    assert [length for length in range(len(content)) if not attempt(path, content[:length])] == []


@FORMS
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_byte_flipped(path: Path, write: Callable[..., None], flip: int) -> None:
    original = whole(path, write)

    for position in range(len(original)):
        content = bytearray(original)
        content[position] ^= flip
        attempt(path, bytes(content))


@FORMS
@given(
    changes=st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=12), st.integers(0, 12)), max_size=6)
)
def test_pieces_replaced(
    path: Path, write: Callable[..., None], changes: list[tuple[int, bytes, int]]
) -> None:
    content = whole(path, write)
    for position, piece, removed in changes:
        at = position % len(content)
        content = content[:at] + piece + content[at + removed :]

    attempt(path, content)


# --- npz ---


def archive(*members: tuple[str, bytes], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def described(descr: str = "'<f4'", shape: str = "(6,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


SIX = VALUES.tobytes()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (npy(described(shape="(7,)"), SIX), "needs 28 bytes, and the file holds 24"),
        (npy(described(shape="(1 << 40,)"), SIX), "does not read"),
        (npy(described(shape=f"({1 << 62}, {1 << 62})"), SIX), "needs"),
        (npy(described(shape="(-6,)"), SIX), "does not read"),
        (npy(described(shape="(True,)"), SIX), "does not read"),
        (npy(described(shape=f"({1 << 62}, 0, {1 << 62})")), "cannot be"),
        (npy(described("'|O'"), SIX), "O in place of floats"),
        (npy(described("[('a', '<f4')]"), SIX), "in place of floats"),
        (npy(described("'<i4'"), SIX), "<i4 in place of floats"),
        (npy("__import__('os').getcwd()"), "does not read"),
        (npy("(" * 5000), "does not read"),
        (npy("[" * 200), "does not read"),
        (npy("{}"), "does not read"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "too long"),
        (b"\x93NUMPY\x09\x00", "no NumPy array"),
        (b"", "no NumPy array"),
    ],
)
def test_arrays_that_lie(path: Path, array: bytes, says: str) -> None:
    assert says in attempt(path, archive(("a.weight.npy", array)))


@pytest.mark.parametrize("version", ["'\\x80'", "b''"])
def test_no_pickle_is_ever_opened(path: Path, version: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{"a.weight": np.array([{"x": version}], dtype=object)})

    assert "in place of floats" in attempt(path, buffer.getvalue())


def test_an_archive_that_unpacks_to_much_more_is_refused_before(path: Path) -> None:
    header = npy(described(shape=f"({1 << 26},)"))
    bomb = archive(("a.weight.npy", header + bytes(1 << 20)), packed=True)
    lie = bomb.replace(
        ((1 << 20) + len(header)).to_bytes(4, "little"), ((1 << 28) + len(header)).to_bytes(4, "little")
    )

    assert lie != bomb
    assert "the file holds 1048576" in attempt(path, bomb)
    assert "do not come out of" in attempt(path, lie)


def test_bytes_are_not_read_for_two_arrays(path: Path) -> None:
    """One array's values hold the other as a whole; small files could unpack to any size in this way."""
    inner = archive(("b.weight.npy", npy(described(shape="(256,)"), bytes(1024))))
    directory = inner.index(b"PK\x01\x02")
    end = inner.index(b"PK\x05\x06")
    record = inner[:directory] + bytes(-directory % 4)
    head = npy(described(shape=f"({len(record) // 4},)"))
    outer = archive(("a.weight.npy", head + record))
    start = outer.rindex(b"PK\x01\x02")
    entry = bytearray(inner[directory:end])
    entry[42:46] = outer.index(record).to_bytes(4, "little")
    tail = bytearray(outer[outer.rindex(b"PK\x05\x06") :])
    tail[8:12] = b"\x02\0\x02\0"
    tail[12:16] = (len(outer) - len(tail) - start + len(entry)).to_bytes(4, "little")
    content = outer[: len(outer) - len(tail)] + bytes(entry) + bytes(tail)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as opened:
        assert opened.namelist() == ["a.weight.npy", "b.weight.npy"]

    assert attempt(path, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_twice_and_other_files_are_refused(path: Path) -> None:
    good = npy(described(), SIX)

    assert "twice" in attempt(path, archive(("a.weight.npy", good), ("a.weight.npy", good)))
    assert "no NumPy array" in attempt(path, archive(("a.weight.npy", good), ("evil.pkl", b"cos\nsystem\n")))
    assert "of PyTorch" in attempt(path, archive(("archive/data.pkl", b"\x80\x02")))


# --- safetensors ---


def tensors(header: Any, content: bytes = SIX) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(**changed: Any) -> dict[str, Any]:
    return {"a.weight": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24], **changed}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tensors(entry(data_offsets=[0, 25])), "cannot be"),
        (tensors(entry(data_offsets=[24, 0])), "cannot be"),
        (tensors(entry(data_offsets=[-24, 0])), "do not read"),
        (tensors(entry(data_offsets=[0, 1 << 70])), "do not read"),
        (tensors(entry(data_offsets=[0])), "do not read"),
        (tensors(entry(shape=[7])), "cannot be"),
        (tensors(entry(shape=[6.0])), "do not read"),
        (tensors(entry(shape=[1 << 62, 1 << 62])), "cannot be"),
        (tensors(entry(shape=[1] * 40 + [6])), "do not read"),
        (tensors(entry(shape=[1 << 62, 0, 1 << 62], data_offsets=[0, 0]), b""), "cannot be"),
        (tensors(entry(dtype="F8_E4M3")), "not known"),
        (tensors(entry(dtype=["F32"])), "not known"),
        (tensors({"a.weight": {}}), "lacks"),
        (tensors({"a.weight": 5}), "lacks"),
        (tensors(entry(), SIX + b"more"), "the header tells of 24"),
        (
            tensors({**entry(), "a.bias": entry()["a.weight"]}),
            "begins at 0, and the values before it end at 24",
        ),
        (tensors(entry(data_offsets=[4, 28]), SIX + b"more"), "begins at 4"),
        (tensors(b'{"a.weight":1,"a.weight":2}'), "twice"),
        (tensors(b'{"a":' * 50_000), "no JSON"),
        (tensors(b'{"a":' + b"[" * 50_000), "no JSON"),
        (tensors(b'{"a": ' + b"9" * 5000 + b"}"), ""),
        (tensors({}, b""), "holds no arrays"),
        (tensors({"__metadata__": {"x": "y"}}, b""), "holds no arrays"),
    ],
)
def test_headers_that_lie(path: Path, content: bytes, says: str) -> None:
    error = attempt(path, content)

    assert error
    assert says in error


@given(st.binary(max_size=200))
def test_any_bytes_as_a_header(path: Path, content: bytes) -> None:
    attempt(path, tensors(b"{" + content))
