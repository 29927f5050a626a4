"""Im2col: the columns of a convolution."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import gradient_error, one_layer, run

from caffenorm import LayerError, ShapeError

torch = pytest.importorskip("torch")
SHAPE = (2, 3, 6, 7)


def body(options: str) -> str:
    return f'type: "Im2col" convolution_param {{ {options} }}'


OPTIONS = {
    "kernel_size: 2": {"kernel_size": 2},
    "kernel_h: 2 kernel_w: 3 pad: 2 stride: 2": {"kernel_size": (2, 3), "padding": 2, "stride": 2},
    "kernel_size: 2 dilation: 3 pad_h: 1 pad_w: 2": {"kernel_size": 2, "dilation": 3, "padding": (1, 2)},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_columns_are_torchs_unfolded(options, rng):
    net = one_layer(body(options), SHAPE)
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    expected = torch.nn.functional.unfold(torch.tensor(x), **OPTIONS[options]).numpy()
    np.testing.assert_array_equal(y.reshape(expected.shape), expected)
    assert gradient_error(net, [x]) < 1e-7


def test_axes_before_axis_are_the_batch(rng):
    net = one_layer(body("kernel_size: 3 axis: 2"), SHAPE)
    x = rng.normal(size=SHAPE)

    y = run(net, x)

    assert y.shape == (2, 3, 18, 5)
    for tap in range(3):
        np.testing.assert_array_equal(y[:, :, tap::3], x[..., tap : tap + 5])


def test_bad_options_are_refused():
    with pytest.raises(LayerError, match="needs a kernel_size"):
        one_layer(body(""), SHAPE)
    with pytest.raises(ShapeError, match="the kernel spans 7 x 7"):
        one_layer(body("kernel_size: 7"), (1, 1, 4, 9))
    with pytest.raises(ShapeError, match="needs spatial axes behind axis 3"):
        one_layer(body("kernel_size: 1 axis: 3"), SHAPE)
