"""Layers that pick rows: Embed, Filter, BatchReindex."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import one_layer, run, run_backward

from caffenorm import LayerError, Net, ShapeError

shapes = st.lists(st.integers(1, 3), min_size=0, max_size=3).map(tuple)

# --- Embed ---


def embed(shape, options="", rows=4, size=3, **net):
    return one_layer(
        f'type: "Embed" loss_weight: 1 embed_param {{ input_dim: {rows} num_output: {size} {options} }}',
        shape,
        force_backward=False,
        **net,
    )


@given(shape=shapes, bias=st.booleans(), fraction=st.sampled_from([0, 0.9]), seed=st.integers(0, 99))
def test_embed_looks_up_rows(shape, bias, fraction, seed):
    rng = np.random.default_rng(seed)
    net, index = embed(shape, f"bias_term: {str(bias).lower()}"), rng.integers(0, 4, shape)
    weight, *offset = (blob.data for blob in net.params["op"])
    for array in (weight, *offset):
        array[...] = rng.normal(size=array.shape)

    y = run(net, index + fraction)  # cut to whole numbers
    dy = rng.normal(size=y.shape)
    run_backward(net, dy)

    np.testing.assert_array_equal(y, weight[index] + (offset[0] if bias else 0))
    dweight = np.zeros((4, 3))
    np.add.at(dweight, index, dy)
    np.testing.assert_allclose(net.params["op"][0].diff, dweight, rtol=1e-14)
    if bias:
        np.testing.assert_allclose(net.params["op"][1].diff, dy.reshape(-1, 3).sum(0), rtol=1e-13)


def test_numbers_are_cut_towards_zero():
    net = embed((3,))
    net.params["op"][0].data[...] = np.arange(4)[:, None]
    np.testing.assert_array_equal(run(net, np.array([-0.9, 0.9, 3.9]))[:, 0], [0, 0, 3])


def test_gradients_of_rows_add_up_over_backwards():
    net = embed((2,), "bias_term: false")
    run(net, np.array([1, 1]))
    net.clear_param_diffs()
    for _ in range(3):
        net.backward()
    np.testing.assert_array_equal(net.params["op"][0].diff[:, 0], [0, 6, 0, 0])


@pytest.mark.parametrize(
    ("bad", "shown"), [(4, "4"), (-1, "-1"), (np.nan, "nan"), (1e30, "1e.30"), (np.inf, "inf")]
)
def test_numbers_outside_the_table_are_refused(bad, shown):
    net = embed((3,))
    with pytest.raises(ShapeError, match=f'"op" .*number 1 is {shown}, and must lie between 0 and 3'):
        run(net, np.array([0, bad, 1]))


@pytest.mark.parametrize(("rows", "size"), [(0, 3), (4, 0)])
def test_empty_tables_are_refused(rows, size):
    with pytest.raises(LayerError, match="num_output and input_dim must be 1 or more"):
        embed((2,), rows=rows, size=size)


def test_embed_has_no_gradient_for_its_numbers():
    net = one_layer('type: "Embed" embed_param { input_dim: 4 num_output: 2 }', (3,))
    run(net, np.zeros(3))
    with pytest.raises(LayerError, match="no gradient for the numbers"):
        net.backward()


# --- BatchReindex ---


@given(rest=shapes, rows=st.integers(1, 4), picked=st.integers(0, 6), seed=st.integers(0, 99))
def test_batch_reindex_picks_rows_and_adds_their_gradients(rest, rows, picked, seed):
    rng = np.random.default_rng(seed)
    x, index = rng.normal(size=(rows, *rest)), rng.integers(0, rows, picked)
    net = one_layer('type: "BatchReindex" propagate_down: true propagate_down: false loss_weight: 1',
                    x.shape, index.shape, force_backward=False)  # fmt: skip

    y = run(net, x, index)
    dy = rng.normal(size=y.shape)
    net.blobs["x0"].diff[...] = 9
    dx, _ = run_backward(net, dy)

    np.testing.assert_array_equal(y, x[index])
    expected = np.zeros_like(x)
    np.add.at(expected, index, dy)
    np.testing.assert_allclose(dx, expected, rtol=1e-14)


@pytest.mark.parametrize("bad", [4, -1, np.nan])
def test_rows_that_are_not_there_are_refused(bad):
    net = one_layer('type: "BatchReindex"', (4, 6), (2,))
    with pytest.raises(ShapeError, match=r"row number 1 is .* must lie between 0 and 3"):
        run(net, np.ones((4, 6)), np.array([0, bad]))


def test_no_rows_to_pick_are_said():
    net = one_layer('type: "BatchReindex"', (0, 6), (2,))
    with pytest.raises(ShapeError, match="row number 0 is 0, and there are none"):
        run(net, np.ones((0, 6)), np.zeros(2))


@pytest.mark.parametrize(("x", "index"), [((4, 6), (2, 1)), ((), (2,))])
def test_reindexing_needs_rows_and_a_list(x, index):
    with pytest.raises(ShapeError, match=r"axis|axes"):
        one_layer('type: "BatchReindex"', x, index)


def test_row_numbers_have_no_gradient():
    net = one_layer('type: "BatchReindex"', (4, 6), (2,))
    run(net, np.ones((4, 6)), np.array([0, 1]))
    with pytest.raises(LayerError, match="no gradient for its row numbers"):
        net.backward()


# --- Filter ---

WANTED = "propagate_down: true propagate_down: true propagate_down: false loss_weight: 1 loss_weight: 1"


def filtering(rows):
    return one_layer(
        f'type: "Filter" {WANTED}', (rows, 3), (rows, 2, 2), (rows,), tops=2, force_backward=False
    )


@given(
    chosen=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 9),
)
def test_filter_keeps_rows_in_every_forward_anew(chosen, seed):
    rng, net = np.random.default_rng(seed), filtering(3)
    for mask in chosen:
        a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 2, 2))
        net.forward(x0=a, x1=b, x2=np.where(mask, -0.5, 0))
        np.testing.assert_array_equal(net.blobs["y0"].data, a[mask])
        np.testing.assert_array_equal(net.blobs["y1"].data, b[mask])

        net.blobs["y0"].diff[...] = 2 * a[mask]
        net.blobs["y1"].diff[...] = 3 * b[mask]
        net.backward()
        np.testing.assert_array_equal(net.blobs["x0"].diff, 2 * a * np.reshape(mask, (3, 1)))
        np.testing.assert_array_equal(net.blobs["x1"].diff, 3 * b * np.reshape(mask, (3, 1, 1)))


def test_layers_behind_a_filter_follow_its_rows():
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
    layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 4 } } }
    layer { name: "op" type: "Filter" bottom: "x" bottom: "s" top: "y" }
    layer { name: "a" type: "Power" bottom: "y" top: "a" power_param { scale: 2 } }
    layer { name: "f" type: "Reshape" bottom: "a" top: "f" reshape_param { shape { dim: 0 dim: -1 dim: 1 } } }
    """
    net = Net.from_text(text)
    assert net.blobs["f"].shape == (4, 2, 1)
    for rows in (2, 0, 4, 1):
        x = np.arange(8.0).reshape(4, 2)
        found = net.forward(x=x, s=np.arange(4) < rows)["f"]
        np.testing.assert_array_equal(found[..., 0], 2 * x[:rows])


@pytest.mark.parametrize(
    ("shapes", "tops", "error", "message"),
    [
        (((4, 6), (3,)), 1, ShapeError, "selects among 3 rows"),
        (((4, 6), (4, 2)), 1, ShapeError, "one value each"),
        (((4, 6), (4,)), 2, LayerError, "one top for each bottom but the last, so 1; has 2"),
    ],
)
def test_selectors_that_do_not_fit_are_refused(shapes, tops, error, message):
    with pytest.raises(error, match=message):
        one_layer('type: "Filter"', *shapes, tops=tops)


def test_selectors_may_have_more_axes_of_size_one():
    net = one_layer('type: "Filter"', (2, 3), (2, 1, 1), force_backward=False)
    np.testing.assert_array_equal(
        run(net, np.ones((2, 3)), np.array([0.0, 1]).reshape(2, 1, 1)), np.ones((1, 3))
    )


def test_a_selector_has_no_gradient():
    net = one_layer('type: "Filter"', (2, 3), (2,))
    run(net, np.ones((2, 3)), np.ones(2))
    with pytest.raises(LayerError, match="no gradient for its last bottom"):
        net.backward()
