"""A small net that has something of everything, and wrong rules for it, for the tests of the proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import program as program_module
from caffenorm.convert.program import Chain
from caffenorm.convert.rules import norm

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 }
                            bias_filler { type: "uniform" min: 1 max: 2 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true
        bias_filler { type: "uniform" min: 1 max: 2 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 }
                              bias_filler { type: "uniform" min: 1 max: 2 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def made(text: str = NET, phase: int = caffenorm.TEST) -> Net:
    caffenorm.set_random_seed(7)
    net = Net.from_text(text, phase)
    rng = np.random.default_rng(3)
    for layer in net.layers:
        if layer.type == "BatchNorm":
            layer.blobs[0].data[...] = rng.uniform(-2, 2, layer.blobs[0].shape)
            layer.blobs[1].data[...] = rng.uniform(1, 3, layer.blobs[1].shape)
            layer.blobs[2].data[...] = 2.5
    return net


def set_rule(monkeypatch: pytest.MonkeyPatch, kind: str, wrong: Callable[[Chain], None]) -> None:
    monkeypatch.setitem(program_module._rules, (kind,), wrong)


def wrong_values(change: Callable[..., Any]) -> Callable[..., Any]:
    right = norm.batch_norm_values

    def wrong(blobs: Any, scale: Any, eps: float, fraction: float) -> Any:
        return right(*change([blob.copy() for blob in blobs], scale, eps), fraction)

    return wrong


def factor_ignored(blobs: Any, scale: Any, eps: float) -> Any:
    return [*blobs[:2], np.ones_like(blobs[2])], scale, eps


def eps_dropped(blobs: Any, scale: Any, eps: float) -> Any:
    return blobs, scale, 1e-30


def break_batch_norm(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    """Let conversions compute batch norms from values that are changed in this way."""
    monkeypatch.setattr(norm, "batch_norm_values", wrong_values(change))
