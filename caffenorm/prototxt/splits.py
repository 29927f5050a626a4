"""Split layers where several layers read one blob, so that every blob has one reader and gradients add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from caffenorm import schema
from caffenorm.prototxt.net_text import NetText

_Top = tuple[int, int]  # layer and position


def insert_splits(net: NetText) -> NetText:
    """The net with a Split layer behind each top that is read more than once.

    Bottoms that nobody makes are left as they are; wiring the net reports them. A Split has the line of the
    layer in front of it.

    Caffe: the split of a top is called `<blob>_<layer>_<top index>_split`, its tops the same with `_0`,
    `_1`, ... in the order of the readers. A top with a written loss weight counts as read once more: the
    weight moves to the split's first top, and all of the layer's written weights are removed. The unwritten
    weight of a loss layer does not count. What a layer in place writes is a new top, so readers before and
    after it do not share a split.
    """
    sources, readers = _find_readers(net.net)
    shared = {top for top, count in readers.items() if count > 1}
    if not shared:
        return net
    layers, lines = [], []
    given: Counter[_Top] = Counter()
    for index, original in enumerate(net.net.layer):
        layer = schema.LayerParameter()
        layer.CopyFrom(original)
        for position in range(len(layer.bottom)):
            top = sources.get((index, position))
            if top in shared:
                layer.bottom[position] = f"{_split_name(net.net, top)}_{given[top]}"
                given[top] += 1
        splits = list(_splits_behind(net.net, index, readers))
        for position, split in splits:
            if split.loss_weight:
                given[index, position] += 1
                layer.ClearField("loss_weight")
        layers += [layer, *(split for _, split in splits)]
        lines += [net.lines[index]] * (1 + len(splits))
    return net.with_layers(layers, lines)


def _find_readers(net: schema.NetParameter) -> tuple[dict[_Top, _Top], Counter[_Top]]:
    """The top that each bottom (layer, position) reads, and how often each top is read."""
    makers: dict[str, _Top] = {}
    sources: dict[_Top, _Top] = {}
    readers: Counter[_Top] = Counter()
    for index, layer in enumerate(net.layer):
        for position, name in enumerate(layer.bottom):
            if name in makers:
                sources[index, position] = makers[name]
                readers[makers[name]] += 1
        makers.update((name, (index, position)) for position, name in enumerate(layer.top))
        weights = layer.loss_weight[: len(layer.top)]
        readers.update((index, position) for position, weight in enumerate(weights) if weight)
    return sources, readers


def _splits_behind(
    net: schema.NetParameter, index: int, readers: Counter[_Top]
) -> Iterator[tuple[int, schema.LayerParameter]]:
    """The Split layers for the tops of a layer, each with its top's position."""
    layer = net.layer[index]
    for position, blob in enumerate(layer.top):
        count = readers[index, position]
        if count > 1:
            name = _split_name(net, (index, position))
            tops = [f"{name}_{k}" for k in range(count)]
            split = schema.LayerParameter(name=name, type="Split", bottom=[blob], top=tops)
            weight = layer.loss_weight[position] if position < len(layer.loss_weight) else 0
            if weight:
                split.loss_weight.extend([weight] + [0] * (count - 1))
            yield position, split


def _split_name(net: schema.NetParameter, top: _Top) -> str:
    layer = net.layer[top[0]]
    return f"{layer.top[top[1]]}_{layer.name}_{top[1]}_split"
