"""Weights files: read in every layout and dialect, fitted to a net, and written as Caffe reads them."""

from caffenorm._files import Pathish
from caffenorm.weights.binaryproto import read_blob, read_blobs, write_blob
from caffenorm.weights.caffemodel import read_caffemodel
from caffenorm.weights.encode import write_caffemodel
from caffenorm.weights.files import open_weights
from caffenorm.weights.hdf5 import read_hdf5, write_hdf5
from caffenorm.weights.match import Assignment, TargetBlob, match
from caffenorm.weights.model import LayerWeights, ModelWeights
from caffenorm.weights.names import named_arrays
from caffenorm.weights.npz import ZIP_SIGNATURE, read_npz, write_npz
from caffenorm.weights.report import LoadReport
from caffenorm.weights.safetensors import is_safetensors, read_safetensors, write_safetensors
from caffenorm.weights.sniff import HEAD, is_hdf5
from caffenorm.weights.structure import read_net_from_caffemodel

__all__ = [
    "Assignment",
    "LayerWeights",
    "LoadReport",
    "ModelWeights",
    "TargetBlob",
    "match",
    "named_arrays",
    "read_blob",
    "read_blobs",
    "read_caffemodel",
    "read_hdf5",
    "read_net_from_caffemodel",
    "read_npz",
    "read_safetensors",
    "read_weights",
    "write_blob",
    "write_caffemodel",
    "write_hdf5",
    "write_npz",
    "write_safetensors",
]


def read_weights(path: Pathish) -> ModelWeights:
    """Read a weights file, `.caffemodel`, `.caffemodel.h5`, `.npz` or `.safetensors`, by its content.

    Raises:
        WeightsError: there is no such file, it is none of these, or it is cut off or damaged.
        MissingExtraError: it is HDF5, and h5py is not installed.
    """
    with open_weights(path) as (source, _file):
        head = source.span(0, min(HEAD, source.size))
        named = is_safetensors(head, source.size)
    if named:
        return read_safetensors(path)
    if head.startswith(ZIP_SIGNATURE):
        return read_npz(path)
    return read_hdf5(path) if is_hdf5(head) else read_caffemodel(path)
