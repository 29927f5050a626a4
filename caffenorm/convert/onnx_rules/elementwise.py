"""Element-wise layers."""

from __future__ import annotations

import math

import numpy as np

from caffenorm import schema
from caffenorm.convert.onnx_part import Part, rule
from caffenorm.layers.relu import ReLU

_ELTWISE = schema.EltwiseParameter


def rectified(part: Part, x: str, slope: float, at: str = "") -> str:
    """Relu or LeakyRelu."""
    return part.node("LeakyRelu", x, at=at, alpha=slope) if slope else part.node("Relu", x, at=at)


def bounded(part: Part, x: str, low: float, high: float, at: str = "") -> str:
    """Clip; an infinite bound is left out."""
    bounds = [
        part.constant(float(bound), role) if math.isfinite(bound) else ""
        for bound, role in ((low, "min"), (high, "max"))
    ]
    return part.node("Clip", x, *(bounds if bounds[1] else bounds[:1]), at=at)


@rule("ReLU", "ReLU6")
def relu(part: Part) -> None:
    """With the slope and the bounds that forks give it."""
    layer = part.layer
    assert isinstance(layer, ReLU)
    if layer.is_plain:
        part.set(rectified(part, part.x, layer.slope))
    elif layer.slope or layer.low > 0:
        part.set(bounded(part, rectified(part, part.x, layer.slope, "relu"), layer.low, layer.high))
    else:
        part.set(bounded(part, part.x, max(0.0, layer.low), layer.high))


@rule("PReLU")
def prelu(part: Part) -> None:
    """One slope a channel, or one for all."""
    slope = part.layer.blobs[0]
    shape = (slope.count, *(1,) * (part.bottom[0].num_axes - 2)) if slope.count > 1 else (1,)
    part.set(part.node("PRelu", part.x, part.param(slope, "weight", slope.read().reshape(shape))))


@rule("ELU")
def elu(part: Part) -> None:
    """With the factor that a fork's `lambda` is."""
    param = part.layer.param.elu_param
    factor = float(getattr(param, "lambda"))
    at = "" if factor == 1 else "elu"
    part.set(part.times(part.node("Elu", part.x, at=at, alpha=float(param.alpha)), factor))


@rule("Sigmoid")
def sigmoid(part: Part) -> None:
    part.set(part.node("Sigmoid", part.x))


@rule("TanH")
def tanh(part: Part) -> None:
    part.set(part.node("Tanh", part.x))


@rule("AbsVal")
def abs_val(part: Part) -> None:
    part.set(part.node("Abs", part.x))


@rule("BNLL")
def bnll(part: Part) -> None:
    part.set(part.node("Softplus", part.x))


@rule("Swish")
def swish(part: Part) -> None:
    x = part.x
    gate = part.node("Sigmoid", part.times(x, float(part.layer.param.swish_param.beta), "beta"), at="gate")
    part.set(part.node("Mul", x, gate))


@rule("Clip")
def clip(part: Part) -> None:
    param = part.layer.param.clip_param
    part.set(bounded(part, part.x, float(param.min), float(param.max)))


@rule("Threshold")
def threshold(part: Part) -> None:
    limit = part.constant(float(part.layer.param.threshold_param.threshold), "threshold")
    part.set(part.to_float(part.node("Greater", part.x, limit, at="greater")))


@rule("Exp")
def exp(part: Part) -> None:
    param = part.layer.param.exp_param
    rate = 1.0 if param.base == -1 else math.log(param.base)
    x = part.plus(part.times(part.x, rate * param.scale, "scale"), rate * param.shift, "shift")
    part.set(part.node("Exp", x))


@rule("Log")
def log(part: Part) -> None:
    param = part.layer.param.log_param
    x = part.plus(part.times(part.x, float(param.scale), "scale"), float(param.shift), "shift")
    if param.base == -1:
        part.set(part.node("Log", x))
    else:
        part.set(part.times(part.node("Log", x, at="log"), 1 / math.log(param.base)))


@rule("Power")
def power(part: Part) -> None:
    param = part.layer.param.power_param
    if param.power * param.scale == 0:
        with np.errstate(all="ignore"):
            value = np.power(np.float64(param.shift), np.float64(param.power))
        part.set(part.filled(part.node("Shape", part.x, at="shape"), float(value)))
        return
    x, steps = part.x, (param.scale != 1, param.shift != 0, param.power != 1)
    x = part.times(x, float(param.scale), "scale" if any(steps[1:]) else "")
    x = part.plus(x, float(param.shift), "shift" if steps[2] else "")
    part.set(part.node("Pow", x, part.constant(float(param.power), "power")) if steps[2] else x)


@rule("Dropout")
def dropout(part: Part) -> None:
    """Nothing in TEST; a fork's scale_train: false scales then."""
    param = part.layer.param.dropout_param
    if param.sample_weights_test:
        raise part.fail("sample_weights_test of a fork, which drops in TEST too, has no form in ONNX")
    part.set(part.x if param.scale_train else part.times(part.x, 1 - float(param.dropout_ratio)))


@rule("Eltwise")
def eltwise(part: Part) -> None:
    """Add and Mul for two, Sum and Max for any number."""
    param, inputs = part.layer.param.eltwise_param, part.inputs
    if param.operation == _ELTWISE.MAX:
        part.set(part.node("Max", *inputs))
    elif param.operation == _ELTWISE.PROD:
        value = inputs[0]
        for i, other in enumerate(inputs[1:], 2):
            value = part.node("Mul", value, other, at="" if i == len(inputs) else str(i))
        part.set(value)
    else:
        factors = list(param.coeff) or [1.0] * len(inputs)
        terms = [
            part.times(x, float(f), f"coeff_{i}")
            for i, (f, x) in enumerate(zip(factors, inputs, strict=True))
        ]
        part.set(part.node("Add" if len(terms) == 2 else "Sum", *terms))


@rule("Axpy")
def axpy(part: Part) -> None:
    scale, x, y = part.inputs
    missing = part.bottom[1].num_axes - part.bottom[0].num_axes
    product = part.node("Mul", part.behind(scale, part.bottom[0].num_axes, missing), x, at="mul")
    part.set(part.node("Add", product, y))
