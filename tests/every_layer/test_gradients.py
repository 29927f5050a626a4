"""Every layer's gradients against numeric ones, in float64, on the golden cases' nets and inputs."""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest
from replay import build, by_step, set_params

from caffenorm import check_gradients
from caffenorm.layer import registered_layers

# Caffe's numbers hold here, and they are not the derivative; test_golden.py compares with them.
NOT_THE_DERIVATIVE = {
    "MVN": "leaves eps out of the deviation's derivative",
    "ContrastiveLoss": "divides by the distance plus 1e-4",
    "MultinomialLogisticLoss": "raises probabilities to 1e-20 in the gradient too",
}
# Cases whose gradient is not the derivative, or too steep for differences.
LEFT_OUT = {
    "SoftmaxWithLoss/certain": "the loss is capped, the gradient is not",
    "BatchNorm/offset_mixed_train": "values of 1e4 with a variance of 1e-6: differences are rounding",
}
# Families whose cases are about other things than gradients, or that have none to check.
NO_GRADIENT = {"Accuracy", "ArgMax", "Input", "Threshold", "Silence", "Net", "Dropout", "DummyData"}
FAMILIES = sorted(set(golden.layer_families()) - NO_GRADIENT - set(NOT_THE_DERIVATIVE))


def cases() -> list[Path]:
    found = []
    for family in FAMILIES:
        with_backward = [path for path in golden.paths(family) if golden.load(path).meta.get("backward")]
        found += [path for path in with_backward if golden.name(path) not in LEFT_OUT]
    return found


@pytest.mark.parametrize("path", cases(), ids=golden.name)
def test_gradients_are_the_derivative(path: Path) -> None:
    case = golden.load(path)
    net = build(case, np.float64, fuse=False)
    set_params(net, case.under("param"))
    inputs = by_step(case.under("in"))
    values = {**inputs[-1], **inputs.get(case.meta.get("forwards", 1) - 1, {})}
    for name, value in values.items():
        net.blobs[name].reshape(value.shape)
    net.reshape()

    report = check_gradients(net, inputs=values, samples=12)

    assert report.ok, str(report)


@pytest.mark.parametrize("family", sorted(NOT_THE_DERIVATIVE))
def test_gradients_that_are_not_the_derivative_are_off_by_little(family: str) -> None:
    """Where Caffe's gradient is not the derivative, ours is Caffe's, and near the derivative all the same."""
    default = next(path for path in golden.paths(family) if path.stem == "default")
    case = golden.load(default)
    net = build(case, np.float64, fuse=False)

    report = check_gradients(net, inputs=by_step(case.under("in"))[-1], tolerance=1e-2, samples=20)

    assert report.ok, f"{NOT_THE_DERIVATIVE[family]}: {report}"


def test_every_registered_layer_has_golden_cases_or_tests_of_its_own() -> None:
    ours = {
        "Axpy", "BN", "GN", "GroupNorm", "InstanceNorm", "LayerNorm", "MirrorPad", "Normalize", "Pad",
        "Permute", "Python", "ReLU6", "ShuffleChannel", "SmoothL1Loss", "NdConvolution", "NdPooling",
        "SyncBatchNorm", "DepthwiseConvolution", "ConvolutionDepthwise",
    }  # fmt: skip
    known = registered_layers().items()
    registered = {name for name, cls in known if cls.__module__.startswith("caffenorm.")}
    assert registered - ours <= set(golden.layer_families())
