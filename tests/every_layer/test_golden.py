"""Every layer against the numbers that Caffe computed, in float32 and in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
from replay import build, replay
from tolerances import assert_close

import caffenorm
from caffenorm import Net

DTYPES = (np.float32, np.float64)
CASES = [path for family in golden.layer_families() for path in golden.paths(family)]


@pytest.mark.parametrize("path", CASES, ids=golden.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_numbers_are_caffes(path: Path, dtype: Any) -> None:
    case = golden.load(path)
    replay(case, build(case, dtype))


@pytest.mark.parametrize("path", CASES, ids=golden.name)
def test_numbers_are_caffes_when_every_layer_runs_by_itself(path: Path) -> None:
    case = golden.load(path)
    replay(case, build(case, np.float32, fuse=False))


@pytest.mark.parametrize("path", golden.paths("rejects", "json"), ids=golden.name)
def test_what_caffe_refuses_is_refused_at_the_same_stage(path: Path) -> None:
    case = json.loads(path.read_text())
    stages = ("build", "forward", "backward")
    reached = "build"
    try:
        net = Net.from_text(case["prototxt"], getattr(caffenorm, case["phase"]))
        for reached in stages[1 : stages.index(case["stage"]) + 1]:
            if reached == "forward":
                for name, value in case.get("values", {}).items():
                    blob = net.blobs[name]
                    blob.data[...] = np.asarray(value, dtype=np.float32).reshape(blob.shape)
            getattr(net, reached)()
    except caffenorm.CaffenormError:
        assert reached == case["stage"] or case.get("may_exceed"), f"refused at {reached}: {case['reason']}"
    else:
        assert case.get("may_exceed"), f"accepted, but {case['reason']}"


@pytest.mark.parametrize("path", golden.paths("fillers", "json"), ids=golden.name)
def test_fillers_fill_as_caffes(path: Path) -> None:
    case = json.loads(path.read_text())
    caffenorm.set_random_seed(7)
    net = Net.from_text(case["prototxt"], caffenorm.TRAIN)
    found = net.params[case["layer"]][case["param"]].data
    assert list(found.shape) == list(case["shape"])
    if "values" in case:
        assert_close(found.ravel(), case["values"], "values")
        return
    for figure, expected in case["figures"].items():
        measure = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}.get(figure)
        if measure is not None:
            spread = max(float(np.abs(found).max()), 1e-6)
            assert abs(float(measure(found)) - expected) < 0.25 * spread, figure


@pytest.mark.parametrize("path", golden.paths("netfilter", "json"), ids=golden.name)
def test_layers_kept_are_caffes(path: Path) -> None:
    case = json.loads(path.read_text())
    state = case["state"]
    phase = getattr(caffenorm, state["phase"])
    net = Net.from_text(case["input"], phase, level=state.get("level", 0), stages=state.get("stages", []))
    assert [name for name in net.layer_dict if not name.endswith("_split")] == case["kept"]
