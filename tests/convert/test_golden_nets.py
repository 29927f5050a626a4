"""Golden cases as PyTorch modules, in float64: every blob against Caffe's numbers and against our net."""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest
from converted import LEFT_OUT, NOT_CONVERTED, draws, loaded
from tolerances import assert_close, assert_golden

from caffenorm.convert import describe
from caffenorm.convert.live import build_module
from caffenorm.convert.program import converted_types, refused_types
from caffenorm.errors import ConversionError
from caffenorm.layer import registered_layers

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def cases() -> list[Path]:
    found = [path for family in golden.layer_families() for path in golden.paths(family)]
    return [path for path in found if golden.name(path) not in {**NOT_CONVERTED, **LEFT_OUT}]


@pytest.mark.parametrize("path", cases(), ids=golden.name)
def test_blobs_are_caffes(path: Path) -> None:
    case = golden.load(path)
    net = loaded(case)
    module = build_module(describe(net), np.float64)
    inputs = [torch.from_numpy(net.blobs[name].data.copy()) for name in net.inputs]

    found = {name: value.detach().numpy() for name, value in module.blobs(*inputs).items()}
    net.forward()

    if draws(net):
        return
    for name in set(found) & set(net.blobs):
        ours, theirs = net.blobs[name].data, found[name]
        assert theirs.shape == ours.shape or theirs.size == ours.size == 1, name
        assert_close(theirs.reshape(ours.shape), ours, f"{name}, against our net", rtol=1e-5, atol=1e-9)
    if not case.meta.get("stats_only"):
        for key, value in case.under("out").items():
            if key in found:
                assert_golden(case.meta, f"out/{key}", found[key].reshape(value.shape), value)


@pytest.mark.parametrize("name", sorted(NOT_CONVERTED))
def test_what_cannot_be_converted_is_refused_with_the_layer_and_the_reason(name: str) -> None:
    net = loaded(golden.load(golden.FOLDER / f"{name}.npz"))

    with pytest.raises(ConversionError, match=NOT_CONVERTED[name]) as caught:
        describe(net)

    assert "layer" in str(caught.value)


def test_every_layer_type_has_a_rule_or_a_reason() -> None:
    known = converted_types() | set(refused_types())

    # Other tests register types of their own.
    ours = {kind for kind, cls in registered_layers().items() if cls.__module__.startswith("caffenorm.")}
    missing = ours - known

    assert not missing
    assert not converted_types() & set(refused_types())
    assert all(refused_types().values())
