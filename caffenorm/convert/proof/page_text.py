"""Text, names and numbers as HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from caffenorm.convert.proof.plot import superscript

Data = dict[str, Any]  # Any: JSON
NONE = "\u2013"
_FAR = 2.0**24  # units in the last place; above it a difference is said as a power of ten


def text(value: object) -> str:
    """Anything as HTML text; control characters are shown, not obeyed."""
    return escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", str(value)))


def name(value: object) -> str:
    """A name from a file, which cannot turn the direction of what follows it."""
    return f'<bdi class="name">{text(value)}</bdi>'


def names(values: Iterable[object]) -> str:
    """Several names from a file."""
    return ", ".join(name(value) for value in values)


def shape(dims: Sequence[int]) -> str:
    """A shape, as people write it."""
    return " \u00d7 ".join(map(str, dims)) if dims else "scalar"


def count(value: float) -> str:
    """A large number, short."""
    for factor, unit in ((1e9, "billion"), (1e6, "million")):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return f"{value:,}"


def percent(share: float) -> str:
    """A share; only what is whole is called 100 %."""
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{math.floor(share * 1e5) / 1e3:.3f} %"


def power(value: float | None) -> str:
    """A number as people write it: 6.2 x 10 to the power of -15."""
    if value is None:
        return "∞"
    if value == 0:
        return "0"
    if 1e-3 <= value < 1e4:
        return f"{value:.2g}" if value < 10 else f"{value:.0f}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}\u2009·\u200910<sup>{int(power)}</sup>".replace("<sup>-", "<sup>\u2212")


def units(value: float | None) -> str:
    """Units in the last place; large ones as a power of two."""
    if value is None:
        return "∞"
    return (
        f"{value:,.0f}".replace(",", "\u202f") if value < _FAR else f"2{superscript(round(math.log2(value)))}"
    )


def listed(items: Sequence[str]) -> Iterator[str]:
    """Sentences below each other."""
    if items:
        yield f"<ul>{''.join(f'<li>{text(item)}</li>' for item in items)}</ul>"


def pair(term: str, says: str) -> str:
    """A term and what there is to say of it."""
    return f"<dt>{term}</dt><dd>{says}</dd>"
