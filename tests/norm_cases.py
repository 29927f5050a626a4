"""What the tests of norm and channel ops share: shapes, guarded arrays, float64 definitions, builds."""

from __future__ import annotations

import importlib
import math

import numpy as np
from hypothesis import strategies as st

from caffenorm import _kernels
from caffenorm.backends.cpu import channel, norm

GUARD = -123.0
# Every way to walk over an array: columns alone, repeated, in several tiles and segments; runs short and
# long, of one channel, in several blocks and segments; one value.
SHAPES = [
    (1, 1, 1), (2, 3, 1), (300, 3, 1), (70, 40, 1), (129, 600, 1), (2100, 2, 4), (9, 70, 9), (3, 2, 16),
    (4, 25, 17), (40, 9, 49), (3, 5, 196), (2, 4, 3136), (1, 3, 5000), (30, 1, 7), (1, 1, 140_000),
    (2, 2, 70_000), (135_000, 2, 1),
]  # fmt: skip


def shapes(least=1):
    """Small ones of all kinds, now and then one of the list."""
    sides = st.tuples(st.integers(least, 70), st.integers(least, 40), st.integers(least, 60))
    return st.one_of(sides.filter(lambda s: math.prod(s) < 30_000), st.sampled_from(SHAPES[:-3]))


class Guarded:
    """Makes arrays that start off any boundary, between guards; `check` looks at the guards."""

    def __init__(self, dtype, offset=1):
        self.dtype, self.offset, self.kept = np.dtype(dtype), offset, []

    def __call__(self, values):
        values = np.asarray(values, self.dtype)
        memory = np.full(values.size + 64, GUARD, self.dtype)
        view = memory[self.offset : self.offset + values.size]
        view[...] = values.reshape(-1)
        self.kept.append((memory, values.size))
        return view.reshape(values.shape)

    def check(self):
        for memory, size in self.kept:
            assert (memory[: self.offset] == GUARD).all()
            assert (memory[self.offset + size :] == GUARD).all()


def act(z, slope):
    """Of a number or one a channel, or None."""
    if slope is None:
        return z
    slope = np.asarray(slope, np.float64).reshape(-1, 1)
    return np.where(z > 0, z, slope * z)


def two_pass(x):
    """Mean and biased variance of each channel, in float64."""
    x = np.asarray(x, np.float64)
    mean = x.mean(axis=(0, 2))
    return mean, ((x - mean[:, None]) ** 2).mean(axis=(0, 2))


def same_bits(found, expected):
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


def use_build(build, monkeypatch):
    """Makes norm and channel ops call the kernels of that build."""
    for module in (channel, norm):
        for table in vars(module).values():
            if isinstance(table, channel.ByType):
                kernel = getattr(
                    importlib.import_module(f"{_kernels.__name__}.{build}.{table.family}"), table.name
                )
                monkeypatch.setitem(table, np.dtype("f4"), kernel["float"])
                monkeypatch.setitem(table, np.dtype("f8"), kernel["double"])


def builds():
    """The builds that have all of norm and channel."""
    families = ("norm", "channel", "group_norm")
    return [b for b in _kernels.available_builds() if all(_kernels._is_compiled(b, f) for f in families)]
