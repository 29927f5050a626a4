"""Convolutions, inner products, pooling, LRN."""

from __future__ import annotations

from caffenorm import schema
from caffenorm.convert.program import Chain, arguments, number, numbers, rule
from caffenorm.layers._convolution import ConvolutionBase
from caffenorm.layers._window import Windows
from caffenorm.layers.im2col import Im2col
from caffenorm.layers.inner_product import InnerProduct
from caffenorm.layers.pooling import Pooling

_POOL = schema.PoolingParameter


def _convolution(chain: Chain, name: str) -> None:
    layer = chain.layer
    assert isinstance(layer, ConvolutionBase)
    weights, windows = layer.blobs[0].shape, layer.windows
    channels = (weights[0], weights[1] * layer.groups)
    dims = len(windows.kernel)
    if layer.param.convolution_param.axis not in (1, 1 - chain.bottom[0].num_axes):
        raise chain.fail("PyTorch convolves along the axes after axis 1, these channels are on another one")
    if not 1 <= dims <= 3:
        raise chain.fail(f"PyTorch convolves along 1 to 3 axes, this has {dims}")
    even = windows.pad == windows.pad_after
    if not even and layer.transposed:
        raise chain.fail("pads that differ before and behind have no counterpart in ConvTranspose")
    listed = arguments(
        str(channels[0] if layer.transposed else channels[1]),
        str(channels[1] if layer.transposed else channels[0]),
        numbers(windows.kernel),
        stride=(numbers(windows.stride), "1"),
        padding=(numbers(windows.pad) if even else "0", "0"),
        dilation=(numbers(windows.dilation), "1"),
        groups=(str(layer.groups), "1"),
        bias=(str(len(layer.blobs) > 1), "True"),
    )
    params = dict(zip(("weight", "bias"), layer.blobs, strict=False))
    module = chain.submodule(f"nn.{name}{dims}d({listed})", params=params)
    for x, y in zip(chain.inputs(), chain.outputs(), strict=True):
        given = x if even else f"F.pad({x}, {_pads(windows)})"
        chain.line(f"{y} = {_with_slope(f'{module}({given})', layer.slope)}")


def _pads(windows: Windows) -> str:
    """Pads before and behind, the last axis first."""
    pairs = zip(reversed(windows.pad), reversed(windows.pad_after), strict=True)
    return str(tuple(n for pair in pairs for n in pair))


def _with_slope(expression: str, slope: float | None) -> str:
    """With the ReLU that a fork's layer ends with."""
    if slope is None:
        return expression
    return f"F.leaky_relu({expression}, {number(slope)})" if slope else f"F.relu({expression})"


@rule("Convolution", "NdConvolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(chain: Chain) -> None:
    _convolution(chain, "Conv")


@rule("Deconvolution")
def deconvolution(chain: Chain) -> None:
    _convolution(chain, "ConvTranspose")


@rule("InnerProduct")
def inner_product(chain: Chain) -> None:
    layer, bottom = chain.layer, chain.bottom[0]
    assert isinstance(layer, InnerProduct)
    param = layer.param.inner_product_param
    axis = param.axis + bottom.num_axes if param.axis < 0 else param.axis
    weight = layer.blobs[0].read().reshape(layer.blobs[0].shape)
    state = {"weight": (weight.T if param.transpose else weight).copy()}
    has_bias = len(layer.blobs) > 1
    x = chain.x if bottom.num_axes == axis + 1 else f"{chain.x}.flatten({axis})"
    listed = arguments(
        str(state["weight"].shape[1]), str(state["weight"].shape[0]), bias=(str(has_bias), "True")
    )
    if param.transpose:
        bias = {"bias": layer.blobs[1].read().copy()} if has_bias else {}
        module = chain.submodule(f"nn.Linear({listed})", state | bias)
    else:
        params = dict(zip(("weight", "bias"), layer.blobs, strict=False))
        module = chain.submodule(f"nn.Linear({listed})", params=params)
    chain.set(_with_slope(f"{module}({x})", layer.slope))


@rule("Pooling", "NdPooling")
def pooling(chain: Chain) -> None:
    layer = chain.layer
    assert isinstance(layer, Pooling)
    param, windows = layer.param.pooling_param, layer.windows
    x, outputs = chain.x, chain.outputs()
    if param.pool == _POOL.STOCHASTIC:
        raise chain.fail("stochastic pooling has no counterpart in PyTorch")
    kind, dims, with_mask = (
        "max" if param.pool == _POOL.MAX else "avg",
        len(windows.kernel),
        len(outputs) == 2,
    )
    if param.global_pooling and not with_mask:
        chain.set(f"F.adaptive_{kind}_pool{dims}d({x}, 1)")
        return
    if windows.pad != windows.pad_after:
        raise chain.fail("pads that differ before and behind have no counterpart in PyTorch's pooling")
    rounds_up = _rounds_up(chain, layer)
    name = f"F.{kind}_pool{dims}d"
    more = {}
    if kind == "max":
        more["return_indices"] = (str(with_mask), "False")
    elif not layer.counts_pads and any(windows.pad):
        more["count_include_pad"] = ("False", "True")
    if not (_torch_agrees(windows) or not rounds_up) or not _small_pad(windows):
        if dims != 2 or "count_include_pad" in more:
            raise chain.fail("the windows at the end of these sizes have no counterpart in PyTorch's pooling")
        name = chain.helper(f"caffe_{kind}_pool2d")
    ceil = {"ceil_mode": (str(rounds_up), "False" if name.startswith("F.") else "True")}
    pad = {"padding": (numbers(windows.pad), "0")}
    call = f"{name}({arguments(x, numbers(windows.kernel), numbers(windows.stride), **pad, **ceil, **more)})"
    if with_mask:
        chain.line(f"{outputs[0]}, {outputs[1]} = {call}")
        chain.line(f"{outputs[1]} = {outputs[1]}.to({x}.dtype)")
    else:
        chain.set(call)


def _rounds_up(chain: Chain, layer: Pooling) -> bool:
    """Whether the output size is rounded up and that matters, for this input or another."""
    w = layer.windows
    sizes, out = chain.bottom[0].shape[2:], chain.top[0].shape[2:]
    down = [(i + 2 * p - k) // s + 1 for i, k, s, p in zip(sizes, w.kernel, w.stride, w.pad, strict=True)]
    return list(out) != down or (layer.rounds_up and any(s > 1 for s in w.stride))


def _torch_agrees(windows: Windows) -> bool:
    """PyTorch drops a last window that begins beyond the image; Caffe only where there is padding."""
    return any(windows.pad) or all(s <= k for s, k in zip(windows.stride, windows.kernel, strict=True))


def _small_pad(windows: Windows) -> bool:
    """PyTorch refuses a padding of more than half the kernel."""
    return all(2 * p <= k for k, p in zip(windows.kernel, windows.pad, strict=True))


@rule("LRN")
def lrn(chain: Chain) -> None:
    param = chain.layer.param.lrn_param
    if param.norm_region == schema.LRNParameter.WITHIN_CHANNEL:
        listed = f"{chain.x}, {param.local_size}, {number(param.alpha)}, {number(param.beta)}"
        chain.set(f"{chain.helper('lrn_within_channel')}({listed})")
        return
    listed = arguments(
        chain.x,
        str(param.local_size),
        alpha=(number(param.alpha), "0.0001"),
        beta=(number(param.beta), "0.75"),
        k=(number(param.k), "1"),
    )
    chain.set(f"F.local_response_norm({listed})")


@rule("SPP")
def spp(chain: Chain) -> None:
    param = chain.layer.param.spp_param
    if param.pool == schema.SPPParameter.STOCHASTIC:
        raise chain.fail("stochastic pooling has no counterpart in PyTorch")
    chain.helper("caffe_max_pool2d")
    chain.helper("caffe_avg_pool2d")
    pool = "caffe_max_pool2d" if param.pool == schema.SPPParameter.MAX else "caffe_avg_pool2d"
    chain.set(f"{chain.helper('spatial_pyramid')}({chain.x}, {param.pyramid_height}, {pool})")


@rule("Im2col")
def im2col(chain: Chain) -> None:
    layer = chain.layer
    assert isinstance(layer, Im2col)
    windows = layer.windows
    if len(windows.kernel) != 2:
        raise chain.fail(f"PyTorch unfolds images of 2 axes, this has {len(windows.kernel)}")
    if windows.pad != windows.pad_after:
        raise chain.fail("pads that differ before and behind have no counterpart in F.unfold")
    listed = arguments(
        chain.x,
        str(windows.kernel),
        dilation=(numbers(windows.dilation), "1"),
        padding=(numbers(windows.pad), "0"),
        stride=(numbers(windows.stride), "1"),
    )
    shape = chain.top[0].shape
    chain.set(f"F.unfold({listed}).reshape(-1, {shape[1]}, {shape[2]}, {shape[3]})")
