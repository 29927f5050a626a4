"""Every golden net that converts is proven: blobs at several batch sizes, gradients, a step of SGD."""

from __future__ import annotations

from pathlib import Path

import golden
import pytest
from converted import LEFT_OUT, NOT_CONVERTED, loaded

from caffenorm.convert import verify

pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]


def cases() -> list[Path]:
    found = [path for family in golden.layer_families() for path in golden.paths(family)]
    return [path for path in found if golden.name(path) not in {**NOT_CONVERTED, **LEFT_OUT}]


@pytest.mark.parametrize("path", cases(), ids=golden.name)
@pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")
def test_the_proof_holds(path: Path) -> None:
    found = verify(loaded(golden.load(path)))

    assert found.ok, str(found)
