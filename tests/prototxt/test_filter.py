"""Which layers belong to a phase, a level and stages."""

from __future__ import annotations

import json

import golden
import pytest

from caffenorm import schema
from caffenorm.errors import PrototxtError
from caffenorm.prototxt import filter_net, parse_net


def names(net) -> list[str]:
    return [layer.name for layer in net.net.layer]


@pytest.mark.parametrize("path", golden.paths("netfilter", "json"), ids=golden.name)
def test_golden_states(path):
    case = json.loads(path.read_text(encoding="utf-8"))
    state = case["state"]

    net = filter_net(
        parse_net(case["input"]), getattr(schema, state["phase"]), state["level"], state["stages"]
    )

    assert names(net) == case["kept"]


def test_lines_stay_with_their_layers_and_the_given_net_stays_as_it_is():
    net = parse_net('layer { name: "a" include { phase: TRAIN } }\nlayer { name: "b" }\nlayer { name: "c" }')
    before = net.net.SerializeToString()

    filtered = filter_net(net, schema.TEST)

    assert (names(filtered), filtered.lines) == (["b", "c"], [2, 3])
    assert (net.net.SerializeToString(), net.lines) == (before, [1, 2, 3])


def test_the_state_is_written_into_the_net():
    net = filter_net(parse_net("state { phase: TRAIN level: 5 }"), schema.TEST, 1, ["a", "b", "a"])

    assert net.net.state == schema.NetState(phase=schema.TEST, level=1, stage=["a", "b"])


def test_the_nets_own_stages_count_but_not_its_level():
    net = parse_net(
        'state { level: 5 stage: "deploy" } layer { name: "a" include { stage: "deploy" } }'
        'layer { name: "b" include { min_level: 1 } }'
    )

    assert names(filter_net(net, schema.TEST)) == ["a"]


def test_filtering_twice_changes_nothing():
    net = parse_net('layer { name: "a" include { stage: "s" } } layer { name: "b" exclude { phase: TEST } }')

    once = filter_net(net, schema.TEST, 0, ["s"])
    twice = filter_net(once, schema.TEST, 0, ["s"])

    assert twice == once


def test_include_and_exclude_in_one_layer_are_refused_all_at_once():
    net = parse_net(
        'layer { name: "a" include { } exclude { } }\n'
        'layer { name: "b" }\n'
        'layer { name: "c" include { } exclude { } }',
        "net.prototxt",
    )

    with pytest.raises(PrototxtError) as caught:
        filter_net(net, schema.TEST)

    assert 'net.prototxt:1: layer "a": ' in str(caught.value)
    assert 'net.prototxt:3: layer "c": ' in str(caught.value)
    assert "not both" in str(caught.value)
