"""Dropout: sets some values to 0 in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import LayerError
from caffenorm.layer import Layer, register_layer
from caffenorm.synced import Array

_SEEDS = 1 << 63


@register_layer("Dropout")
class Dropout(Layer):
    """In TRAIN y = x * mask / (1 - dropout_ratio), the mask of zeros and ones new each time; in TEST y = x.

    Shape: any; y has x's.
    Raises: LayerError unless 0 <= dropout_ratio < 1; for a fork's `sqrt_scale`, which is not supported.
    Caffe: the random numbers are others than Caffe's. The mask is not stored: it follows from one random
        number, so backward computes it again. Forks: `scale_train: false` multiplies by 1 - dropout_ratio in
        TEST and not in TRAIN, `sample_weights_test` drops in TEST too, `random_seed` gives the layer random
        numbers of its own.
    See: Srivastava et al., Dropout, 2014.
    """

    def layer_setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.param.dropout_param
        self._ratio = param.dropout_ratio
        if not 0 <= self._ratio < 1:
            raise LayerError(f"dropout_ratio must be 0 or more and less than 1, found {self._ratio:g}")
        if param.sqrt_scale:
            raise LayerError("sqrt_scale is not supported")
        self._drops = self.phase == schema.TRAIN or param.sample_weights_test
        kept = 1 - self._ratio
        self._scale = 1 / kept if param.scale_train else 1.0
        self._test_scale = 1.0 if param.scale_train else kept
        self._own_rng = np.random.default_rng(param.random_seed) if param.random_seed >= 0 else None
        self._seed = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self._drops:
            self._seed = int((self._own_rng or self.rng).integers(_SEEDS))
        self._apply(self.read(bottom[0]), self.write(top[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self._apply(self.read_diff(top[0]), self.write_diff(bottom[0]))

    def _apply(self, x: Array, y: Array) -> None:
        """The same linear map forward and backward."""
        if self._drops:
            self.ops.random_mask(x, y, self._seed, self._ratio, self._scale)
        elif self._test_scale != 1:
            self.ops.xp.multiply(x, self.dtype.type(self._test_scale), out=y)
        elif y is not x:
            self.ops.xp.copyto(y, x)
