"""Activation ops: functions of single elements, their gradients, and random masks.

Arrays have any shape, the same for all of a call.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

Array = Any  # the backend's, float32 or float64
Forward = Literal[
    "relu", "clipped_relu", "elu", "sigmoid", "tanh", "swish", "bnll",
    "abs", "clip", "threshold", "power", "exp", "log",
]  # fmt: skip
Backward = Literal[
    "relu", "clipped_relu", "elu", "elu_of_x", "sigmoid", "tanh", "swish", "bnll",
    "abs", "clip", "power", "exp", "log",
]  # fmt: skip


class ActivationOps(Protocol):
    """y = f(x) and dx = dy * f'(x).

    | function | f(x) | what its gradient reads |
    |---|---|---|
    | relu | max(x, 0) + a min(x, 0) | x, or y where a >= 0 |
    | clipped_relu | the same, at least b and at most c; a >= 0 | y |
    | elu | b (x > 0: x, else a (e^x - 1)) | y where a >= 0; elu_of_x: x |
    | sigmoid, tanh | | y |
    | swish | x sigmoid(a x) | x |
    | bnll | log(1 + e^x) | x |
    | abs | the absolute value | x |
    | clip | at least a, at most b | x |
    | threshold | x > a: 1, else 0 | has none |
    | power | (b x + c)^a | x |
    | exp | e^(a x + b) | y |
    | log | c log(a x + b) | x |

    At kinks: relu has slope a at 0, elu b * a, abs 0; clip passes the gradient on both bounds, clipped_relu
    on none. A NaN in x is one in y.
    """

    def activate(
        self, function: Forward, x: Array, y: Array, a: float = 0.0, b: float = 0.0, c: float = 0.0
    ) -> None:
        """y = f(x); y may be x."""

    def activate_backward(
        self,
        function: Backward,
        s: Array,
        dy: Array,
        dx: Array,
        a: float = 0.0,
        b: float = 0.0,
        c: float = 0.0,
    ) -> None:
        """dx = dy * f'(x), from x or y as the table says; dx may be dy."""

    def random_mask(self, x: Array, y: Array, seed: int, ratio: float, scale: float) -> None:
        """y = x * mask, where the mask is 0 with probability `ratio`, else `scale`; y may be x.

        The mask follows from `seed` (64 bits) and an element's index alone: Philox4x32-10, keyed by the seed.
        Word k of counter i belongs to the element with index 1024 (i // 256) + 256 k + i % 256, and drops it
        below ratio * 2^32.
        """
