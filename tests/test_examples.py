"""The scripts in examples/ run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"open_nsfw.py": ("torch", "nsfw", "matplotlib", "PIL"), "convert_to_torch.py": ("torch",)}
SHOWS = {
    "open_nsfw.py": "blobs agree",
    "convert_to_torch.py": "blobs agree",
    "own_layer.py": "Softsign",
    "train_lenet.py": "right on",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs(script: Path) -> None:
    for package in NEEDS.get(script.name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert SHOWS[script.name] in done.stdout
