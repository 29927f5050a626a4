"""Split layers behind blobs that several layers read."""

from __future__ import annotations

import json
from collections import Counter

import golden
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import schema
from caffenorm.prototxt import NetText, filter_net, insert_splits, parse_net


def split(text: str):
    return insert_splits(parse_net(text))


@pytest.mark.parametrize("path", golden.paths("splits", "json"), ids=golden.name)
def test_golden_splits(path):
    case = json.loads(path.read_text(encoding="utf-8"))

    net = insert_splits(filter_net(parse_net(case["input"]), getattr(schema, case["phase"])))

    found = [
        {"name": layer.name, "type": layer.type, "bottoms": list(layer.bottom), "tops": list(layer.top)}
        for layer in net.net.layer
    ]
    assert found == case["layers"]
    # Written weights; those that loss layers have without being told are the layers' own matter.
    written = {
        top: weight
        for layer in net.net.layer
        for top, weight in zip(layer.top, layer.loss_weight, strict=False)
    }
    assert {top: weight for top, weight in written.items() if weight}.items() <= case["loss_weights"].items()


def test_a_written_loss_weight_moves_to_the_first_top_of_the_split():
    layers = split(
        'layer { name: "x" type: "Input" top: "x" }'
        'layer { name: "l" type: "EuclideanLoss" bottom: "x" bottom: "x" top: "l" loss_weight: 3 }'
        'layer { name: "r" type: "ReLU" bottom: "l" top: "r" }'
    ).net.layer

    by_name = {layer.name: layer for layer in layers}
    assert list(by_name["l"].loss_weight) == []
    assert list(by_name["l_l_0_split"].loss_weight) == [3, 0]
    assert list(by_name["r"].bottom) == ["l_l_0_split_1"]


def test_splits_have_the_line_of_the_layer_in_front():
    net = split(
        'layer { name: "x" type: "Input" top: "x" }\n\n'
        'layer { name: "a" bottom: "x" top: "a" }\nlayer { name: "b" bottom: "x" top: "b" }'
    )

    assert [layer.name for layer in net.net.layer] == ["x", "x_x_0_split", "a", "b"]
    assert net.lines == [1, 1, 3, 4]


def test_a_net_without_shared_blobs_is_given_back():
    net = parse_net('layer { name: "x" top: "x" } layer { name: "a" bottom: "x" top: "a" }')

    assert insert_splits(net) is net


def test_the_given_net_stays_as_it_is():
    net = parse_net(
        'layer { name: "x" top: "x" } layer { name: "a" bottom: "x" bottom: "x" top: "a" loss_weight: 1 }'
    )
    before = net.net.SerializeToString()

    insert_splits(net)

    assert net.net.SerializeToString() == before


def test_bottoms_that_nobody_makes_are_left():
    net = split(
        'layer { name: "a" bottom: "ghost" top: "a" }layer { name: "b" bottom: "ghost" bottom: "a" top: "b" }'
    )

    assert [list(layer.bottom) for layer in net.net.layer] == [["ghost"], ["ghost", "a"]]


def test_more_loss_weights_than_tops_do_no_harm():
    net = split('layer { name: "a" top: "a" loss_weight: 1 loss_weight: 2 }')

    assert len(net.net.layer) == 1


@st.composite
def nets(draw):
    """Nets of layers that read earlier blobs, some of them in place."""
    net = schema.NetParameter()
    net.layer.add(name="in", type="Input", top=["b0", "b1"])
    made = ["b0", "b1"]
    for index in range(draw(st.integers(0, 8))):
        bottoms = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3))
        in_place = draw(st.booleans())
        top = bottoms[0] if in_place else f"t{index}"
        weight = draw(st.sampled_from([[], [0], [2]]))
        net.layer.add(name=f"l{index}", type="ReLU", bottom=bottoms, top=[top], loss_weight=weight)
        made = made if in_place else [*made, top]
    return net


@given(nets())
def test_every_top_has_one_reader_at_most_and_readers_read_the_same_data(net):
    result = insert_splits(NetText(net, "", [0] * len(net.layer)))

    def trace(layers):
        """For each layer but splits, which layer's top each bottom comes from, splits looked through."""
        makers: dict[str, tuple[str, int]] = {}
        readers: Counter[tuple[str, int]] = Counter()
        seen = []
        for layer in layers:
            sources = [makers[name] for name in layer.bottom]
            if layer.type == "Split":
                makers.update((name, (*sources[0], k)) for k, name in enumerate(layer.top))
            else:
                seen.append((layer.name, [source[:2] for source in sources]))
                makers.update((name, (layer.name, k)) for k, name in enumerate(layer.top))
            readers.update(sources)
        return seen, readers

    before, _ = trace(net.layer)
    after, readers = trace(result.net.layer)
    assert after == before
    assert max(readers.values(), default=0) <= 1
