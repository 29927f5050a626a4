"""Builder: layers as they come, with names, shared parameters, and blobs that are worked over in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm import schema

Shape = tuple[int, ...]

# Layers that Caffe's authors write in place, and those whose top they write over: none of these looks at its
# top again in backward.
_IN_PLACE = frozenset({"BatchNorm", "Scale", "Bias", "ReLU", "ReLU6", "PReLU", "ELU", "Dropout"})
_OVERWRITABLE = frozenset(
    {
        *("BatchNorm", "Scale", "Bias", "ReLU", "ReLU6", "Dropout", "Convolution", "Deconvolution"),
        *("InnerProduct", "Eltwise", "Concat", "Pooling", "GroupNorm", "InstanceNorm", "LayerNorm", "Pad"),
    }
)


@dataclass(frozen=True)
class Value:
    """What a blob holds at one time.

    Attributes:
        blob: its name. shape: of the tensor in PyTorch, and of the blob.
    """

    blob: str
    shape: Shape


@dataclass(frozen=True)
class Stored:
    """One blob of a layer.

    Attributes:
        values: float32 or float64.
        key: the same for blobs that are one parameter; None for values of their own.
        name: of the parameter in PyTorch, to share it under.
        learns: whether it has a learning rate.
    """

    values: NDArray[Any]  # Any: float32 or float64
    key: Hashable = None
    name: str = ""
    learns: bool = True


@dataclass
class Made:
    """A layer, its blobs, and where it comes from."""

    message: schema.LayerParameter
    blobs: list[Stored]
    source: str = ""


@dataclass
class Builder:
    """Layers in order.

    Attributes:
        made: all layers. last: blob -> number of the layer that wrote it last.
        pending: blob -> how many readers are still to come.
    """

    made: list[Made] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    pending: Counter[str] = field(default_factory=Counter)
    source: str = ""
    _taken: set[str] = field(default_factory=set)
    _read: set[str] = field(default_factory=set)  # blobs that a layer has read and not written over

    def unique(self, name: str) -> str:
        """This name, or it with a number, that no layer and no blob has."""
        made, number = name, 2
        while made in self._taken:
            made, number = f"{name}_{number}", number + 1
        self._taken.add(made)
        return made

    def add(
        self,
        kind: str,
        name: str,
        bottoms: Sequence[Value],
        shapes: Sequence[Shape],
        *,
        blobs: Iterable[Stored] = (),
        **fields: Any,  # Any: sub-messages as dicts
    ) -> list[Value]:
        """Add a layer with a top for each shape; in place where its kind allows it and nobody else reads."""
        name = self.unique(name)
        if len(shapes) == 1:
            tops = [bottoms[0].blob if self.may_overwrite(kind, bottoms, shapes[0]) else name]
        else:
            tops = [self.unique(f"{name}/{i + 1}") for i in range(len(shapes))]
        message = schema.LayerParameter(
            name=name, type=kind, bottom=[value.blob for value in bottoms], top=tops, **fields
        )
        self.made.append(Made(message, list(blobs), self.source))
        self._read.update(set(message.bottom) - set(tops))
        for top in tops:
            self.last[top] = len(self.made) - 1
        return [Value(top, tuple(shape)) for top, shape in zip(tops, shapes, strict=True)]

    def may_overwrite(self, kind: str, bottoms: Sequence[Value], shape: Shape) -> bool:
        """Whether a layer of that kind may write its top over its only bottom."""
        if kind not in _IN_PLACE or len(bottoms) != 1 or bottoms[0].shape != tuple(shape):
            return False
        blob = bottoms[0].blob
        writer = self.writer(blob)
        if blob in self._read or self.pending[blob] > 1:
            return False
        if writer is None or writer.message.type not in _OVERWRITABLE:
            return False
        eltwise = writer.message.eltwise_param.operation
        return writer.message.type != "Eltwise" or eltwise == schema.EltwiseParameter.SUM

    def writer(self, blob: str) -> Made | None:
        """The layer that wrote a blob last, None for inputs."""
        index = self.last.get(blob)
        return None if index is None or self.made[index].message.type == "Input" else self.made[index]

    def drop_last(self, blob: str) -> Value | None:
        """Undo the layer that made a blob, if it was the last added; its bottom is what is left."""
        if not self.made or self.last.get(blob) != len(self.made) - 1:
            return None
        message = self.made.pop().message
        self._taken.discard(message.name)
        del self.last[blob]
        return Value(message.bottom[0], ())

    def share(self) -> None:
        """Write `param` blocks where a parameter is used by several layers, or does not learn."""
        uses: Counter[Hashable] = Counter(
            blob.key for made in self.made for blob in made.blobs if blob.key is not None
        )
        for made in self.made:
            named = [blob.name if uses[blob.key] > 1 else "" for blob in made.blobs]
            if not any(named) and all(blob.learns for blob in made.blobs):
                continue
            statistics = made.message.type == "BatchNorm"
            for blob, shared in zip(made.blobs, named, strict=True):
                spec = made.message.param.add()
                if shared:
                    spec.name = shared
                if statistics or not blob.learns:
                    spec.lr_mult, spec.decay_mult = 0, 0

    def values(self, dtype: Any) -> dict[str, list[NDArray[Any]]]:  # Any: numpy dtypes
        """Layer name -> its blobs' values."""
        return {
            made.message.name: [np.asarray(blob.values, dtype) for blob in made.blobs]
            for made in self.made
            if made.blobs
        }
