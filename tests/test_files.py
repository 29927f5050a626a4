"""Writing files: whole or not at all, and only files."""

from __future__ import annotations

import os
import stat
import sys
import threading

import pytest

from caffenorm._files import atomic_write
from caffenorm.errors import ConfigError

posix = pytest.mark.skipif(sys.platform == "win32", reason="has no pipes and links of this kind")


def test_a_file_appears_whole(tmp_path):
    with atomic_write(tmp_path / "a") as handle:
        handle.write(b"new")
        assert not (tmp_path / "a").exists()

    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_what_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with atomic_write(tmp_path / "a", "w") as handle:
            handle.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@posix
def test_a_link_stays_one_and_its_file_is_replaced(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "link").symlink_to("a")

    with atomic_write(tmp_path / "link", "w") as handle:
        handle.write("new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


@posix
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()

    with atomic_write(tmp_path / "pipe") as handle:
        handle.write(b"through")
    reader.join(30)

    assert read == [b"through"]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@pytest.mark.parametrize("where", [".", "missing/file"])
def test_folders_are_clear_errors(tmp_path, where):
    with pytest.raises(ConfigError, match="cannot write"), atomic_write(tmp_path / where):
        pass
