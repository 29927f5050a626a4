"""Net: building, running, files; what users of pycaffe expect, and what bad input gets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import GraphError, LayerError, Net, ShapeError

NET = """
name: "small"
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "left" type: "ReLU" bottom: "conv" top: "left" }
layer { name: "right" type: "TanH" bottom: "conv" top: "right" }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def net(tmp_path: Path) -> Net:
    caffenorm.set_random_seed(1)
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return Net(path, caffenorm.TRAIN)


def lines_of(text: str, phase: int = caffenorm.TEST) -> Net:
    return Net.from_text(text, phase)


# --- the surface that pycaffe has ---


def test_names_are_pycaffes(net: Net) -> None:
    assert list(net.blobs) == [
        "data", "conv", "conv_scale_0_split_0", "conv_scale_0_split_1", "left", "right", "sum", "fc",
    ]  # fmt: skip
    assert net.inputs == ["data"]
    assert net.outputs == ["fc"]
    assert list(net.params) == ["conv", "bn", "scale", "fc"]
    assert [blob.shape for blob in net.params["bn"]] == [(4,), (4,), (1,)]
    assert net._layer_names[4] == "conv_scale_0_split"
    assert net.layers[1].type == "Convolution"
    assert net.layer_dict["fc"].blobs[1].shape == (5,)
    assert net.bottom_names["sum"] == ["left", "right"]
    assert net.top_names["scale"] == ["conv"]


def test_the_old_order_of_arguments_works(net: Net, tmp_path: Path) -> None:
    net.save(tmp_path / "w.caffemodel")
    old = Net(tmp_path / "net.prototxt", str(tmp_path / "w.caffemodel"), caffenorm.TRAIN)
    assert np.array_equal(old.params["fc"][0].data, net.params["fc"][0].data)


def test_building_takes_no_memory_for_blobs(net: Net) -> None:
    assert all(blob.data_memory.allocated_bytes == 0 for blob in net.blobs.values())


def test_forward_takes_inputs_and_returns_outputs(net: Net) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    result = net.forward(data=x, blobs=["sum"])
    assert sorted(result) == ["fc", "sum"]
    assert result["fc"].shape == (2, 5)
    assert result["fc"].dtype == np.float32


def test_forward_takes_inputs_of_another_batch_size(net: Net) -> None:
    x = np.random.default_rng(0).standard_normal((7, 3, 4, 4))
    assert net.forward(data=x)["fc"].shape == (7, 5)


def test_forward_in_two_parts_is_forward_in_one(net: Net) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    whole = net.forward(data=x)["fc"].copy()
    net.forward(data=x, end="scale")
    assert np.array_equal(net.forward(start="conv_scale_0_split")["fc"], whole)


def test_reshape_carries_a_new_input_shape_through_the_net(net: Net) -> None:
    net.blobs["data"].reshape(5, 3, 4, 4)
    net.reshape()
    assert net.blobs["fc"].shape == (5, 5)


def test_gradients_of_a_blob_with_two_readers_add_up(net: Net) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    net.forward(data=x)
    net.backward(fc=np.ones((2, 5)))
    both = net.blobs["conv_scale_0_split_0"].diff + net.blobs["conv_scale_0_split_1"].diff
    assert both.any()
    assert net.blobs["data"].diff.any()


def test_parameter_gradients_add_up_until_cleared(net: Net) -> None:
    net.forward(data=np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    net.backward(fc=np.ones((2, 5)))
    once = net.params["fc"][0].diff.copy()
    net.backward(fc=np.ones((2, 5)))
    assert np.allclose(net.params["fc"][0].diff, 2 * once)
    net.clear_param_diffs()
    assert not net.params["fc"][0].diff.any()


def test_backward_returns_the_inputs_gradient(net: Net) -> None:
    net.forward(data=np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    result = net.backward(diffs=["sum"], fc=np.ones((2, 5)))
    assert sorted(result) == ["data", "sum"]


def test_forward_all_runs_more_than_a_batch(net: Net) -> None:
    test = Net(net.file, caffenorm.TEST)
    test.share_with(net)
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 4))
    found = test.forward_all(data=x)["fc"]
    assert found.shape == (5, 5)
    test.blobs["data"].reshape(5, 3, 4, 4)
    assert np.allclose(found, test.forward(data=x)["fc"], rtol=1e-5, atol=1e-3)


def test_shared_nets_show_each_others_changes(net: Net) -> None:
    other = Net(net.file, caffenorm.TEST)
    other.share_with(net)
    net.params["fc"][1].data[...] = 9
    assert other.params["fc"][1].data.tolist() == [9] * 5


def test_callbacks_see_every_layer(net: Net) -> None:
    seen: list[int] = []
    net.before_forward.append(seen.append)
    net.forward(data=np.zeros((2, 3, 4, 4)))
    assert seen == list(range(len(net.layers)))


def test_float64_nets_compute_in_double() -> None:
    double = Net.from_text(NET, caffenorm.TRAIN, dtype=np.float64)
    assert double.forward(data=np.zeros((2, 3, 4, 4)))["fc"].dtype == np.float64


# --- files ---


def test_saved_weights_load_bit_equal(net: Net, tmp_path: Path) -> None:
    net.forward(data=np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    net.save(tmp_path / "w.caffemodel")
    net.save_hdf5(tmp_path / "w.caffemodel.h5")
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        other = Net(net.file, caffenorm.TRAIN)
        report = other.copy_from(tmp_path / name)
        assert not report.missing
        for layer, blobs in net.params.items():
            for mine, theirs in zip(blobs, other.params[layer], strict=True):
                assert np.array_equal(mine.data, theirs.data)


def test_weights_of_another_shape_change_nothing_and_name_both_shapes(net: Net, tmp_path: Path) -> None:
    net.save(tmp_path / "w.caffemodel")
    other = Net.from_text(NET.replace("num_output: 5", "num_output: 6"), caffenorm.TRAIN)
    before = other.params["conv"][0].data.copy()
    with pytest.raises(caffenorm.WeightsError, match=r"fc.*\n?.*5.*6|fc.*6.*5") as caught:
        other.copy_from(tmp_path / "w.caffemodel")
    assert "w.caffemodel" in str(caught.value)
    assert np.array_equal(other.params["conv"][0].data, before)


def test_weights_of_another_net_warn(net: Net, tmp_path: Path) -> None:
    net.save(tmp_path / "w.caffemodel")
    other = lines_of(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { name: "other" type: "Bias" bottom: "x" top: "y" }'
    )
    with pytest.warns(caffenorm.CaffenormWarning, match="nothing was loaded"):
        other.copy_from(tmp_path / "w.caffemodel")


# --- bad input ---

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def layer(name: str, kind: str, rest: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" {rest} }}\n'


@pytest.mark.parametrize(
    ("text", "error", "pattern"),
    [
        (INPUT + layer("a", "Rellu", 'bottom: "x" top: "y"'), GraphError, 'did you mean "ReLU"'),
        (INPUT + layer("a", "ReLU", 'bottom: "z" top: "y"'), GraphError, 'no layer makes bottom "z"'),
        (
            INPUT + layer("a", "ReLU", 'bottom: "y" top: "z"') + layer("b", "ReLU", 'bottom: "x" top: "y"'),
            GraphError,
            'made by a later layer, "b"',
        ),
        (
            INPUT + layer("a", "ReLU", 'bottom: "x" top: "y"') + layer("b", "TanH", 'bottom: "x" top: "y"'),
            GraphError,
            "made by an earlier layer already",
        ),
        (INPUT + layer("a", "ReLU", 'bottom: "x" bottom: "x" top: "y"'), GraphError, "exactly 1 bottom"),
        (INPUT + layer("a", "Eltwise", 'bottom: "x" top: "y"'), GraphError, "at least 2 bottom"),
        (
            INPUT + layer("a", "ReLU", 'bottom: "x" top: "y"') + layer("b", "TanH", 'bottom: "x" top: "x"'),
            GraphError,
            "cannot work in place",
        ),
        (INPUT.replace("dim: 3", "dim: -3"), ShapeError, "negative"),
        (INPUT.replace("dim: 3", "dim: 9223372036854775807"), ShapeError, "memory"),
        (INPUT.replace("dim: 3", "dim: 4611686018427387"), ShapeError, "this machine has"),
        (
            INPUT + layer("a", "Bias", 'bottom: "x" top: "y" param { } param { }'),
            LayerError,
            "2 param blocks for 1",
        ),
        (
            INPUT + layer("a", "ReLU", 'bottom: "x" top: "y" loss_weight: 1 loss_weight: 2'),
            LayerError,
            "2 loss_weight",
        ),
        (
            INPUT + layer("a", "Python", 'bottom: "x" top: "y" python_param { module: "os" layer: "x" }'),
            LayerError,
            "allow_python=True",
        ),
    ],
)
def test_a_bad_net_is_refused_with_reason_and_place(
    text: str, error: type[Exception], pattern: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.prototxt"
    path.write_text(text)
    with pytest.raises(error, match=pattern) as caught:
        Net(path, caffenorm.TEST)
    assert "bad.prototxt" in str(caught.value)


def test_all_unknown_types_are_listed_at_once() -> None:
    text = INPUT + "".join(
        f'layer {{ name: "l{i}" type: "Odd{i}" bottom: "x" top: "y{i}" }}\n' for i in range(3)
    )
    with pytest.raises(GraphError) as caught:
        lines_of(text)
    assert all(f'"Odd{i}"' in str(caught.value) for i in range(3))


def test_errors_while_running_name_the_layer() -> None:
    net = lines_of(
        INPUT + layer("fc", "InnerProduct", 'bottom: "x" top: "y" inner_product_param { num_output: 2 }')
    )
    with pytest.raises(ShapeError, match='layer "fc" \\(InnerProduct\\)'):
        net.forward(x=np.zeros((2, 4)))


def test_unknown_names_in_calls_offer_near_ones(net: Net) -> None:
    with pytest.raises(caffenorm.ConfigError, match='did you mean "scale"'):
        net.forward(end="scal")
    with pytest.raises(caffenorm.ConfigError, match='did you mean "conv"'):
        net.forward(blobs=["conw"])
    with pytest.raises(caffenorm.ConfigError, match="unknown"):
        net.forward(dat=np.zeros(3))


def test_errors_travel_between_processes(net: Net) -> None:
    with pytest.raises(GraphError) as caught:
        lines_of(INPUT + 'layer { name: "a" type: "Odd" bottom: "x" top: "y" }')
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


# --- layers of one's own ---


def test_a_users_layer_is_one_class_and_one_decorator() -> None:
    @caffenorm.register_layer("DoubleForTest")
    class DoubleForTest(caffenorm.Layer):
        def reshape(self, bottom, top):  # type: ignore[no-untyped-def]
            top[0].reshape_like(bottom[0])

        def forward(self, bottom, top):  # type: ignore[no-untyped-def]
            top[0].data[...] = 2 * bottom[0].data

        def backward(self, top, propagate_down, bottom):  # type: ignore[no-untyped-def]
            bottom[0].diff[...] = 2 * top[0].diff

    net = lines_of(
        "force_backward: true\n" + INPUT + 'layer { name: "a" type: "DoubleForTest" bottom: "x" top: "y" }'
    )
    assert net.forward(x=np.ones((2, 3)))["y"].tolist() == [[2] * 3] * 2
    assert net.backward(y=np.ones((2, 3)))["x"].tolist() == [[2] * 3] * 2


def test_a_python_layer_runs_when_allowed(tmp_path: Path) -> None:
    (tmp_path / "triple_layer.py").write_text(
        "class Triple:\n"
        "    def setup(self, bottom, top):\n        self.factor = float(self.param_str)\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = self.factor * bottom[0].data\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        bottom[0].diff[...] = self.factor * top[0].diff\n"
    )
    path = tmp_path / "net.prototxt"
    path.write_text(
        INPUT
        + 'layer { name: "a" type: "Python" bottom: "x" top: "y" '
        + 'python_param { module: "triple_layer" layer: "Triple" param_str: "3" } }'
    )
    net = Net(path, caffenorm.TEST, allow_python=True)
    assert net.forward(x=np.ones((2, 3)))["y"].tolist() == [[3] * 3] * 2
