"""`caffenorm convert`: options, targets, and what the user sees."""

from __future__ import annotations

import pytest

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
