"""Fillers: their distributions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffenorm import CaffenormWarning, LayerError, schema
from caffenorm.fillers import fill

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
KINDS = ["constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear"]


def filled(shape, dtype=np.float32, seed=1, **fields):
    array = np.full(shape, np.nan, dtype)
    fill(array, schema.FillerParameter(**fields), np.random.default_rng(seed))
    return array


def test_no_type_is_constant_and_no_value_is_zero():
    assert (filled((3, 2)) == 0).all()


@DTYPES
def test_constant_fills_with_its_value(dtype):
    assert (filled((3, 2), dtype, type="constant", value=-2.5) == -2.5).all()


@DTYPES
def test_uniform_covers_its_range_evenly(dtype):
    values = filled((200, 500), dtype, type="uniform", min=-1, max=3)

    counts, _ = np.histogram(values, bins=10, range=(-1, 3))
    assert values.min() >= -1
    assert values.max() <= 3
    np.testing.assert_allclose(counts, 10_000, rtol=0.05)


@DTYPES
def test_gaussian_has_its_mean_and_deviation(dtype):
    values = filled((200, 500), dtype, type="gaussian", mean=2, std=0.5)

    normal = (values.astype(float) - 2) / 0.5
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert abs((normal**3).mean()) < 0.05
    assert abs((normal**4).mean() - 3) < 0.15


def test_sparse_leaves_about_that_many_inputs_of_an_output():
    values = filled((50, 4000), type="gaussian", std=1, sparse=10)

    assert abs((values != 0).mean() - 10 / 50) < 0.01


def test_sparse_zero_leaves_nothing():
    assert (filled((50, 40), type="gaussian", std=1, sparse=0) == 0).all()


def test_positive_unitball_rows_add_up_to_one():
    values = filled((20, 3, 7), type="positive_unitball")

    assert (values > 0).all()
    np.testing.assert_allclose(values.reshape(20, -1).sum(1), 1, rtol=1e-5)
    assert values.std() > 0


FANS = {"FAN_IN": 60.0, "FAN_OUT": 2000.0, "AVERAGE": 1030.0}  # of the shape (400, 12, 5)
SHAPE = (400, 12, 5)


@pytest.mark.parametrize(("norm", "fan"), FANS.items())
def test_xavier_is_uniform_with_variance_one_over_the_fan(norm, fan):
    norm = schema.FillerParameter.VarianceNorm.Value(norm)

    values = filled(SHAPE, type="xavier", variance_norm=norm)

    assert abs(values.std() / fan**-0.5 - 1) < 0.02
    assert np.abs(values).max() <= (3 / fan) ** 0.5


@pytest.mark.parametrize(("norm", "fan"), FANS.items())
def test_msra_is_normal_with_variance_two_over_the_fan(norm, fan):
    norm = schema.FillerParameter.VarianceNorm.Value(norm)

    values = filled(SHAPE, type="msra", variance_norm=norm)

    assert abs(values.std() / (2 / fan) ** 0.5 - 1) < 0.02
    assert abs((values.astype(float) ** 4).mean() / (2 / fan) ** 2 - 3) < 0.15


def test_fan_out_of_one_axis_is_its_count():
    norm = schema.FillerParameter.FAN_OUT

    assert np.abs(filled((300,), type="xavier", variance_norm=norm)).max() <= (3 / 300) ** 0.5


@pytest.mark.parametrize("size", range(1, 8))
def test_bilinear_kernels_interpolate(size):
    """A constant image stays constant where it is enlarged by a stride of half the kernel, rounded up."""
    kernel = filled((2, 1, size, size), np.float64, type="bilinear")[1, 0]
    factor = -(-size // 2)

    line = np.zeros(factor * 12 + size)
    for at in range(12):
        line[at * factor : at * factor + size] += kernel[size // 2] / kernel[size // 2].max()

    inside = line[size : factor * 11]
    np.testing.assert_allclose(inside, inside[0], rtol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])


@given(
    kind=st.sampled_from(KINDS[:-1]),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_every_value_is_filled(kind, shape, dtype):
    assert np.isfinite(filled(shape, dtype, type=kind)).all()


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "xavier", "msra", "positive_unitball"])
def test_one_seed_gives_the_same_values(kind):
    first, again, other = (filled((5, 4), seed=seed, type=kind) for seed in (3, 3, 4))

    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        ((2, 2), {"type": "gausian"}, 'no filler of type "gausian"; did you mean "gaussian"'),
        ((2, 2), {"type": "identity"}, "known are constant, uniform"),
        ((2, 2), {"type": "uniform", "min": 2, "max": 1}, "min 2 lies above its max 1"),
        ((2, 2), {"type": "uniform", "min": float("nan")}, "min nan"),
        ((2, 2), {"type": "gaussian", "std": -1}, "std must not be negative, found -1"),
        ((2, 2), {"type": "gaussian", "sparse": -2}, "sparse must be 0 or more, found -2"),
        ((), {"type": "gaussian", "sparse": 1}, "sparse needs an array with axes"),
        ((2, 2), {"type": "xavier", "sparse": 1}, "sparse goes with a gaussian filler, not with xavier"),
        ((), {"type": "xavier"}, "xavier needs an array with axes"),
        ((), {"type": "msra"}, "msra needs an array with axes"),
        ((), {"type": "positive_unitball"}, "positive_unitball filler needs an array with axes"),
        ((2, 2, 3), {"type": "bilinear"}, r"4 axes and square kernels, this array has shape \[2, 2, 3\]"),
        ((2, 2, 3, 4), {"type": "bilinear"}, r"square kernels, this array has shape \[2, 2, 3, 4\]"),
    ],
)
def test_what_fits_no_array_is_refused(shape, fields, message):
    with pytest.raises(LayerError, match=message):
        filled(shape, **fields)


def test_fields_of_forks_are_warned_about():
    with pytest.warns(CaffenormWarning, match="alpha"):
        filled((2, 2), type="msra", alpha=0.5)


def test_scalars_can_be_filled():
    for kind in ("constant", "uniform", "gaussian"):
        assert np.isfinite(filled((), type=kind))
