"""`.binaryproto` files: one blob (a mean image) or a list of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from caffenorm._files import Pathish, atomic_write
from caffenorm.errors import WeightsError, Where
from caffenorm.weights.blobproto import read_blob_message
from caffenorm.weights.encode import encode_blob, storable
from caffenorm.weights.files import open_weights
from caffenorm.weights.model import Array
from caffenorm.weights.sniff import HEAD, is_hdf5, what_else
from caffenorm.weights.wire import BYTES, Source, fields

_VECTOR_BLOBS = 1  # a message with many blobs; in a single blob, field 1 is a number
_MOST_BLOBS = 100_000


def read_blobs(path: Pathish) -> list[Array]:
    """Read all blobs of a `.binaryproto` that holds one blob or a list of them.

    Returns:
        Arrays of float32, or float64 where the file holds doubles, in the shapes the file gives: mean images
            of Caffe's own
        tool have (1, channels, height, width), channels in the order blue, green, red.

    Raises:
        WeightsError: there is no such file, it is something else, or it is cut off or damaged.
    """
    with open_weights(path) as (source, file):
        head = source.span(0, min(HEAD, source.size))
        other = "an HDF5 file, not a blob" if is_hdf5(head) else what_else(head)
        if other:
            raise WeightsError(f"this is {other}", Where(file))
        spans = _blob_spans(source)
        if not spans:
            raise WeightsError("this is no .binaryproto: it holds no blob", Where(file))
        blobs = [read_blob_message(source, start, stop) for start, stop in spans]
        if all(blob.legacy and blob.array.shape == (0,) for blob in blobs):
            raise WeightsError("this is no .binaryproto: it holds neither a shape nor values", Where(file))
        return [blob.array for blob in blobs]


def read_blob(path: Pathish) -> Array:
    """Read the one blob of a `.binaryproto`, such as a mean image; see `read_blobs`.

    Raises:
        WeightsError: as `read_blobs`, or the file holds several blobs.
    """
    blobs = read_blobs(path)
    if len(blobs) > 1:
        raise WeightsError(f"the file holds {len(blobs)} blobs; read_blobs reads them all", Where(str(path)))
    return blobs[0]


def write_blob(path: Pathish, array: ArrayLike) -> None:
    """Write one blob as a `.binaryproto` that Caffe reads; the file appears whole or not at all.

    Args:
        path: of the file.
        array: float64 is stored as doubles, float16 and float32 as floats.

    Raises:
        ConfigError: the array holds something else, or the file cannot be written.
    """
    values = storable(np.asarray(array), "the array")
    with atomic_write(path) as handle:
        for part in encode_blob(values, None):
            handle.write(part)


def _blob_spans(source: Source) -> list[tuple[int, int]]:
    """Where the messages of the blobs lie; none if the file is no message of blobs."""
    spans: list[tuple[int, int]] = []
    single = False
    for number, wire, value, stop in fields(source, 0, source.size):
        if number == _VECTOR_BLOBS and wire == BYTES:
            if len(spans) == _MOST_BLOBS:
                raise WeightsError(f"more than {_MOST_BLOBS} blobs")
            spans.append((value, stop))
        elif not spans:
            single = True
            break
    return [(0, source.size)] if single else spans
