"""Pad and MirrorPad."""

from __future__ import annotations

from caffenorm.convert.program import Chain, arguments, number, rule
from caffenorm.layers.pad import Pad

_TORCH_AXES = 3  # at most, that F.pad repeats values along


@rule("Pad", "MirrorPad")
def pad(chain: Chain) -> None:
    """F.pad where it can, else a function that picks by index."""
    layer, x = chain.layer, chain.x
    assert isinstance(layer, Pad)
    pads = layer.pads
    first = next((i for i, pair in enumerate(pads) if any(pair)), len(pads))
    if first == len(pads):
        chain.set(x)
        return
    count, num_axes = len(pads) - first, chain.bottom[0].num_axes
    plain = layer.mode == "constant"
    if not plain:
        count = max(count, num_axes - 2)
        simple = layer.mode != "symmetric" and count < num_axes and count <= _TORCH_AXES
        if not simple or min(map(min, pads)) < 0:
            chain.set(f'{chain.helper("pad_by_index")}({x}, {pads}, "{layer.mode}")')
            return
    widths = tuple(width for pair in reversed(pads[-count:]) for width in pair)
    listed = arguments(
        x, str(widths), mode=(f'"{layer.mode}"', '"constant"'), value=(number(layer.value), "0")
    )
    chain.set(f"F.pad({listed})")
