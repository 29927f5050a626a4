"""Element-wise layers."""

from __future__ import annotations

import math

from caffenorm.convert.program import Chain, number, rule


@rule("ReLU")
def relu(chain: Chain) -> None:
    slope = chain.layer.param.relu_param.negative_slope
    chain.set(f"F.leaky_relu({chain.x}, {number(slope)})" if slope else f"F.relu({chain.x})")


@rule("ReLU6")
def relu6(chain: Chain) -> None:
    chain.set(f"F.relu6({chain.x})")


@rule("PReLU")
def prelu(chain: Chain) -> None:
    slope = chain.layer.blobs[0]
    x = chain.x
    size = str(slope.count) if slope.count > 1 else ""
    module = chain.submodule(f"nn.PReLU({size})", {"weight": slope.read().reshape(-1).copy()})
    chain.set(f"{module}({x})")


@rule("ELU")
def elu(chain: Chain) -> None:
    alpha = chain.layer.param.elu_param.alpha
    chain.set(f"F.elu({chain.x}, {number(alpha)})" if alpha != 1 else f"F.elu({chain.x})")


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
        chain.set(
            f"torch.full_like({x}, {number(1.0 if param.power == 0 else float(param.shift) ** param.power)})"
        )
        return
    base = _shifted(x, param.scale, param.shift)
    chain.set(base if param.power == 1 else f"({base}) ** {number(param.power)}")


@rule("Dropout")
def dropout(chain: Chain) -> None:
    x = chain.x
    module = chain.submodule(f"nn.Dropout({number(chain.layer.param.dropout_param.dropout_ratio)})")
    chain.set(f"{module}({x})")
