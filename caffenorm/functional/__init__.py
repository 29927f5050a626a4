"""The normalisation kernels on NumPy arrays, without a net.

Arrays are float32 or float64, all of one dtype. Arrays that are not C-contiguous are copied first. `out`
takes the result: a C-contiguous array of x's shape and dtype, which may be x itself (of a backward function:
dy itself). Everything else is new.

    >>> import numpy as np
    >>> from caffenorm import functional as F
    >>> x = np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype(np.float32)
    >>> gamma = np.ones(3, np.float32)
    >>> y, mean, var, inv_std = F.batch_norm(x, gamma)
    >>> dx, dgamma, dbeta = F.batch_norm_backward(np.ones_like(y), x, mean, inv_std, gamma)
"""

from __future__ import annotations

from caffenorm.functional._arrays import Gradients, Normalised
from caffenorm.functional._batch import batch_norm, batch_norm_backward
from caffenorm.functional._channelwise import (
    bias,
    bias_backward,
    prelu,
    prelu_backward,
    scale,
    scale_backward,
)
from caffenorm.functional._grouped import (
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    layer_norm,
    layer_norm_backward,
)

__all__ = [
    "Gradients",
    "Normalised",
    "batch_norm",
    "batch_norm_backward",
    "bias",
    "bias_backward",
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "prelu",
    "prelu_backward",
    "scale",
    "scale_backward",
]
