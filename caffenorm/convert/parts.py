"""A net as PyTorch statements, of which both the live module and the printed `model.py` are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.convert.options import PLAIN, ConvertOptions, Preprocessing

Floats = NDArray[Any]  # Any: float32 or float64


@dataclass(frozen=True)
class Param:
    """A layer's blob as a parameter of the module.

    Attributes:
        blob: which may be shared between layers. value: its values, shaped for PyTorch.
        transposed: whether they stand the other way round in Caffe.
    """

    blob: Blob
    value: Floats
    transposed: bool = False


@dataclass
class Submodule:
    """One attribute of the module.

    Attributes:
        name: of the attribute. constructor: source text, such as `nn.Conv2d(3, 64, 7)`.
        state: parameters and buffers by their names within the submodule ("" for an attribute that is itself
            a tensor).
        layers: names of the Caffe layers that it stands for.
    """

    name: str
    constructor: str
    state: dict[str, Floats]
    layers: tuple[str, ...]


@dataclass
class Program:
    """A whole net.

    Attributes:
        name: of the net. inputs, outputs: blob names. options: that the user chose.
        arguments: variables that forward takes, in the order of `inputs`.
        colours: whether preprocessing takes pictures of three channels.
        variables: blob name -> variable that holds it when forward ends, for all that are not in `folded`.
        helpers: names of definitions in `torch_modules` that the source needs.
        notes: what the user should know. folded: blob name -> why it does not exist in the module.
        shared: full state name -> full state name of the parameter that it is, where Caffe shares it by name.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    train: bool
    options: ConvertOptions = PLAIN
    arguments: list[str] = field(default_factory=list)
    colours: bool = False
    submodules: list[Submodule] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folded: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What the module does to its pictures first."""
        return self.options.preprocessing

    def state(self) -> dict[str, Floats]:
        """All parameters and buffers by their full names."""
        return {
            f"{part.name}.{key}" if key else part.name: value
            for part in self.submodules
            for key, value in part.state.items()
        }
