"""InnerProduct: which axes it takes, transposed weights, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, spread

from caffenorm import CaffenormError, LayerError, ShapeError

SHAPE = (3, 4, 2, 5)


def body(options: str) -> str:
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.5 }'
    return f'type: "InnerProduct" inner_product_param {{ {options} {filler} }}'


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple),
    place=st.integers(0, 99),
    outputs=st.sampled_from([1, 3, 17]),
    transpose=st.booleans(),
    bias=st.booleans(),
    negative=st.booleans(),
)
def test_takes_all_axes_from_axis_on(shape, place, outputs, transpose, bias, negative):
    axis = place % len(shape)
    written = axis - len(shape) if negative else axis
    options = f"num_output: {outputs} axis: {written} transpose: {transpose} bias_term: {bias}"
    net = one_layer(body(options.lower()), shape)
    rng = np.random.default_rng(place)
    x = rng.normal(size=shape)
    inputs = int(np.prod(shape[axis:]))
    weights = net.params["op"][0].data.copy()

    y = run(net, x)

    assert weights.shape == ((inputs, outputs) if transpose else (outputs, inputs))
    expected = x.reshape(-1, inputs) @ (weights if transpose else weights.T) + 0.5 * bias
    assert y.shape == (*shape[:axis], outputs)
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)
    values = {0: rng.normal(size=weights.shape)} | ({1: rng.normal(size=(outputs,))} if bias else {})
    assert gradient_error(net, [x], values, seed=place) < 1e-7


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_gradients_of_the_parameters_add_up(dtype, rng):
    net = one_layer(body("num_output: 6"), SHAPE, dtype=dtype)
    x, dy = rng.normal(size=SHAPE), rng.normal(size=(3, 6))
    run(net, x)
    net.clear_param_diffs()
    for _ in range(2):
        net.blobs["y0"].diff[...] = dy
        net.backward()

    weights, bias = net.params["op"]
    np.testing.assert_allclose(weights.diff, 2 * dy.T @ x.reshape(3, -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias.diff, 2 * dy.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_another_shape_with_as_many_values_is_accepted(rng):
    net = one_layer(body("num_output: 6"), SHAPE)
    net.blobs["x0"].reshape(2, 40)
    x = rng.normal(size=(2, 40))

    y = run(net, x)

    np.testing.assert_allclose(y, x @ net.params["op"][0].data.T + 0.5, rtol=1e-10)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_relu_of_the_same_layer(slope, rng):
    net = one_layer(body(f"num_output: 6 relu: true negative_slope: {slope}"), SHAPE)
    x = rng.normal(size=SHAPE)
    z = x.reshape(3, -1) @ net.params["op"][0].data.T + 0.5

    np.testing.assert_allclose(run(net, x), np.where(z > 0, z, slope * z), rtol=1e-10, atol=1e-12)
    assert gradient_error(net, [x], {0: spread(rng, (6, 40))}) < 1e-6


def test_bad_options_are_refused():
    with pytest.raises(LayerError, match="num_output must be given, and be 1 or more"):
        one_layer(body(""), SHAPE)
    with pytest.raises(LayerError, match="normalize"):
        one_layer(body("num_output: 2 normalize: true"), SHAPE)
    with pytest.raises(ShapeError, match="axis 4 does not exist in an array of 4 axes"):
        one_layer(body("num_output: 2 axis: 4"), SHAPE)
    with pytest.raises(CaffenormError, match="cannot work in place"):
        one_layer(body("num_output: 5"), (3, 5), in_place=True)


def test_another_number_of_values_is_refused_later():
    net = one_layer(body("num_output: 6"), SHAPE)
    net.blobs["x0"].reshape(3, 4, 2, 6)
    with pytest.raises(ShapeError, match="48 values from axis 1 on; the weights are for 40"):
        net.reshape()
