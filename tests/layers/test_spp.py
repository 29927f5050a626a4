"""SPP: the levels of the pyramid and their order."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import gradient_error, one_layer, run

from caffenorm import LayerError, ShapeError


def body(options: str) -> str:
    return f'type: "SPP" spp_param {{ {options} }}'


def one_level(method: str, x, bins: int):
    """The same windows by a Pooling layer."""
    kernel = [-(-n // bins) for n in x.shape[2:]]
    pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True)]
    sizes = f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {kernel[0]} stride_w: {kernel[1]}"
    pads = f"pad_h: {pad[0]} pad_w: {pad[1]}"
    pooling = one_layer(f'type: "Pooling" pooling_param {{ pool: {method} {sizes} {pads} }}', x.shape)
    return run(pooling, x)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (11, 4)])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_levels_stand_one_behind_the_other(method, size, height, rng):
    x = rng.normal(size=(2, 3, *size))
    net = one_layer(body(f"pyramid_height: {height} pool: {method}"), x.shape)

    y = run(net, x)

    levels = [one_level(method, x, 2**level) for level in range(height)]
    assert [level.shape[2:] for level in levels] == [(2**i, 2**i) for i in range(height)]
    assert y.shape == ((2, 3, 1, 1) if height == 1 else (2, 3 * (4**height - 1) // 3))
    expected = np.concatenate([level.reshape(2, -1) for level in levels], axis=1)
    np.testing.assert_allclose(y.reshape(2, -1), expected, rtol=1e-12)
    assert gradient_error(net, [x]) < 1e-7


def test_a_reshape_makes_as_many_values(rng):
    net = one_layer(body("pyramid_height: 2"), (2, 3, 8, 8))
    first = run(net, rng.normal(size=(2, 3, 8, 8)))
    net.blobs["x0"].reshape(5, 3, 11, 7)

    second = run(net, rng.normal(size=(5, 3, 11, 7)))

    assert first.shape == (2, 15)
    assert second.shape == (5, 15)


def test_bad_options_are_refused():
    with pytest.raises(LayerError, match="pyramid_height must be from 1 to 16, found 0"):
        one_layer(body(""), (1, 2, 8, 8))
    with pytest.raises(LayerError, match="from 1 to 16, found 40"):
        one_layer(body("pyramid_height: 40"), (1, 2, 8, 8))
    with pytest.raises(LayerError, match="STOCHASTIC is not supported"):
        one_layer(body("pyramid_height: 1 pool: STOCHASTIC"), (1, 2, 8, 8))
    with pytest.raises(ShapeError, match="a grid of 4 x 4 bins is too fine for 3 x 3 values"):
        one_layer(body("pyramid_height: 3"), (1, 2, 3, 3))
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        one_layer(body("pyramid_height: 1"), (1, 2, 3))
