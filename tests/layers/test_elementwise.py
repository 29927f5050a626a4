"""Layers of one formula an element: values against torch, gradients against differences, what is refused."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_layer import gradient_error, one_layer, run, run_backward, spread

from caffenorm import TEST, LayerError

SHAPE = (2, 3, 4)

# Body, the same with torch.
VALUES = [
    ('type: "ReLU"', lambda t, x: t.relu(x)),
    ('type: "ReLU" relu_param { negative_slope: 0.25 }', lambda t, x: t.nn.functional.leaky_relu(x, 0.25)),
    ('type: "ReLU" relu_param { negative_slope: -0.5 }', lambda t, x: t.nn.functional.leaky_relu(x, -0.5)),
    ('type: "ReLU" relu_param { relu6: true }', lambda t, x: t.clamp(x, 0, 6)),
    ('type: "ReLU" relu_param { upper_limit: 1 }', lambda t, x: t.clamp(x, 0, 1)),
    ('type: "ReLU" relu_param { maximum: 1.5 }', lambda t, x: t.clamp(x, 0, 1.5)),
    (
        'type: "ReLU" relu_param { negative_slope: 0.5 minimum: -0.5 }',
        lambda t, x: t.clamp(t.nn.functional.leaky_relu(x, 0.5), -0.5),
    ),
    ('type: "ReLU6"', lambda t, x: t.clamp(x, 0, 6)),
    (
        'type: "ReLU6" relu6_param { negative_slope: 0.25 }',
        lambda t, x: t.clamp(t.nn.functional.leaky_relu(x, 0.25), max=6),
    ),
    ('type: "ELU"', lambda t, x: t.nn.functional.elu(x)),
    ('type: "ELU" elu_param { alpha: 0.5 lambda: 1.5 }', lambda t, x: 1.5 * t.nn.functional.elu(x, 0.5)),
    ('type: "ELU" elu_param { alpha: -0.5 }', lambda t, x: t.where(x > 0, x, -0.5 * t.expm1(x))),
    ('type: "ELU" elu_param { alpha: 0 }', lambda t, x: t.relu(x)),
    ('type: "Sigmoid"', lambda t, x: t.sigmoid(x)),
    ('type: "TanH"', lambda t, x: t.tanh(x)),
    ('type: "BNLL"', lambda t, x: t.logaddexp(x, t.zeros_like(x))),
    ('type: "Swish"', lambda t, x: t.nn.functional.silu(x)),
    ('type: "Swish" swish_param { beta: -0.5 }', lambda t, x: x * t.sigmoid(-0.5 * x)),
    ('type: "Clip" clip_param { min: -1 max: 0.5 }', lambda t, x: x.clamp(-1, 0.5)),
    ('type: "Exp"', lambda t, x: t.exp(x)),
    ('type: "Exp" exp_param { base: 2 scale: -0.5 shift: 1 }', lambda t, x: 2.0 ** (1 - 0.5 * x)),
    ('type: "Log" log_param { scale: 0.5 shift: 5 }', lambda t, x: t.log(5 + 0.5 * x)),
    ('type: "Log" log_param { base: 0.5 shift: 9 }', lambda t, x: -t.log2(9 + x)),
    ('type: "Power"', lambda t, x: x),
    ('type: "Power" power_param { power: 2 }', lambda t, x: x**2),
    ('type: "Power" power_param { power: 3 scale: -2 }', lambda t, x: (-2 * x) ** 3),
    ('type: "Power" power_param { power: -1 scale: 0.5 shift: 9 }', lambda t, x: 1 / (9 + 0.5 * x)),
    ('type: "Power" power_param { power: 0.5 shift: 9 }', lambda t, x: t.sqrt(9 + x)),
    ('type: "Power" power_param { power: 1 scale: 3 shift: -1 }', lambda t, x: 3 * x - 1),
    ('type: "Power" power_param { power: 0 shift: 4 }', lambda t, x: x * 0 + 1),
    ('type: "Power" power_param { power: 3 scale: 0 shift: 2 }', lambda t, x: x * 0 + 8),
]
LAYERS = pytest.mark.parametrize(("body", "torchs"), VALUES, ids=[body for body, _ in VALUES])
ABS = 'type: "AbsVal"'


def values(seed=0, shape=SHAPE):
    return spread(np.random.default_rng(seed), shape) * 1.5


@pytest.mark.torch
@LAYERS
@pytest.mark.parametrize("in_place", [False, True])
def test_values_and_gradients_are_torchs(body, torchs, in_place):
    torch = importlib.import_module("torch")
    x, dy = values(1), values(2)
    leaf = torch.tensor(x, requires_grad=True)
    expected = torchs(torch, leaf)
    expected.backward(torch.tensor(dy))
    net = one_layer(body, SHAPE, in_place=in_place)

    y = run(net, x)
    (dx,) = run_backward(net, dy)

    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


@LAYERS
@given(in_place=st.booleans(), seed=st.integers(0, 99))
def test_gradient_is_the_derivative(body, torchs, in_place, seed):
    net = one_layer(body, SHAPE, in_place=in_place)

    assert gradient_error(net, [values(seed)], step=1e-6) < 1e-7


@pytest.mark.parametrize(
    "body",
    [
        'type: "ReLU" relu_param { negative_slope: -0.5 }',
        'type: "ELU" elu_param { alpha: -0.5 }',
        'type: "BNLL"',
        'type: "Swish"',
        'type: "Clip" clip_param { min: -1 max: 0.5 }',
        'type: "Log" log_param { shift: 9 }',
        'type: "Power" power_param { power: 3 }',
        'type: "ReLU"',
        ABS,
    ],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients_that_read_the_input_survive_a_later_layer_in_place(body, in_place):
    if in_place and body in (ABS, 'type: "ReLU"'):
        return  # AbsVal does not work in place; ReLU reads what the top holds then, as Caffe's does
    net = one_layer(body, SHAPE, in_place=in_place, overwritten=True)

    assert gradient_error(net, [values(3)], step=1e-6) < 1e-7


def test_absolute_values():
    net = one_layer(ABS, SHAPE)
    x = values()
    np.testing.assert_array_equal(run(net, x), np.abs(x))
    assert gradient_error(net, [x]) < 1e-8
    run(net, x * 0)
    assert (run_backward(net, x)[0] == 0).all()


def test_the_gradient_of_a_power_at_zero_is_the_derivative():
    """Where shift is 0 Caffe divides 0 by 0."""
    net = one_layer('type: "Power" power_param { power: 3 }', (2,))
    run(net, np.array([0.0, 2.0]))
    np.testing.assert_array_equal(run_backward(net, np.ones(2))[0], [0, 12])


@pytest.mark.parametrize(
    ("power", "shift", "constant"),
    [(0, 0, 1), (2, -3, 9), (-1, 0, np.inf), (0.5, -1, np.nan), (99, 1e9, np.inf)],
)
def test_a_scale_of_zero_gives_a_constant(power, shift, constant):
    net = one_layer(f'type: "Power" power_param {{ power: {power} scale: 0 shift: {shift} }}', (3,))
    np.testing.assert_array_equal(run(net, np.ones(3)), np.full(3, constant))
    np.testing.assert_array_equal(run_backward(net, np.ones(3))[0], np.zeros(3))


def test_clip_passes_the_gradient_on_its_bounds():
    net = one_layer('type: "Clip" clip_param { min: -1 max: 1 }', (4,))
    run(net, np.array([-1, 1, -1.5, 1.5]))
    np.testing.assert_array_equal(run_backward(net, np.ones(4))[0], [1, 1, 0, 0])


@pytest.mark.parametrize("body", ['type: "ReLU6"', 'type: "ReLU" relu_param { relu6: true }'])
def test_relu6_ends_at_six_without_a_gradient(body):
    net = one_layer(body, (4,))
    np.testing.assert_array_equal(run(net, np.array([-1, 5.5, 6, 7])), [0, 5.5, 6, 6])
    np.testing.assert_array_equal(run_backward(net, np.ones(4))[0], [0, 1, 0, 0])


def test_relu_has_its_slope_at_zero():
    net = one_layer('type: "ReLU" relu_param { negative_slope: 0.5 }', (1,))
    run(net, np.zeros(1))
    assert run_backward(net, np.ones(1))[0] == 0.5


def test_threshold_is_strict():
    net = one_layer('type: "Threshold" threshold_param { threshold: 0.5 }', (3,), force_backward=False)
    np.testing.assert_array_equal(run(net, np.array([0.4, 0.5, 0.6])), [0, 0, 1])


def test_threshold_has_no_gradient():
    net = one_layer('type: "Threshold"', (3,))
    run(net, np.ones(3))
    with pytest.raises(LayerError, match=r'"op" .*has no gradient'):
        run_backward(net, np.ones(3))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@LAYERS
def test_empty_blobs_pass(body, torchs, dtype):
    net = one_layer(body, (0, 3), dtype=dtype)
    assert run(net, np.zeros((0, 3))).shape == (0, 3)
    assert run_backward(net, np.zeros((0, 3)))[0].shape == (0, 3)


def test_the_shape_may_change():
    net = one_layer('type: "BNLL"', (2, 3), in_place=True, overwritten=True)
    for shape in ((2, 3), (4, 5), (1, 1)):
        run(net, values(1, shape))
        assert gradient_error(net, [values(1, shape)]) < 1e-7


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('type: "Clip"', "needs both min and max"),
        ('type: "Clip" clip_param { min: 1 }', "needs both min and max"),
        ('type: "Clip" clip_param { min: 1 max: 0 }', "min 1 lies above max 0"),
        ('type: "Exp" exp_param { base: -2 }', "base must be above 0, or -1 for e, found -2"),
        ('type: "Exp" exp_param { base: 0 }', "base must be above 0"),
        ('type: "Log" log_param { base: 0 }', "base must be above 0"),
        ('type: "Log" log_param { base: 1 }', "not 1"),
        ('type: "ReLU" relu_param { negative_slope: -1 relu6: true }', "negative_slope -1 lies below 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(body, message):
    with pytest.raises(LayerError, match=message):
        one_layer(body, SHAPE)


def test_absolute_values_refuse_to_work_in_place():
    with pytest.raises(LayerError, match="cannot work in place"):
        one_layer(ABS, SHAPE, in_place=True)


def test_no_copy_is_kept_where_nobody_needs_it():
    for body, in_place, phase_options in (
        ('type: "BNLL"', False, {}),
        ('type: "Sigmoid"', True, {}),
        ('type: "BNLL"', True, {"force_backward": False, "phase": TEST}),
    ):
        net = one_layer(body, SHAPE, in_place=in_place, **phase_options)
        run(net, values())
        assert net.layer_dict["op"].scratch_bytes == 0, body
