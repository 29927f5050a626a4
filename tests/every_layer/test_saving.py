"""Nets of every layer type, with random parameters, come back bit-equal from files."""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest
from replay import build

from caffenorm import Net


def first_cases() -> list[Path]:
    """Of each family, the first case whose net has parameters; one without where none has."""
    found = []
    for family in golden.layer_families():
        paths = golden.paths(family)
        with_params = [path for path in paths if golden.load(path).under("param")]
        found += (with_params or paths)[:2]
    return found


def randomise(net: Net) -> None:
    rng = np.random.default_rng(11)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.1, 2, blob.shape)


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5"])
@pytest.mark.parametrize("path", first_cases(), ids=golden.name)
def test_parameters_come_back_bit_equal(path: Path, suffix: str, tmp_path: Path) -> None:
    case = golden.load(path)
    net = build(case, np.float32)
    randomise(net)
    file = tmp_path / f"net.{suffix}"

    (net.save if suffix == "caffemodel" else net.save_hdf5)(file)
    other = build(case, np.float32)
    report = other.copy_from(file)

    assert not report.missing
    for name, blobs in net.params.items():
        for mine, theirs in zip(blobs, other.params[name], strict=True):
            assert np.array_equal(mine.data, theirs.data), name


@pytest.mark.parametrize("path", first_cases(), ids=golden.name)
def test_a_float64_nets_parameters_come_back_bit_equal(path: Path, tmp_path: Path) -> None:
    case = golden.load(path)
    net = build(case, np.float64)
    randomise(net)
    net.save(tmp_path / "net.caffemodel")
    other = build(case, np.float64)
    other.copy_from(tmp_path / "net.caffemodel")
    for name, blobs in net.params.items():
        for mine, theirs in zip(blobs, other.params[name], strict=True):
            assert np.array_equal(mine.data, theirs.data), name
