"""The code in docs/gpu.md runs, on a device or on what stands in for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from emulation import emulated_cupy

PAGE = Path(__file__).parent.parent.parent / "docs" / "gpu.md"


@pytest.mark.torch
def test_the_code_of_the_page_runs(gpu: Any) -> None:
    blocks = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

    assert len(blocks) > 3
    if gpu is emulated_cupy:
        assert sys.modules["cupy"] is emulated_cupy
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {"__name__": "gpu"})
