"""Reading files with clear errors, and writing them whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from caffenorm.errors import CaffenormError, ConfigError, Where

Pathish = str | os.PathLike[str]


@contextmanager
def atomic_write(path: Pathish, mode: str = "wb") -> Iterator[IO[Any]]:  # Any: bytes or text, by mode
    """Open a temporary sibling of `path`; rename it to `path` when the block ends well, remove it when not.

    A link stays one, and the file that it names is replaced. What is no file, a pipe or a device, is written
    to as it stands.

    Raises:
        ConfigError: the folder is missing or cannot be written, or `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"cannot write {target}: it is a folder; name a file in it")
    encoding = None if "b" in mode else "utf-8"
    if target.exists() and not target.is_file():
        try:
            with open(target, mode, encoding=encoding) as handle:
                yield handle
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
        return
    target = Path(os.path.realpath(target))
    try:
        handle_number, temporary = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        with os.fdopen(handle_number, mode, encoding=encoding) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def readable_file(path: Pathish, error: type[CaffenormError], what: str) -> Path:
    """`path`, if a file is there that may be read.

    Args:
        path: the file.
        error: what to raise.
        what: what the file should be ("a prototxt", "the weights"), for the message.
    """
    file = Path(path)
    where = Where(file=str(file))
    if file.is_dir():
        raise error(f"this is a folder, not {what}; name the file in it", where)
    if not file.exists():
        raise error(f"there is no such file; {what} should be here", where)
    if not os.access(file, os.R_OK):
        raise error(f"no permission to read {what}", where)
    return file


def read_bytes(path: Pathish, error: type[CaffenormError], what: str) -> bytes:
    """The whole file; `error` where it is missing, a folder or unreadable."""
    file = readable_file(path, error, what)
    try:
        return file.read_bytes()
    except OSError as problem:
        raise error(f"cannot read {what}: {problem.strerror or problem}", Where(file=str(file))) from problem
