"""What the blobs of a batch normalisation layer mean, by the dialect that stored them.

| stored by | blobs |
| --- | --- |
| BVLC (NVIDIA 0.16 on: with factor 1) | sum of means, sum of variances, scale factor |
| NVIDIA 0.16 on | mean, variance, 1, scale, offset |
| NVIDIA 0.14 and 0.15 (DIGITS) | scale, offset, mean, variance, one value that is not used |
| Intel | sum of means, sum of variances, scale factor, scale, and offset unless `bias_term: false` |
| PSPNet line, type BN | scale, offset, mean, variance |
| SegNet line, type BN | scale, offset |

All of them become BVLC's three blobs, plus scale and offset where the file has them: the mean is always the
first divided by the scale factor, the variance the second divided by it, and both are 0 where it is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from caffenorm.weights.model import Array, LayerWeights

_TYPES = {"BatchNorm", "BN", "BATCHNORM", "BATCH_NORM"}
_LOWEST_VARIANCE = -1e-5  # Caffe's default eps: below, the square root of variance + eps does not exist


@dataclass(frozen=True)
class Statistics:
    """A batch normalisation layer's blobs by meaning.

    Attributes:
        mean_sum, var_sum, scale_factor: as BVLC stores them.
        gamma, beta: scale and offset, where the file has them.
        form: the dialect in words; empty for BVLC's.
        order: the index in the file of mean_sum, var_sum and scale_factor (None where the form has no
            factor).
        doubt: what the blobs do not tell, in words, or empty.
    """

    mean_sum: Array
    var_sum: Array
    scale_factor: Array
    gamma: Array | None
    beta: Array | None
    form: str
    order: tuple[int, int, int | None]
    doubt: str = ""

    @property
    def blobs(self) -> list[Array]:
        """In the order of NVIDIA 0.16 and Intel, of which BVLC's is the beginning."""
        optional = [blob for blob in (self.gamma, self.beta) if blob is not None]
        return [self.mean_sum, self.var_sum, self.scale_factor, *optional]

    @property
    def reordered(self) -> bool:
        """Whether the file has another order than `blobs`."""
        return self.order != (0, 1, 2)

    def averaged(self) -> Statistics:
        """The same with a scale factor of 1: mean and variance themselves, 0 where the factor is 0."""
        factor = self.scale_factor.reshape(-1)[0]
        if factor == 1:
            return self
        scale = factor if factor == 0 else 1 / factor  # in the file's precision, as Caffe does
        one = np.ones_like(self.scale_factor)
        return replace(self, mean_sum=self.mean_sum * scale, var_sum=self.var_sum * scale, scale_factor=one)

    def is_plain(self) -> bool:
        """Whether scale and offset change nothing: all 1 and all 0."""
        return (self.gamma is None or bool((self.gamma == 1).all())) and not self.has_offset()

    def has_offset(self) -> bool:
        return self.beta is not None and bool(self.beta.any())

    def not_finite(self) -> Iterator[str]:
        """In words, which blobs hold NaN or infinity."""
        names = ("mean", "variance", "scale factor")
        for name, index, blob in zip(names, self.order, self.blobs, strict=False):
            wrong = int(blob.size - np.isfinite(blob).sum())
            if wrong:
                yield f"blob {index} ({name}) holds NaN or infinity in {wrong} of {blob.size} values"

    def doubts(self) -> Iterator[str]:
        """In words, what looks wrong about the values."""
        if self.doubt:
            yield self.doubt
        factor = float(self.scale_factor.reshape(-1)[0])
        if factor == 0:
            if self.mean_sum.any() or self.var_sum.any():
                yield (
                    "a scale factor of 0 with statistics that are not 0: mean and variance count as 0, as in "
                    "BVLC Caffe, so the layer gives x / sqrt(eps); if the file comes from NVIDIA's Caffe, "
                    "set blobs[2] to 1"
                )
        elif bool((self.var_sum < _LOWEST_VARIANCE * factor).any()) if factor > 0 else True:
            yield "a negative variance or scale factor: the layer gives NaN"


def is_batch_norm(layer: LayerWeights) -> bool:
    """Whether the file calls this layer a batch normalisation; HDF5 files hold no types."""
    return layer.type in _TYPES


def recognise(layer: LayerWeights) -> Statistics | None:
    """What the blobs of a batch normalisation layer mean; None if in no known form with statistics."""
    blobs = layer.blobs
    sizes = [blob.size for blob in blobs]
    channels = sizes[0] if sizes else 0
    if channels == 0 or layer.indices != list(range(len(blobs))):
        return None
    if sizes == [channels, channels, 1]:
        return Statistics(blobs[0], blobs[1], blobs[2], None, None, "", (0, 1, 2))
    if layer.type == "BN" and sizes == [channels] * 4:
        form = "PSPNet's form of BN (scale, offset, mean, variance)"
        return _averages(blobs, form)
    if sizes == [channels, channels, 1, channels]:
        form = "Intel's four-blob form (sums, scale factor, scale)"
        return Statistics(blobs[0], blobs[1], blobs[2], blobs[3], None, form, (0, 1, 2))
    if sizes == [channels] * 4 + [1] and channels != 1:
        form = "the five-blob form of NVIDIA's Caffe 0.14 and 0.15 (scale, offset, mean, variance, unused)"
        return _averages(blobs, form)
    if sizes == [channels, channels, 1, channels, channels]:
        averages = float(blobs[2].reshape(-1)[0]) == 1
        form = (
            "NVIDIA's five-blob form (mean, variance, 1, scale, offset)"
            if averages
            else "Intel's five-blob form (sums, scale factor, scale, offset)"
        )
        doubt = (
            "five blobs of one value each: taken as mean, variance, factor, scale, offset, though NVIDIA's "
            "Caffe before 0.16 stored them in another order"
            if channels == 1
            else ""
        )
        return Statistics(blobs[0], blobs[1], blobs[2], blobs[3], blobs[4], form, (0, 1, 2), doubt)
    return None


def _averages(blobs: list[Array], form: str) -> Statistics:
    """Scale, offset, mean and variance in this order, without a factor."""
    one = np.ones(1, blobs[0].dtype)
    return Statistics(blobs[2], blobs[3], one, blobs[0], blobs[1], form, (2, 3, None))


def stored_form(layer: LayerWeights) -> str:
    """The dialect of a batch normalisation layer without statistics, in words; empty if none is known."""
    if layer.type == "BN" and len(layer.blobs) == 2:
        return "SegNet's form of BN (scale, offset)"
    return ""
