"""Reads the golden cases under tests/data/golden; the README there describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "data" / "golden"
# Folders that hold other things than a net and its numbers.
NOT_LAYERS = frozenset({"fillers", "netfilter", "nsfw", "rejects", "snapshots", "splits", "upgrade"})


@dataclass(frozen=True)
class GoldenCase:
    """One npz: `meta` and the arrays, keyed `in/<blob>`, `out/<blob>`, `param/<layer>/<i>` ..."""

    path: Path
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays below `prefix/`, by the rest of their key."""
        start = prefix + "/"
        return {key[len(start) :]: array for key, array in self.arrays.items() if key.startswith(start)}


def load(path: Path) -> GoldenCase:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return GoldenCase(path, json.loads(str(arrays.pop("meta"))), arrays)


def layer_families() -> list[str]:
    folders = {folder.name for folder in FOLDER.iterdir() if folder.is_dir()}
    return sorted(folders - NOT_LAYERS)


def paths(family: str, kind: str = "npz") -> list[Path]:
    """The files of a family, for pytest.mark.parametrize with `ids=name`."""
    return sorted((FOLDER / family).glob(f"*.{kind}"))


def name(path: Path) -> str:
    """What a case is called in a test's id: "BatchNorm/maf_0"."""
    return f"{path.parent.name}/{path.stem}"
