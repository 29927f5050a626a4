"""from_torch on random small modules: values that are read again, changed in place, and joined."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import caffenorm
from caffenorm.convert.from_pytorch import convert_module

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
nn, F = torch.nn, torch.nn.functional

CHANNELS, SIZE = 4, 5


def made(kind: str) -> Any:
    """The submodule that a step needs; a function where it needs none."""
    return {
        "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False),
        "norm": lambda: nn.BatchNorm2d(CHANNELS),
        "group": lambda: nn.GroupNorm(2, CHANNELS),
        "relu": nn.ReLU,
        "relu_": lambda: nn.ReLU(inplace=True),
        "relu6_": lambda: nn.ReLU6(inplace=True),
        "dropout": nn.Dropout,
        "dropout_": lambda: nn.Dropout(0.3, inplace=True),
        "prelu": lambda: nn.PReLU(CHANNELS),
        "elu_": lambda: nn.ELU(inplace=True),
        "sigmoid": nn.Sigmoid,
        "pool": lambda: nn.MaxPool2d(3, 1, 1),
        "swap": nn.Identity,
        "rows": nn.Identity,
        "half": nn.Identity,
    }[kind]()


ONE = (
    *("conv", "norm", "group", "relu", "relu_", "relu6_", "dropout", "dropout_", "prelu", "elu_"),
    *("sigmoid", "pool", "swap", "rows", "half"),
)
TWO = ("add", "add_", "mul", "sub", "gate", "cat")


class Random(nn.Module):
    """Steps that each read one or two of the values before; returns the last, and one of the others.

    Args:
        steps: (kind, first, second): numbers of the values, counted from the last.
    """

    def __init__(self, steps: list[tuple[str, int, int]], returned: int) -> None:
        super().__init__()
        self.steps, self.returned = steps, returned
        self.parts = nn.ModuleList(made(kind) if kind in ONE else nn.Identity() for kind, *_ in steps)

    def forward(self, x: Any) -> Any:
        values = [x * 1.5]
        for (kind, first, second), part in zip(self.steps, self.parts, strict=True):
            a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
            values.append(self.step(kind, part, a, b))
        return values[-1], values[-1 - self.returned % len(values)]

    def step(self, kind: str, part: Any, a: Any, b: Any) -> Any:
        if kind in ("add", "mul", "sub"):
            return getattr(torch, kind)(a, b)
        if kind == "add_":
            a += b
            return a
        if kind == "gate":
            return a * torch.sigmoid(b.mean((2, 3), keepdim=True))
        if kind == "cat":
            return torch.cat([a, b], 1)[:, :CHANNELS]
        if kind == "swap":
            first, second = a.chunk(2, 1)
            return torch.cat([second, first], 1)
        if kind == "rows":
            return F.relu(a.flatten(2)).view(a.shape)
        if kind == "half":
            return a.mul_(0.5)
        return part(a)


steps = st.lists(
    st.tuples(st.sampled_from(ONE + TWO), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8
)


@given(steps=steps, returned=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_modules_agree(steps: list[tuple[str, int, int]], returned: int, seed: int) -> None:
    torch.manual_seed(seed)
    module = Random(steps, returned).double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    images = torch.randn(2, CHANNELS, SIZE, SIZE, dtype=torch.float64)

    found = convert_module(module, images)

    assert found.agreement.ok, str(found.agreement)
    assert found.agreement.other_batch == "agrees"
    with torch.no_grad():
        expected = [value.clone() for value in module(images)]
    out = found.net.forward(data=images.numpy())
    for blob, value in zip(found.outputs, expected, strict=True):
        np.testing.assert_allclose(out[blob], value.numpy(), rtol=1e-5, atol=1e-6)


@given(steps=steps, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gradients_of_random_modules_agree(steps: list[tuple[str, int, int]], seed: int) -> None:
    torch.manual_seed(seed)
    steps = [step for step in steps if step[0] not in ("pool", "relu6_")]  # gradients at ties differ
    module = Random(steps, 0).double().eval()
    images = torch.randn(2, CHANNELS, SIZE, SIZE, dtype=torch.float64)
    found = convert_module(module, images, check=False)
    found.net_param.force_backward = True
    net = caffenorm.Net(found.net_param, caffenorm.TEST, dtype=np.float64)
    net.share_with(found.net)
    leaf = images.clone().requires_grad_()

    try:
        value = module(leaf)[0]
        dy = torch.randn_like(value)
        value.backward(dy)
    except RuntimeError:  # what the module changes in place, PyTorch needs for its gradient
        return
    net.forward(data=images.numpy())
    net.blobs[found.outputs[0]].diff[...] = dy.numpy()
    if found.outputs[1:]:
        net.blobs[found.outputs[1]].diff[...] = 0
    net.backward()

    expected = leaf.grad.numpy()
    np.testing.assert_allclose(
        net.blobs["data"].diff, expected, rtol=1e-5, atol=1e-6 * max(1, np.abs(expected).max())
    )
