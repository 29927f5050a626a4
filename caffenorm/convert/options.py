"""What the user may choose about the module that a net becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.errors import ConfigError, ShapeError

CHANNEL_ORDERS = ("bgr", "rgb")
BYTES = 255.0  # the largest value of pictures as Caffe's nets see them


@dataclass(frozen=True)
class Preprocessing:
    """What the module's first part does to pictures: y = (x - mean) * scale, as Caffe's `transform_param`.

    Attributes:
        mean: subtracted, in the net's channel order and from values 0 to 255: one value, one a channel, or an
            image (channels, height, width), of which the middle is taken where it is larger than the input.
        scale: multiplies what is left.
        channel_order: in which the pictures come, "rgb" or "bgr". net_order: in which the net wants them.
        maximum: the largest value of the pictures as they come: 255, or 1 for those that torchvision reads.
        input: the net's input that is a picture; "" for the only one that can be.
    """

    mean: float | Sequence[float] | NDArray[Any] | None = None  # Any: whatever a mean file holds
    scale: float = 1.0
    channel_order: str = "rgb"
    net_order: str = "bgr"
    maximum: float = BYTES
    input: str = ""

    def __post_init__(self) -> None:
        for order in (self.channel_order, self.net_order):
            if order not in CHANNEL_ORDERS:
                raise ConfigError(
                    f"a channel order must be one of {', '.join(CHANNEL_ORDERS)}, found {order!r}"
                )
        for name, value in (("scale", self.scale), ("maximum", self.maximum)):
            if not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be above 0, found {value:g}")

    @property
    def swaps(self) -> bool:
        """Whether the channels are turned round."""
        return self.channel_order != self.net_order

    def fitted_mean(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """The mean as (channels or 1, 1, 1), or as an image of the input's size.

        Args:
            shape: of the input, (batch, channels, height, width).

        Raises:
            ShapeError: it does not fit.
        """
        mean = np.asarray(0.0 if self.mean is None else self.mean, np.float64)
        mean = mean[0] if mean.ndim == 4 and mean.shape[0] == 1 else mean
        channels, height, width = shape[1:]
        if mean.size == 1 or (mean.size == channels and mean.ndim == 1):
            return mean.reshape(-1, 1, 1)
        if mean.ndim == 3 and mean.shape[0] in (1, channels):
            top, left = (mean.shape[1] - height) // 2, (mean.shape[2] - width) // 2
            if mean.shape[1:] == (1, 1):
                return mean
            if top >= 0 and left >= 0:
                return mean[:, top : top + height, left : left + width]
        raise ShapeError(f"a mean of shape {list(mean.shape)} does not fit an input of shape {list(shape)}")

    def apply(self, pictures: NDArray[Any]) -> NDArray[np.float64]:  # Any: floats or bytes
        """What Caffe's net is to be given for pictures that the module is given: by definition, in float64.

        Args:
            pictures: (batch, channels, height, width), as the module takes them.
        """
        values = np.asarray(pictures, np.float64) * (BYTES / self.maximum)
        if self.swaps:
            values = values[:, ::-1]
        return (values - self.fitted_mean(values.shape)) * self.scale


@dataclass(frozen=True)
class ConvertOptions:
    """How the module differs from the plain one; all of it may be combined.

    Attributes:
        fold_batch_norm: BatchNorm, with its Scale, goes into the weights of the convolution, deconvolution or
            inner product before it wherever that is exact.
        half: parameters and buffers are float16, and so is what the module computes.
        channels_last: data and weights lie in memory with their channels last.
        preprocessing: a first part that takes pictures, or None.
    """

    fold_batch_norm: bool = False
    half: bool = False
    channels_last: bool = False
    preprocessing: Preprocessing | None = None


PLAIN = ConvertOptions()
