"""Convolution, and the forks' depthwise convolutions."""

from __future__ import annotations

from caffenorm.errors import LayerError
from caffenorm.layer import register_layer
from caffenorm.layers._convolution import ConvolutionBase


@register_layer("Convolution", "NdConvolution")
class Convolution(ConvolutionBase):
    """y[o] = sum over c, t of w[o, c, t] * x[c, p * stride + t * dilation - pad] + b[o], without a flip.

    Shape: bottoms (batch..., C, spatial...) with channels on `axis`, any number of spatial axes; weights
        (num_output, C / group, kernel...), bias (num_output,); tops (batch..., num_output, out...) with
        out = (size + 2 pad - dilation * (kernel - 1) - 1) / stride + 1, rounded towards zero.
    Raises: LayerError for sizes that are missing, zero or given twice, and for outputs that the groups do not
        divide; ShapeError for bottoms of different shapes, and for a kernel that does not fit.
    Caffe: several bottoms share the weights. engine chooses an implementation, not a result: on a GPU CUDNN
        is PyTorch's, which has to be there, CAFFE ours, and DEFAULT the former where it is there; on a CPU
        they are one, as force_nd_im2col. Read of forks: hole, kstride, filter_stride (dilation), tf_pad,
        pad_t and so on, relu with negative_slope (a ReLU afterwards), kernel_shape and the like
        (NdConvolution).
    """


@register_layer("DepthwiseConvolution")
class DepthwiseConvolution(ConvolutionBase):
    """A Convolution with one group for each channel, whatever `group` says.

    Shape: weights (num_output, 1, kernel...).
    Raises: LayerError if the channels do not divide num_output.
    """

    def outputs_and_groups(self, channels: int) -> tuple[int, int]:
        outputs = int(self.param.convolution_param.num_output)
        if outputs < 1 or outputs % channels:
            raise LayerError(f"num_output must be a multiple of the {channels} channels, found {outputs}")
        return outputs, channels


@register_layer("ConvolutionDepthwise")
class ConvolutionDepthwise(ConvolutionBase):
    """A Convolution of each channel by itself; num_output and group have no meaning.

    Shape: weights (C, 1, kernel...), as many outputs as channels.
    """

    def outputs_and_groups(self, channels: int) -> tuple[int, int]:
        return channels, channels
