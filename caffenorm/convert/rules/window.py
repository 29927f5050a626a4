"""Convolutions, inner products, pooling, LRN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.convert.program import Chain, Floats, Param, arguments, number, numbers, rule
from caffenorm.convert.rules.fold import ends_with_relu, folded_state, folding_chains, folds
from caffenorm.layer import canonical_axis
from caffenorm.layers._convolution import ConvolutionBase
from caffenorm.layers._window import Windows
from caffenorm.layers.im2col import Im2col
from caffenorm.layers.inner_product import InnerProduct
from caffenorm.layers.pooling import Pooling

_POOL = schema.PoolingParameter
_CONVOLUTIONS = ("Convolution", "NdConvolution", "DepthwiseConvolution", "ConvolutionDepthwise")


# --- convolutions ---


def _convolution_windows(chain: Chain, blob: Blob, axis: int) -> Windows:
    """The windows for the net's present size, which TensorFlow's SAME pads follow."""
    size = blob.shape[axis + 1 :]
    if not 1 <= len(size) <= 3:
        raise chain.fail(f"PyTorch convolves along 1 to 3 axes, this has {len(size)}")
    layer = chain.layer
    assert isinstance(layer, ConvolutionBase | Im2col)
    param = layer.param.convolution_param
    if param.HasField("tf_pad") and param.tf_pad == schema.ConvolutionParameter.SAME:
        chain.note(
            "its pads follow from the size of the input, and are those of the size that the net has now"
        )
    return layer.windows


def _padded(x: str, windows: Windows) -> tuple[str, Windows]:
    """An expression with the pads applied, where those before and behind differ, and what is left to do."""
    if windows.pad == windows.pad_after:
        return x, windows
    none = (0,) * len(windows.pad)
    return f"F.pad({x}, {_pads(windows)})", replace(windows, pad=none, pad_after=none)


def _pads(windows: Windows) -> tuple[int, ...]:
    """As F.pad takes them."""
    pairs = reversed(list(zip(windows.pad, windows.pad_after, strict=True)))
    return tuple(pad for pair in pairs for pad in pair)


def _activated(expression: str, slope: float | None) -> str:
    """With the ReLU that a fork's layer ends with."""
    if slope is None:
        return expression
    return f"F.leaky_relu({expression}, {number(slope)})" if slope else f"F.relu({expression})"


def _slope(chain: Chain, own: float | None) -> float | None:
    """The slope of the ReLU at the end, of the layer or of a norm in its weights."""
    return 0.0 if ends_with_relu(chain) else own


def _convolution(chain: Chain, name: str, in_channels: int, out_channels: int, groups: int) -> None:
    layer, bottom = chain.layer, chain.bottom[0]
    param = layer.param.convolution_param
    axis = canonical_axis(param.axis, bottom.num_axes)
    windows = _convolution_windows(chain, bottom, axis)
    cut = name == "ConvTranspose" and windows.pad != windows.pad_after
    inputs = [x if cut else _padded(x, windows)[0] for x in chain.inputs()]
    state: Mapping[str, Floats | Param]
    if len(chain.steps) > 1:
        state = folded_state(chain, layer.blobs[0].read().copy(), 0 if name == "Conv" else 1)
    else:
        state = {
            key: Param(blob, blob.read().copy())
            for key, blob in zip(("weight", "bias"), layer.blobs, strict=False)
        }
    whole, windows = windows, _padded("", windows)[1]
    listed = arguments(
        str(in_channels),
        str(out_channels),
        numbers(windows.kernel),
        stride=(numbers(windows.stride), "1"),
        padding=(numbers(windows.pad), "0"),
        dilation=(numbers(windows.dilation), "1"),
        groups=(str(groups), "1"),
        bias=(str("bias" in state), "True"),
    )
    module = chain.submodule(f"nn.{name}{len(windows.kernel)}d({listed})", state)
    assert isinstance(layer, ConvolutionBase)
    for x, y in zip(inputs, chain.outputs(), strict=True):
        if axis > 1:
            text = f"{module}({x}.flatten(0, {axis - 1})).unflatten(0, {x}.shape[:{axis}])"
        else:
            text = f"{module}({x})"
        if cut:
            text = f"F.pad({text}, {tuple(-pad for pad in _pads(whole))})"
        chain.line(f"{y} = {_activated(text, _slope(chain, layer.slope))}")


@rule(*_CONVOLUTIONS)
@rule(*folding_chains(*_CONVOLUTIONS), fits=folds, option="fold_batch_norm")
def convolution(chain: Chain) -> None:
    """Conv1d, 2d or 3d."""
    weight = chain.layer.blobs[0].shape
    axis = canonical_axis(chain.layer.param.convolution_param.axis, chain.bottom[0].num_axes)
    channels = chain.bottom[0].shape[axis]
    _convolution(chain, "Conv", channels, weight[0], channels // weight[1])


@rule("Deconvolution")
@rule(*folding_chains("Deconvolution"), fits=folds, option="fold_batch_norm")
def deconvolution(chain: Chain) -> None:
    """ConvTranspose1d, 2d or 3d."""
    weight = chain.layer.blobs[0].shape
    axis = canonical_axis(chain.layer.param.convolution_param.axis, chain.bottom[0].num_axes)
    channels = chain.top[0].shape[axis]
    _convolution(chain, "ConvTranspose", weight[0], channels, channels // weight[1])


@rule("Im2col")
def im2col(chain: Chain) -> None:
    """F.unfold, which takes images of two axes, or a function for any."""
    bottom, shape = chain.bottom[0], chain.top[0].shape
    axis = canonical_axis(chain.layer.param.convolution_param.axis, bottom.num_axes)
    windows = _convolution_windows(chain, bottom, axis)
    x, windows = _padded(chain.x, windows)
    if len(windows.kernel) != 2 or axis != 1:
        x = x if axis == 1 else f"{x}.flatten(0, {axis - 1})"
        each = (windows.kernel, windows.stride, windows.pad, windows.dilation)
        text = f"{chain.helper('caffe_im2col')}({x}, {', '.join(map(str, each))})"
        lead = f"{chain.x}.shape[:{axis}]"
        chain.set(text if axis == 1 else f"{text}.unflatten(0, {lead})")
        return
    listed = arguments(
        x,
        str(windows.kernel),
        dilation=(numbers(windows.dilation), "1"),
        padding=(numbers(windows.pad), "0"),
        stride=(numbers(windows.stride), "1"),
    )
    chain.set(f"F.unfold({listed}).reshape(-1, {', '.join(map(str, shape[1:]))})")


@rule("InnerProduct")
@rule(*folding_chains("InnerProduct"), fits=folds, option="fold_batch_norm")
def inner_product(chain: Chain) -> None:
    """Linear; a weight that Caffe shares the other way round (tied autoencoders) is used transposed."""
    layer, bottom = chain.layer, chain.bottom[0]
    assert isinstance(layer, InnerProduct)
    axis = canonical_axis(layer.param.inner_product_param.axis, bottom.num_axes)
    weights = layer.blobs[0].read()
    weight = Param(layer.blobs[0], (weights.T if layer.transpose else weights).copy(), layer.transpose)
    bias = Param(layer.blobs[1], layer.blobs[1].read().copy()) if len(layer.blobs) > 1 else None
    x = chain.x
    if axis == 0:
        x = f"{x}.flatten()"
    elif bottom.num_axes != axis + 1:
        x = f"{x}.flatten({axis})"
    if len(chain.steps) > 1:
        state = folded_state(chain, weight.value, 0)
        module = chain.submodule(f"nn.Linear({weight.value.shape[1]}, {weight.value.shape[0]})", state)
        chain.set(_activated(f"{module}({x})", _slope(chain, layer.slope)))
        return
    home = chain.home(layer.blobs[0])
    if home is not None and home[1].transposed != weight.transposed:
        listed = [x, f"self.{home[0]}.T"]
        if bias is not None:
            listed.append(
                chain.submodule(f"nn.Parameter(torch.zeros({bias.value.size}))", {"": bias}, suffix="_bias")
            )
        text = f"F.linear({', '.join(listed)})"
    else:
        outputs, inputs = weight.value.shape
        constructor = (
            f"nn.Linear({arguments(str(inputs), str(outputs), bias=(str(bias is not None), 'True'))})"
        )
        module = chain.submodule(constructor, {"weight": weight} | ({} if bias is None else {"bias": bias}))
        text = f"{module}({x})"
    chain.set(_activated(text, layer.slope))


# --- pooling ---


@rule("Pooling", "NdPooling")
def pooling(chain: Chain) -> None:
    """F.max_pool or avg_pool where they compute Caffe's numbers, else a function that does."""
    param, size = chain.layer.param.pooling_param, chain.bottom[0].shape[2:]
    if param.pool == _POOL.STOCHASTIC:
        _weighted_pooling(chain)
        return
    takes_max, with_mask = param.pool == _POOL.MAX, len(chain.top) == 2
    if param.global_pooling and not with_mask:
        name = "max" if takes_max else "avg"
        chain.set(f"F.adaptive_{name}_pool{len(size)}d({chain.x}, 1)")
        return
    layer = chain.layer
    assert isinstance(layer, Pooling)
    windows = layer.windows
    text = _pooling_call(chain, windows, layer.rounds_up, takes_max, layer.counts_pads)
    if not with_mask:
        chain.set(text)
        return
    x = chain.x
    values, places = chain.outputs()
    chain.line(f"{values}, {places} = {text}")
    chain.line(f"{places} = {places}.to({x}.dtype)")


def _weighted_pooling(chain: Chain) -> None:
    """Stochastic pooling in TEST."""
    layer = chain.layer
    assert isinstance(layer, Pooling)
    if chain.program.train:
        raise chain.fail("stochastic pooling draws at random in training, which PyTorch has no pooling for")
    listed = f"{chain.x}, {layer.windows.kernel}, {layer.windows.stride}"
    chain.set(f"{chain.helper('weighted_pool')}({listed}, {layer.rounds_up})")


def _pooling_call(chain: Chain, windows: Windows, up: bool, takes_max: bool, counts_pads: bool) -> str:
    kernel, stride, pad = windows.kernel, windows.stride, windows.pad
    up = up and any(s > 1 for s in stride)
    mask = (str(len(chain.top) == 2), "False")
    simple = (
        pad == windows.pad_after
        and all(2 * p <= k for p, k in zip(pad, kernel, strict=True))
        and (not up or _drops_alike(windows))
        and not (up and not takes_max and not counts_pads)
    )
    if simple:
        listed = arguments(
            chain.x,
            numbers(kernel),
            numbers(stride),
            padding=(numbers(pad), "0"),
            ceil_mode=(str(up), "False"),
            **({"return_indices": mask} if takes_max else {}),
            **({} if takes_max or not any(pad) else {"count_include_pad": (str(counts_pads), "True")}),
        )
        return f"F.{'max' if takes_max else 'avg'}_pool{len(kernel)}d({listed})"
    helper = chain.helper("caffe_max_pool" if takes_max else "caffe_avg_pool")
    listed = arguments(
        chain.x,
        str(kernel),
        str(stride),
        padding=(str(pad), str((0,) * len(pad))),
        padding_after=(str(windows.pad_after), str(pad)),
        ceil_mode=(str(up), "True"),
        **({"return_indices": mask} if takes_max else {"count_include_pad": (str(counts_pads), "True")}),
    )
    return f"{helper}({listed})"


def _drops_alike(windows: Windows) -> bool:
    """PyTorch drops a last window that begins beyond the image; Caffe only where there is padding."""
    return any(windows.pad) or all(s <= k for s, k in zip(windows.stride, windows.kernel, strict=True))


@rule("SPP")
def spp(chain: Chain) -> None:
    """Poolings with as many bins for any size."""
    param = chain.layer.param.spp_param
    takes_max = param.pool == schema.SPPParameter.MAX
    pool = chain.helper("caffe_max_pool" if takes_max else "caffe_avg_pool")
    chain.set(f"{chain.helper('spatial_pyramid')}({chain.x}, {param.pyramid_height}, {pool})")


# --- LRN ---


@rule("LRN")
def lrn(chain: Chain) -> None:
    """Across channels PyTorch's own, which divides alpha by the size as Caffe does."""
    param = chain.layer.param.lrn_param
    if param.norm_region == schema.LRNParameter.WITHIN_CHANNEL:
        listed = f"{chain.x}, {param.local_size}, {number(param.alpha)}, {number(param.beta)}"
        chain.set(f"{chain.helper('lrn_within_channel')}({listed})")
        return
    flat = chain.bottom[0].num_axes == 2
    listed = arguments(
        f"{chain.x}[..., None]" if flat else chain.x,
        str(param.local_size),
        alpha=(number(param.alpha), "0.0001"),
        beta=(number(param.beta), "0.75"),
        k=(number(param.k), "1"),
    )
    chain.set(f"F.local_response_norm({listed}){'[..., 0]' if flat else ''}")
