"""Layers without bottoms: Input, DummyData, Parameter."""

from __future__ import annotations

import numpy as np
import pytest

from caffenorm import TRAIN, LayerError, Net, ShapeError, set_random_seed


def source(body: str, tops: int = 1, more: str = "", **options) -> Net:
    names = " ".join(f'top: "y{i}"' for i in range(tops))
    return Net.from_text(f'layer {{ name: "op" {names} {body} }}\n{more}', TRAIN, dtype=np.float64, **options)


# --- Input ---


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ("shape { dim: 2 dim: 3 }", [(2, 3), (2, 3)]),
        ("shape { dim: 2 } shape { dim: 4 dim: 5 }", [(2,), (4, 5)]),
        ("", [(), ()]),
        ("shape { }", [(), ()]),
        ("shape { dim: 0 dim: 3 }", [(0, 3), (0, 3)]),
    ],
)
def test_inputs_have_one_shape_or_one_each(shapes, expected):
    net = source(f'type: "Input" input_param {{ {shapes} }}', 2)
    assert net.inputs == ["y0", "y1"]
    assert [net.blobs[name].shape for name in net.inputs] == expected


def test_another_number_of_shapes_is_refused():
    with pytest.raises(LayerError, match=r"has 2 shapes for 3 top\(s\); give none, one, or one for each"):
        source('type: "Input" input_param { shape { dim: 1 } shape { dim: 2 } }', 3)


@pytest.mark.parametrize("dims", ["dim: -1", "dim: 9000000000 dim: 9000000000"])
def test_shapes_that_no_array_has_are_refused(dims):
    with pytest.raises(ShapeError, match='"op"'):
        source(f'type: "Input" input_param {{ shape {{ {dims} }} }}')


# --- DummyData ---


def dummy(options, tops=1, more=""):
    return source(f'type: "DummyData" dummy_data_param {{ {options} }}', tops, more)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("shape { dim: 2 dim: 3 }", [(2, 3), (2, 3)]),
        ("shape { dim: 2 } shape { dim: 3 }", [(2,), (3,)]),
        ("num: 1 channels: 2 height: 3 width: 4", [(1, 2, 3, 4)] * 2),
        ("num: 5 num: 6 channels: 2 height: 3 width: 4 width: 7", [(5, 2, 3, 4), (6, 2, 3, 7)]),
    ],
)
def test_dummies_have_one_shape_or_one_each(options, expected):
    net = dummy(options, 2)
    assert [net.blobs[name].shape for name in ("y0", "y1")] == expected


def test_dummies_without_a_filler_are_zero():
    assert (dummy("shape { dim: 3 }").forward()["y0"] == 0).all()


def test_constant_dummies_are_filled_once_and_others_each_time():
    fillers = 'data_filler { value: 2 } data_filler { type: "gaussian" }'
    net = dummy(f"shape {{ dim: 50 }} {fillers}", 2)
    first = {name: value.copy() for name, value in net.forward().items()}
    net.blobs["y0"].data[...] = 7

    second = net.forward()

    assert (first["y0"] == 2).all()
    assert (second["y0"] == 7).all()
    assert (first["y1"] != second["y1"]).all()


def test_layers_in_place_on_a_constant_dummy_change_it_for_good():
    more = 'layer { name: "p" type: "Power" bottom: "y0" top: "y0" power_param { scale: 2 } }'
    net = dummy("shape { dim: 1 } data_filler { value: 3 }", 1, more)
    assert [float(net.forward()["y0"][0]) for _ in range(3)] == [6, 12, 24]


def test_a_seed_repeats_random_dummies():
    net = dummy('shape { dim: 50 } data_filler { type: "uniform" }')
    found = []
    for _ in range(2):
        set_random_seed(3)
        found.append(net.forward()["y0"].copy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("options", "tops", "message"),
    [
        ("shape { dim: 2 } num: 1", 1, "both shape and the old num"),
        ("", 1, "needs shape, or num, channels, height and width"),
        ("num: 1 channels: 1 height: 1", 1, "needs shape, or num"),
        ("shape { dim: 1 } shape { dim: 2 }", 3, r"has 2 shapes for 3 top\(s\)"),
        ("shape { dim: 1 } data_filler { } data_filler { }", 3, r"has 2 data_filler for 3 top\(s\)"),
    ],
)
def test_dummies_that_make_no_sense_are_refused(options, tops, message):
    with pytest.raises(LayerError, match=message):
        dummy(options, tops)


# --- Parameter ---

PARAMETER = 'type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }'


def test_the_top_is_the_parameter():
    net = source(f"{PARAMETER} loss_weight: 2")
    (blob,) = net.params["op"]
    assert (blob.data == 0).all()
    blob.data[...] = np.arange(6).reshape(2, 3)

    top = net.forward()["y0"]
    net.backward()

    np.testing.assert_array_equal(top, blob.data)
    assert net.loss == 30
    assert (blob.diff == 2).all()


def test_layers_in_place_on_the_top_change_the_parameter():
    net = source(
        PARAMETER, 1, 'layer { name: "e" type: "Power" bottom: "y0" top: "y0" power_param { shift: 1 } }'
    )
    net.forward()
    net.forward()
    assert (net.params["op"][0].data == 2).all()


def test_a_filler_of_forks_starts_the_parameter():
    net = source('type: "Parameter" parameter_param { shape { dim: 2 } blob_filler { value: 5 } }')
    assert (net.params["op"][0].data == 5).all()


def test_a_parameter_without_a_shape_is_a_number():
    assert source('type: "Parameter"').forward()["y0"].shape == ()
