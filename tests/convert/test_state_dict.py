"""Caffe's parameters under the names of a class of the user's own, and back."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import load_state_dict, match_state_dict
from caffenorm.convert.state_files import read_mapping, read_state, write_mapping, write_state
from caffenorm.convert.state_modules import modules_of_net
from caffenorm.convert.state_result import Match
from caffenorm.errors import ConfigError

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.torch


def conv(name: str, bottom: str, outputs: int, kernel: int = 1, *, bias: bool = False, top: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top or name}" '
        f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} "
        f"bias_term: {str(bias).lower()} }} }}\n"
    )


def norm(name: str, *, scale: bool = True, momentum: float = 0.999) -> str:
    text = (
        f'layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{name}" top: "{name}" '
        f"batch_norm_param {{ moving_average_fraction: {momentum} }} }}\n"
    )
    if scale:
        text += (
            f'layer {{ name: "scale_{name}" type: "Scale" bottom: "{name}" top: "{name}" '
            "scale_param { bias_term: true } }\n"
        )
    return text


def relu(name: str) -> str:
    return f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'


def total(name: str, first: str, second: str) -> str:
    return f'layer {{ name: "{name}" type: "Eltwise" bottom: "{first}" bottom: "{second}" top: "{name}" }}\n'


def inner(name: str, bottom: str, outputs: int, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
        f"inner_product_param {{ num_output: {outputs} {more} }} }}\n"
    )


def net_of(text: str, shape: tuple[int, ...] = (2, 3, 8, 8)) -> Net:
    """A TEST net with random parameters, statistics as they are after some training."""
    dims = " ".join(f"dim: {dim}" for dim in shape)
    first = f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
    net = Net.from_text(f'name: "small" {first}{text}', caffenorm.TEST)
    rng = np.random.default_rng(3)
    for layer in net.layers:
        for blob in layer.blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
        if layer.type == "BatchNorm":
            layer.blobs[2].data[...] = 4
    return net


# As in Caffe's ResNets, the shortcut runs before the block; both have the shape of the block's last part.
BLOCK = (
    conv("conv1", "x", 4, 3) + norm("conv1") + relu("conv1")
    + conv("res2a_branch1", "conv1", 8) + norm("res2a_branch1")
    + conv("res2a_branch2a", "conv1", 4) + norm("res2a_branch2a") + relu("res2a_branch2a")
    + conv("res2a_branch2c", "res2a_branch2a", 8) + norm("res2a_branch2c")
    + total("res2a", "res2a_branch1", "res2a_branch2c") + relu("res2a")
    + 'layer { name: "pool" type: "Pooling" bottom: "res2a" top: "pool" '
    "pooling_param { pool: AVE global_pooling: true } }\n"
    + inner("fc", "pool", 5)
)  # fmt: skip


class Block(nn.Module):
    """The same net, as PyTorch's classes have it: the shortcut comes last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.conv1 = nn.Conv2d(4, 4, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.downsample = nn.Sequential(nn.Conv2d(4, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return self.head(torch.relu(y + self.downsample(x)).mean((2, 3)))


def state(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Names with `__` for dots."""
    return {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}


def why(match: Match, name: str, side: str = "") -> str:
    (found,) = (one.why for one in match.unmatched if one.name == name and side in one.side)
    return found


def test_a_class_with_the_matched_state_computes_what_the_net_does(rng: np.random.Generator) -> None:
    net, module = net_of(BLOCK), Block().eval()
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)

    match = match_state_dict(net, module.state_dict())
    module.load_state_dict(match.state)

    assert match.ok
    assert match.mapping["res2a_branch1"] == "downsample.0"
    assert match.mapping["bn_res2a_branch1"] == "downsample.1"
    assert match.mapping["res2a_branch2c"] == "conv2"
    assert "scale_conv1" not in match.mapping
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, net.forward(x=x)["fc"], rtol=1e-5)


def test_the_way_back_keeps_the_bits(rng: np.random.Generator) -> None:
    module = Block().eval()
    for parameter in module.parameters():
        parameter.data = torch.from_numpy(rng.uniform(0.1, 1, parameter.shape).astype(np.float32))
    for part in (module.stem[1], module.bn1, module.bn2, module.downsample[1]):
        part.running_mean += torch.from_numpy(rng.standard_normal(part.running_mean.shape).astype(np.float32))
    net = net_of(BLOCK)
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)

    back = load_state_dict(net, module.state_dict())
    again = match_state_dict(net, module.state_dict(), back.mapping)

    assert back.ok
    assert net.params["bn_conv1"][2].data.tolist() == [1]
    for name, value in module.state_dict().items():
        assert torch.equal(again.state[name], value), name
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(net.forward(x=x)["fc"], expected, rtol=1e-5)


def test_cumulative_averages_take_their_count_from_num_batches_tracked() -> None:
    net = net_of(conv("c", "x", 4) + norm("c", momentum=1))
    module = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4, momentum=None))
    module[1].num_batches_tracked += 8
    module[1].running_mean += 3

    load_state_dict(net, module.state_dict())
    again = match_state_dict(net, module.state_dict())

    assert net.params["bn_c"][2].data.tolist() == [8]
    assert net.params["bn_c"][0].data.tolist() == [24] * 4
    assert int(again.state["1.num_batches_tracked"]) == 8


# --- what may differ ---


def test_weights_are_turned_and_reshaped_where_that_makes_them_fit() -> None:
    net = net_of(
        conv("score", "x", 7) + inner("fc6", "score", 6, "transpose: true") + inner("fc7", "fc6", 5),
        (1, 3, 2, 2),
    )
    theirs = state(
        score__weight=(7, 3), fc6__weight=(6, 7, 2, 2), fc6__bias=(6,), fc7__weight=(6, 5), fc7__bias=(5,)
    )

    match = match_state_dict(net, theirs)

    assert match.ok
    stored = {name: blobs[0].data for name, blobs in net.params.items()}
    np.testing.assert_array_equal(match.state["score.weight"], stored["score"][:, :, 0, 0])
    np.testing.assert_array_equal(match.state["fc6.weight"].reshape(6, 28), stored["fc6"].T)
    np.testing.assert_array_equal(match.state["fc7.weight"], stored["fc7"].T)
    assert "turned from [5, 6]" in str(match)
    assert "reshaped from [6, 28]" in str(match)
    other = net_of(
        conv("score", "x", 7) + inner("fc6", "score", 6, "transpose: true") + inner("fc7", "fc6", 5),
        (1, 3, 2, 2),
    )
    for blobs in other.params.values():
        blobs[0].data[...] = 0
    load_state_dict(other, match.state)
    for name, value in stored.items():
        np.testing.assert_array_equal(other.params[name][0].data, value)


def test_an_offset_that_one_side_lacks_is_zeros() -> None:
    net = net_of(conv("a", "x", 4) + conv("b", "a", 5, bias=True))
    net.params["b"][1].data[...] = 0

    match = match_state_dict(net, state(a__weight=(4, 3, 1, 1), a__bias=(4,), b__weight=(5, 4, 1, 1)))

    assert match.ok
    assert match.state["a.bias"].tolist() == [0] * 4
    assert "nothing is lost" in why(match, "b.bias")


def test_an_offset_that_would_be_lost_is_not_matched() -> None:
    net = net_of(conv("b", "x", 5, bias=True))

    match = match_state_dict(net, state(b__weight=(5, 3, 1, 1)))

    assert not match.ok
    assert match.state == {}
    assert 'nothing on the other side fits; "b"' in why(match, "b.weight", "caffe")


def test_a_lone_batch_norm_fits_a_module_with_weight_and_bias() -> None:
    net = net_of(conv("c", "x", 4) + norm("c", scale=False))

    match = match_state_dict(
        net, nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).state_dict()
    )

    assert match.ok
    assert match.state["1.weight"].tolist() == [1] * 4


def test_values_take_the_dtypes_of_the_state() -> None:
    module = nn.Sequential(OrderedDict(c=nn.Conv2d(3, 4, 1, bias=False))).to(torch.bfloat16)
    net = net_of(conv("c", "x", 4))

    found = match_state_dict(net, module.state_dict()).state["c.weight"]

    assert found.dtype == torch.bfloat16
    np.testing.assert_allclose(found.float().numpy(), net.params["c"][0].data, rtol=1e-2)


def test_names_of_other_frameworks_are_known() -> None:
    net = net_of(conv("c", "x", 4) + norm("c") + inner("fc", "c", 5))
    theirs = state(
        c__kernel=(4, 3, 1, 1),
        bn_c__gamma=(4,),
        bn_c__beta=(4,),
        bn_c__moving_mean=(4,),
        bn_c__moving_variance=(4,),
        fc__w=(5, 256),
        fc__b=(5,),
    )

    match = match_state_dict(net, theirs)

    assert match.ok
    np.testing.assert_array_equal(match.state["bn_c.gamma"], net.params["scale_c"][0].data)
    assert match.mapping["bn_c.running_var"] == "bn_c.moving_variance"
    assert match_state_dict(net, theirs, match.mapping).state.keys() == theirs.keys()


# --- order, names, doubts ---


def test_of_too_many_the_names_decide() -> None:
    net = net_of(conv("stage1", "x", 3, 3) + conv("stage3", "stage1", 3, 3))
    theirs = state(stage1__weight_=(1,), s__1=(2,)) | state(
        first__stage_1__weight=(3, 3, 3, 3),
        first__stage_2__weight=(3, 3, 3, 3),
        first__stage_3__weight=(3, 3, 3, 3),
    )

    match = match_state_dict(net, theirs)

    assert match.mapping == {"stage1": "first.stage_1", "stage3": "first.stage_3"}
    assert "2 of its shapes in the net and 3 in the state dict" in why(match, "first.stage_2.weight")
    assert "nothing on the other side has its shapes" in why(match, "s.1")
    assert not match.ok


def test_numbers_in_names_say_which_of_many_is_missing() -> None:
    blocks = [f"conv_stage1_block{i}_branch2b" for i in range(4)]
    text = "".join(conv(name, below, 3, 3) for below, name in zip(["x", *blocks], blocks, strict=False))
    theirs = {f"layer2.{i}.conv2.weight": np.zeros((3, 3, 3, 3), np.float32) for i in (0, 2, 3)}

    match = match_state_dict(net_of(text), theirs)

    assert match.mapping[blocks[1]] is None
    assert match.mapping[blocks[3]] == "layer2.3.conv2"


def test_a_name_that_is_more_like_another_is_a_doubt() -> None:
    net = net_of(conv("alpha", "x", 3, 3) + conv("omega", "alpha", 3, 3))

    match = match_state_dict(net, state(omegas__weight=(3, 3, 3, 3), alphas__weight=(3, 3, 3, 3)))

    assert 'its name is more like "alphas"' in match.doubts[0]
    assert "look at this" in str(match)


def test_a_shortcut_on_one_side_alone_is_a_doubt() -> None:
    net = net_of(conv("res_branch1", "x", 3, 3) + conv("res_branch2", "x", 3, 3))

    match = match_state_dict(net, state(one__weight=(3, 3, 3, 3), two__weight=(3, 3, 3, 3)))

    assert "speaks of a shortcut" in match.doubts[0]


def test_what_is_taken_is_said() -> None:
    net = net_of(conv("a", "x", 3, 3) + conv("b", "a", 3, 3))

    match = match_state_dict(net, state(a__weight=(3, 3, 3, 3)))

    assert why(match, "b.weight") == 'the 1 of its shapes on the other side are taken: "a"'


def test_wrappers_of_models_do_not_count_in_names() -> None:
    net = net_of(conv("a/1", "x", 3, 3) + conv("a/2", "a/1", 3, 3))

    match = match_state_dict(
        net, {f"module.a.{i}.weight": np.zeros((3, 3, 3, 3), np.float32) for i in (2, 1)}
    )

    assert match.mapping == {"a/1": "module.a.1", "a/2": "module.a.2"}


# --- the mapping ---


def test_the_mapping_decides(tmp_path: Path) -> None:
    net = net_of(conv("a", "x", 3, 3) + conv("b", "a", 3, 3) + conv("größe", "b", 2))
    theirs = state(one__weight=(3, 3, 3, 3), two__weight=(3, 3, 3, 3), three__weight=(2, 3, 1, 1))
    write_mapping(tmp_path / "map.json", {"a": "two", "b.weight": "one.weight"}, net)

    mapping = read_mapping(tmp_path / "map.json")
    match = match_state_dict(net, theirs, mapping)

    assert match.mapping == {"a": "two", "b": "one", "größe": "three"}
    np.testing.assert_array_equal(match.state["two.weight"], net.params["a"][0].data)
    assert [row.how for row in match.rows] == ["mapping", "mapping", "only one that fits"]


def test_what_the_mapping_leaves_out_on_purpose_is_said() -> None:
    net = net_of(conv("a", "x", 3, 3))

    match = match_state_dict(net, state(a__weight=(3, 3, 3, 3)), {"a": None})

    assert match.state == {}
    assert "the mapping says" in why(match, "a.weight", "caffe")
    assert match.mapping == {"a": None}


def test_all_faults_of_a_mapping_are_listed() -> None:
    net = net_of(conv("conv1", "x", 3, 3) + conv("conv2", "conv1", 4))
    theirs = state(first__weight=(3, 3, 3, 3), second__weight=(4, 3, 1, 1))

    with pytest.raises(ConfigError) as caught:
        match_state_dict(net, theirs, {"conv3": "first", "conv1": "frist", "conv2": "first"})

    message = str(caught.value)
    assert '"conv3" is no layer with parameters in the net; did you mean ' in message
    assert 'there is no module "frist"; did you mean "first"?' in message
    assert '"conv2" (weight [4, 3, 1, 1]) does not fit "first" (weight [3, 3, 3, 3])' in message


@pytest.mark.parametrize("content", ["", "[", "[]", '{"names": 5}', '{"names": {"a": 5}}', '{"a": "b"}'])
def test_mappings_that_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "map.json").write_text(content)

    with pytest.raises(ConfigError, match=r"map\.json"):
        read_mapping(tmp_path / "map.json")


def test_the_written_mapping_has_a_line_for_each_module(tmp_path: Path) -> None:
    net = net_of(BLOCK)
    match = match_state_dict(net, Block().state_dict())

    write_mapping(tmp_path / "map.json", match.mapping, net)

    lines = (tmp_path / "map.json").read_text().splitlines()
    assert '  "bn_conv1": "stem.1",' in lines
    assert json.loads("\n".join(lines))["net"] == "small"


# --- files ---


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_state_dicts_come_back_from_files(tmp_path: Path, suffix: str) -> None:
    given = Block().state_dict()

    write_state(tmp_path / f"a.{suffix}", given)
    found = read_state(tmp_path / f"a.{suffix}")

    assert found.keys() == given.keys()
    assert all(torch.equal(torch.as_tensor(found[name]), value) for name, value in given.items())


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_state_dict_in_a_checkpoint_is_found(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: Block().state_dict()}, tmp_path / "a.ckpt")

    assert read_state(tmp_path / "a.ckpt").keys() == Block().state_dict().keys()


def test_files_that_need_code_are_refused(tmp_path: Path) -> None:
    torch.save(Block(), tmp_path / "whole.pt")
    with pytest.raises(ConfigError, match=r"save model\.state_dict"):
        read_state(tmp_path / "whole.pt")

    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(ConfigError, match="holds no state dict"):
        read_state(tmp_path / "empty.pt")

    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ConfigError, match="does not read"):
        read_state(tmp_path / "broken.pt")


def test_modules_of_a_net_are_in_the_order_of_execution() -> None:
    found = [(module.name, sorted(module.tensors)) for module in modules_of_net(net_of(BLOCK))][:2]

    assert found == [
        ("conv1", ["weight"]),
        ("bn_conv1", ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"]),
    ]
