"""Element-wise layers."""

from __future__ import annotations

import math

import numpy as np

from caffenorm.convert.program import Chain, Param, number, rule
from caffenorm.layers.relu import ReLU


@rule("ReLU", "ReLU6")
def relu(chain: Chain) -> None:
    """With the slope and the bounds that forks give it."""
    layer, x = chain.layer, chain.x
    assert isinstance(layer, ReLU)
    if not layer.slope and layer.low == -math.inf and layer.high == 6:
        chain.set(f"F.relu6({x})")
        return
    text = f"F.leaky_relu({x}, {number(layer.slope)})" if layer.slope else f"F.relu({x})"
    chain.set(text if layer.is_plain else f"{text}.clamp({number(layer.low)}, {number(layer.high)})")


@rule("PReLU")
def prelu(chain: Chain) -> None:
    """One slope a channel, or one for all."""
    slope = chain.layer.blobs[0]
    size = str(slope.count) if slope.count > 1 else ""
    module = chain.submodule(f"nn.PReLU({size})", {"weight": Param(slope, slope.read().reshape(-1).copy())})
    chain.set(f"{module}({chain.x})")


@rule("ELU")
def elu(chain: Chain) -> None:
    """With the factor that a fork's `lambda` is."""
    param = chain.layer.param.elu_param
    text = f"F.elu({chain.x}, {number(param.alpha)})" if param.alpha != 1 else f"F.elu({chain.x})"
    factor = getattr(param, "lambda")
    chain.set(text if factor == 1 else f"{number(factor)} * {text}")


@rule("Sigmoid")
def sigmoid(chain: Chain) -> None:
    chain.set(f"torch.sigmoid({chain.x})")


@rule("TanH")
def tanh(chain: Chain) -> None:
    chain.set(f"torch.tanh({chain.x})")


@rule("AbsVal")
def abs_val(chain: Chain) -> None:
    chain.set(f"{chain.x}.abs()")


@rule("BNLL")
def bnll(chain: Chain) -> None:
    chain.set(f"F.softplus({chain.x}, threshold=50)")


@rule("Swish")
def swish(chain: Chain) -> None:
    beta = chain.layer.param.swish_param.beta
    x = chain.x
    chain.set(f"F.silu({x})" if beta == 1 else f"{x} * torch.sigmoid({number(beta)} * {x})")


@rule("Clip")
def clip(chain: Chain) -> None:
    param = chain.layer.param.clip_param
    chain.set(f"{chain.x}.clamp({number(param.min)}, {number(param.max)})")


@rule("Threshold")
def threshold(chain: Chain) -> None:
    x = chain.x
    chain.set(f"({x} > {number(chain.layer.param.threshold_param.threshold)}).to({x}.dtype)")


def _shifted(x: str, scale: float, shift: float) -> str:
    text = x if scale == 1 else f"{number(scale)} * {x}"
    return text if shift == 0 else f"{text} + {number(shift)}"


@rule("Exp")
def exp(chain: Chain) -> None:
    param = chain.layer.param.exp_param
    rate = 1.0 if param.base == -1 else math.log(param.base)
    chain.set(f"torch.exp({_shifted(chain.x, rate * param.scale, rate * param.shift)})")


@rule("Log")
def log(chain: Chain) -> None:
    param = chain.layer.param.log_param
    text = f"torch.log({_shifted(chain.x, param.scale, param.shift)})"
    chain.set(text if param.base == -1 else f"{text} / {number(math.log(param.base))}")


@rule("Power")
def power(chain: Chain) -> None:
    param = chain.layer.param.power_param
    x = chain.x
    if param.power * param.scale == 0:
        with np.errstate(all="ignore"):
            constant = np.power(np.float64(param.shift), np.float64(param.power))
        chain.set(f"torch.full_like({x}, {number(constant)})")
        return
    base = _shifted(x, param.scale, param.shift)
    chain.set(base if param.power == 1 else f"({base}) ** {number(param.power)}")


@rule("Dropout")
def dropout(chain: Chain) -> None:
    """nn.Dropout; a fork's scale_train: false scales in both phases instead."""
    param = chain.layer.param.dropout_param
    if param.sample_weights_test:
        raise chain.fail("sample_weights_test of a fork, which drops in TEST too, has no rule")
    module = chain.submodule(f"nn.Dropout({number(param.dropout_ratio)})")
    text = f"{module}({chain.x})"
    chain.set(text if param.scale_train else f"{number(1 - param.dropout_ratio)} * {text}")
