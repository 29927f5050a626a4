"""Drawings: where boxes and lines lie, and what the SVG says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffenorm import TEST, Net
from caffenorm.draw import draw_svg
from caffenorm.draw.layout import Layout, lay_out
from caffenorm.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"
Size = tuple[float, float]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[tuple[int, int]]]:
    """Boxes, each reading up to three of those before it."""
    count = draw(st.integers(1, 14))
    size = st.tuples(st.floats(20, 300), st.floats(20, 120))
    sizes = draw(st.lists(size, min_size=count, max_size=count))
    edges = [
        (source, target)
        for target in range(1, count)
        for source in sorted(draw(st.sets(st.integers(0, target - 1), max_size=3)))
    ]
    return sizes, edges


def boxes_of(sizes: list[Size], layout: Layout) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom."""
    return [(x, y, x + w, y + h) for (w, h), (x, y) in zip(sizes, layout.corners, strict=True)]


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_boxes_do_not_overlap_and_lie_inside_the_picture(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    boxes = boxes_of(sizes, layout)

    for (ax, ay, ar, ab), (bx, by, br, bb) in combinations(boxes, 2):
        assert ar <= bx or br <= ax or ab <= by or bb <= ay
    for left, top, right, bottom in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= layout.width
        assert bottom <= layout.height


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_lines_run_down_from_box_to_box_and_cover_none(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    boxes = boxes_of(sizes, layout)

    for (source, target), points in zip(edges, layout.lines, strict=True):
        left, _, right, bottom = boxes[source]
        assert left <= points[0][0] <= right
        assert points[0][1] == pytest.approx(bottom)
        left, top, right, _ = boxes[target]
        assert left <= points[-1][0] <= right
        assert points[-1][1] == pytest.approx(top)
        assert [y for _, y in points] == sorted(y for _, y in points)
        for k in range(0, len(points) - 1, 2):  # the straight pieces; bends lie between the rows
            (x, y), (same, below) = points[k], points[k + 1]
            assert x == pytest.approx(same)
            for number, (left, top, right, bottom) in enumerate(boxes):
                if number not in (source, target) and y < bottom and below > top:
                    assert not left < x < right


def test_a_skip_connection_stands_beside_what_it_skips():
    sizes = [(100.0, 40.0)] * 4

    layout = lay_out(sizes, [(0, 1), (1, 2), (0, 3), (2, 3)])

    columns = {round(x, 3) for x, _ in layout.corners}
    assert len(columns) == 1  # the trunk is straight
    skip = layout.lines[2]
    assert skip[3][0] > layout.corners[1][0] + 100 or skip[3][0] < layout.corners[1][0]


def test_the_svg_shows_each_layer_once_and_every_line_has_an_arrow_with_a_direction():
    net = Net.from_text(
        """
        name: "a <net> & more"
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "conv" top: "sum" }
        """,
        TEST,
    )

    root = ET.fromstring(draw_svg(net, graphviz=False))

    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert [t for t in texts if t and "conv" in t] == ["Convolution conv"]
    assert "ReLU relu" in texts
    assert root.findtext(f"{SVG}title") == "a <net> & more"
    paths = [path.get("d") or "" for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]
    assert len(paths) == 3
    for path in paths:
        numbers = [float(n) for n in path.replace("M", " ").replace("C", " ").replace("L", " ").split()]
        assert (numbers[-4], numbers[-3]) != (numbers[-2], numbers[-1])


def test_graphviz_that_is_not_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    net = Net.from_text('layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 } } }', TEST)

    with pytest.raises(ConfigError, match="graphviz is asked for"):
        draw_svg(net, graphviz=True)
