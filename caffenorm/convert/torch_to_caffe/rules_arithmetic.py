"""Arithmetic with numbers, parameters and blobs."""

from __future__ import annotations

from typing import Any

import torch

from caffenorm import schema
from caffenorm.convert.torch_to_caffe.builder import Value
from caffenorm.convert.torch_to_caffe.op import Op, refuse, rule, written
from caffenorm.convert.torch_to_caffe.steps import broadcast, covers, power, product, tiled, with_constant
from caffenorm.errors import ConversionError

_ELTWISE = schema.EltwiseParameter

# --- with numbers ---

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
    return power(op, op.x(), power=given.get("power", 1), scale=given.get("scale", 1))


@rule("pow")
def pow_(op: Op) -> Value:
    base, exponent = op["self"], op["exponent"]
    number, other = number_in(op, base), number_in(op, exponent)
    if other is not None:
        return power(op, op.x(), power=other)
    if number is not None and number > 0:
        return op.layer("Exp", [op.x("exponent")], exp_param={"base": number})
    raise ConversionError("Power and Exp take a number as exponent or as base")


def number_in(op: Op, term: Any) -> float | None:  # Any: Term
    """A number that is no parameter, also where it comes as a tensor."""
    if isinstance(term, bool | Value):
        return None
    if isinstance(term, torch.Tensor):
        return float(term) if term.numel() == 1 and op.is_fixed(term) else None
    return float(term)


# --- with blobs ---


@rule("add", "sub", "rsub")
def add(op: Op) -> Value:
    a, b, alpha = op["self"], op["other"], op.get("alpha", 1)
    signs = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[op.kind]
    if isinstance(a, Value) and isinstance(b, Value):
        return _sum(op, a, b, signs)
    x, other = (a, b) if isinstance(a, Value) else (b, a)
    sign, factor = signs if isinstance(a, Value) else signs[::-1]
    number = number_in(op, other)
    if number is not None:
        return power(op, tiled(op, x), scale=sign, shift=factor * number)
    if sign != 1:
        x = power(op, x, scale=sign, suffix="sign")
    return with_constant(op, "Bias", x, other, other if factor == 1 else other * factor)


def _sum(op: Op, a: Value, b: Value, signs: tuple[float, float]) -> Value:
    small = covers(a.shape, b.shape, op.shape)
    if small is not None and signs == (1, 1):
        first, second = (a, b) if a.shape == op.shape else (b, a)
        return broadcast(op, "Bias", first, second, small)
    a, b = tiled(op, a, "left"), tiled(op, b, "right")
    fields = written("eltwise_param", coeff=None if signs == (1, 1) else list(signs))
    return op.layer("Eltwise", [a, b], **fields)


@rule("mul")
def mul(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if not (isinstance(a, Value) and isinstance(b, Value)):
        x, other = (a, b) if isinstance(a, Value) else (b, a)
        number = number_in(op, other)
        if number is not None:
            return power(op, tiled(op, x), scale=number)
        return with_constant(op, "Scale", x, other, other)
    small = covers(a.shape, b.shape, op.shape)
    if small is None:
        return product(op, [tiled(op, a, "left"), tiled(op, b, "right")])
    first, second = (a, b) if a.shape == op.shape else (b, a)
    return broadcast(op, "Scale", first, second, small)


@rule("div")
def div(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if op.get("rounding_mode"):
        raise ConversionError("no layer rounds")
    number = number_in(op, b)
    if number is not None:
        return power(op, tiled(op, op.x()), scale=1 / number)
    if isinstance(b, torch.Tensor):
        return with_constant(op, "Scale", op.x(), b, b.reciprocal())
    inverse = power(op, b, power=-1, suffix="inverse")
    number = number_in(op, a)
    if number is not None:
        return power(op, tiled(op, inverse), scale=number) if number != 1 else inverse
    if isinstance(a, torch.Tensor):
        return with_constant(op, "Scale", inverse, a, a)
    small = covers(a.shape, b.shape, op.shape)
    if small is not None and a.shape == op.shape:
        return broadcast(op, "Scale", a, inverse, small)
    return product(op, [tiled(op, a, "left"), tiled(op, inverse, "right")])


@rule("maximum", "minimum")
def maximum(op: Op) -> Value:
    a, b = op["self"], op["other"]
    if not (isinstance(a, Value) and isinstance(b, Value)):
        raise ConversionError("one of its arguments is a constant; Eltwise takes blobs")
    a, b = tiled(op, a, "left"), tiled(op, b, "right")
    fields = written("eltwise_param", operation=_ELTWISE.MAX)
    if op.kind == "maximum":
        return op.layer("Eltwise", [a, b], **fields)
    negative = [power(op, x, scale=-1, suffix=side) for x, side in ((a, "minus_left"), (b, "minus_right"))]
    return power(op, op.layer("Eltwise", negative, suffix="max", **fields), scale=-1)


@rule("gt")
def greater(op: Op) -> Value:
    """Threshold, which gives 1 where it is greater than a number."""
    number = number_in(op, op["other"])
    if number is None:
        raise ConversionError("Threshold compares with a number")
    return op.layer("Threshold", [op.x()], threshold_param={"threshold": number})


@rule("threshold")
def threshold(op: Op) -> Value:
    """x where it is above the threshold, 0 elsewhere."""
    if op["value"] != 0:
        raise ConversionError("only 0 can stand in place of what is below")
    x = op.x()
    gate = op.layer("Threshold", [x], suffix="gate", threshold_param={"threshold": op["threshold"]})
    return product(op, [x, gate])


refuse("no layer compares and chooses", "where", "masked_fill", "lt", "ge", "le", "eq", "ne")
refuse("no layer rounds", "round", "floor", "ceil", "trunc", "floor_divide", "remainder", "fmod")
refuse("no layer has it", "sin", "cos", "sign", "cumsum", "sort", "topk")
