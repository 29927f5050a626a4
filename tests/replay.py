"""Runs golden cases: builds their nets, sets what they start from, compares what comes out."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np
from golden import GoldenCase
from tolerances import assert_golden

import caffenorm
from caffenorm import Net


def build(case: GoldenCase, dtype: Any, **options: Any) -> Net:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", caffenorm.CaffenormWarning)
        phase = getattr(caffenorm, case.meta["phase"])
        return Net.from_text(case.meta["prototxt"], phase, dtype=dtype, **options)


def set_params(net: Net, values: dict[str, np.ndarray]) -> None:
    for key, value in values.items():
        layer, index = key.rsplit("/", 1)
        blob = net.params[layer][int(index)]
        blob.data[...] = value.reshape(blob.shape)


def by_step(values: dict[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """`blob@k` -> {k: {blob: value}}; without @ under -1."""
    found: dict[int, dict[str, np.ndarray]] = defaultdict(dict)
    for key, value in values.items():
        blob, at, step = key.partition("@")
        found[int(step) if at else -1][blob] = value
    return found


def replay(case: GoldenCase, net: Net) -> None:
    """Forward and backward as the case says; fails where a number differs from Caffe's."""
    meta = case.meta
    set_params(net, case.under("param"))
    inputs, seeds = by_step(case.under("in")), by_step(case.under("topdiff"))
    net.clear_param_diffs()
    forwards = meta.get("forwards", 1)

    def backward(step: int) -> None:
        for blob, value in {**seeds[-1], **seeds.get(step, {})}.items():
            net.blobs[blob].diff[...] = value
        net.backward()

    for step in range(forwards):
        for blob, value in {**inputs[-1], **inputs.get(step, {})}.items():
            net.blobs[blob].reshape(value.shape)
            net.blobs[blob].data[...] = value
        net.forward()
        if meta.get("backward") and meta.get("backward_each"):
            backward(step)
    if meta.get("stats_only"):
        return
    for key, value in case.under("out").items():
        assert_golden(meta, f"out/{key}", net.blobs[key].data, value)
    for key, value in case.under("param_after").items():
        layer, index = key.rsplit("/", 1)
        assert_golden(meta, f"param_after/{key}", net.params[layer][int(index)].data, value)
    if not meta.get("backward"):
        return
    if not meta.get("backward_each"):
        backward(forwards - 1)
    for key, value in case.under("indiff").items():
        assert_golden(meta, f"indiff/{key}", net.blobs[key].diff, value)
    for key, value in case.under("paramdiff").items():
        layer, index = key.rsplit("/", 1)
        assert_golden(meta, f"paramdiff/{key}", net.params[layer][int(index)].diff, value)
