"""Pooling: how prototxts describe it, rounding, places, random pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward

import caffenorm
from caffenorm import TEST, TRAIN, CaffenormError, LayerError, ShapeError

torch = pytest.importorskip("torch")
SHAPE = (2, 3, 7, 9)
LOWEST = np.finfo(np.float32).min


def body(options: str, kind: str = "Pooling") -> str:
    return f'type: "{kind}" pooling_param {{ {options} }}'


FORMS = {
    "kernel_size: 3 stride: 2": ((3, 3), (2, 2), (0, 0), True),
    "kernel_h: 3 kernel_w: 2 stride: 2": ((3, 2), (2, 2), (0, 0), True),
    "kernel_size: 3 stride_h: 2 stride_w: 1 pad: 1": ((3, 3), (2, 1), (1, 1), True),
    "kernel_size: 4 pad_h: 1 pad_w: 2 stride: 3": ((4, 4), (3, 3), (1, 2), True),
    "kernel_size: 3 stride: 2 round_mode: FLOOR": ((3, 3), (2, 2), (0, 0), False),
    "kernel_size: 2 stride: 2 round_mode: CEIL engine: CAFFE": ((2, 2), (2, 2), (0, 0), True),
    "kernel_size: 2 stride: 2 ceil_mode: false": ((2, 2), (2, 2), (0, 0), False),
    "kernel_size: 2": ((2, 2), (1, 1), (0, 0), True),
    "kernel_shape { dim: 3 dim: 2 } stride_shape { dim: 2 dim: 2 }": ((3, 2), (2, 2), (0, 0), True),
    "kernel_size: 3 stride: 2 pad_t: 1 pad_b: 1 pad_l: 1 pad_r: 1": ((3, 3), (2, 2), (1, 1), True),
}


@pytest.mark.parametrize("options", FORMS)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_every_form_of_the_options_is_read(options, method, rng):
    kernel, stride, pad, ceil = FORMS[options]
    x = rng.normal(size=SHAPE)
    pool = torch.nn.functional.max_pool2d if method == "MAX" else torch.nn.functional.avg_pool2d

    y = run(one_layer(body(f"pool: {method} {options}"), SHAPE), x)

    expected = pool(torch.tensor(x), kernel, stride, pad, ceil_mode=ceil).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("option", ["pool: AVE avg_include_pad: false", "pool: AVE_EXC_PAD"])
def test_forks_leave_pads_out_of_an_average(option, rng):
    x = rng.normal(size=SHAPE)
    net = one_layer(body(f"{option} kernel_size: 3 stride: 2 pad: 1"), SHAPE)

    options = {"ceil_mode": True, "count_include_pad": False}
    expected = torch.nn.functional.avg_pool2d(torch.tensor(x), 3, 2, 1, **options).numpy()

    np.testing.assert_allclose(run(net, x), expected, rtol=1e-12)
    assert gradient_error(net, [x]) < 1e-7


@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 5, 6, 7)])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_one_and_three_spatial_axes(shape, method, rng):
    x = rng.normal(size=shape)
    name = {"MAX": "max_pool", "AVE": "avg_pool"}[method] + f"{len(shape) - 2}d"
    net = one_layer(body(f"pool: {method} kernel_size: 3 stride: 2 pad: 1"), shape)

    expected = getattr(torch.nn.functional, name)(torch.tensor(x), 3, 2, 1, ceil_mode=True).numpy()

    np.testing.assert_allclose(run(net, x), expected, rtol=1e-12)
    assert gradient_error(net, [x]) < 1e-7


@pytest.mark.parametrize("method", ["MAX", "AVE", "STOCHASTIC"])
def test_global_pooling_follows_the_input(method, rng):
    net = one_layer(body(f"pool: {method} global_pooling: true"), SHAPE, phase=TEST)
    for shape in (SHAPE, (1, 3, 4, 2)):
        x = np.abs(rng.normal(size=shape))
        net.blobs["x0"].reshape(shape)
        flat = x.reshape(*shape[:2], -1)
        means = (flat**2).sum(axis=2) / flat.sum(axis=2)
        expected = {"MAX": flat.max(axis=2), "AVE": flat.mean(axis=2), "STOCHASTIC": means}[method]

        np.testing.assert_allclose(run(net, x), expected[..., None, None], rtol=1e-12)


def test_a_second_top_holds_places_in_the_plane(rng):
    net = one_layer(body("kernel_size: 3 stride: 2 pad: 1"), SHAPE, tops=2, force_backward=False)
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    expected, places = torch.nn.functional.max_pool2d(
        torch.tensor(x), 3, 2, 1, ceil_mode=True, return_indices=True
    )
    np.testing.assert_array_equal(y, expected.numpy())
    np.testing.assert_array_equal(net.blobs["y1"].data, places.numpy())


def test_windows_outside_the_input_get_no_gradient(rng):
    """Without padding a stride above the kernel leaves the last one outside: Caffe writes out of bounds."""
    x, dy = rng.normal(size=(1, 1, 2, 3)), rng.normal(size=(1, 1, 2, 2))
    largest, mean = (one_layer(body(f"pool: {m} kernel_size: 1 stride: 2"), x.shape) for m in ("MAX", "AVE"))

    assert run(largest, x)[0, 0, 1].tolist() == [LOWEST, LOWEST]
    assert run(mean, x)[0, 0, 1].tolist() == [0, 0]

    for net in (largest, mean):
        (dx,) = run_backward(net, dy)
        np.testing.assert_array_equal(dx[0, 0], [[dy[0, 0, 0, 0], 0, dy[0, 0, 0, 1]], [0, 0, 0]])


def test_a_kernel_beyond_the_input_makes_one_window(rng):
    """The count of windows is rounded up, so a kernel may overhang by less than a stride."""
    x = rng.normal(size=(1, 2, 6, 6))
    y = run(one_layer(body("pool: AVE kernel_size: 7 stride: 2"), x.shape), x)

    np.testing.assert_allclose(y, x.mean(axis=(2, 3), keepdims=True), rtol=1e-12)


@given(
    method=st.sampled_from(["MAX", "AVE"]),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    pad=st.integers(0, 3),
    mode=st.sampled_from(["CEIL", "FLOOR"]),
    seed=st.integers(0, 99),
)
def test_gradient_is_the_derivative(method, kernel, stride, pad, mode, seed):
    rng = np.random.default_rng(seed)
    shape = (2, 2, *(int(n) for n in rng.integers(4, 8, size=2)))
    stride, pad = min(stride, kernel), min(pad, kernel - 1)  # every window has a value
    sizes = f"kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {mode}"
    net = one_layer(body(f"pool: {method} {sizes}"), shape)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 10.0

    assert gradient_error(net, [x], seed=seed) < 1e-7


# --- stochastic pooling ---

STOCHASTIC = "pool: STOCHASTIC kernel_size: 2 stride: 2"


def test_stochastic_draws_in_proportion_to_the_values():
    caffenorm.set_random_seed(3)
    net = one_layer(body(STOCHASTIC), (500, 4, 2, 2), phase=TRAIN)
    x = np.tile(np.array([[1.0, 2], [3, 4]]), (500, 4, 1, 1))

    found, counts = np.unique(run(net, x), return_counts=True)

    np.testing.assert_array_equal(found, [1, 2, 3, 4])
    np.testing.assert_allclose(counts / 2000, [0.1, 0.2, 0.3, 0.4], atol=0.04)


def test_stochastic_gradient_goes_to_the_drawn_value(rng):
    caffenorm.set_random_seed(3)
    net = one_layer(body(STOCHASTIC), (2, 3, 4, 6), phase=TRAIN)
    x, dy = np.abs(rng.normal(size=(2, 3, 4, 6))), rng.normal(size=(2, 3, 2, 3))

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    expected = np.where(x == np.kron(y, np.ones((2, 2))), np.kron(dy, np.ones((2, 2))), 0)
    np.testing.assert_array_equal(dx, expected)


def test_stochastic_draws_anew_and_follows_the_seed(rng):
    x = np.abs(rng.normal(size=(2, 3, 8, 8)))
    net = one_layer(body(STOCHASTIC), x.shape, phase=TRAIN)

    caffenorm.set_random_seed(5)
    first, second = run(net, x), run(net, x)
    caffenorm.set_random_seed(5)
    again = run(net, x)

    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_stochastic_in_test_is_the_weighted_mean_with_its_gradient(rng):
    x = np.abs(rng.normal(size=(2, 3, 5, 7)))
    net = one_layer(body(STOCHASTIC), x.shape, phase=TEST)

    y = run(net, x)

    for place in np.ndindex(y.shape):
        row, column = 2 * place[2], 2 * place[3]
        window = x[(*place[:2], slice(row, row + 2), slice(column, column + 2))]
        np.testing.assert_allclose(y[place], (window**2).sum() / window.sum(), rtol=1e-12)
    assert gradient_error(net, [x + 0.1]) < 1e-7


# --- what is refused ---

BAD = [
    ("stride: 2", LayerError, "needs a kernel_size, or kernel_h and kernel_w, or global_pooling: true"),
    ("kernel_size: 0", LayerError, "kernel must be 1 or more"),
    ("kernel_h: 2", LayerError, "kernel must be 1 or more, found 2 x 0"),
    ("kernel_size: 2 kernel_h: 2 kernel_w: 2", LayerError, "both kernel_size and kernel_h"),
    ("kernel_size: 2 stride: 0", LayerError, "stride must be 1 or more"),
    ("kernel_size: 2 pad: 2", LayerError, "pad must be smaller than the kernel, found pad 2 and kernel 2"),
    ("kernel_size: 2 pad: 1 pad_w: 1", LayerError, "both pad and pad_w"),
    ("kernel_size: 9 stride: 1", ShapeError, "a kernel of 9 does not fit into 7 values"),
    ("global_pooling: true kernel_size: 2", LayerError, "remove kernel_size"),
    ("global_pooling: true pad: 1", LayerError, "takes no pad"),
    ("global_pooling: true stride: 2", LayerError, "single window"),
    ("pool: STOCHASTIC kernel_size: 2 pad: 1", LayerError, "pad goes with MAX and AVE"),
    ("pool: LOWRES kernel_size: 2", LayerError, "LOWRES is not supported; MAX, AVE and STOCHASTIC are"),
    ("kernel_size: 2 dilation: 2", LayerError, "gaps between the values of a window"),
]


@pytest.mark.parametrize(("options", "error", "pattern"), BAD)
def test_bad_options_are_refused(options, error, pattern):
    with pytest.raises(error, match=pattern):
        one_layer(body(options), SHAPE)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3, 3, 3, 3)])
def test_other_numbers_of_axes_are_refused(shape):
    with pytest.raises(ShapeError, match="3 to 5 axes"):
        one_layer(body("kernel_size: 2"), shape)


def test_a_second_top_goes_with_max_alone():
    with pytest.raises(LayerError, match="goes with MAX, not with AVE"):
        one_layer(body("pool: AVE kernel_size: 2"), SHAPE, tops=2)


def test_in_place_is_refused():
    with pytest.raises(CaffenormError, match="cannot work in place"):
        one_layer(body("kernel_size: 1"), SHAPE, in_place=True)
