"""Which steps a net runs in place of its single layers."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm.folding import folded_chain
from caffenorm.fusion import FusedNorm, norm_chain
from caffenorm.plan import LayerStep, Step


def fuse(steps: Sequence[LayerStep]) -> list[Step]:
    """Replace the chains among `steps` that run faster as one."""
    plan: list[Step] = []
    index = 0
    while index < len(steps):
        step: Step = steps[index]
        folded = folded_chain(steps, index)
        chain = norm_chain(steps, index)
        if folded is not None:
            step = folded
        elif len(chain) > 1:
            step = FusedNorm(chain)
        plan.append(step)
        index = step.last + 1
    return plan
