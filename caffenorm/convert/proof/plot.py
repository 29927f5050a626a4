"""The error along the depth of the net, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Row = dict[str, Any]  # Any: a blob of report.json
WIDTH, HEIGHT = 1040, 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 74, 44, 104
_ZERO = 20  # pixels below the axis, for what is exactly 0
_LOWEST = -17
_LABELS = 15
_LONGEST = 22
_EPSILONS = {
    "float64": (2.220446049250313e-16, "float64 ε"),
    "float32": (1.1920928955078125e-07, "float32 ε"),
}
_HALF = (0.0009765625, "float16 ε")

# Colours stand in the page; a picture by itself brings its own.
COLOURS = """
:root { --ink: #1b2430; --soft: #66717f; --line: #e4e8ed; --paper: #ffffff; --tint: #f5f7f9;
  --total: #2566b0; --own: #d9780f; --exact: #93a0ae; --good: #177a4a; --bad: #c3312a; --wash: #c3312a1a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf0; --soft: #98a4b3; --line: #2b333d; --paper: #12161b; --tint: #1a2027;
    --total: #6fb0f5; --own: #f2a64b; --exact: #6b7785; --good: #4cc38a; --bad: #ff7a70; --wash: #ff7a7022; }
}
"""
STYLE = """
.plot { font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.plot text { fill: var(--soft); }
.plot .name { font: 10.5px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 4; }
.plot .limit { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 6 4; opacity: .75; }
.plot .limit-text { fill: var(--bad); }
.plot .total-line { fill: none; stroke: var(--total); stroke-width: 1.75; stroke-linejoin: round; }
.plot .total { fill: var(--total); }
.plot .own { fill: var(--paper); stroke: var(--own); stroke-width: 1.75; }
.plot .stem { stroke: var(--own); stroke-width: 1; opacity: .35; }
.plot .exact-line { fill: none; stroke: var(--exact); stroke-width: 1.25; stroke-linejoin: round; }
.plot .exact { fill: var(--exact); }
.plot .wrong { fill: var(--wash); }
.plot .wrong-text { fill: var(--bad); font-weight: 600; }
.plot .hit { fill: transparent; }
.plot .hit:hover { fill: var(--soft); opacity: .13; }
.plot .key { fill: var(--ink); }
"""


@dataclass(frozen=True)
class _Frame:
    """Where values stand."""

    count: int
    highest: int

    @property
    def step(self) -> float:
        return (WIDTH - _LEFT - _RIGHT) / max(1, self.count)

    @property
    def floor(self) -> float:
        return HEIGHT - _BOTTOM - _ZERO

    def x(self, index: int) -> float:
        return round(_LEFT + (index + 0.5) * self.step, 1)

    def y(self, value: float | None) -> float:
        """Of an error; None stands for what cannot be measured, and is drawn at the top."""
        if value is None:
            return _TOP
        if value <= 0:
            return HEIGHT - _BOTTOM
        place = (math.log10(value) - _LOWEST) / (self.highest - _LOWEST)
        return round(self.floor - min(1.0, max(0.0, place)) * (self.floor - _TOP), 1)


def plot(rows: Sequence[Row], dtype: str, *, limit: float, alone: bool = False) -> str:
    """The picture.

    Args:
        rows: blobs of report.json that were compared, in the order in which Caffe makes them, without copies.
        dtype: the precision of the module. limit: the error allowed at the end of the net, in that precision.
        alone: bring colours, to be a file by itself.
    """
    errors = [
        row[part][key]
        for row in rows
        for part in ("float64", "practice")
        if row[part]
        for key in ("max_rel",)
    ]
    largest = max([error for error in errors if error] or [1e-4])
    frame = _Frame(len(rows), max(-3, math.ceil(math.log10(max(largest, limit)) + 0.2)))
    says = "Relative error of every blob along the depth of the net"
    style = f"<style>{COLOURS}{STYLE}</style>" if alone else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="var(--paper)"/>' if alone else ""
    parts = [
        f'<svg class="plot"{space} viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{says}">',
        f"{style}{paper}",
        *_key(dtype),
        *_axes(frame, dtype, limit),
        *_failures(rows, frame),
        *_series(rows, frame),
        *_names(rows, frame),
        *(_hit(row, i, frame, dtype) for i, row in enumerate(rows)),
        "</svg>",
    ]
    return "\n".join(parts)


def _key(dtype: str) -> Iterator[str]:
    x = _LEFT
    entries = (
        ("total", f"{dtype}, from the input to here"),
        ("own", f"{dtype}, the layer by itself"),
        ("exact", "float64, from the input to here"),
    )
    for kind, text in entries:
        if kind != "own":
            yield f'<line class="{kind}-line" x1="{x}" x2="{x + 22}" y1="16" y2="16"/>'
        yield f'<circle class="{kind}" cx="{x + 11}" cy="16" r="3"/>'
        yield f'<text class="key" x="{x + 30}" y="20">{escape(text)}</text>'
        x += 62 + round(6.1 * len(text))


def _axes(frame: _Frame, dtype: str, limit: float) -> Iterator[str]:
    end = WIDTH - _RIGHT
    for power in range(_LOWEST + 1, frame.highest + 1):
        if power % 2 == 0:
            y = frame.y(10.0**power)
            yield f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">10{superscript(power)}</text>'
    zero = frame.y(0)
    yield f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{zero}" y2="{zero}"/>'
    yield f'<text x="{_LEFT - 8}" y="{zero + 4}" text-anchor="end">0</text>'
    lines = [(*_EPSILONS["float64"], "mark"), (*_EPSILONS["float32"], "mark"), (limit, "allowed", "limit")]
    if dtype == "float16":
        lines.append((*_HALF, "mark"))
    for value, text, kind in lines:
        y = frame.y(value)
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{end}" y1="{y}" y2="{y}"/>'
        yield f'<text class="{kind}-text" x="{end + 8}" y="{y + 4}">{text}</text>'


def _series(rows: Sequence[Row], frame: _Frame) -> Iterator[str]:
    radius = 2.6 if frame.step > 7 else 1.9
    for part, kind in (("float64", "exact"), ("practice", "total")):
        points = [(frame.x(i), frame.y(row[part]["max_rel"])) for i, row in enumerate(rows) if row[part]]
        path = " ".join(f"{x},{y}" for x, y in points if y <= frame.floor)
        if path:
            yield f'<polyline class="{kind}-line" points="{path}"/>'
        for x, y in points:
            yield f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>'
    for i, row in enumerate(rows):
        if row["practice"]:
            x, y = frame.x(i), frame.y(row["practice"]["own"])
            yield f'<circle class="own" cx="{x}" cy="{y}" r="{radius + 0.4}"/>'


def _failures(rows: Sequence[Row], frame: _Frame) -> Iterator[str]:
    wrong = [i for i, row in enumerate(rows) if row["ok"] is False or not _agrees(row)]
    half = max(frame.step, 6) / 2
    size = f'width="{2 * half:.1f}" height="{HEIGHT - _BOTTOM - _TOP}"'
    for i in wrong:
        yield f'<rect class="wrong" x="{frame.x(i) - half:.1f}" y="{_TOP}" {size}/>'
    if wrong:
        x = frame.x(wrong[0])
        side = "start" if x < WIDTH * 0.6 else "end"
        says = f"departs: {escape(shortened(rows[wrong[0]]['name']))}"
        yield f'<text class="wrong-text" x="{x}" y="{_TOP - 6}" text-anchor="{side}">{says}</text>'


def _agrees(row: Row) -> bool:
    return all(row[part] is None or row[part]["ok"] for part in ("float64", "practice"))


def _names(rows: Sequence[Row], frame: _Frame) -> Iterator[str]:
    every = max(1, math.ceil(len(rows) / _LABELS))
    y = HEIGHT - _BOTTOM + 16
    for i in range(0, len(rows), every):
        turned = f'transform="translate({frame.x(i) + 3:.1f} {y}) rotate(-38)" text-anchor="end"'
        yield f'<text class="name" {turned}>{escape(shortened(rows[i]["name"]))}</text>'


def _hit(row: Row, index: int, frame: _Frame, dtype: str) -> str:
    x = frame.x(index) - frame.step / 2
    lines = [f"{row['name']} ({row['layer_type']})"]
    if row["practice"]:
        lines.append(
            f"{dtype}: {short(row['practice']['max_rel'])}, by itself {short(row['practice']['own'])}"
        )
    if row["float64"]:
        lines.append(f"float64: {short(row['float64']['max_rel'])}, by itself {short(row['float64']['own'])}")
    lines += [row["problem"]] if row["problem"] else []
    says = escape("\n".join(lines))
    box = f'x="{x:.1f}" y="{_TOP}" width="{frame.step:.1f}" height="{HEIGHT - _BOTTOM - _TOP + 6}"'
    return f'<rect class="hit" {box}><title>{says}</title></rect>'


def shortened(name: str, longest: int = _LONGEST) -> str:
    """A name without its middle where it is long; names differ at their ends."""
    if len(name) <= longest:
        return name
    head = (longest - 1) * 2 // 5
    return f"{name[:head]}…{name[head - longest + 1 :]}"


def short(value: float | None) -> str:
    """An error as text; None is what JSON has no number for."""
    if value is None:
        return "∞"
    return "0" if value == 0 else f"{value:.1e}"


def superscript(power: int) -> str:
    """A power of ten's exponent."""
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
