"""Which layers of a net belong to a phase, a level and stages: the include and exclude rules."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from caffenorm import schema
from caffenorm.errors import Where
from caffenorm.prototxt.findings import raise_faults
from caffenorm.prototxt.net_text import NetText


def filter_net(net: NetText, phase: int, level: int = 0, stages: Sequence[str] = ()) -> NetText:
    """The net with the layers whose rules the state meets, and with the state written into it.

    Args:
        phase: schema.TRAIN or schema.TEST.
        stages: are added to those that the net's own state names.

    Raises:
        PrototxtError: a layer has both include and exclude rules; all such layers are listed.

    Caffe: a layer stays if one of its include rules is met, or, with none, if no exclude rule is. An empty
    rule is always met. The net's own phase and level count for nothing; its stages do.
    """
    both = "a layer takes include rules or exclude rules, not both"
    faults = [
        (Where(net.file, line, layer.name, layer.type), both)
        for layer, line in zip(net.net.layer, net.lines, strict=True)
        if layer.include and layer.exclude
    ]
    raise_faults(net.file, faults)
    state = schema.NetState()
    state.CopyFrom(net.net.state)
    state.phase, state.level = phase, level
    state.stage.extend(stage for stage in dict.fromkeys(stages) if stage not in state.stage)
    kept = [index for index, layer in enumerate(net.net.layer) if _stays(layer, state)]
    filtered = net.with_layers([net.net.layer[index] for index in kept], [net.lines[index] for index in kept])
    filtered.net.state.CopyFrom(state)
    return filtered


def _stays(layer: schema.LayerParameter, state: schema.NetState) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: schema.NetState, rule: schema.NetStateRule) -> bool:
    stages: Collection[str] = state.stage
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in stages for stage in rule.stage)
        and not any(stage in stages for stage in rule.not_stage)
    )
