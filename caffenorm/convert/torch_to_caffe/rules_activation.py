"""Activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffenorm.convert.torch_to_caffe.builder import Stored, Value
from caffenorm.convert.torch_to_caffe.op import Op, refuse, rule, written
from caffenorm.convert.torch_to_caffe.steps import power, product
from caffenorm.errors import ConversionError

_PLAIN = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "sigmoid": "Sigmoid",
    "tanh": "TanH",
    "abs": "AbsVal",
    "silu": "Swish",
}


@rule(*_PLAIN)
def plain(op: Op) -> Value:
    return op.layer(_PLAIN[op.kind], [op.x()])


@rule("leaky_relu")
def leaky_relu(op: Op) -> Value:
    return op.layer("ReLU", [op.x()], relu_param={"negative_slope": op["negative_slope"]})


@rule("prelu", "_prelu_kernel")
def prelu(op: Op) -> Value:
    weight = op.constant("weight")
    assert weight is not None
    fields = written("prelu_param", channel_shared=True if weight.numel() == 1 else None)
    stored = op.stored(weight)
    shape = () if weight.numel() == 1 else (weight.numel(),)
    blob = Stored(stored.values.reshape(shape), stored.key, stored.name, stored.learns)
    return op.layer("PReLU", [op.x()], blobs=[blob], **fields)


@rule("elu")
def elu(op: Op) -> Value:
    if op["input_scale"] != 1:
        raise ConversionError("ELU has no input_scale")
    y = op.layer("ELU", [op.x()], **written("elu_param", alpha=None if op["alpha"] == 1 else op["alpha"]))
    return y if op["scale"] == 1 else power(op, y, scale=op["scale"], suffix="factor")


@rule("selu")
def selu(op: Op) -> Value:
    y = op.layer("ELU", [op.x()], suffix="elu", elu_param={"alpha": 1.6732632423543772})
    return power(op, y, scale=1.0507009873554805)


@rule("celu")
def celu(op: Op) -> Value:
    alpha = op["alpha"]
    if alpha == 1:
        return op.layer("ELU", [op.x()])
    y = op.layer("ELU", [power(op, op.x(), scale=1 / alpha, suffix="in")], suffix="elu")
    return power(op, y, scale=alpha)


@rule("hardtanh", "clamp")
def clip(op: Op) -> Value:
    low, high = (op.get(f"{end}_val", op.get(end)) for end in ("min", "max"))
    if isinstance(low, Value | torch.Tensor) or isinstance(high, Value | torch.Tensor):
        raise ConversionError("its bounds are tensors; Clip has two numbers")
    if (low, high) == (0, 6):
        return op.layer("ReLU6", [op.x()])
    if low == 0 and high is None:
        return op.layer("ReLU", [op.x()])
    param = {"min": -math.inf if low is None else low, "max": math.inf if high is None else high}
    return op.layer("Clip", [op.x()], clip_param=param)


@rule("clamp_min")
def clamp_min(op: Op) -> Value:
    if op["min"] == 0:
        return op.layer("ReLU", [op.x()])
    return op.layer("Clip", [op.x()], clip_param={"min": op["min"], "max": math.inf})


@rule("clamp_max")
def clamp_max(op: Op) -> Value:
    return op.layer("Clip", [op.x()], clip_param={"min": -math.inf, "max": op["max"]})


@rule("softplus")
def softplus(op: Op) -> Value:
    """BNLL; PyTorch's threshold cuts off less than float32 holds, at its default of 20."""
    x, beta = op.x(), op["beta"]
    if op["threshold"] < 15:
        raise ConversionError(f"a threshold of {op['threshold']} cuts off what BNLL does not")
    if beta == 1:
        return op.layer("BNLL", [x])
    y = op.layer("BNLL", [power(op, x, scale=beta, suffix="in")], suffix="bnll")
    return power(op, y, scale=1 / beta)


@rule("log_sigmoid", "log_sigmoid_forward")
def log_sigmoid(op: Op) -> Value | Sequence[Value | None]:
    y = op.layer("BNLL", [power(op, op.x(), scale=-1, suffix="in")], suffix="bnll")
    y = power(op, y, scale=-1)
    return y if len(op.shapes) == 1 else [y, None]


@rule("hardsigmoid")
def hardsigmoid(op: Op) -> Value:
    return _hard_sigmoid(op, op.x(), "")


def _hard_sigmoid(op: Op, x: Value, suffix: str) -> Value:
    y = op.layer("ReLU6", [power(op, x, shift=3, suffix="shift")], suffix="relu6")
    return power(op, y, scale=1 / 6, suffix=suffix)


@rule("hardswish")
def hardswish(op: Op) -> Value:
    x = op.x()
    return product(op, [x, _hard_sigmoid(op, x, "gate")])


@rule("mish")
def mish(op: Op) -> Value:
    x = op.x()
    gate = op.layer("TanH", [op.layer("BNLL", [x], suffix="softplus")], suffix="gate")
    return product(op, [x, gate])


@rule("gelu")
def gelu(op: Op) -> Value:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    if op["approximate"] != "tanh":
        raise ConversionError('no layer has the error function; nn.GELU(approximate="tanh") can be expressed')
    x = op.x()
    root = math.sqrt(2 / math.pi)
    cube = power(op, x, power=3, suffix="cube")
    inner = op.layer("Eltwise", [x, cube], suffix="inner", eltwise_param={"coeff": [root, 0.044715 * root]})
    gate = power(op, op.layer("TanH", [inner], suffix="tanh"), scale=0.5, shift=0.5, suffix="gate")
    return product(op, [x, gate])


@rule("glu")
def glu(op: Op) -> Value:
    x, axis = op.x(), op["dim"] % len(op.shape)
    param = written("slice_param", axis=None if axis == 1 else axis)
    a, b = op.layers("Slice", [x], [op.shape, op.shape], suffix="halves", **param)
    return product(op, [a, op.layer("Sigmoid", [b], suffix="gate")])


@rule("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(op: Op) -> Value:
    x = op.x()
    axis = op["dim"] % max(1, len(x.shape))
    fields = written("softmax_param", axis=None if axis == 1 else axis)
    if "log" not in op.kind:
        return op.layer("Softmax", [x], **fields)
    return op.layer("Log", [op.layer("Softmax", [x], suffix="softmax", **fields)])


@rule("dropout")
def dropout(op: Op) -> Value:
    x, ratio = op.x("input"), op["p"]
    if op["train"]:
        raise ConversionError("was exported in training mode; call eval() before torch.export")
    if not 0 < ratio < 1:
        return x
    param = written("dropout_param", dropout_ratio=None if ratio == 0.5 else ratio)
    return op.layer("Dropout", [x], **param)


@rule("exp")
def exp(op: Op) -> Value:
    return op.layer("Exp", [op.x()])


@rule("exp2", "expm1")
def other_exponential(op: Op) -> Value:
    if op.kind == "exp2":
        return op.layer("Exp", [op.x()], exp_param={"base": 2})
    return power(op, op.layer("Exp", [op.x()], suffix="exp"), shift=-1)


_LOGS: dict[str, dict[str, float]] = {
    "log": {},
    "log2": {"base": 2},
    "log10": {"base": 10},
    "log1p": {"shift": 1},
}


@rule(*_LOGS)
def log(op: Op) -> Value:
    fields = written("log_param", **_LOGS[op.kind])
    return op.layer("Log", [op.x()], **fields)


refuse("no layer has the error function", "erf")
