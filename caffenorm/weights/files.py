"""Opening weights files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from caffenorm._files import Pathish, readable_file
from caffenorm.errors import WeightsError, Where
from caffenorm.weights.wire import Source


@contextmanager
def open_weights(path: Pathish) -> Iterator[tuple[Source, str]]:
    """A source of the file's bytes, and its name for messages; errors of the system become WeightsErrors."""
    file = readable_file(path, WeightsError, "the weights")
    if not file.is_file():
        raise WeightsError("this is a device or a pipe, not a file", Where(str(file)))
    try:
        with io.FileIO(file, "r") as raw:
            yield Source(raw), str(file)
    except OSError as error:
        raise WeightsError(f"cannot read the weights: {error.strerror or error}", Where(str(file))) from error
    except WeightsError as error:
        raise error if error.where else WeightsError(error.message, Where(str(file))) from error
