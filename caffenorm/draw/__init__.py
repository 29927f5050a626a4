"""Nets as pictures: SVG, laid out by graphviz where it is installed, else by a plain layout of our own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from caffenorm.draw.layout import lay_out
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
_LINE_HEIGHT, _PADDING = 16, 8  # pixels
_NARROW, _WIDE = frozenset(" .,:;|!'()[]{}/\\ijltfrI"), frozenset("mwMW@%\u2192")
_DOT_SECONDS = 60
_FONT = "font: 12px Helvetica, Arial, sans-serif;"


@dataclass
class Box:
    """One box: a layer with those that work in place on its top.

    Attributes:
        title: type and name of the layer.
        weights: the shape of its weights, in words; empty without.
        in_place: type and name of each layer that works in place.
        shapes: of its tops, in words.
        fill: colour.
        sources: boxes that it reads, each with the blob and its shape.
    """

    title: str
    weights: str
    shapes: list[str]
    fill: str
    in_place: list[str] = field(default_factory=list)
    sources: list[tuple[int, str]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """All the text."""
        return [self.title, *([self.weights] if self.weights else []), *self.in_place, *self.shapes]

    @property
    def width(self) -> float:
        """Pixels."""
        lengths = [_length(line) * (1.08 if i == 0 else 1.0) for i, line in enumerate(self.lines)]
        return max(lengths) + 2 * _PADDING

    @property
    def height(self) -> float:
        """Pixels."""
        return len(self.lines) * _LINE_HEIGHT + 2 * _PADDING


def _length(text: str) -> float:
    """About how many pixels a text takes in the font."""
    return sum(
        3.6
        if c in _NARROW
        else 10.2
        if c in _WIDE
        else 8.4
        if c.isupper()
        else 6.9
        if ord(c) < 0x2E80
        else 12.5
        for c in text
    )


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
            boxes[maker[bottoms[0]]].in_place.append(f"{layer.type} {layer.name}")
            continue
        box = Box(
            f"{layer.type} {layer.name}",
            f"weights {_shape(layer.blobs[0].shape)}" if layer.blobs else "",
            ["\u2192 " + shape for shape in dict.fromkeys(_shape(blob.shape) for blob in step.top)],
            _FILL.get(layer.type, _LOSS_FILL if layer.is_loss else _OTHER_FILL),
        )
        for name in bottoms:
            box.sources.append((maker[name], f"{name} {_shape(net.blobs[name].shape)}"))
        for top in tops:
            maker[top] = len(boxes)
        boxes.append(box)
    return boxes


def _shape(dims: tuple[int, ...]) -> str:
    return "x".join(str(dim) for dim in dims) if dims else "scalar"


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
    return _svg(boxes, net.name or "a net")


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


def _svg(boxes: Sequence[Box], name: str) -> str:
    edges = [(source, i, blob) for i, box in enumerate(boxes) for source, blob in box.sources]
    layout = lay_out([(box.width, box.height) for box in boxes], [(a, b) for a, b, _ in edges])
    width, height = layout.width, layout.height
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}'>",
        f"<title>{_text(name)}</title>",
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        "orient='auto'><path d='M0 0.5 L8 4 L0 7.5 z' fill='#555'/></marker></defs>",
        f"<style>text {{ {_FONT} text-anchor: middle; fill: #222 }} .title {{ font-weight: bold }} "
        ".more { fill: #555 } .edge { fill: none; stroke: #555; stroke-width: 1.2 }</style>",
        "<rect width='100%' height='100%' fill='white'/>",
    ]
    for (_, _, blob), points in zip(edges, layout.lines, strict=True):
        what = f"<title>{_text(blob)}</title>"
        parts.append(f"<path class='edge' d='{_path(points)}' marker-end='url(#arrow)'>{what}</path>")
    for box, corner in zip(boxes, layout.corners, strict=True):
        parts += _box(box, *corner)
    return "\n".join([*parts, "</svg>", ""])


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A straight piece in each row, a bend between two rows."""
    (x, y), path = points[0], ""
    path = f"M{x:.1f} {y:.1f}"
    for k, (to_x, to_y) in enumerate(points[1:]):
        if k % 2 and abs(to_x - x) > 0.5:
            middle = (y + to_y) / 2
            path += f" C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        elif abs(to_y - y) > 0.5:  # a piece without length would leave the arrow without a direction
            path += f" L{to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return path


def _box(box: Box, x: float, y: float) -> list[str]:
    parts = [
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' rx='5' "
        f"fill='{box.fill}' stroke='#777'/>"
    ]
    for i, line in enumerate(box.lines):
        middle, base = x + box.width / 2, y + _PADDING + (i + 0.78) * _LINE_HEIGHT
        kind = "more" if i else "title"
        parts.append(f"<text class='{kind}' x='{middle:.1f}' y='{base:.1f}'>{_text(line)}</text>")
    return parts


def _text(text: str) -> str:
    """Text for XML, without the control characters that it forbids."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))
