"""What a weights file holds, once read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"


@dataclass
class LayerWeights:
    """The blobs of one layer of a weights file.

    Attributes:
        name: the layer's name; bytes that are not UTF-8 read as backslash escapes.
        type: the type as the file spells it ("Convolution", in older files "CONVOLUTION" or "conv"); empty in
            HDF5 files.
        blobs: the values, float32, or float64 where the file holds doubles, in the shapes the file gives.
        legacy: for each blob, whether it has no shape message. It then has the four axes num, channels,
            height, width of old files (five in two dialects for video), or, if the file says nothing at all,
            the one axis of its count.
        indices: the index of each blob in its layer. They differ from 0, 1, ... only in HDF5 files, which
            leave out blobs that belong to another layer.
        layout: "V2", "V1" or "V0"; empty in HDF5 files.
        raw: the layer's message without its blobs, undecoded; empty in HDF5 files.
    """

    name: str
    type: str
    blobs: list[Array]
    legacy: list[bool]
    indices: list[int]
    layout: str = ""
    raw: bytes = b""


@dataclass
class ModelWeights:
    """A weights file.

    Attributes:
        file: where it was read.
        format: "caffemodel V2", "caffemodel V1", "caffemodel V0" or "HDF5".
        layers: all layers of the file in its order, those without blobs too.
        notes: what is unusual about the file, for the user to know.
        net_fields: the net's own fields (its name, inputs ...), undecoded; empty in HDF5 files.
    """

    file: str
    format: str
    layers: list[LayerWeights]
    notes: list[str] = field(default_factory=list)
    net_fields: bytes = b""

    @property
    def layer_dict(self) -> dict[str, LayerWeights]:
        """The layers by name; of equal names the last, which in Caffe overwrites the others."""
        return {layer.name: layer for layer in self.layers}


def some_names(names: list[str]) -> str:
    """A list of layer names short enough for a message: `"a", "b" and 51 more`."""
    shown = ", ".join(f'"{name}"' for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
