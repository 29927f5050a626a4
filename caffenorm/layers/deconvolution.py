"""Deconvolution: transposed convolution."""

from __future__ import annotations

from caffenorm.layer import register_layer
from caffenorm.layers._convolution import ConvolutionBase


@register_layer("Deconvolution")
class Deconvolution(ConvolutionBase):
    """The transposed Convolution: each value of the bottom adds its multiple of the kernel to the top.

    Shape: bottoms (batch..., C, spatial...); weights (C, num_output / group, kernel...), bias (num_output,);
        tops (batch..., num_output, out...) with out = stride * (size - 1) + dilation * (kernel - 1) + 1 - 2
        pad.
    Raises: as Convolution; ShapeError where the pads leave nothing.
    Caffe: fillers see fan_in = num_output / group * kernel, since they go by the weights' axes.
    """

    transposed = True
