"""How forward is laid out: blocks under titles, short names where long ones do not fit."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffenorm
from caffenorm import Net
from caffenorm.convert import describe
from caffenorm.convert.layout import sections
from caffenorm.convert.live import build_module
from caffenorm.convert.source import module_source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }\n'
)


def conv(name: str, bottom: str) -> str:
    shape = 'num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 }'
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ {shape} }} }}\n"
    )


def inplace(kind: str, blob: str) -> str:
    return f'layer {{ name: "{blob}_{kind}" type: "{kind}" bottom: "{blob}" top: "{blob}" }}\n'


def added(name: str, *bottoms: str) -> str:
    listed = "".join(f'bottom: "{bottom}" ' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "Eltwise" {listed} top: "{name}" }}\n'


def block(name: str, bottom: str) -> str:
    branch = conv(f"{name}_branch2a", bottom) + inplace("ReLU", f"{name}_branch2a")
    branch += conv(f"{name}_branch2b", f"{name}_branch2a")
    return branch + added(name, bottom, f"{name}_branch2b") + inplace("ReLU", name)


def test_residual_blocks_stand_under_their_names() -> None:
    net = Net.from_text(INPUT + conv("c", "data") + block("res2a", "c") + block("res2b", "res2a"))

    text = module_source(describe(net))

    assert text.count("        # res2a\n") == text.count("        # res2b\n") == 2
    assert "\n\n        # res2b\n        res2b_branch2a = F.relu(self.res2b_branch2a(res2a))\n" in text


def test_nets_in_a_row_have_no_blocks() -> None:
    net = Net.from_text(INPUT + conv("a", "data") + conv("b", "a") + conv("c", "b"))

    assert [section.title for section in sections(describe(net))] == [""]


def test_a_block_without_a_common_name_is_called_by_its_result() -> None:
    text = INPUT + conv("c", "data")
    for last, now in (("c", "p"), ("p", "q")):
        text += (
            conv(f"first{now}", last) + conv(f"second{now}", f"first{now}") + added(now, last, f"second{now}")
        )

    titles = [section.title for section in sections(describe(Net.from_text(text)))]

    assert [title for title in titles if title] == ["p", "q"]


LONG = "a_layer_whose_name_is_rather_long_"


def test_long_names_become_x_where_only_the_next_line_reads_them() -> None:
    first, second = f"{LONG}1", f"{LONG}2"
    text = INPUT + conv(first, "data") + inplace("BatchNorm", first) + inplace("ReLU", first)
    net = Net.from_text(text + conv(second, first) + inplace("ReLU", second))

    lines = [line for section in sections(describe(net)) for line in section.lines]

    assert lines[-1] == f"{second} = F.relu(self.{second}(x))"
    assert all(line.startswith("x = ") for line in lines[:-1])
    assert max(map(len, module_source(describe(net)).splitlines())) <= 100


@pytest.mark.parametrize("taken", ["data", "x"])
def test_a_blob_called_x_keeps_its_name(taken: str) -> None:
    first = f"{LONG}1"
    text = INPUT + conv(taken if taken == "x" else "y", "data")
    text += conv(first, taken if taken == "x" else "y") + inplace("BatchNorm", first) + inplace("ReLU", first)
    text += added("sum", first, taken)

    assert agree(Net.from_text(text))


def agree(net: Net) -> bool:
    """Whether forward, as it is laid out, gives what the plain statements of `blobs` do, bit by bit."""
    program = describe(net)
    ast.parse(module_source(program))
    module = build_module(program, np.float64)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    with torch.no_grad():
        found, blobs = module(x), module.blobs(x)
    found = found if isinstance(found, tuple) else (found,)
    return all(torch.equal(a, blobs[name]) for a, name in zip(found, program.outputs, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["", LONG]), st.integers(2, 12))
def test_forward_computes_what_the_statements_compute(data: st.DataObject, prefix: str, layers: int) -> None:
    text, made = INPUT, ["data"]
    for i in range(layers):
        kind = data.draw(st.sampled_from(["conv", "add", "BatchNorm", "ReLU", "TanH", "Exp"]))
        # In place only over what nothing has read.
        fresh = made[-1] != "data" and f'bottom: "{made[-1]}" ' not in text.replace(
            f'bottom: "{made[-1]}" top: "{made[-1]}"', ""
        )
        name = f"{prefix}{i}" if prefix else f"b{i}"
        if kind == "conv":
            text += conv(name, data.draw(st.sampled_from(made)))
        elif kind == "add":
            text += added(name, *data.draw(st.lists(st.sampled_from(made), min_size=2, max_size=3)))
        elif fresh:
            text += inplace(kind, made[-1])
            continue
        else:
            continue
        made.append(name)

    assert agree(Net.from_text(text, caffenorm.TEST))
