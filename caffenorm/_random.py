"""The generator that fillers, Dropout and DummyData draw from."""

from __future__ import annotations

import numpy as np

from caffenorm.errors import ConfigError

_current: list[np.random.Generator] = [np.random.default_rng()]


def generator() -> np.random.Generator:
    """The generator in use."""
    return _current[0]


def set_random_seed(seed: int) -> None:
    """Start the random numbers anew, so that what follows can be repeated.

    Args:
        seed: a whole number from 0 on.

    Raises:
        ConfigError: the seed is negative or no whole number.

    Caffe: the numbers themselves differ from Caffe's, whose generators differ from platform to platform.
    """
    try:
        _current[0] = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a seed must be a whole number from 0 on, found {seed!r}") from error
