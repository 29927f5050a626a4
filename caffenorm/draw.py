"""Nets as pictures: SVG, laid out by graphviz where it is installed, else by a plain layout of our own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from caffenorm.errors import ConfigError
from caffenorm.net import Net

_FILL = {
    "Input": "#e8eef7",
    "Convolution": "#f7d9d4",
    "Deconvolution": "#f7d9d4",
    "InnerProduct": "#ecd9f0",
    "Pooling": "#fbe6c8",
    "Eltwise": "#d8ecd5",
    "Concat": "#d8ecd5",
    "Softmax": "#f9f1b8",
}
_LOSS_FILL = "#f9f1b8"
_OTHER_FILL = "#eeeeee"
_LINE_HEIGHT, _PADDING, _CHARACTER, _GAP_X, _GAP_Y = 16, 8, 7.0, 28, 36  # pixels
_DOT_SECONDS = 60
_FONT = "font-family='Helvetica, Arial, sans-serif' font-size='12'"


@dataclass
class Box:
    """One box: a layer with those that work in place on its top.

    Attributes:
        lines: of text. sources: boxes that it reads, with the blob and its shape.
    """

    lines: list[str]
    fill: str
    sources: list[tuple[int, str]] = field(default_factory=list)
    rank: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """Pixels."""
        return max(len(line) for line in self.lines) * _CHARACTER + 2 * _PADDING

    @property
    def height(self) -> float:
        """Pixels."""
        return len(self.lines) * _LINE_HEIGHT + 2 * _PADDING


def boxes_of(net: Net) -> list[Box]:
    """The net as boxes: layers in place join the layer whose top they work on, Splits are left out."""
    boxes: list[Box] = []
    maker: dict[str, int] = {}
    for step in net.steps:
        layer = step.layer
        bottoms, tops = net.bottom_names[layer.name], net.top_names[layer.name]
        if layer.type == "Split":
            for top in tops:
                maker[top] = maker[bottoms[0]]
            continue
        if len(bottoms) == 1 and bottoms == tops:
            boxes[maker[bottoms[0]]].lines.append(f"{layer.type} {layer.name}")
            continue
        box = Box(
            _describe(layer.name, layer.type, [blob.shape for blob in step.top], layer.blobs),
            _fill(layer.type, layer.is_loss),
        )
        for name in bottoms:
            shape = "x".join(str(dim) for dim in net.blobs[name].shape)
            box.sources.append((maker[name], f"{name} {shape}"))
        for top in tops:
            maker[top] = len(boxes)
        boxes.append(box)
    return boxes


def _describe(name: str, kind: str, shapes: Sequence[tuple[int, ...]], blobs: Sequence[object]) -> list[str]:
    lines = [f"{kind} {name}"]
    if blobs:
        shape = getattr(blobs[0], "shape", ())
        lines.append("weights " + "x".join(str(dim) for dim in shape))
    lines += ["\u2192 " + ("x".join(str(dim) for dim in shape) if shape else "scalar") for shape in shapes]
    return lines


def _fill(kind: str, is_loss: bool) -> str:
    return _FILL.get(kind, _LOSS_FILL if is_loss else _OTHER_FILL)


def draw_svg(net: Net, *, graphviz: bool | None = None) -> str:
    """The net as SVG text.

    Args:
        net: what to draw; no memory is taken for its blobs.
        graphviz: lay out with the program `dot`; None: where it is installed.

    Raises:
        ConfigError: graphviz is asked for and not there, or fails.
    """
    boxes = boxes_of(net)
    dot = shutil.which("dot") if graphviz is not False else None
    if graphviz and dot is None:
        raise ConfigError("graphviz is asked for, and its program dot is not installed")
    if dot is not None:
        return _with_graphviz(dot, boxes)
    _lay_out(boxes)
    return _svg(boxes)


def _with_graphviz(dot: str, boxes: Sequence[Box]) -> str:
    lines = ["digraph net {", 'node [shape=box style="rounded,filled" fontname="Helvetica" fontsize=12]']
    lines.append('edge [fontname="Helvetica" fontsize=10]')
    for i, box in enumerate(boxes):
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
        lines.append(f'n{i} [label="{text}" fillcolor="{box.fill}"]')
        lines += [f"n{source} -> n{i}" for source, _ in box.sources]
    lines.append("}")
    try:
        done = subprocess.run(
            [dot, "-Tsvg"],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_DOT_SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise ConfigError(f"graphviz failed ({error}); use the built-in layout instead") from error
    return done.stdout


def _lay_out(boxes: list[Box]) -> None:
    """Rows by distance from the inputs; within a row, boxes stand near what they read."""
    rows: list[list[Box]] = []
    for box in boxes:
        box.rank = 1 + max((boxes[source].rank for source, _ in box.sources), default=-1)
        while len(rows) <= box.rank:
            rows.append([])
        rows[box.rank].append(box)
    widest = max((sum(b.width + _GAP_X for b in row) for row in rows), default=0.0)
    y = float(_GAP_Y)
    for row in rows:
        row.sort(key=lambda box: _wanted_x(box, boxes))
        x = (widest - sum(b.width + _GAP_X for b in row)) / 2 + _GAP_X
        for box in row:
            box.x, box.y = x, y
            x += box.width + _GAP_X
        y += max(box.height for box in row) + _GAP_Y


def _wanted_x(box: Box, boxes: Sequence[Box]) -> float:
    centres = [boxes[source].x + boxes[source].width / 2 for source, _ in box.sources]
    return sum(centres) / len(centres) if centres else 0.0


def _svg(boxes: Sequence[Box]) -> str:
    width = max((b.x + b.width for b in boxes), default=0.0) + _GAP_X
    height = max((b.y + b.height for b in boxes), default=0.0) + _GAP_Y
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}'>",
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' "
        "orient='auto'>"
        "<path d='M0 0 L8 4 L0 8 z' fill='#555'/></marker></defs>",
        "<rect width='100%' height='100%' fill='white'/>",
    ]
    taken = {(box.rank, round(box.x + box.width / 2)) for box in boxes}
    for box in boxes:
        for source, blob in box.sources:
            parts.append(_edge(boxes[source], box, blob, taken, width))
    for box in boxes:
        parts.append(
            f"<rect x='{box.x:.1f}' y='{box.y:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' rx='5' "
            f"fill='{box.fill}' stroke='#666'/>"
        )
        for i, line in enumerate(box.lines):
            y = box.y + _PADDING + (i + 0.8) * _LINE_HEIGHT
            weight = " font-weight='bold'" if i == 0 else ""
            x = box.x + box.width / 2
            parts.append(
                f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='middle' {_FONT}{weight}>{escape(line)}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _edge(source: Box, target: Box, blob: str, taken: set[tuple[int, int]], width: float) -> str:
    """A curve from the bottom of one box to the top of another; around the boxes in between."""
    x1, y1 = source.x + source.width / 2, source.y + source.height
    x2, y2 = target.x + target.width / 2, target.y
    bend = max(12.0, (y2 - y1) / 2)
    path = f"M{x1:.1f} {y1:.1f} C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    between = any((rank, round(x1)) in taken for rank in range(source.rank + 1, target.rank))
    if between and target.rank - source.rank > 1:
        side = min(width - 6, max(x1, x2) + 110 + 14 * (target.rank - source.rank))
        path = (
            f"M{x1:.1f} {y1:.1f} C{side:.1f} {y1 + _GAP_Y:.1f} {side:.1f} {y2 - _GAP_Y:.1f} {x2:.1f} {y2:.1f}"
        )
    title = f"<title>{escape(blob)}</title>"
    return f"<path d='{path}' fill='none' stroke='#555' marker-end='url(#arrow)'>{title}</path>"
