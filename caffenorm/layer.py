"""Layer: the base of all layers, and the registry that finds them by type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from caffenorm import _random
from caffenorm.blob import Blob
from caffenorm.errors import ConfigError, ShapeError
from caffenorm.fillers import fill
from caffenorm.synced import Array

if TYPE_CHECKING:
    from caffenorm import schema
    from caffenorm.backends.interface import Ops

Count = int | tuple[int, int | None]


@dataclass
class LayerContext:
    """What a layer is told about where it runs.

    Attributes:
        phase: `schema.TRAIN` or `schema.TEST`.
        ops: the backend.
        dtype: of all blobs of the net, float32 or float64.
        folder: of the prototxt, for relative file names; empty where unknown.
        allow_python: whether `type: "Python"` layers may import code.
        force_backward: whether gradients of frozen parameters and of inputs are wanted too.
    """

    phase: int
    ops: Ops
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float32))  # Any: float32 or float64
    folder: str = ""
    allow_python: bool = False
    force_backward: bool = False


class Layer:
    """One layer of a net: subclass it, say how many bottoms and tops it takes, and register it.

    The net calls `layer_setup` once, `reshape` at first and whenever a bottom's shape has changed, then
    `forward` and `backward`. The counts of bottoms and tops have been checked by then.

    Attributes:
        num_bottoms, num_tops: exact numbers, or (least, most) with None for no limit.
        same_number_of_tops: as many tops as bottoms.
        is_loss: the first top has loss weight 1 unless the prototxt says otherwise, and tops that are not
            named are made.
        ignores_propagate_down: backward gives its bottoms their gradient whether anybody asks or not.
        in_place_ok: whether a top may be a bottom; the net refuses it otherwise.
        param: the layer's message. blobs: its parameters. notes: what the user should know of how it was
            read.
        param_propagate_down: for each of `blobs`, whether its gradient is wanted.
        needs_backward: whether backward is ever called; where not, forward need not keep anything for it.
    """

    num_bottoms: ClassVar[Count] = 1
    num_tops: ClassVar[Count] = 1
    same_number_of_tops: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False
    in_place_ok: ClassVar[bool] = True
    ignores_propagate_down: ClassVar[bool] = False

    def __init__(self, param: schema.LayerParameter, context: LayerContext) -> None:
        self.param = param
        self.context = context
        self.name: str = param.name
        self.type: str = param.type
        self.phase: int = context.phase
        self.dtype = context.dtype
        self.ops = context.ops
        self.blobs: list[Blob] = []
        self.notes: list[str] = []
        self.param_propagate_down: list[bool] = []
        self.needs_backward = True
        self.overwritten_bottoms: frozenset[int] = frozenset()
        self.overwritten_tops: frozenset[int] = frozenset()
        self._scratch: dict[tuple[str, tuple[int, ...], Any], Array] = {}

    # --- the life of a layer ---

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the parameters and make `self.blobs`; bottoms have their shapes."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops their shapes."""
        raise TypeError(
            f"{type(self).__name__} must say the shapes of its tops: define reshape(self, bottom, top)"
        )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compute the tops' data."""
        raise TypeError(f"{type(self).__name__} must compute its tops: define forward(self, bottom, top)")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Overwrite the diff of each bottom with propagate_down, add to those of `self.blobs`."""
        raise TypeError(
            f"{type(self).__name__} has no gradient: define backward(self, top, propagate_down, bottom)"
        )

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Whether `force_backward` reaches that bottom (losses: not the labels)."""
        return not self.is_loss or bottom_index != 1

    # --- help for layers ---

    def read(self, blob: Blob) -> Array:
        """The blob's values on this layer's device, not to be changed."""
        return blob.read(self.ops)

    def write(self, blob: Blob) -> Array:
        """Memory for values that the layer overwrites whole."""
        return blob.write(self.ops)

    def update(self, blob: Blob) -> Array:
        """The blob's values, which the layer changes."""
        return blob.update(self.ops)

    def read_diff(self, blob: Blob) -> Array:
        """The blob's gradient, not to be changed."""
        return blob.read_diff(self.ops)

    def write_diff(self, blob: Blob) -> Array:
        """Memory for a gradient that the layer overwrites whole."""
        return blob.write_diff(self.ops)

    def update_diff(self, blob: Blob) -> Array:
        """The blob's gradient, which the layer changes."""
        return blob.update_diff(self.ops)

    def keeps_bottom(self, index: int) -> bool:
        """Whether that bottom's values are the same in backward as they were in forward."""
        return index not in self.overwritten_bottoms

    def keeps_top(self, index: int) -> bool:
        """Whether that top's values are in backward what forward wrote."""
        return index not in self.overwritten_tops

    def new_blob(self, shape: Sequence[int]) -> Blob:
        """A blob of the net's dtype."""
        return Blob(shape, self.dtype, self.ops)

    def fill(self, blob: Blob, filler: schema.FillerParameter) -> None:
        """Fill a parameter's values with a filler's.

        Raises:
            LayerError: the filler is unknown or does not fit the blob.
        """
        fresh = not blob.data_memory.allocated_bytes
        if fresh and filler.type == "constant" and filler.value == 0:
            return  # what nobody wrote reads as zeros, and takes no memory
        fill(blob.data, filler, self.rng)

    def scratch(
        self, name: str, shape: Sequence[int], dtype: Any = None
    ) -> Array:  # Any: what numpy.dtype takes
        """Work space that keeps its content; made at the first call with that name, shape and dtype."""
        key = (name, tuple(shape), dtype)
        array = self._scratch.get(key)
        if array is None:
            for stale in [other for other in self._scratch if other[0] == name and other[2] == dtype]:
                del self._scratch[stale]
            kind = self.dtype if dtype is None else np.dtype(dtype)
            count = 1
            for dim in shape:
                count *= dim
            array = self.ops.empty(count, kind).reshape(key[1])
            self._scratch[key] = array
        return array

    @property
    def scratch_bytes(self) -> int:
        """Bytes of work space held."""
        return sum(int(array.nbytes) for array in self._scratch.values())

    @property
    def rng(self) -> np.random.Generator:
        """The generator of random numbers; `set_random_seed` starts it anew."""
        return _random.generator()

    @property
    def layer_param(self) -> schema.LayerParameter:
        """pycaffe's name for `param`."""
        return self.param

    def __repr__(self) -> str:
        return f'<{self.type} layer "{self.name}">'


def canonical_axis(axis: int, num_axes: int, what: str = "axis") -> int:
    """`axis` counted from the front.

    Args:
        axis: may be negative, counted from the end.
        num_axes: of the array.
        what: the parameter's name, for the message.

    Raises:
        ShapeError: there is no such axis.
    """
    if not -num_axes <= axis < num_axes:
        raise ShapeError(f"{what} {axis} does not exist in an array of {num_axes} axes")
    return axis + num_axes if axis < 0 else axis


# --- the registry ---

L = TypeVar("L", bound=type[Layer])
_registry: dict[str, type[Layer]] = {}


def register_layer(*types: str) -> Callable[[L], L]:
    """Class decorator: layers of these types are made from this class.

    Raises:
        ConfigError: a type has a class already, or the class is no Layer.
    """

    def register(cls: L) -> L:
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise ConfigError(f"@register_layer goes with a subclass of caffenorm.Layer, not with {cls!r}")
        for name in types:
            taken = _registry.get(name)
            if taken is not None and (taken.__module__, taken.__qualname__) != (
                cls.__module__,
                cls.__qualname__,
            ):
                raise ConfigError(
                    f'layer type "{name}" is taken by {taken.__module__}.{taken.__qualname__}, '
                    f"so {cls.__module__}.{cls.__qualname__} needs another name"
                )
            _registry[name] = cls
        return cls

    return register


def registered_layers() -> dict[str, type[Layer]]:
    """All known layer classes by type."""
    return dict(_registry)


def layer_type_list() -> list[str]:
    """All known layer types, in alphabetical order."""
    return sorted(_registry)
