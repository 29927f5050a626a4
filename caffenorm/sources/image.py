"""Pictures as Caffe's nets expect them: resized, cropped, channels in BGR order, mean subtracted, scaled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._extras import require
from caffenorm._files import readable_file
from caffenorm.errors import ConfigError, ShapeError, Where

Floats = NDArray[np.float32]
CHANNEL_ORDERS = ("BGR", "RGB")


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a picture, in this order.

    Attributes:
        resize: (height, width) that the whole picture is resized to, or None.
        crop: (height, width) cut from the middle, or None.
        channel_order: "BGR", as most Caffe nets were trained, or "RGB".
        mean: subtracted: one value, one a channel (in channel order), or an array of the picture's shape;
            values 0 to 255.
        scale: multiplies what is left.
        gray: one channel instead of three.
    """

    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    channel_order: str = "BGR"
    mean: Sequence[float] | NDArray[Any] | None = None  # Any: whatever a mean file holds
    scale: float = 1.0
    gray: bool = False

    def __post_init__(self) -> None:
        if self.channel_order not in CHANNEL_ORDERS:
            raise ConfigError(
                f"channel order must be one of {', '.join(CHANNEL_ORDERS)}, found {self.channel_order!r}"
            )

    def __call__(self, path: str | os.PathLike[str]) -> Floats:
        """Read a picture and prepare it.

        Returns:
            (channels, height, width) float32.

        Raises:
            ConfigError: the file is missing or is no picture. MissingExtraError: Pillow is not installed.
            ShapeError: the crop is larger than the picture, or the mean does not fit.
        """
        return self.apply(read_image(path, gray=self.gray, size=self.resize))

    def apply(self, picture: NDArray[Any]) -> Floats:  # Any: uint8 or floats from 0 to 255
        """Prepare a picture that has been read and resized.

        Args:
            picture: (height, width, channels) in RGB order, values 0 to 255.
        """
        if self.crop is not None:
            picture = centre_crop(picture, self.crop)
        if self.channel_order == "BGR":
            picture = picture[:, :, ::-1]
        values = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
        if self.mean is not None:
            values -= _fitting_mean(np.asarray(self.mean, dtype=np.float32), values.shape)
        if self.scale != 1:
            values *= np.float32(self.scale)
        return values


def read_image(
    path: str | os.PathLike[str], *, gray: bool = False, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read a picture (extra `demo`).

    Args:
        path: of a file that Pillow reads.
        gray: one channel instead of RGB.
        size: (height, width) to resize to, bilinear.

    Returns:
        (height, width, channels), RGB, 0 to 255.

    Raises:
        ConfigError: the file is missing or is no picture. MissingExtraError: Pillow is not installed.
    """
    image_module = require("PIL.Image", extra="demo", to="read pictures")
    file = readable_file(path, ConfigError, "a picture")
    try:
        with image_module.open(file) as opened:
            picture = opened.convert("L" if gray else "RGB")
            if size is not None and picture.size != (size[1], size[0]):
                picture = picture.resize((size[1], size[0]), image_module.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise ConfigError(f"this does not read as a picture ({error})", Where(file=str(file))) from error
    array = np.asarray(picture, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def centre_crop(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The middle of a (height, width, channels) picture.

    Raises:
        ShapeError: the picture is smaller.
    """
    height, width = size
    if height > picture.shape[0] or width > picture.shape[1]:
        raise ShapeError(
            f"a crop of {height}x{width} does not fit a picture of {picture.shape[0]}x{picture.shape[1]}"
        )
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _fitting_mean(mean: Floats, shape: tuple[int, ...]) -> Floats:
    """The mean in a shape that subtracts from (channels, height, width)."""
    channels, height, width = shape
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.size == 1:
        return mean.reshape(1, 1, 1)
    if mean.ndim == 1 and mean.size == channels:
        return mean[:, None, None]
    if mean.ndim == 3 and mean.shape[0] == channels and mean.shape[1] >= height and mean.shape[2] >= width:
        middle: Floats = centre_crop(mean.transpose(1, 2, 0), (height, width)).transpose(2, 0, 1)
        return middle
    raise ShapeError(f"a mean of shape {list(mean.shape)} does not fit a picture of shape {list(shape)}")
