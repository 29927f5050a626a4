"""Flatten, Reshape, Permute, ShuffleChannel, Crop and Tile."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward

from caffenorm import CaffenormError, LayerError, ShapeError

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)


def values(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- one memory under another shape ---


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", (2, 60)),
        ("axis: 0", (120,)),
        ("axis: 0 end_axis: 1", (6, 4, 5)),
        ("axis: -2", (2, 3, 20)),
        ("axis: 1 end_axis: -3", (2, 3, 4, 5)),
        ("axis: -3 end_axis: 2", (2, 12, 5)),
    ],
)
def test_flatten_joins_axes(options, expected):
    net = one_layer(f'type: "Flatten" flatten_param {{ {options} }}', (2, 3, 4, 5))
    assert net.blobs["y0"].shape == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 60)),
        ("shape { dim: 4 dim: 30 }", (4, 30)),
        ("shape { dim: -1 }", (120,)),
        ("shape { dim: 0 dim: 0 dim: 20 }", (2, 3, 20)),
        ("shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 1 }", (2, 3, 4, 5, 1)),
        ("shape { dim: 6 } num_axes: 2", (6, 4, 5)),
        ("shape { dim: 2 dim: -1 } axis: 2 num_axes: 1", (2, 3, 2, 2, 5)),
        ("shape { dim: 1 } axis: -1", (2, 3, 4, 5, 1)),
        ("shape { dim: 1 dim: 1 } axis: 0 num_axes: 0", (1, 1, 2, 3, 4, 5)),
        ("shape { dim: -1 } axis: -3", (2, 3, 20)),
        ("axis: 1 num_axes: 0", (2, 3, 4, 5)),
        ("shape { dim: 0 dim: -1 } axis: 1 num_axes: 1", (2, 3, 1, 4, 5)),
    ],
)
def test_reshape(options, expected):
    net = one_layer(f'type: "Reshape" reshape_param {{ {options} }}', (2, 3, 4, 5))
    assert net.blobs["y0"].shape == expected


@given(shape=shapes, seed=st.integers(0, 9), data=st.data())
def test_reshape_infers_what_is_missing(shape, seed, data):
    copied = data.draw(st.integers(0, len(shape) - 1))
    dims = " ".join("dim: 0" for _ in range(copied))
    net = one_layer(f'type: "Reshape" reshape_param {{ shape {{ {dims} dim: -1 }} }}', shape)
    x = values(shape, seed)

    y = run(net, x)

    np.testing.assert_array_equal(y, x.reshape(*shape[:copied], -1))


def test_an_axis_behind_those_that_are_replaced_may_be_copied():
    net = one_layer('type: "Reshape" reshape_param { shape { dim: -1 dim: 0 } num_axes: 1 }', (6, 3, 2))
    assert net.blobs["y0"].shape == (2, 3, 3, 2)


def test_a_batch_of_no_examples_is_reshaped_too():
    net = one_layer('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 2 } }', (0, 3, 4))
    assert net.blobs["y0"].shape == (0, 6, 2)
    assert one_layer('type: "Flatten"', (0, 3, 4)).blobs["y0"].shape == (0, 12)


@pytest.mark.parametrize("body", ['type: "Flatten"', 'type: "Reshape" reshape_param { shape { dim: -1 } }'])
def test_top_and_bottom_are_one_memory(body):
    net = one_layer(body, (2, 3))
    run(net, np.ones((2, 3)))
    net.blobs["y0"].data[...] = 5
    net.blobs["y0"].diff[...] = 6
    net.backward()
    assert (net.blobs["x0"].data == 5).all()
    assert (net.blobs["x0"].diff == 6).all()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ('"Flatten" flatten_param { axis: 3 }', ShapeError, "axis 3 does not exist"),
        ('"Flatten" flatten_param { axis: 2 end_axis: 1 }', ShapeError, "end_axis 1 comes before axis 2"),
        (
            '"Reshape" reshape_param { shape { dim: 5 dim: 5 } }',
            ShapeError,
            r"24 values of shape \[2, 3, 4\] do not fit",
        ),
        ('"Reshape" reshape_param { shape { dim: -1 dim: -1 } }', LayerError, "one -1"),
        ('"Reshape" reshape_param { shape { dim: -2 } }', LayerError, "may hold sizes, 0 to copy an axis"),
        ('"Reshape" reshape_param { shape { dim: 5 dim: -1 } }', ShapeError, "no size for -1 works"),
        ('"Reshape" reshape_param { shape { dim: 2 dim: 3 dim: 4 dim: 0 } }', ShapeError, "copies axis 3"),
        ('"Reshape" reshape_param { axis: 4 }', ShapeError, "axis 4 does not exist"),
        ('"Reshape" reshape_param { axis: -5 }', ShapeError, "axis -5 does not exist"),
        ('"Reshape" reshape_param { num_axes: -2 }', ShapeError, "num_axes must be -1"),
        ('"Reshape" reshape_param { axis: 1 num_axes: 3 }', ShapeError, "axes 1 to 3 are to be reshaped"),
        (
            '"Reshape" reshape_param { pixelshuffler: 2 }',
            LayerError,
            "pixelshuffler of a fork is not supported",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(body, error, message):
    with pytest.raises(error, match=message):
        one_layer(f"type: {body}", (2, 3, 4))


@pytest.mark.parametrize(
    "body",
    [
        '"Flatten"',
        '"Reshape" reshape_param { shape { dim: 6 } }',
        '"Permute"',
        '"Tile" tile_param { tiles: 1 }',
        '"ShuffleChannel"',
    ],
)
def test_in_place_is_refused(body):
    with pytest.raises(LayerError, match="cannot work in place"):
        one_layer(f"type: {body}", (2, 3), in_place=True)


# --- Permute and ShuffleChannel ---


@given(shape=shapes, seed=st.integers(0, 9), data=st.data())
def test_permute_is_a_transposition(shape, seed, data):
    order = data.draw(st.permutations(range(len(shape))))
    written = order[: data.draw(st.integers(0, len(order)))]
    whole = [*written, *(axis for axis in range(len(shape)) if axis not in written)]
    options = " ".join(f"order: {axis}" for axis in written)
    net = one_layer(f'type: "Permute" permute_param {{ {options} }}', shape)
    x, dy = values(shape, seed), values(tuple(shape[axis] for axis in whole), seed + 1)

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    np.testing.assert_array_equal(y, x.transpose(whole))
    np.testing.assert_array_equal(dx, dy.transpose(np.argsort(whole)))


def test_the_identical_order_is_one_memory():
    net = one_layer('type: "Permute" permute_param { order: 0 order: 1 }', (2, 3))
    net.blobs["x0"].data[...] = 4
    assert (net.blobs["y0"].data == 4).all()


@pytest.mark.parametrize("order", ["order: 0 order: 0", "order: 3"])
def test_orders_that_are_none_are_refused(order):
    with pytest.raises(LayerError, match="must name axes"):
        one_layer(f'type: "Permute" permute_param {{ {order} }}', (1, 2, 3))


@pytest.mark.torch
@pytest.mark.parametrize("group", [1, 2, 3, 6])
@pytest.mark.parametrize("inner", [(), (5,), (2, 2)])
def test_channels_are_shuffled_as_torch_does(group, inner):
    torch = importlib.import_module("torch")
    x, shape = values((2, 6, *inner)), (2, 6, *inner)
    net = one_layer(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', shape)

    y = run(net, x)

    expected = torch.nn.functional.channel_shuffle(torch.tensor(x.reshape(2, 6, 1, -1)), group)
    np.testing.assert_array_equal(y, expected.numpy().reshape(shape))
    assert gradient_error(net, [x]) < 1e-8


@pytest.mark.parametrize(("group", "error"), [(4, "divide into 4 groups"), (0, "group must be 1 or more")])
def test_groups_that_do_not_divide_are_refused(group, error):
    with pytest.raises(CaffenormError, match=error):
        one_layer(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', (2, 6))


# --- Crop and Tile ---


@st.composite
def crops(draw):
    shape = draw(shapes)
    axis = draw(st.integers(0, len(shape) - 1))
    like = [
        draw(st.integers(1, 5)) if i < axis else draw(st.integers(1, size)) for i, size in enumerate(shape)
    ]
    room = [size - cut for size, cut in zip(shape[axis:], like[axis:], strict=True)]
    kind = draw(st.sampled_from(["none", "one", "each"]))
    offsets = {
        "none": [],
        "one": [draw(st.integers(0, min(room)))],
        "each": [draw(st.integers(0, free)) for free in room],
    }[kind]
    return shape, tuple(like), axis, offsets


@given(crop=crops(), negative=st.booleans(), seed=st.integers(0, 9))
def test_crop_cuts_from_axis_on(crop, negative, seed):
    shape, like, axis, offsets = crop
    spread_out = offsets * (len(shape) - axis) if len(offsets) == 1 else offsets or [0] * (len(shape) - axis)
    cut = tuple(slice(None) for _ in range(axis)) + tuple(
        slice(o, o + size) for o, size in zip(spread_out, like[axis:], strict=True)
    )
    written = axis - len(shape) if negative else axis
    listed = " ".join(f"offset: {offset}" for offset in offsets)
    net = one_layer(f'type: "Crop" crop_param {{ axis: {written} {listed} }}', shape, like)
    x = values(shape, seed)

    y = run(net, x, np.zeros(like))
    dy = values(y.shape, seed + 1)
    net.blobs["x0"].diff[...] = net.blobs["x1"].diff[...] = 9
    first, second = run_backward(net, dy)

    np.testing.assert_array_equal(y, x[cut])
    expected = np.zeros(shape)
    expected[cut] = dy
    np.testing.assert_array_equal(first, expected)
    assert (second == 0).all()


@pytest.mark.parametrize(
    ("options", "like", "error", "message"),
    [
        (
            "offset: 1",
            (2, 3, 4, 4),
            ShapeError,
            "axis 2 of bottom 0 has size 4, and the cut goes from 1 to 5",
        ),
        ("", (2, 3, 4, 5), ShapeError, "axis 3 of bottom 0"),
        ("", (2, 3, 4), ShapeError, "they need as many axes"),
        ("axis: 1 offset: 0 offset: 0", (2, 3, 4, 4), LayerError, "has 2 offsets for 3 axes"),
        ("axis: 4", (2, 3, 4, 4), ShapeError, "axis 4 does not exist"),
        ("dimsize: 2", (2, 3, 4, 4), LayerError, "dimsize of a fork is not supported"),
    ],
)
def test_cuts_that_do_not_work_are_refused(options, like, error, message):
    with pytest.raises(error, match=message):
        one_layer(f'type: "Crop" crop_param {{ {options} }}', (2, 3, 4, 4), like)


@given(shape=shapes, tiles=st.integers(1, 3), seed=st.integers(0, 9), data=st.data())
def test_tile_repeats_blocks(shape, tiles, seed, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    counts = [1] * len(shape)
    counts[axis] = tiles
    net = one_layer(f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}', shape)
    x = values(shape, seed)

    np.testing.assert_array_equal(run(net, x), np.tile(x, counts))
    assert gradient_error(net, [x]) < 1e-8


@pytest.mark.parametrize("tiles", ["", "tiles: 0", "tiles: -1"])
def test_no_tiles_are_refused(tiles):
    with pytest.raises(LayerError, match="tiles must be 1 or more"):
        one_layer(f'type: "Tile" tile_param {{ {tiles} }}', (2, 3))
