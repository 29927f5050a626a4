"""Convolutions, inner products, pooling, LRN."""

from __future__ import annotations

from collections.abc import Sequence

from caffenorm import schema
from caffenorm.convert.program import Chain, arguments, number, numbers, rule

_POOL = schema.PoolingParameter


def _convolution(chain: Chain, name: str, in_channels: int, out_channels: int) -> None:
    layer = chain.layer
    # The layer has read kernel_size, kernel_h and the rest in all their forms.
    kernel, stride, pad, dilation, group = layer.kernel, layer.stride, layer.pad, layer.dilation, layer.group  # type: ignore[attr-defined]  # Convolution's and Deconvolution's
    inputs = chain.inputs()
    axis = layer.param.convolution_param.axis
    if axis not in (1, 1 - chain.bottom[0].num_axes):
        raise chain.fail(f"channels on axis {axis}: PyTorch convolves along the axes after axis 1")
    if not 1 <= len(kernel) <= 3:
        raise chain.fail(f"PyTorch convolves along 1 to 3 axes, this has {len(kernel)}")
    listed = arguments(
        str(in_channels),
        str(out_channels),
        numbers(kernel),
        stride=(numbers(stride), "1"),
        padding=(numbers(pad), "0"),
        dilation=(numbers(dilation), "1"),
        groups=(str(group), "1"),
        bias=(str(len(layer.blobs) > 1), "True"),
    )
    params = dict(zip(("weight", "bias"), layer.blobs, strict=False))
    module = chain.submodule(f"nn.{name}{len(kernel)}d({listed})", params=params)
    for x, y in zip(inputs, chain.outputs(), strict=True):
        chain.line(f"{y} = {module}({x})")


@rule("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise")
def convolution(chain: Chain) -> None:
    weight = chain.layer.blobs[0].shape
    _convolution(chain, "Conv", weight[1] * chain.layer.group, weight[0])  # type: ignore[attr-defined]  # as above


@rule("Deconvolution")
def deconvolution(chain: Chain) -> None:
    weight = chain.layer.blobs[0].shape
    _convolution(chain, "ConvTranspose", weight[0], weight[1] * chain.layer.group)  # type: ignore[attr-defined]  # as above


@rule("InnerProduct")
def inner_product(chain: Chain) -> None:
    layer, bottom = chain.layer, chain.bottom[0]
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
    chain.set(f"{module}({x})")


@rule("Pooling")
def pooling(chain: Chain) -> None:
    layer = chain.layer
    param = layer.param.pooling_param
    x, outputs = chain.x, chain.outputs()
    kernel, stride, pad = tuple(layer.kernel), tuple(layer.stride), tuple(layer.pad)  # type: ignore[attr-defined]  # Pooling's
    if param.pool == _POOL.STOCHASTIC:
        raise chain.fail("stochastic pooling has no counterpart in PyTorch")
    if param.global_pooling:
        whole = (
            f"F.adaptive_avg_pool2d({x}, 1)" if param.pool == _POOL.AVE else f"F.adaptive_max_pool2d({x}, 1)"
        )
        if len(outputs) == 1:
            chain.set(whole)
            return
    rounds_up = _rounds_up(chain, kernel, stride, pad)
    simple = _torch_agrees(kernel, stride, pad) or not rounds_up
    with_mask = len(outputs) == 2
    if param.pool == _POOL.MAX:
        name = "F.max_pool2d" if simple and _small_pad(kernel, pad) else chain.helper("caffe_max_pool2d")
        mask = (str(with_mask), "False")
        listed = _pool_arguments(x, kernel, stride, pad, rounds_up, name, return_indices=mask)
        if with_mask:
            chain.line(f"{outputs[0]}, {outputs[1]} = {name}({listed})")
            chain.line(f"{outputs[1]} = {outputs[1]}.to({x}.dtype)")
        else:
            chain.set(f"{name}({listed})")
        return
    name = "F.avg_pool2d" if simple and _small_pad(kernel, pad) else chain.helper("caffe_avg_pool2d")
    chain.set(f"{name}({_pool_arguments(x, kernel, stride, pad, rounds_up, name)})")


def _pool_arguments(
    x: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    rounds_up: bool,
    name: str,
    **more: tuple[str, str],
) -> str:
    ceil = {"ceil_mode": (str(rounds_up), "False" if name.startswith("F.") else "True")}
    return arguments(x, numbers(kernel), numbers(stride), padding=(numbers(pad), "0"), **ceil, **more)


def _rounds_up(chain: Chain, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> bool:
    """Whether the output size is rounded up and that matters for this input."""
    sizes, out = chain.bottom[0].shape[2:], chain.top[0].shape[2:]
    down = [(i + 2 * p - k) // s + 1 for i, k, s, p in zip(sizes, kernel, stride, pad, strict=True)]
    if list(out) != down:
        return True
    if (
        getattr(chain.layer, "ceil_mode", True) is False
        or chain.layer.param.pooling_param.round_mode == _POOL.FLOOR
    ):
        return False
    if any((i + 2 * p - k) % s for i, k, s, p in zip(sizes, kernel, stride, pad, strict=True)):
        return True
    return any(s > 1 for s in stride)  # inputs of other sizes would be rounded up


def _torch_agrees(kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> bool:
    """PyTorch drops a last window that begins beyond the image; Caffe only where there is padding."""
    return any(pad) or all(s <= k for s, k in zip(stride, kernel, strict=True))


def _small_pad(kernel: Sequence[int], pad: Sequence[int]) -> bool:
    """PyTorch refuses a padding of more than half the kernel."""
    return all(2 * p <= k for k, p in zip(kernel, pad, strict=True))


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
    kernel, stride, pad, dilation = layer.kernel, layer.stride, layer.pad, layer.dilation  # type: ignore[attr-defined]  # Im2col's
    if len(kernel) != 2:
        raise chain.fail(f"PyTorch unfolds images of 2 axes, this has {len(kernel)}")
    listed = arguments(
        chain.x,
        str(tuple(kernel)),
        dilation=(numbers(dilation), "1"),
        padding=(numbers(pad), "0"),
        stride=(numbers(stride), "1"),
    )
    shape = chain.top[0].shape
    chain.set(f"F.unfold({listed}).reshape(-1, {shape[1]}, {shape[2]}, {shape[3]})")
