"""Activation ops: element-wise functions and their gradients. Arrays have any shape, the same for all of a
call.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

Array = Any  # the backend's, float32 or float64
Function = Literal["relu", "elu", "sigmoid", "tanh", "swish", "bnll", "exp"]


class ActivationOps(Protocol):
    """y = f(x) and dx = dy * f'(x).

    | function | f | a | b | what backward reads |
    |---|---|---|---|---|
    | relu | max(x, 0) + a min(x, 0) | slope | | x, or y where a >= 0 |
    | elu | x > 0: x, else a (e^x - 1) | alpha | | y |
    | sigmoid, tanh | | | | y |
    | swish | x sigmoid(a x) | beta | | x |
    | bnll | log(1 + e^x) | | | x |
    | exp | e^(a x + b) | | | y |
    """

    def activate(self, function: Function, x: Array, y: Array, a: float = 0.0, b: float = 0.0) -> None:
        """y = f(x); y may be x."""

    def activate_backward(
        self, function: Function, s: Array, dy: Array, dx: Array, a: float = 0.0, b: float = 0.0
    ) -> None:
        """dx = dy * f'(x), from s as the table says; dx may be dy."""
