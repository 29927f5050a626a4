"""`caffenorm convert --to caffe`: archives, Python files, and one line for every failure."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.cli.main import main

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SOURCE = """
import torch
from torch import nn

SIZE = 3


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(SIZE, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def build():
    torch.manual_seed(0)
    return Tiny()


def with_inputs():
    return build(), torch.zeros(2, SIZE, 8, 8)


def wrong():
    return 3


def broken():
    raise OSError("no weights here")


def unexpressible():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Upsample(scale_factor=1.5))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_net.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def archive(source: Path) -> Path:
    names: dict[str, object] = {}
    exec(compile(SOURCE, str(source), "exec"), names)
    module = names["build"]().eval()  # type: ignore[operator]  # defined in SOURCE
    path = source.parent / "tiny.pt2"
    torch.export.save(torch.export.export(module, (torch.ones(2, 3, 8, 8),)), path)
    return path


def convert(*arguments: object) -> int:
    return main(["convert", "--to", "caffe", *map(str, arguments)])


def test_an_entry_of_a_python_file(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = source.parent / "out"

    assert convert(source, "--entry", "build", "--input", "data:1,3,8,8", "-o", made) == 0

    out = capfd.readouterr().out
    assert "written to" in out
    assert "agrees: " in out
    assert "a batch of another size: agrees" in out
    net = Net(made / "deploy.prototxt", caffenorm.TEST, weights=made / "net.caffemodel")
    assert net.inputs == ["data"]
    assert net.forward(data=np.ones((1, 3, 8, 8)))["fc"].shape == (1, 5)
    assert sorted(file.name for file in made.iterdir()) == ["deploy.prototxt", "net.caffemodel"]


def test_an_entry_may_bring_its_inputs(source: Path) -> None:
    made = source.parent / "out"
    assert convert(source, "--entry", "with_inputs", "-o", made) == 0
    assert Net(made / "deploy.prototxt").blobs["data"].shape == (2, 3, 8, 8)


def test_an_archive(archive: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = archive.parent / "out"

    assert convert(archive, "-o", made, "--json") == 0

    result = json.loads(capfd.readouterr().out)
    assert result["verified"]["ok"]
    assert result["inputs"] == {"data": [2, 3, 8, 8]}
    assert result["outputs"] == ["fc"]
    assert [Path(file).name for file in result["files"]] == ["deploy.prototxt", "net.caffemodel"]


def test_nothing_is_compared_if_not_wanted(archive: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert convert(archive, "-o", archive.parent / "out", "--no-verify") == 0
    assert "not compared with the module" in capfd.readouterr().out


def test_a_net_that_differs_is_kept_and_exits_with_1(
    archive: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from caffenorm.convert.torch_to_caffe import op

    monkeypatch.setitem(op._rules, "relu", lambda given: given.layer("AbsVal", [given.x()]))
    made = archive.parent / "out"

    assert convert(archive, "-o", made) == 1

    assert "differs: the first blob that departs" in capfd.readouterr().out
    assert (made / "net.caffemodel").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{py}",), "--entry NAME says which callable"),
        (("{py}", "--entry", "biuld"), "has no callable 'biuld'; it has Tiny, build, with_inputs"),
        (("{py}", "--entry", "build"), "give the shape of each input"),
        (("{py}", "--entry", "wrong"), "wrong() returned a value of type int, and no torch.nn.Module"),
        (("{py}", "--entry", "broken"), "broken() failed: OSError: no weights here"),
        (("{py}", "--entry", "build", "--input", "data"), "--input data: give a name and sizes"),
        (("{py}", "--entry", "build", "--input", "data:1,0,8"), "give a name and sizes"),
        (
            ("{py}", "--entry", "build", "--input", "a:1,3,8,8", "--input", "b:1"),
            "takes 2|cannot follow Tiny",
        ),
        (("{py}", "--entry", "unexpressible", "--input", "x:1,3,8,8"), "2 operations cannot be expressed"),
        (("{py}", "--entry", "Branching", "--input", "x:1,3"), "torch.export cannot follow Branching"),
        (("{folder}/missing.pt2",), "there is no such file"),
        (("{folder}/weights.pth",), "a file of torch.save has no graph"),
        (("{folder}/text.pt2",), "is no archive of torch.export.save"),
        (("{folder}/zip.pt2",), "does not read as an archive of torch.export.save"),
        (("{folder}/error.py", "--entry", "f"), "does not run: NameError"),
        (("{py}", "{py}", "--entry", "build"), "--to caffe takes one file"),
    ],
)
def test_every_failure_is_one_line(
    arguments: tuple[str, ...], says: str, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = source.parent
    (folder / "text.pt2").write_text("no archive")
    (folder / "weights.pth").write_text("no archive")
    (folder / "error.py").write_text("undefined")
    with zipfile.ZipFile(folder / "zip.pt2", "w") as made:
        made.writestr("version", "1")

    status = convert(*(a.format(py=source, folder=folder) for a in arguments), "-o", folder / "out")

    error = capfd.readouterr().err
    assert status == 1
    assert any(part in error for part in says.split("|")), error
    assert re.sub(r"\x1b\[[0-9;]*[mK]|\r", "", error).strip().startswith("error: ")
    assert "Traceback" not in error
    assert not (folder / "out").exists()


class Mischief:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("mischief", "w")


def test_pickled_objects_in_an_archive_are_not_loaded(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Mischief(), tmp_path / "bad")
    hostile = tmp_path / "hostile.pt2"
    replaced = 0
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(hostile, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if data[:4] == b"PK\x03\x04":
                data, replaced = (tmp_path / "bad").read_bytes(), replaced + 1
            after.writestr(name, data)

    assert replaced
    assert convert(hostile, "-o", tmp_path / "out") == 1
    assert not (tmp_path / "mischief").exists()
