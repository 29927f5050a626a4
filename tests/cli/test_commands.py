"""The command line: results, exit statuses, and one line for every failure."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.cli.main import main

NET = """
name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, Path]:
    """A prototxt, its weights, and the folder that they are in."""
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(NET)
    caffenorm.set_random_seed(3)
    net = Net(prototxt, caffenorm.TEST)
    for index, value in enumerate((0.5, 2.0, 1.0)):
        net.params["bn"][index].data[...] = value
    net.save(weights)
    return str(prototxt), str(weights), tmp_path


def test_run_gives_the_nets_numbers(files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    prototxt, weights, folder = files
    x = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    np.save(folder / "x.npy", x)

    assert main(["run", prototxt, weights, str(folder / "x.npy"), "-o", str(folder / "y.npy")]) == 0

    expected = Net(prototxt, caffenorm.TEST, weights=weights).forward(data=x)["prob"]
    assert np.array_equal(np.load(folder / "y.npy"), expected)


def test_run_prepares_a_picture(files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    prototxt, weights, folder = files
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    image.fromarray(pixels).save(folder / "p.png")
    (folder / "labels.txt").write_text("cat\ndog\nfox\n")

    options = ["--resize", "12x10", "--crop", "8", "--mean", "1,2,3", "--scale", "0.5", "--json"]
    options += ["--labels", str(folder / "labels.txt")]
    status = main(["run", prototxt, weights, str(folder / "p.png"), *options])

    assert status == 0
    found = json.loads(capfd.readouterr().out)["prob"][0]["classes"]
    x = (pixels[2:10, 1:9, ::-1].transpose(2, 0, 1) - np.array([1.0, 2.0, 3.0])[:, None, None]) * 0.5
    expected = Net(prototxt, caffenorm.TEST, weights=weights).forward(data=x[None])["prob"][0]
    assert {entry["name"] for entry in found} == {"cat", "dog", "fox"}
    for entry in found:
        assert entry["score"] == pytest.approx(float(expected[entry["index"]]), rel=1e-5)


def test_summary_counts(files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", files[0], "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["parameters"] == 4 * 27 + 4 + (4 + 4 + 1) + 8 + 3 * 144 + 3
    assert found["multiply_adds"] == 36 * 4 * 27 + 3 * 144
    assert main(["summary", files[0]]) == 0
    assert "conv" in capfd.readouterr().out


def test_time_measures_every_layer(files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["time", files[0], "--iterations", "2", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    names = [layer["name"] for layer in found["layers"]]
    assert names == ["data", "conv", "bn", "scale", "relu", "fc", "prob"]
    assert found["forward_ms"] > 0


def test_gradcheck_passes_a_right_net(
    files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", files[0]]) == 0
    assert "agree" in capfd.readouterr().out


def test_upgrade_writes_todays_form(files: tuple[str, str, Path]) -> None:
    folder = files[2]
    old = 'input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n'
    old += 'layers { name: "r" type: RELU bottom: "x" top: "y" }'
    (folder / "old.prototxt").write_text(old)
    assert main(["upgrade", str(folder / "old.prototxt"), str(folder / "new.prototxt")]) == 0
    text = (folder / "new.prototxt").read_text()
    assert 'type: "ReLU"' in text
    assert 'type: "Input"' in text


def test_draw_writes_svg(files: tuple[str, str, Path]) -> None:
    picture = files[2] / "net.svg"
    assert main(["draw", files[0], str(picture), "--plain"]) == 0
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.torch
def test_convert_writes_a_module_that_agrees(files: tuple[str, str, Path]) -> None:
    prototxt, weights, folder = files
    assert main(["convert", prototxt, weights, "--to", "torch", "-o", str(folder / "out")]) == 0
    assert (folder / "out" / "model.py").exists()
    assert (folder / "out" / "weights.pt").exists()


@pytest.mark.parametrize("command", ["run", "summary", "time", "gradcheck", "convert", "upgrade", "draw"])
def test_help_has_an_example(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"caffenorm {command}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["run", "missing.prototxt", "w", "x"], 1),
        (["run", "{folder}", "w", "x"], 1),
        (["run", "{net}", "missing.caffemodel", "x.png"], 1),
        (["run", "{net}", "{net}", "x.png"], 1),
        (["run", "{net}", "{weights}", "missing.png"], 1),
        (["run", "{net}", "{weights}", "{net}"], 1),
        (["run", "{weights}", "{weights}", "x"], 1),
        (["draw", "{net}", "{folder}/no/such/folder.svg"], 1),
        (["run", "{net}", "{weights}", "x.png", "--resize", "big"], 2),
        (["summary", "{net}", "--phase", "sometimes"], 2),
        (["nonsense"], 2),
    ],
    ids=str,
)
def test_a_mistake_is_one_clear_failure(
    arguments: list[str], status: int, files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    net, weights, folder = files
    before = sorted(folder.iterdir())
    filled = [a.format(net=net, weights=weights, folder=folder) for a in arguments]
    assert main(filled) == status
    shown = capfd.readouterr()
    assert "rror" in shown.err
    assert "Traceback" not in shown.err
    assert sorted(folder.iterdir()) == before
