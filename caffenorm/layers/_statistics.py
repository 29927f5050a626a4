"""Blobs that hold statistics: saved and loaded as all parameters, but no solver may change them."""

from __future__ import annotations

from caffenorm import schema
from caffenorm.errors import LayerError


def exclude_from_learning(param: schema.LayerParameter, first: int, last: int) -> None:
    """Give blobs `first` to `last` (not included) a `param` block with lr_mult 0 where they have none.

    Raises:
        LayerError: a block that is there says another lr_mult; 1 is what it says when nothing is written.
    """
    specs = param.param
    while len(specs) < first:
        specs.add()
    for index in range(first, last):
        if index == len(specs):
            specs.add(lr_mult=0)
        elif specs[index].lr_mult != 0:
            raise LayerError(
                f"blob {index} holds statistics, which are not learnt, and its param block has lr_mult "
                f"{specs[index].lr_mult:g} (1 where nothing is written); write lr_mult: 0"
            )


def force_rates(param: schema.LayerParameter, rates: dict[int, float]) -> None:
    """Set lr_mult and decay_mult of blobs, whatever the prototxt says; blocks that are missing are added."""
    specs = param.param
    while len(specs) <= max(rates):
        specs.add()
    for index, rate in rates.items():
        specs[index].lr_mult = specs[index].decay_mult = rate
