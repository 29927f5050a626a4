"""How the layers of a NetParameter hang together: who makes which blob, who reads it, what works in place.

Knows messages only, no layer objects, so that the conversion to other frameworks can use it as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from caffenorm.errors import GraphError, Where
from caffenorm.prototxt import NetText


@dataclass(frozen=True)
class Node:
    """One layer in its place.

    Attributes:
        index: of the layer in the net.
        bottoms, tops: numbers of the blobs, in the order of `Graph.blob_names`; a layer in place has the
            same number in both.
        where: file, line and layer, for messages.
    """

    index: int
    name: str
    type: str
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    where: Where


@dataclass
class Graph:
    """The wiring of a net.

    Attributes:
        nodes: the layers in order.
        blob_names: one for each blob, in the order in which they are made.
        inputs: numbers of the blobs that Input layers make.
        outputs: numbers of the blobs that nobody reads, in alphabetical order of their names.
    """

    nodes: list[Node] = field(default_factory=list)
    blob_names: list[str] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing where no name is near."""
    lower: dict[str, str] = {}
    for other in known:
        lower.setdefault(other.lower(), other)
    found = difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.7)
    return "; did you mean " + " or ".join(f'"{lower[f]}"' for f in found) + "?" if found else ""


def place(net: NetText, index: int) -> Where:
    """File, line and layer of `net.net.layer[index]`."""
    layer = net.net.layer[index]
    line = net.lines[index] if index < len(net.lines) else 0
    return Where(net.file, line, layer.name, layer.type)


def require_known_types(net: NetText, known: Collection[str]) -> None:
    """Refuse layers of types that nobody registered, all at once.

    Raises:
        GraphError: lists every unknown type, where it stands first, how often, and near names.
    """
    unknown: dict[str, list[int]] = {}
    for index, layer in enumerate(net.net.layer):
        if layer.type not in known:
            unknown.setdefault(layer.type, []).append(index)
    if not unknown:
        return
    rows = []
    for kind, places in unknown.items():
        first = place(net, places[0])
        at = f"{first.file}:{first.line}" if first.line else first.file
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        shown = f'"{kind}"' if kind else "(no type given)"
        rows.append(f'  {shown}: {at}: layer "{first.layer}"{more}{near(kind, known)}')
    what = "layer type is" if len(unknown) == 1 else "layer types are"
    raise GraphError(
        f"{len(unknown)} {what} not known:\n" + "\n".join(rows) + "\n"
        'Register a class of your own for each with @caffenorm.register_layer("...").',
        Where(file=net.file),
    )


def wire(net: NetText) -> Graph:
    """Connect bottoms to tops.

    Raises:
        GraphError: lists every bottom that no earlier layer makes and every top that is made twice.
    """
    graph = Graph()
    current: dict[str, int] = {}
    unread: dict[str, None] = {}
    readers: dict[str, int] = {}
    faults: list[tuple[Where, str]] = []
    for index, layer in enumerate(net.net.layer):
        where = place(net, index)
        bottoms = []
        for name in layer.bottom:
            if name not in current:
                faults.append((where, _missing_bottom(net, index, name, current)))
                continue
            bottoms.append(current[name])
            readers[name] = readers.get(name, 0) + 1
            unread.pop(name, None)
        tops = []
        for position, name in enumerate(layer.top):
            in_place = position < len(layer.bottom) and layer.bottom[position] == name
            if in_place and name in current:
                if readers.get(name, 0) > 1:
                    faults.append((where, _shared_in_place(net, index, name)))
                tops.append(current[name])
            elif name in current:
                faults.append(
                    (
                        where,
                        f'top "{name}" is made by an earlier layer already; give one of them another name',
                    )
                )
                continue
            else:
                current[name] = len(graph.blob_names)
                graph.blob_names.append(name)
                tops.append(current[name])
            readers[name] = 0
            unread[name] = None
        if layer.type == "Input":
            graph.inputs.extend(tops)
        graph.nodes.append(Node(index, layer.name, layer.type, tuple(bottoms), tuple(tops), where))
    _raise_faults(net, faults)
    graph.outputs = [current[name] for name in sorted(unread)]
    return graph


def _missing_bottom(net: NetText, index: int, name: str, made: Collection[str]) -> str:
    """Why there is no such bottom."""
    for later in range(index, len(net.net.layer)):
        if name in net.net.layer[later].top:
            if later == index:
                return f'bottom "{name}" is made by this layer itself, so there is nothing to read yet'
            return (
                f'bottom "{name}" is made by a later layer, "{net.net.layer[later].name}"; put that one first'
            )
    return f'no layer makes bottom "{name}"{near(name, made)}'


def _shared_in_place(net: NetText, index: int, name: str) -> str:
    """Why a layer cannot overwrite what another one reads."""
    for earlier in range(index - 1, -1, -1):
        if name in net.net.layer[earlier].bottom:
            other = net.net.layer[earlier].name
            return (
                f'cannot work in place on "{name}", which layer "{other}" reads too; '
                "give the top a name of its own"
            )
    return f'cannot work in place on "{name}", which it reads twice; give the top a name of its own'


def _raise_faults(net: NetText, faults: Sequence[tuple[Where, str]]) -> None:
    if len(faults) == 1:
        raise GraphError(faults[0][1], faults[0][0])
    if faults:
        rows = "\n".join(f"  {where}: {message}" for where, message in faults)
        raise GraphError(f"{len(faults)} faults in the wiring:\n{rows}", Where(file=net.file))
