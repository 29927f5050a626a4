"""What the `.cu` files say of their kernels: names, template parameters, and the instances that are used.

A `typename` stands for float and double, in the families of HALF_FAMILIES for the half types too; a `bool`
for both values. Other parameters, and those that take less, are written above the kernel:

    // instances: WIDTH = 1, 4; T = float, double
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from caffenorm.backends.gpu import cuda

FOLDER = Path(cuda.__file__).parent
HALF_FAMILIES = ("norm", "channel", "activation", "statistics", "group_norm")
_TYPES = ("float", "double")
_HALF_TYPES = ("__half", "__nv_bfloat16")
_KERNEL = re.compile(
    r"(?P<comment>(?:^[ \t]*//[^\n]*\n)*)"
    r"^[ \t]*template\s*<(?P<parameters>[^>]*)>\s*(?P<within>(?:^[ \t]*//[^\n]*\n)*)"
    r"__global__[^;{}]*?\b(?P<name>\w+)\s*\((?P<arguments>[^;{]*)\)\s*\{",
    re.MULTILINE,
)
_INSTANCES = re.compile(r"instances:(.*)")


@dataclass(frozen=True)
class KernelSource:
    """One template kernel: file without ending, name, and its template parameters' values in order."""

    family: str
    name: str
    parameters: tuple[tuple[str, tuple[str, ...]], ...]

    def expressions(self) -> list[str]:
        values = itertools.product(*(choices for _, choices in self.parameters))
        return [f"{self.name}<{', '.join(chosen)}>" for chosen in values]


def families() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


def global_names(family: str) -> list[str]:
    """Names of all `__global__` functions, found without the pattern that reads their templates."""
    text = re.sub(r"//[^\n]*", "", (FOLDER / f"{family}.cu").read_text())
    text = re.sub(r"__launch_bounds__\s*\([^()]*\)", "", text)
    return re.findall(r"__global__[^;{}()]*?\b(\w+)\s*\(", text)


@functools.cache
def kernels(family: str) -> tuple[KernelSource, ...]:
    text = (FOLDER / f"{family}.cu").read_text()
    text = re.sub(r"__launch_bounds__\s*\([^()]*\)", "", text)
    return tuple(
        KernelSource(family, found["name"], _parameters(family, found)) for found in _KERNEL.finditer(text)
    )


def _parameters(family: str, found: re.Match[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    written: dict[str, tuple[str, ...]] = {}
    for line in _INSTANCES.findall(found["comment"] + found["within"]):
        for part in line.split(";"):
            name, _, values = part.partition("=")
            written[name.strip()] = tuple(value.strip() for value in values.split(","))
    half = any(family == name or family.startswith(name + "_") for name in HALF_FAMILIES)
    parameters = []
    for parameter in found["parameters"].split(","):
        kind, name = parameter.split("=")[0].split()
        usual = {
            "typename": _TYPES + (_HALF_TYPES if half else ()),
            "class": _TYPES,
            "bool": ("false", "true"),
        }
        values = written.pop(name, usual.get(kind))
        assert values, f"{family}.cu: {found['name']}: say the values of {name} in a line `// instances:`"
        parameters.append((name, values))
    assert not written, f"{family}.cu: {found['name']} has no parameter {', '.join(written)}"
    return tuple(parameters)


def instances() -> list[tuple[str, str]]:
    """(family, name expression) of everything that is used."""
    return [
        (family, expression)
        for family in families()
        for kernel in kernels(family)
        for expression in kernel.expressions()
    ]
