"""Who may import whom: only what has a lower rank, so that each part can be read without those above it.

Imports inside `if TYPE_CHECKING:` are for annotations and do not count; imports inside functions do.
"""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "caffenorm"

# A unit is a module or package right below caffenorm. Units of one rank may use each other, without cycles.
RANKS: dict[str, int] = {
    unit: rank
    for rank, units in enumerate(
        (
            ("errors", "_extras", "_files", "_random", "_version"),
            ("schema", "_kernels"),
            ("prototxt", "weights", "sources", "backends", "proto"),
            ("synced", "blob"),
            ("layer", "fillers"),
            ("layers",),
            ("graph", "plan", "fusion", "folding", "rewrite"),
            ("net_build", "net_io", "net"),
            ("gradient_check", "functional", "solvers", "convert", "pycaffe", "draw", "summary", "timing"),
            ("cli", "__main__"),
        )
    )
    for unit in units
}
# The package itself re-exports all of the above but the command line.
ROOT_RANK = max(RANKS.values()) - 0.5

ALWAYS_THERE = {"numpy", "google"}
EXTRAS = ("torch", "cupy", "h5py", "lmdb", "matplotlib", "PIL", "cv2", "onnx", "onnxruntime")

# What only some files import, by the start of their paths. Extras go through _extras.require everywhere else.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # Layers hold an Ops and never learn which; everyone else asks backends.select for one.
    "caffenorm.backends": (
        *("__init__.py", "backends/", "net.py", "functional", "gradient_check.py"),
        *("solvers/", "convert/", "pycaffe/", "cli/"),
    ),
    "caffenorm.backends.cpu": ("backends/cpu/", "backends/select.py"),
    "caffenorm.backends.gpu": ("backends/gpu/", "backends/select.py"),
    "caffenorm._kernels": ("backends/cpu/",),
    # Modules that are themselves imported only where PyTorch or CuPy is asked for.
    "torch": ("convert/torch", "backends/cpu/conv_torch.py", "backends/gpu/", "solvers/distributed.py"),
    "cupy": ("backends/gpu/",),
    **dict.fromkeys(EXTRAS[2:], ("nowhere",)),
    "click": ("cli/",),
    "rich": ("cli/",),
}


@dataclass(frozen=True)
class Import:
    """One imported module: where, by which unit, and its dotted name."""

    file: Path
    line: int
    unit: str
    target: str

    def __str__(self) -> str:
        return f"caffenorm/{self.path}:{self.line} imports {self.target}"

    @property
    def path(self) -> str:
        return self.file.relative_to(PACKAGE).as_posix()

    @property
    def target_unit(self) -> str:
        """The unit of caffenorm that is imported; "" for the package itself."""
        parts = self.target.split(".")
        return parts[1] if len(parts) > 1 else ""


def unit_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_exists(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` except those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from itertools.chain.from_iterable(map(nodes_that_run, child.orelse))
            continue
        yield child
        yield from nodes_that_run(child)


def imports_of(file: Path) -> Iterator[Import]:
    for node in nodes_that_run(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            source = node.module or ""
            # `from caffenorm import schema` imports a module, `from caffenorm.layer import Layer` a name.
            dotted = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if module_exists(name) else source for name in dotted]
        else:
            continue
        yield from (Import(file, node.lineno, unit_of(file), name) for name in names)


@cache
def all_imports() -> tuple[Import, ...]:
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple(found for file in files for found in imports_of(file))


def inside() -> list[Import]:
    """Imports of one unit of caffenorm by another; the package's own __init__ may import anything."""
    ours = [i for i in all_imports() if i.target.split(".")[0] == "caffenorm" and i.unit != "__init__"]
    return [found for found in ours if found.target_unit != found.unit]


def test_every_unit_has_a_rank() -> None:
    units = {unit_of(file) for file in PACKAGE.rglob("*.py")} - {"__init__"}

    assert units <= RANKS.keys()


def test_nothing_imports_what_stands_above_it() -> None:
    upward = [
        str(found)
        for found in inside()
        if RANKS.get(found.target_unit, ROOT_RANK if not found.target_unit else 0) > RANKS[found.unit]
    ]

    assert not upward, "\n".join(upward)


def test_units_of_one_rank_import_each_other_without_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for found in inside():
        if RANKS.get(found.target_unit) == RANKS[found.unit]:
            graph.setdefault(found.unit, set()).add(found.target_unit)

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {error.args[1]}")


@pytest.mark.parametrize("target", MAY_IMPORT)
def test_a_few_things_are_imported_in_few_places(target: str) -> None:
    users = [i for i in all_imports() if i.target == target or i.target.startswith(target + ".")]
    wrong = [str(found) for found in users if not found.path.startswith(MAY_IMPORT[target])]

    assert not wrong, "\n".join(wrong)


def test_nothing_else_is_needed_from_outside() -> None:
    known = ALWAYS_THERE | {"caffenorm"} | MAY_IMPORT.keys() | set(sys.stdlib_module_names)

    wrong = [str(found) for found in all_imports() if found.target.split(".")[0] not in known]

    assert not wrong, "\n".join(wrong)


def test_importing_the_package_needs_numpy_and_protobuf_alone() -> None:
    script = f"""
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*EXTRAS, "click", "rich")}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing())
import caffenorm
assert caffenorm.TEST == 1
"""

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.returncode == 0, done.stderr
