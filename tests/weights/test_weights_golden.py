"""Files that Caffe wrote, with the weights that Caffe has after loading them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import golden
import numpy as np
import pytest

from caffenorm import weights

FOLDER = golden.FOLDER / "snapshots"
CASES = [path for path in golden.paths("snapshots") if (FOLDER / f"{path.stem}.caffemodel").exists()]
SNAPSHOTS = [path for path in golden.paths("snapshots") if path not in CASES]


def net_of(params: dict[str, np.ndarray]) -> dict[str, list[SimpleNamespace]]:
    """The shapes of a net's parameters, from keys `layer/index`."""
    targets: dict[str, list[SimpleNamespace]] = {}
    for key, array in params.items():
        targets.setdefault(key.rpartition("/")[0], []).append(SimpleNamespace(shape=array.shape))
    return targets


def loaded(path: Path, params: dict[str, np.ndarray], start: dict[str, np.ndarray], **options) -> dict:
    report, assignments = weights.match(weights.read_weights(path), net_of(params), **options)
    found = dict(start)
    found.update({f"{name}/{index}": array for name, index, array in assignments})
    return {"found": found, "report": report}


@pytest.mark.parametrize("path", CASES, ids=golden.name)
def test_binary_weights_load_as_in_caffe(path: Path) -> None:
    case = golden.load(path)
    params, before = case.under("param"), case.under("before")

    result = loaded(FOLDER / case.meta["files"]["caffemodel"], params, before)

    assert result["found"].keys() >= params.keys()
    for key, expected in params.items():
        np.testing.assert_array_equal(result["found"][key].astype(np.float32), expected, err_msg=key)


def test_a_partial_file_leaves_the_rest(tmp_path: Path) -> None:
    case = golden.load(FOLDER / "legacy_partial.npz")
    report = loaded(FOLDER / "legacy_partial.caffemodel", case.under("param"), {})["report"]
    assert (report.loaded, report.missing, report.unused) == (("ip",), ("conv",), ("unknown",))
    assert not report.ok


@pytest.mark.parametrize("path", SNAPSHOTS, ids=golden.name)
@pytest.mark.parametrize("kind", ["caffemodel", "caffemodel.h5"])
def test_snapshots_load_from_both_formats(path: Path, kind: str) -> None:
    if kind.endswith("h5"):
        pytest.importorskip("h5py")
    case = golden.load(path)
    params = case.under("param")
    owned = {"ip2": [False, False]} if path.stem == "shared" else None

    result = loaded(FOLDER / case.meta["files"][kind], params, {}, owned=owned)

    shared = {"ip2/0", "ip2/1"} if owned and kind.endswith("h5") else set()
    assert result["found"].keys() == params.keys() - shared
    for key, array in result["found"].items():
        np.testing.assert_array_equal(array, params[key], err_msg=key)
    assert result["report"].ok or shared


def test_a_model_is_written_byte_for_byte_as_caffe_writes_it(tmp_path: Path) -> None:
    for name in ("model", "adam_iter_5", "sgd_iter_5", "shared_iter_5"):
        original = FOLDER / f"{name}.caffemodel"
        net = weights.read_net_from_caffemodel(original)
        model = weights.read_caffemodel(original)

        weights.write_caffemodel(tmp_path / "copy", net, {layer.name: layer.blobs for layer in model.layers})

        assert (tmp_path / "copy").read_bytes() == original.read_bytes(), name
