"""A layered layout of our own: where boxes stand, and how lines run between them without covering any.

Boxes stand in rows by their distance from the inputs. A line that passes rows takes a place in each of them,
as a box without width does, and lines bend only between rows. Then:

1. The places of a row are ordered by where their neighbours stand, down and up, for few crossings.
2. Places that follow one another become columns, which are straight: first those of passing lines, then those
   of boxes, each box with the middle one of its neighbours.
3. Columns move to the middle of what they are joined to, as far as their neighbours in the rows allow.

See: Sugiyama et al., Methods for visual understanding of hierarchical system structures, 1981; Brandes and
    Koepf, Fast and simple horizontal coordinate assignment, 2002.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

_GAP_X, _GAP_LINE, _GAP_Y, _MOST_EXTRA_Y = 28.0, 18.0, 34.0, 60.0  # pixels
_SWEEPS, _MOVES = 8, 60
_PORT = 11.0  # pixels between lines that arrive at one box

Point = tuple[float, float]


@dataclass(eq=False)
class Place:
    """A box, or a line's way through a row.

    Attributes:
        width, height: pixels; 0 for a line.
        box: number of the box, -1 for a line.
        row: counted from the top. x: of its middle. y: of its upper edge.
        above, below: what it is joined to in the rows next to it.
    """

    width: float
    height: float
    box: int
    row: int
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)

    @property
    def is_line(self) -> bool:
        """Whether a line passes here."""
        return self.box < 0


@dataclass(frozen=True)
class Layout:
    """The result.

    Attributes:
        corners: left upper corner of each box.
        lines: for each edge, points: the first and the last lie on the boxes, and between the two of each
            later pair (1 and 2, 3 and 4 ...) the line bends from one row to the next.
        width, height: of the whole.
    """

    corners: list[Point]
    lines: list[list[Point]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes and lines.

    Args:
        sizes: width and height of each box, in an order in which no box comes before what it reads.
        edges: (from, to) by box numbers, from < to.
    """
    rows, boxes, chains = _places(sizes, edges)
    _order(rows)
    _align(rows)
    bounds = _stack(rows)
    left = min((p.x - p.width / 2 for row in rows for p in row), default=0.0) - _GAP_X
    for row in rows:
        for place in row:
            place.x -= left
    ports = _ports(chains)
    return Layout(
        [(p.x - p.width / 2, p.y) for p in boxes],
        [_line(chain, ports[i], bounds) for i, chain in enumerate(chains)],
        max((p.x + p.width / 2 for row in rows for p in row), default=0.0) + _GAP_X,
        bounds[-1][1] + _GAP_Y if bounds else 2 * _GAP_Y,
    )


# --- rows ---


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each box: below all that it reads; what reads nothing stands above its first reader."""
    ranks = [0] * count
    reads: list[list[int]] = [[] for _ in range(count)]
    readers: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        reads[target].append(source)
        readers[source].append(target)
    for box in range(count):
        ranks[box] = 1 + max((ranks[source] for source in reads[box]), default=-1)
    for box in range(count):
        if not reads[box] and readers[box]:
            ranks[box] = min(ranks[reader] for reader in readers[box]) - 1
    return ranks


def _places(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]
) -> tuple[list[list[Place]], list[Place], list[list[Place]]]:
    """Rows of places, the boxes' places, and each edge's places.

    Lines from one box share their places.
    """
    ranks = _ranks(len(sizes), edges)
    boxes = [Place(w, h, i, rank) for i, ((w, h), rank) in enumerate(zip(sizes, ranks, strict=True))]
    rows: list[list[Place]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for place in boxes:
        rows[place.row].append(place)
    passing: dict[tuple[int, int], Place] = {}
    chains = []
    for source, target in edges:
        chain = [boxes[source]]
        for row in range(ranks[source] + 1, ranks[target]):
            if (source, row) not in passing:
                passing[source, row] = Place(0.0, 0.0, -1, row)
                rows[row].append(passing[source, row])
            chain.append(passing[source, row])
        chain.append(boxes[target])
        for upper, lower in pairwise(chain):
            if lower not in upper.below:
                upper.below.append(lower)
                lower.above.append(upper)
        chains.append(chain)
    return rows, boxes, chains


# --- order within the rows ---


def _order(rows: list[list[Place]]) -> None:
    """Sort each row by the mean of its neighbours' positions, down and up; the best order of all stays."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for i in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            fixed = {id(place): k for k, place in enumerate(rows[i - 1 if down else i + 1])}
            mean = {}
            for k, place in enumerate(rows[i]):
                near = place.above if down else place.below
                mean[id(place)] = sum(fixed[id(n)] for n in near) / len(near) if near else float(k)
            rows[i].sort(key=lambda place, mean=mean: mean[id(place)])  # type: ignore[misc]  # bound at once
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _crossings(rows: Sequence[Sequence[Place]]) -> int:
    """How many lines between neighbouring rows cross."""
    total = 0
    for upper, lower in pairwise(rows):
        position = {id(place): k for k, place in enumerate(lower)}
        seen: list[int] = []
        for place in upper:
            ends = sorted(position[id(below)] for below in place.below)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# --- columns ---


def _align(rows: Sequence[Sequence[Place]]) -> None:
    """Give every place its x, the same throughout a column."""
    column = _columns(rows)
    left: dict[int, list[tuple[int, float]]] = {}  # column -> (column to its left, least distance)
    right: dict[int, list[tuple[int, float]]] = {}
    for row in rows:
        for first, second in pairwise(row):
            gap = _GAP_LINE if first.is_line or second.is_line else _GAP_X
            distance = (first.width + second.width) / 2 + gap
            a, b = column[id(first)], column[id(second)]
            left.setdefault(b, []).append((a, distance))
            right.setdefault(a, []).append((b, distance))
    joined: dict[int, list[int]] = {}
    for row in rows:
        for place in row:
            for below in place.below:
                a, b = column[id(place)], column[id(below)]
                if a != b:
                    joined.setdefault(a, []).append(b)
                    joined.setdefault(b, []).append(a)
    x = _leftmost(set(column.values()), left)
    order = sorted(x, key=lambda c: x[c])
    for move in range(_MOVES):
        for c in order if move % 2 else reversed(order):
            if c not in joined:
                continue
            wanted = sum(x[other] for other in joined[c]) / len(joined[c])
            least = max((x[other] + d for other, d in left.get(c, ())), default=-inf)
            most = min((x[other] - d for other, d in right.get(c, ())), default=inf)
            x[c] = max(least, min(wanted, most))
    for row in rows:
        for place in row:
            place.x = x[column[id(place)]]


def _columns(rows: Sequence[Sequence[Place]]) -> dict[int, int]:
    """The column of each place: neighbours in two rows join, where no other joint is crossed."""
    column: dict[int, int] = {}
    joint: dict[int, Place] = {}  # id of an upper place -> the lower one
    at = {id(place): k for row in rows for k, place in enumerate(row)}
    for row in rows:
        for place in row:
            place.above.sort(key=lambda other: at[id(other)])
            place.below.sort(key=lambda other: at[id(other)])
    for upper, lower in pairwise(rows):
        wishes = []
        for place in upper:
            for below in place.below:
                lines = place.is_line + below.is_line
                if lines == 2 or (_is_middle(below, place.below) and _is_middle(place, below.above)):
                    wishes.append(((2, 0, 1)[lines - 1], at[id(place)], at[id(below)]))
        taken: list[tuple[int, int]] = []
        for _, a, b in sorted(wishes):
            if all((a - c) * (b - d) > 0 for c, d in taken):
                taken.append((a, b))
                joint[id(upper[a])] = lower[b]
    number = 0
    for row in rows:
        for place in row:
            if id(place) in column:
                continue
            current: Place | None = place
            while current is not None:
                column[id(current)] = number
                current = joint.get(id(current))
            number += 1
    return column


def _is_middle(place: Place, among: Sequence[Place]) -> bool:
    """Whether it is the middle one, or one of the two in the middle."""
    k, count = among.index(place), len(among)
    return k in ((count - 1) // 2, count // 2)


def _leftmost(columns: set[int], left: dict[int, list[tuple[int, float]]]) -> dict[int, float]:
    """The least x of each column that keeps the distances."""
    x = dict.fromkeys(sorted(columns), 0.0)
    for _ in range(len(columns)):
        moved = False
        for column, others in left.items():
            least = max(x[other] + distance for other, distance in others)
            if least > x[column] + 1e-9:
                x[column], moved = least, True
        if not moved:
            break
    return x


# --- heights and lines ---


def _stack(rows: Sequence[Sequence[Place]]) -> list[Point]:
    """Give every place its y; returns upper and lower edge of each row. Wide bends get more room."""
    bounds: list[Point] = []
    y = _GAP_Y
    for row in rows:
        height = max((place.height for place in row), default=0.0)
        for place in row:
            place.y = y + (height - place.height) / 2
        bounds.append((y, y + height))
        widest = max((abs(p.x - q.x) for p in row for q in p.below), default=0.0)
        y += height + _GAP_Y + min(_MOST_EXTRA_Y, widest / 8)
    return bounds


def _ports(chains: Sequence[Sequence[Place]]) -> list[float]:
    """For each edge, how far from the middle of the box it arrives."""
    arrivals: dict[int, list[int]] = {}
    for i, chain in enumerate(chains):
        arrivals.setdefault(id(chain[-1]), []).append(i)
    ports = [0.0] * len(chains)
    for edges in arrivals.values():
        target = chains[edges[0]][-1]
        offs = sorted((chains[i][-2].x - target.x, i) for i in edges)
        step = min(_PORT, (target.width - 16) / max(len(offs), 1))
        straight = [k for k, (off, _) in enumerate(offs) if abs(off) < 1]
        middle = float(straight[0]) if straight else (len(offs) - 1) / 2
        for k, (_, i) in enumerate(offs):
            ports[i] = (k - middle) * step
    return ports


def _line(chain: Sequence[Place], port: float, bounds: Sequence[Point]) -> list[Point]:
    """Straight within rows, bends between them."""
    points = [(chain[0].x, chain[0].y + chain[0].height), (chain[0].x, bounds[chain[0].row][1])]
    for place in chain[1:-1]:
        points += [(place.x, bounds[place.row][0]), (place.x, bounds[place.row][1])]
    last = chain[-1]
    return [*points, (last.x + port, bounds[last.row][0]), (last.x + port, last.y)]
