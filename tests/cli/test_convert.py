"""`caffenorm convert`: options, targets, and what the user sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wrong_rules import NET, break_batch_norm, eps_dropped, factor_ignored, made

from caffenorm.cli.main import main


@pytest.mark.parametrize("command", [["run"], ["convert"], []], ids=" ".join)
def test_help_keeps_the_lines_of_its_example(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0

    shown = capfd.readouterr().out
    assert "\n  Example:\n    caffenorm " in shown
    assert "\\b" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--opset", "17"], "--opset is for --to onnx, not for --to torch"),
        (["--input", "x:1,3"], "--input is for --to caffe, not"),
        (["--to", "fortran"], "fortran"),
        (["--batch-size", "0"], "--batch-size"),
        (["--crop", "much"], "--crop"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "net.prototxt", "net.caffemodel", "-o", "out", *arguments]) == 2

    assert says in capfd.readouterr().err


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, Path]:
    net = made()
    (tmp_path / "net.prototxt").write_text('name: "small"' + NET)
    net.save(tmp_path / "net.caffemodel")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"), tmp_path / "out"


@pytest.mark.torch
def test_a_good_conversion_says_so_and_writes_four_files(
    files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model, weights, out = files

    status = main(["convert", model, weights, "--to", "torch", "-o", str(out)])

    shown = capfd.readouterr().out
    assert status == 0
    assert {file.name for file in out.iterdir()} == {"model.py", "weights.pt", "report.html", "report.json"}
    assert "blobs, float64" in shown
    assert "one step of SGD, float64" in shown
    assert "2 values after the step are known to differ" in shown
    assert shown.splitlines()[-1].startswith("agrees: 5 blobs agree")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("change", "cause"),
    [(eps_dropped, "eps is left out"), (factor_ignored, "the scale factor of BatchNorm is ignored")],
)
def test_a_wrong_rule_ends_in_failure_and_keeps_the_files(
    change: Any,
    cause: str,
    files: tuple[str, str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, weights, out = files
    break_batch_norm(monkeypatch, change)

    status = main(["convert", model, weights, "--to", "torch", "-o", str(out)])

    shown = capfd.readouterr().out
    assert status == 1
    assert 'DIFFERS: the first blob that departs is "conv"' in shown
    assert cause in shown
    assert "the files are kept" in shown
    assert len(list(out.iterdir())) == 4
    assert cause in (out / "report.html").read_text()
    assert cause in json.loads((out / "report.json").read_text())["verdict"]["cause"]


@pytest.mark.torch
def test_json_is_the_report(files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    model, weights, out = files

    status = main(["convert", model, weights, "--to", "torch", "-o", str(out), "--json", "--batch-size", "2"])

    shown = capfd.readouterr().out
    assert status == 0
    assert shown == (out / "report.json").read_text()
    report = json.loads(shown)
    assert report["float64"]["inputs"] == ["seed 0, batch of 2", "seed 1, batch of 2"]
    assert [row["what"] for row in report["sources"]] == ["prototxt", "weights"]
    assert {row["name"] for row in report["files"]} == {"model.py", "weights.pt"}


@pytest.mark.torch
def test_without_a_proof_nothing_is_claimed(
    files: tuple[str, str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model, weights, out = files

    status = main(["convert", model, weights, "--to", "torch", "-o", str(out), "--no-verify"])

    assert status == 0
    assert "not compared with the Caffe net" in capfd.readouterr().out
    assert json.loads((out / "report.json").read_text())["verdict"]["ok"] is None


@pytest.mark.torch
def test_options_reach_the_module_and_the_report(
    files: tuple[str, str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = str(tmp_path / "picture.png")
    image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)).save(picture)
    model, weights, out = files
    options = ["--mean", "104,117,123", "--scale", "0.017", "--channel-order", "rgb", "--picture", picture]

    status = main(["convert", model, weights, "-o", str(out), *options, "--format", "safetensors", "--json"])

    report = json.loads(capfd.readouterr().out)
    assert status == 0
    assert (out / "weights.safetensors").exists()
    assert report["float64"]["inputs"][-1] == picture
    assert report["options"]["preprocessing.mean"] == [104, 117, 123]
    assert report["options"]["preprocessing.channel_order"] == "rgb"
    assert "Preprocess" in (out / "model.py").read_text()


@pytest.mark.torch
def test_nothing_is_written_where_a_picture_is_missing(
    files: tuple[str, str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, weights, out = files

    status = main(["convert", model, weights, "-o", str(out), "--picture", str(tmp_path / "missing.png")])

    assert status == 1
    assert "missing.png: there is no such file; a picture should be here" in capfd.readouterr().err
    assert not out.exists()
