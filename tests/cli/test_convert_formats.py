"""`caffenorm convert` to ONNX, state dicts and files of weights: what is written, said and returned."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm import Net, weights
from caffenorm.cli.main import main
from caffenorm.convert import onnx as onnx_module

LENET = str(Path(__file__).parents[2] / "examples" / "lenet.prototxt")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = main(["convert", *map(str, arguments)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """LeNet with random values in all blobs, statistics as after some training."""
    net = Net(LENET, caffenorm.TEST)
    rng = np.random.default_rng(5)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.1, 1, blob.shape)
    net.save(tmp_path / "net.caffemodel")
    return tmp_path / "net.caffemodel"


def stored(path: Path) -> dict[str, Any]:
    return weights.named_arrays(weights.read_weights(path).layers)


# --- weights ---


@pytest.mark.parametrize("target", ["npz", "safetensors"])
def test_weights_go_there_and_back(run: Run, model: Path, tmp_path: Path, target: str) -> None:
    out, back = tmp_path / f"net.{target}", tmp_path / "back.caffemodel"

    status, said, _ = run(model, "--to", target, "-o", out)
    assert status == 0
    assert "all bits are the same" in said

    status, _, note = run(out, "--to", "caffemodel", "-o", back)
    assert status == 0
    assert "give the prototxt" in note
    assert stored(back).keys() == stored(model).keys()
    assert all((stored(back)[name] == value).all() for name, value in stored(model).items())


def test_with_the_prototxt_the_caffemodel_is_the_same_file(run: Run, model: Path, tmp_path: Path) -> None:
    run(model, "--to", "npz", "-o", tmp_path / "net.npz")

    status, _, _ = run(LENET, tmp_path / "net.npz", "--to", "caffemodel", "-o", tmp_path / "back.caffemodel")

    assert status == 0
    assert (tmp_path / "back.caffemodel").read_bytes() == model.read_bytes()


def test_weights_as_json(run: Run, model: Path, tmp_path: Path) -> None:
    status, said, _ = run(LENET, model, "--to", "npz", "-o", tmp_path / "net.npz", "--json")

    result = json.loads(said)
    assert status == 0
    assert result["arrays"] == len(stored(model))
    assert result["verified"] == {"ok": True, "differing": []}


def test_a_file_that_does_not_come_back_is_a_failure(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(path: Path, arrays: dict[str, Any]) -> None:
        weights.write_npz(path, {name: array + 1 for name, array in arrays.items()})

    monkeypatch.setattr("caffenorm.cli.convert_weights._WRITERS", {"npz": wrong})

    status, _, said = run(model, "--to", "npz", "-o", tmp_path / "net.npz")

    assert status == 1
    assert "did not come back" in said
    assert zipfile.is_zipfile(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{model}", "--to", "caffemodel", "-o", "{out}.caffemodel"], "is a caffemodel already"),
        (["{model}", "--to", "npz", "-o", "{out}.safetensors"], "does not go with --to npz"),
        ([LENET, "--to", "npz", "-o", "{out}.npz"], "this is a prototxt"),
        ([LENET, "{model}", "--to", "onnx", "-o", "{out}.onnx", "--opset", "1000"], "opset 1000"),
        ([LENET, "{model}", "--to", "onnx", "-o", "{out}.onnx", "--phase", "train"], "phase TEST"),
        ([LENET, "{model}", "--to", "state-dict", "-o", "{out}.pt", "--like", "{model}"], "state dict"),
        ([LENET, "{model}", "--to", "state-dict", "-o", "{out}.pt", "--like", "missing.pt"], "no such file"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(
    run: Run, model: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    status, _, said = run(*(part.format(model=model, out=tmp_path / "out") for part in arguments))

    assert status == 1
    assert says in said
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]


# --- ONNX ---


def test_onnx_is_written_and_compared(run: Run, model: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "net.onnx"

    status, said, _ = run(LENET, model, "--to", "onnx", "-o", out)

    assert status == 0
    assert "13 nodes" in said
    assert "7 blobs agree at batch size 64 and 1 in onnxruntime" in said
    x = np.ones((1, 1, 28, 28), np.float32)
    found = runtime.InferenceSession(out).run(None, {"data": x})[0]
    net = Net(LENET, caffenorm.TEST)
    net.copy_from(model)
    net.blobs["data"].reshape(*x.shape)
    np.testing.assert_allclose(found, net.forward(data=x)["prob"], rtol=1e-4, atol=1e-6)


def test_onnx_as_json_with_options(run: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    options = ["--fold-batch-norm", "--batch-size", "3", "--mean", "33", "--scale", "0.01", "--opset", "17"]

    status, said, _ = run(LENET, model, "--to", "onnx", "-o", tmp_path / "net.onnx", "--json", *options)

    result = json.loads(said)
    assert status == 0
    assert result["opset"] == 17
    assert result["dynamic_batch"] is True
    assert result["inputs"] == {"data": [None, 1, 28, 28]}
    assert result["verified"]["ok"] is True
    assert result["verified"]["batches"] == [3]


def test_onnx_takes_pictures(run: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(900, dtype=np.uint16).astype(np.uint8).reshape(30, 30)).save(tmp_path / "a.png")

    status, said, _ = run(
        LENET,
        model,
        "--to",
        "onnx",
        "-o",
        tmp_path / "n.onnx",
        "--picture",
        tmp_path / "a.png",
        "--scale",
        "0.01",
    )

    assert status == 0
    assert "agree" in said


def test_a_model_that_differs_is_kept_and_the_status_is_1(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    right = onnx_module.emit

    def wrong(*arguments: Any, **options: Any) -> Any:
        graph = right(*arguments, **options)
        graph.constants["ip2.bias"] = graph.constants["ip2.bias"] + 1
        graph.constants["conv2.weight"] = graph.constants["conv2.weight"] * 1.001
        return graph

    monkeypatch.setattr(onnx_module, "emit", wrong)

    status, said, _ = run(LENET, model, "--to", "onnx", "-o", tmp_path / "net.onnx")

    assert status == 1
    assert "DIFFERS: the first blob that departs in onnxruntime" in said
    assert '"conv2", written by layer "conv2/relu"' in said
    assert (tmp_path / "net.onnx").exists()


# --- state dicts ---


def test_a_state_dict_of_a_class_of_ones_own(run: Run, model: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(
        *(nn.Conv2d(1, 20, 5, bias=False), nn.BatchNorm2d(20), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5, bias=False), nn.BatchNorm2d(50), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10), nn.Softmax(1)),
    ).eval()
    torch.save(module.state_dict(), tmp_path / "like.pt")
    mapping, out = tmp_path / "map.json", tmp_path / "out.pt"

    status, said, _ = run(
        LENET, model, "--to", "state-dict", "--like", tmp_path / "like.pt", "--map", mapping, "-o", out
    )
    assert status == 0
    assert "all that was matched has the same bits" in said
    assert json.loads(mapping.read_text())["names"]["conv2"] == "4"

    module.load_state_dict(torch.load(out, weights_only=True))
    x = np.random.default_rng(1).standard_normal((2, 1, 28, 28)).astype(np.float32)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    net = Net(LENET, caffenorm.TEST)
    net.copy_from(model)
    net.blobs["data"].reshape(*x.shape)
    np.testing.assert_allclose(found, net.forward(data=x)["prob"], rtol=1e-4, atol=1e-6)

    back = tmp_path / "back.caffemodel"
    status, _, _ = run(LENET, out, "--to", "caffemodel", "--map", mapping, "-o", back)
    assert status == 0
    net.copy_from(back)
    np.testing.assert_allclose(net.forward(data=x)["prob"], found, rtol=1e-4, atol=1e-6)


def test_names_that_are_left_over_make_the_status_1(run: Run, model: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"head.weight": torch.zeros(10, 500), "head.bias": torch.zeros(10)}, tmp_path / "like.pt")

    status, said, _ = run(
        LENET,
        model,
        "--to",
        "state-dict",
        "--like",
        tmp_path / "like.pt",
        "-o",
        tmp_path / "out.pt",
        "--json",
    )

    result = json.loads(said)
    assert status == 1
    assert not result["ok"]
    assert result["mapping"]["ip2"] == "head"
    assert {one["name"] for one in result["unmatched"] if one["matters"]} >= {"conv1.weight", "ip1.bias"}


def test_without_names_to_follow_the_layers_give_theirs(run: Run, model: Path, tmp_path: Path) -> None:
    status, _, _ = run(LENET, model, "--to", "state-dict", "-o", tmp_path / "out.safetensors")

    found = weights.safetensors.read_tensors(tmp_path / "out.safetensors")
    assert status == 0
    assert {
        "conv1.weight",
        "conv1/bn.running_var",
        "conv1/bn.num_batches_tracked",
        "ip2.bias",
    } <= found.keys()
