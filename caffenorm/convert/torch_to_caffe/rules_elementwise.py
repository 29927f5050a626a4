"""Activations and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.op import Op, refuse, rule, written
from caffenorm.errors import ConversionError

_ELTWISE = schema.EltwiseParameter
Term = Value | torch.Tensor | float


# --- activations ---

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
    return y if op["scale"] == 1 else _power(op, y, scale=op["scale"], suffix="factor")


@rule("selu")
def selu(op: Op) -> Value:
    y = op.layer("ELU", [op.x()], suffix="elu", elu_param={"alpha": 1.6732632423543772})
    return _power(op, y, scale=1.0507009873554805)


@rule("celu")
def celu(op: Op) -> Value:
    alpha = op["alpha"]
    if alpha == 1:
        return op.layer("ELU", [op.x()])
    y = op.layer("ELU", [_power(op, op.x(), scale=1 / alpha, suffix="in")], suffix="elu")
    return _power(op, y, scale=alpha)


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
    y = op.layer("BNLL", [_power(op, x, scale=beta, suffix="in")], suffix="bnll")
    return _power(op, y, scale=1 / beta)


@rule("log_sigmoid", "log_sigmoid_forward")
def log_sigmoid(op: Op) -> Value | Sequence[Value | None]:
    y = op.layer("BNLL", [_power(op, op.x(), scale=-1, suffix="in")], suffix="bnll")
    y = _power(op, y, scale=-1)
    return y if len(op.shapes) == 1 else [y, None]


@rule("hardsigmoid")
def hardsigmoid(op: Op) -> Value:
    return _hard_sigmoid(op, op.x(), "")


def _hard_sigmoid(op: Op, x: Value, suffix: str) -> Value:
    y = op.layer("ReLU6", [_power(op, x, shift=3, suffix="shift")], suffix="relu6")
    return _power(op, y, scale=1 / 6, suffix=suffix)


@rule("hardswish")
def hardswish(op: Op) -> Value:
    x = op.x()
    return _product(op, [x, _hard_sigmoid(op, x, "gate")])


@rule("mish")
def mish(op: Op) -> Value:
    x = op.x()
    gate = op.layer("TanH", [op.layer("BNLL", [x], suffix="softplus")], suffix="gate")
    return _product(op, [x, gate])


@rule("gelu")
def gelu(op: Op) -> Value:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    if op["approximate"] != "tanh":
        raise ConversionError('no layer has the error function; nn.GELU(approximate="tanh") has none either')
    x = op.x()
    root = math.sqrt(2 / math.pi)
    cube = _power(op, x, power=3, suffix="cube")
    inner = op.layer("Eltwise", [x, cube], suffix="inner", eltwise_param={"coeff": [root, 0.044715 * root]})
    gate = _power(op, op.layer("TanH", [inner], suffix="tanh"), scale=0.5, shift=0.5, suffix="gate")
    return _product(op, [x, gate])


@rule("glu")
def glu(op: Op) -> Value:
    x, axis = op.x(), op["dim"] % len(op.shape)
    param = written("slice_param", axis=None if axis == 1 else axis)
    a, b = op.layers("Slice", [x], [op.shape, op.shape], suffix="halves", **param)
    return _product(op, [a, op.layer("Sigmoid", [b], suffix="gate")])


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
    return _power(op, op.layer("Exp", [op.x()], suffix="exp"), shift=-1)


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


# --- arithmetic with numbers ---


def _power(op: Op, x: Value, power: float = 1, scale: float = 1, shift: float = 0, suffix: str = "") -> Value:
    """(shift + scale * x) ^ power."""
    param = written(
        "power_param",
        power=None if power == 1 else power,
        scale=None if scale == 1 else scale,
        shift=None if shift == 0 else shift,
    )
    return op.layer("Power", [x], x.shape, suffix=suffix, **param) if param else x


_POWERS: dict[str, dict[str, float]] = {
    "neg": {"scale": -1.0},
    "sqrt": {"power": 0.5},
    "rsqrt": {"power": -0.5},
    "reciprocal": {"power": -1.0},
    "square": {"power": 2.0},
}


@rule(*_POWERS)
def unary_power(op: Op) -> Value:
    given = _POWERS[op.kind]
    return _power(op, op.x(), power=given.get("power", 1), scale=given.get("scale", 1))


@rule("pow")
def pow_(op: Op) -> Value:
    base, exponent = op["self"], op["exponent"]
    number, other = _number(op, base), _number(op, exponent)
    if other is not None:
        return _power(op, op.x(), power=other)
    if number is not None and number > 0:
        return op.layer("Exp", [op.x("exponent")], exp_param={"base": number})
    raise ConversionError("Power and Exp take a number as exponent or as base")


def _number(op: Op, term: Any) -> float | None:  # Any: Term
    """A number that is no parameter, also where it comes as a tensor."""
    if isinstance(term, bool | Value):
        return None
    if isinstance(term, torch.Tensor):
        return float(term) if term.numel() == 1 and op.is_fixed(term) else None
    return float(term)


# --- arithmetic with blobs ---


@rule("add", "sub", "rsub")
def add(op: Op) -> Value:
    a, b, alpha = op["self"], op["other"], op.get("alpha", 1)
    signs = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[op.kind]
    if isinstance(a, Value) and isinstance(b, Value):
        return _sum(op, a, b, signs)
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    sign, factor = signs if isinstance(a, Value) else signs[::-1]
    number = _number(op, other)
    if number is not None:
        return _power(op, _tiled(op, x), scale=sign, shift=factor * number)
    if sign != 1:
        x = _power(op, x, scale=sign, suffix="sign")
    return _with_constant(op, "Bias", x, other, other if factor == 1 else other * factor)


def _sum(op: Op, a: Value, b: Value, signs: tuple[float, float]) -> Value:
    small = _covers(a.shape, b.shape, op.shape)
    if small is not None and signs == (1, 1):
        first, second = (a, b) if a.shape == op.shape else (b, a)
        return _broadcast(op, "Bias", first, second, small)
    a, b = _tiled(op, a, "left"), _tiled(op, b, "right")
    fields = written("eltwise_param", coeff=None if signs == (1, 1) else list(signs))
    return op.layer("Eltwise", [a, b], **fields)


@rule("mul")
def mul(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if not (isinstance(a, Value) and isinstance(b, Value)):
        x, other = (a, b) if isinstance(a, Value) else (b, a)
        number = _number(op, other)
        if number is not None:
            return _power(op, _tiled(op, x), scale=number)
        return _with_constant(op, "Scale", x, other, other)
    small = _covers(a.shape, b.shape, op.shape)
    if small is None:
        return _product(op, [_tiled(op, a, "left"), _tiled(op, b, "right")])
    first, second = (a, b) if a.shape == op.shape else (b, a)
    return _broadcast(op, "Scale", first, second, small)


@rule("div")
def div(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if op.get("rounding_mode"):
        raise ConversionError("no layer rounds")
    number = _number(op, b)
    if number is not None:
        return _power(op, _tiled(op, op.x()), scale=1 / number)
    if isinstance(b, torch.Tensor):
        return _with_constant(op, "Scale", op.x(), b, b.reciprocal())
    inverse = _power(op, b, power=-1, suffix="inverse")
    number = _number(op, a)
    if number is not None:
        return _power(op, _tiled(op, inverse), scale=number) if number != 1 else inverse
    if isinstance(a, torch.Tensor):
        return _with_constant(op, "Scale", inverse, a, a)
    small = _covers(a.shape, b.shape, op.shape)
    if small is not None and a.shape == op.shape:
        return _broadcast(op, "Scale", a, inverse, small)
    return _product(op, [_tiled(op, a, "left"), _tiled(op, inverse, "right")])


@rule("maximum", "minimum")
def maximum(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if not (isinstance(a, Value) and isinstance(b, Value)):
        raise ConversionError("one of its arguments is a constant; Eltwise takes blobs")
    a, b = _tiled(op, a, "left"), _tiled(op, b, "right")
    fields = written("eltwise_param", operation=_ELTWISE.MAX)
    if op.kind == "maximum":
        return op.layer("Eltwise", [a, b], **fields)
    negative = [_power(op, x, scale=-1, suffix=side) for x, side in ((a, "minus_left"), (b, "minus_right"))]
    return _power(op, op.layer("Eltwise", negative, suffix="max", **fields), scale=-1)


def _product(op: Op, factors: Sequence[Value]) -> Value:
    return op.layer("Eltwise", factors, eltwise_param={"operation": _ELTWISE.PROD})


# --- broadcasting ---


def _aligned(shape: Shape, axes: int) -> Shape:
    return (1,) * (axes - len(shape)) + tuple(shape)


def _span(small: Shape, whole: Shape) -> tuple[int, int] | None:
    """The axes [first, end) that a broadcast operand has, all others being 1; None if there is a hole."""
    aligned = _aligned(small, len(whole))
    full = [i for i, n in enumerate(aligned) if n != 1]
    if not full:
        return len(whole), len(whole)
    first, end = full[0], full[-1] + 1
    return (first, end) if aligned[first:end] == tuple(whole[first:end]) else None


def _covers(a: Shape, b: Shape, out: Shape) -> tuple[int, int] | None:
    """Where one operand has the output's shape and the other is some of its axes: which."""
    if a == out and b == out:
        return None
    if out not in (a, b):
        return None
    return _span(b if a == out else a, out)


def _broadcast(op: Op, kind: str, x: Value, small: Value, span: tuple[int, int]) -> Value:
    """Scale or Bias with the smaller operand as second bottom."""
    first, end = span
    shape = x.shape[first:end]
    if small.shape != shape:
        small = reshape(op, small, shape, "squeeze")
    param = "scale_param" if kind == "Scale" else "bias_param"
    axis = first if shape else 0
    return op.layer(kind, [x, small], **written(param, axis=None if axis == 1 else axis))


def _with_constant(op: Op, kind: str, x: Value, tensor: torch.Tensor, value: torch.Tensor) -> Value:
    """Scale or Bias with a parameter, a buffer or a constant as its blob."""
    x = _tiled(op, x)
    span = _span(tuple(tensor.shape), x.shape)
    if span is None:
        hull = [i for i, n in enumerate(_aligned(tuple(tensor.shape), len(x.shape))) if n != 1]
        span = hull[0], hull[-1] + 1
        aligned = value.reshape(_aligned(tuple(value.shape), len(x.shape)))
        size = [n if span[0] <= i < span[1] else 1 for i, n in enumerate(x.shape)]
        value = aligned.expand(size).contiguous()
        op.note(f"a constant of shape {list(tensor.shape)} is repeated to {list(size)}")
    first, end = span
    stored = op.stored(value)
    learns = stored.learns and not op.is_fixed(tensor)
    blob = Stored(stored.values.reshape(x.shape[first:end]), stored.key, stored.name, learns)
    param: dict[str, int] = {}
    if end - first != 1:
        param["num_axes"] = end - first
    if first != 1:
        param["axis"] = first if end > first else 0
    name = "scale_param" if kind == "Scale" else "bias_param"
    return op.layer(kind, [x], blobs=[blob], **written(name, **param))


def _tiled(op: Op, x: Value, suffix: str = "tile") -> Value:
    """Repeated to the operator's shape."""
    return tile(op, x, op.shape, suffix)


def tile(op: Op, x: Value, shape: Shape, suffix: str) -> Value:
    """Repeated to a shape that it can be broadcast to; an axis a layer."""
    if x.shape == tuple(shape):
        return x
    aligned = _aligned(x.shape, len(shape))
    if aligned != x.shape:
        x = reshape(op, x, aligned, f"{suffix}_axes")
    for axis, (have, want) in enumerate(zip(aligned, shape, strict=True)):
        if have != want:
            if axis == 0:
                op.note(f"is repeated {want} times along the batch, whatever its size is later")
            param = {"tiles": want} | ({} if axis == 1 else {"axis": axis})
            grown = (*x.shape[:axis], want, *x.shape[axis + 1 :])
            x = op.layer("Tile", [x], grown, suffix=suffix, tile_param=param)
    return x


def reshape(op: Op, x: Value, shape: Shape, suffix: str = "") -> Value:
    """Another shape for the same values; the batch stays free where the first axis stays the same."""
    shape = tuple(shape)
    if x.shape == shape:
        return x
    if shape and x.shape and shape == (x.shape[0], math.prod(x.shape[1:])):
        return op.layer("Flatten", [x], shape, suffix=suffix)
    dims = [0 if x.shape[:1] == shape[:1] else -1, *shape[1:]] if shape else []
    return op.layer("Reshape", [x], shape, suffix=suffix, reshape_param={"shape": {"dim": dims}})


refuse("no layer compares and chooses", "where", "masked_fill", "gt", "lt", "ge", "le", "eq", "ne")
refuse("no layer has the error function", "erf")
refuse("no layer rounds", "round", "floor", "ceil", "trunc", "floor_divide", "remainder", "fmod")
refuse("no layer has it", "sin", "cos", "sign", "cumsum", "sort", "topk")
