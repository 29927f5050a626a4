"""A wrong rule is caught: verification names the first blob that departs and the cause that explains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from wrong_rules import eps_dropped, factor_ignored, wrong_values

import caffenorm
from caffenorm import Net
from caffenorm.convert import program as program_module
from caffenorm.convert import to_torch, verify
from caffenorm.convert.program import Chain
from caffenorm.convert.rules import norm, window
from caffenorm.errors import ConversionError

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" batch_norm_param { eps: 0.002 } }
layer { name: "scale1" type: "Scale" bottom: "bn1" top: "scale1" scale_param { bias_term: true } }
layer { name: "pool" type: "Pooling" bottom: "scale1" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "mean" type: "Pooling" bottom: "pool" top: "mean"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "mean" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def net(rng: np.random.Generator) -> Net:
    net = Net.from_text(NET, caffenorm.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    net.params["bn1"][2].data[...] = 3
    return net


def eps_of_torch(blobs: Any, scale: Any, eps: float) -> Any:
    return blobs, scale, 1e-5


def variance_biased(blobs: Any, scale: Any, eps: float) -> Any:
    return [blobs[0], blobs[1] * (4 * 36 - 1) / (4 * 36), blobs[2]], scale, eps


def offset_dropped(blobs: Any, scale: Any, eps: float) -> Any:
    return blobs, [scale[0], np.zeros_like(scale[1])], eps


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (factor_ignored, "scale factor of BatchNorm is ignored"),
        (eps_dropped, "eps is left out"),
        (eps_of_torch, "eps is 1e-5, PyTorch's default"),
        (variance_biased, "taken for a biased one"),
        (offset_dropped, "offset of Scale is left out"),
    ],
)
def test_wrong_batch_norms_are_caught_and_explained(
    net: Net, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any], cause: str
) -> None:
    monkeypatch.setattr(norm, "batch_norm_values", wrong_values(change))

    found = verify(net)

    assert found.first_difference is not None
    assert found.first_difference.name == "scale1"
    assert found.first_difference.layer_type == "Scale"
    assert cause in found.cause
    assert cause in str(found)


def test_floor_pooling_is_caught_and_explained(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    right = window._pooling_call

    def wrong(chain: Chain, windows: Any, up: bool, takes_max: bool, counts_pads: bool) -> str:
        return right(chain, windows, False, takes_max, counts_pads)

    monkeypatch.setattr(window, "_pooling_call", wrong)

    found = verify(net)

    assert found.first_difference is not None
    assert found.first_difference.name == "pool"
    assert "it has shape [4, 4, 2, 2], Caffe's [4, 4, 3, 3]" in str(found)
    assert "rounds its output size down" in found.cause


def test_channels_in_the_other_order_are_explained(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    right = program_module._rules[("Convolution",)]

    def wrong(chain: Chain) -> None:
        right(chain)
        submodule = chain.program.submodules[-1]
        submodule.state["weight"] = np.ascontiguousarray(submodule.state["weight"][:, ::-1])

    monkeypatch.setitem(program_module._rules, ("Convolution",), wrong)

    found = verify(net)

    assert found.first_difference is not None
    assert found.first_difference.name == "conv1"
    assert "opposite order" in found.cause


def test_to_torch_raises_and_names_layer_and_cause(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm, "batch_norm_values", wrong_values(factor_ignored))

    with pytest.raises(ConversionError, match=r'"scale1", written by layer "scale1".*factor of BatchNorm'):
        to_torch(net)


def test_what_no_known_cause_explains_has_none(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(chain: Chain) -> None:
        chain.set(f"{chain.x} * 1.001")

    monkeypatch.setitem(program_module._rules, ("Softmax",), wrong)

    found = verify(net)

    assert found.first_difference is not None
    assert found.first_difference.name == "prob"
    assert found.cause == ""


def test_a_right_module_has_no_difference(net: Net) -> None:
    found = verify(net)

    assert found.ok
    assert found.worst < 1e-12
    assert found.folded == {"bn1": "BatchNorm and Scale are one module"}


def test_a_net_for_one_example_takes_its_step_on_several() -> None:
    alone = Net.from_text("""
        layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
                inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
        layer { name: "bn" type: "BatchNorm" bottom: "fc" top: "fc" }
    """)

    found = verify(alone)

    assert found.ok
    assert found.step is not None
    assert not found.step.skipped
