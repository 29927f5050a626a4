"""from_torch, operator by operator: which layers it becomes, and that they compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm.convert import to_torch
from caffenorm.convert.from_pytorch import convert_module

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
nn, F = torch.nn, torch.nn.functional


class Call(nn.Module):
    """A function as a module, with parameters and buffers beside it."""

    def __init__(self, function: Any, **tensors: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in tensors.items():
            if isinstance(value, nn.Parameter | nn.Module):
                setattr(self, name, value)
            else:
                self.register_buffer(name, value)

    def forward(self, *inputs: Any) -> Any:
        more = [value for name, value in sorted((self._parameters | self._buffers | self._modules).items())]
        return self.function(*inputs, *more)


def x(*shape: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def settled(module: Any) -> Any:
    """With parameters and statistics that are not what they start with."""
    rng = np.random.default_rng(5)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point():
            low = 0.5 if "var" in name else -0.7
            value.data = torch.from_numpy(rng.uniform(low, 1.3, tuple(value.shape)).astype(np.float32))
    return module


IMAGE = (2, 4, 6, 8)
# id -> (module, shapes of the inputs, types of the layers behind Input)
CASES: dict[str, tuple[Any, tuple[tuple[int, ...], ...], str]] = {
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (IMAGE,), "Convolution"),
    "conv2d_sizes": (nn.Conv2d(4, 6, (3, 1), (1, 2), (0, 1), bias=False), (IMAGE,), "Convolution"),
    "conv2d_same": (nn.Conv2d(4, 3, 3, padding="same"), (IMAGE,), "Convolution"),
    "conv2d_same_even": (nn.Conv2d(4, 3, (2, 3), padding="same"), (IMAGE,), "Pad Convolution"),
    "conv2d_valid": (nn.Conv2d(4, 3, 3, padding="valid"), (IMAGE,), "Convolution"),
    "conv2d_reflect": (nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), (IMAGE,), "Pad Convolution"),
    "conv2d_circular": (nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), (IMAGE,), "Pad Convolution"),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=2, dilation=2), ((2, 4, 9),), "Convolution"),
    "conv3d": (nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=1), ((2, 2, 3, 4, 5),), "Convolution"),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2, dilation=2), (IMAGE,), "Deconvolution"),
    "transposed_1d": (nn.ConvTranspose1d(4, 2, 4, 2, 1), ((2, 4, 5),), "Deconvolution"),
    "transposed_output_padding": (
        nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1),
        (IMAGE,),
        "Deconvolution Pad",
    ),
    "transposed_output_padding_beyond": (
        nn.ConvTranspose2d(4, 2, 3, 3, 0, output_padding=(2, 0)),
        (IMAGE,),
        "Deconvolution Pad Bias",
    ),
    "transposed_output_padding_no_bias": (
        nn.ConvTranspose2d(4, 2, 3, 3, 1, output_padding=2, bias=False),
        (IMAGE,),
        "Deconvolution Pad",
    ),
    "linear": (nn.Linear(5, 3), ((2, 5),), "InnerProduct"),
    "linear_of_a_sequence": (nn.Linear(5, 3, bias=False), ((2, 4, 5),), "InnerProduct"),
    "linear_of_an_image": (
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 8, 3)),
        (IMAGE,),
        "InnerProduct",
    ),
    "matmul": (Call(lambda a, w: a @ w, w=nn.Parameter(x(5, 3))), ((2, 5),), "InnerProduct"),
    "batch_norm_1d": (nn.BatchNorm1d(5), ((2, 5),), "BatchNorm Scale"),
    "batch_norm_2d": (nn.BatchNorm2d(4, eps=1e-3, momentum=0.01), (IMAGE,), "BatchNorm Scale"),
    "batch_norm_3d": (nn.BatchNorm3d(2), ((2, 2, 3, 2, 4),), "BatchNorm Scale"),
    "batch_norm_plain": (nn.BatchNorm2d(4, affine=False), (IMAGE,), "BatchNorm"),
    "batch_norm_of_the_batch": (nn.BatchNorm2d(4, track_running_stats=False), (IMAGE,), "BatchNorm Scale"),
    "sync_batch_norm": (nn.SyncBatchNorm(4), (IMAGE,), "BatchNorm Scale"),
    "instance_norm": (nn.InstanceNorm2d(4), (IMAGE,), "InstanceNorm"),
    "instance_norm_affine": (nn.InstanceNorm1d(4, affine=True), ((2, 4, 9),), "InstanceNorm"),
    "instance_norm_tracked": (
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        (IMAGE,),
        "InstanceNorm",
    ),
    "layer_norm": (nn.LayerNorm((6, 8), eps=1e-3), (IMAGE,), "LayerNorm"),
    "layer_norm_plain": (nn.LayerNorm(8, elementwise_affine=False), (IMAGE,), "LayerNorm"),
    "layer_norm_no_bias": (nn.LayerNorm(8, bias=False), (IMAGE,), "LayerNorm"),
    "group_norm": (nn.GroupNorm(2, 4), (IMAGE,), "GroupNorm"),
    "group_norm_plain": (nn.GroupNorm(2, 4, affine=False), (IMAGE,), "GroupNorm"),
    "lrn": (nn.LocalResponseNorm(3, alpha=0.3, k=2.0), (IMAGE,), "LRN"),
    "lrn_3d": (nn.LocalResponseNorm(3), ((2, 4, 5),), "LRN"),
    "relu": (nn.ReLU(), (IMAGE,), "ReLU"),
    "relu_in_place": (nn.ReLU(inplace=True), (IMAGE,), "ReLU"),
    "relu6": (nn.ReLU6(), (IMAGE,), "ReLU6"),
    "leaky_relu": (nn.LeakyReLU(0.2), (IMAGE,), "ReLU"),
    "prelu": (nn.PReLU(4), (IMAGE,), "PReLU"),
    "prelu_shared": (nn.PReLU(), (IMAGE,), "PReLU"),
    "elu": (nn.ELU(0.5), (IMAGE,), "ELU"),
    "selu": (nn.SELU(), (IMAGE,), "ELU Power"),
    "celu": (nn.CELU(0.5), (IMAGE,), "Power ELU Power"),
    "sigmoid": (nn.Sigmoid(), (IMAGE,), "Sigmoid"),
    "tanh": (nn.Tanh(), (IMAGE,), "TanH"),
    "silu": (nn.SiLU(), (IMAGE,), "Swish"),
    "softplus": (nn.Softplus(), (IMAGE,), "BNLL"),
    "softplus_beta": (nn.Softplus(beta=2), (IMAGE,), "Power BNLL Power"),
    "log_sigmoid": (nn.LogSigmoid(), (IMAGE,), "Power BNLL Power"),
    "hardtanh": (nn.Hardtanh(-0.5, 0.25), (IMAGE,), "Clip"),
    "hardsigmoid": (nn.Hardsigmoid(), (IMAGE,), "Power ReLU6 Power"),
    "hardswish": (nn.Hardswish(), (IMAGE,), "Power ReLU6 Power Eltwise"),
    "mish": (nn.Mish(), (IMAGE,), "BNLL TanH Eltwise"),
    "gelu_tanh": (nn.GELU("tanh"), (IMAGE,), "Power Eltwise TanH Power Eltwise"),
    "glu": (nn.GLU(1), (IMAGE,), "Slice Sigmoid Eltwise"),
    "clamp": (Call(lambda a: a.clamp(-0.5, 0.5)), (IMAGE,), "Clip"),
    "clamp_below": (Call(lambda a: a.clamp(min=-0.5)), (IMAGE,), "Clip"),
    "clamp_at_0": (Call(lambda a: a.clamp(min=0)), (IMAGE,), "ReLU"),
    "softmax": (nn.Softmax(1), (IMAGE,), "Softmax"),
    "softmax_last": (nn.Softmax(-1), (IMAGE,), "Softmax"),
    "log_softmax": (nn.LogSoftmax(1), (IMAGE,), "Softmax Log"),
    "dropout": (nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.3)), ((2, 5),), "InnerProduct Dropout"),
    "dropout2d": (nn.Sequential(nn.Conv2d(4, 3, 1), nn.Dropout2d()), (IMAGE,), "Convolution"),
    "abs": (Call(torch.abs), (IMAGE,), "AbsVal"),
    "exp": (Call(torch.exp), (IMAGE,), "Exp"),
    "exp2": (Call(torch.exp2), (IMAGE,), "Exp"),
    "expm1": (Call(torch.expm1), (IMAGE,), "Exp Power"),
    "log": (Call(lambda a: torch.log(a * a + 1)), (IMAGE,), "Eltwise Power Log"),
    "log1p": (Call(lambda a: torch.log1p(a.abs())), (IMAGE,), "AbsVal Log"),
    "log10": (Call(lambda a: torch.log10(a.abs() + 1)), (IMAGE,), "AbsVal Power Log"),
    "sqrt": (Call(lambda a: (a.abs() + 1).sqrt()), (IMAGE,), "AbsVal Power Power"),
    "rsqrt": (Call(lambda a: (a.abs() + 1).rsqrt()), (IMAGE,), "AbsVal Power Power"),
    "reciprocal": (Call(lambda a: 1 / (a.abs() + 1)), (IMAGE,), "AbsVal Power Power"),
    "square": (Call(torch.square), (IMAGE,), "Power"),
    "cube": (Call(lambda a: a**3), (IMAGE,), "Power"),
    "power_of_a_number": (Call(lambda a: 2.5**a), (IMAGE,), "Exp"),
    "negative": (Call(lambda a: -a), (IMAGE,), "Power"),
    "add_number": (Call(lambda a: a + 1.5), (IMAGE,), "Power"),
    "subtract_number": (Call(lambda a: 1 - a), (IMAGE,), "Power"),
    "multiply_number": (Call(lambda a: a * 0.25), (IMAGE,), "Power"),
    "divide_by_number": (Call(lambda a: a / 255), (IMAGE,), "Power"),
    "number_in_a_buffer": (Call(lambda a, k: a * k, k=torch.tensor(3.0)), (IMAGE,), "Power"),
    "learned_number": (Call(lambda a, k: a * k, k=nn.Parameter(torch.tensor(3.0))), (IMAGE,), "Scale"),
    "learned_factors": (Call(lambda a, k: k * a, k=nn.Parameter(x(4, 1, 1))), (IMAGE,), "Scale"),
    "learned_offsets": (Call(lambda a, k: a + k, k=nn.Parameter(x(1, 4, 1, 1))), (IMAGE,), "Bias"),
    "factors_of_the_last_axis": (Call(lambda a, k: a * k, k=nn.Parameter(x(8))), (IMAGE,), "Scale"),
    "factors_with_a_hole": (Call(lambda a, k: a * k, k=nn.Parameter(x(4, 1, 8))), (IMAGE,), "Scale"),
    "fixed_mean": (Call(lambda a, k: a - k, k=x(4, 1, 1)), (IMAGE,), "Bias"),
    "from_a_constant": (Call(lambda a, k: k - a, k=x(4, 1, 1)), (IMAGE,), "Power Bias"),
    "divide_by_a_constant": (Call(lambda a, k: a / k, k=x(4, 1, 1).abs() + 1), (IMAGE,), "Scale"),
    "position_embedding": (Call(lambda a, k: a + k, k=nn.Parameter(x(1, 3, 5))), ((2, 3, 5),), "Bias"),
    "add": (Call(lambda a, b: a + b), (IMAGE, IMAGE), "Eltwise"),
    "subtract": (Call(lambda a, b: a - b), (IMAGE, IMAGE), "Eltwise"),
    "add_alpha": (Call(lambda a, b: torch.add(a, b, alpha=0.5)), (IMAGE, IMAGE), "Eltwise"),
    "multiply": (Call(lambda a, b: a * b), (IMAGE, IMAGE), "Eltwise"),
    "divide": (Call(lambda a, b: a / (b.abs() + 1)), (IMAGE, IMAGE), "AbsVal Power Power Eltwise"),
    "maximum": (Call(torch.maximum), (IMAGE, IMAGE), "Eltwise"),
    "minimum": (Call(torch.minimum), (IMAGE, IMAGE), "Power Power Eltwise Power"),
    "twice": (Call(lambda a: a + a), (IMAGE,), "Eltwise"),
    "gate_of_channels": (Call(lambda a, b: a * b), (IMAGE, (2, 4, 1, 1)), "Flatten Scale"),
    "offset_of_channels": (Call(lambda a, b: b + a), (IMAGE, (2, 4, 1, 1)), "Flatten Bias"),
    "gate_of_positions": (Call(lambda a, b: a * b), (IMAGE, (2, 1, 6, 8)), "Tile Eltwise"),
    "outer_product": (Call(lambda a, b: a * b), ((2, 3, 1), (2, 1, 4)), "Tile Tile Eltwise"),
    "divide_by_the_sum": (
        Call(lambda a: a / a.abs().sum(1, keepdim=True)),
        ((2, 4, 5),),
        "AbsVal Permute Reduction Reshape Power Tile Eltwise",
    ),
    "max_pool": (nn.MaxPool2d(2), (IMAGE,), "Pooling"),
    "max_pool_overlapping": (nn.MaxPool2d(3, 2, 1), (IMAGE,), "Pooling"),
    "max_pool_up": (nn.MaxPool2d(3, 2, ceil_mode=True), (IMAGE,), "Pooling"),
    "max_pool_sizes": (nn.MaxPool2d((3, 2), (2, 1), (1, 0)), (IMAGE,), "Pooling"),
    "max_pool_1d": (nn.MaxPool1d(3, 2), ((2, 3, 8),), "Pooling"),
    "max_pool_3d": (nn.MaxPool3d(2), ((2, 3, 4, 5, 6),), "Pooling"),
    "max_pool_places": (Call(lambda a: F.max_pool2d(a, 2, return_indices=True)), (IMAGE,), "Pooling"),
    "avg_pool": (nn.AvgPool2d(3, 2, 1), (IMAGE,), "Pooling"),
    "avg_pool_up": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (IMAGE,), "Pooling"),
    "avg_pool_without_pads": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (IMAGE,), "Pooling"),
    "avg_pool_without_pads_up": (
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (IMAGE,),
        "Pooling",
    ),
    "avg_pool_divisor": (nn.AvgPool2d(2, divisor_override=3), (IMAGE,), "Pooling Power"),
    "avg_pool_1d": (nn.AvgPool1d(3), ((2, 3, 8),), "Pooling"),
    "global_avg": (nn.AdaptiveAvgPool2d(1), (IMAGE,), "Pooling"),
    "global_max": (nn.AdaptiveMaxPool2d(1), (IMAGE,), "Pooling"),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 2)), (IMAGE,), "Pooling"),
    "adaptive_max": (nn.AdaptiveMaxPool2d((3, 2)), (IMAGE,), "Pooling"),
    "adaptive_nothing": (nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d((6, 8))), (IMAGE,), "ReLU"),
    "nearest": (nn.Upsample(scale_factor=2), (IMAGE,), "Deconvolution"),
    "nearest_sizes": (nn.Upsample((12, 24)), (IMAGE,), "Deconvolution"),
    "nearest_down": (Call(lambda a: F.interpolate(a, (3, 2))), (IMAGE,), "Pooling"),
    "nearest_1d": (nn.Upsample(scale_factor=3), ((2, 3, 4),), "Deconvolution"),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (IMAGE,), "Pad Deconvolution"),
    "bilinear_3": (nn.Upsample(scale_factor=3, mode="bilinear"), (IMAGE,), "Pad Deconvolution"),
    "bilinear_sizes": (nn.Upsample((12, 32), mode="bilinear"), (IMAGE,), "Pad Deconvolution"),
    "linear_1d": (nn.Upsample(scale_factor=2, mode="linear"), ((2, 3, 4),), "Pad Deconvolution"),
    "trilinear": (nn.Upsample(scale_factor=2, mode="trilinear"), ((1, 2, 2, 3, 2),), "Pad Deconvolution"),
    "bilinear_of_one": (
        nn.Upsample(scale_factor=4, mode="bilinear", align_corners=True),
        ((2, 3, 1, 1),),
        "Deconvolution",
    ),
    "channel_shuffle": (
        Call(lambda a: a.view(2, 2, 2, 6, 8).transpose(1, 2).contiguous().view(2, -1, 6, 8)),
        (IMAGE,),
        "ShuffleChannel",
    ),
    "channel_shuffle_module": (nn.ChannelShuffle(2), (IMAGE,), "ShuffleChannel"),
    "pixel_shuffle": (nn.PixelShuffle(2), (IMAGE,), "Reshape Permute Reshape"),
    "pixel_unshuffle": (nn.PixelUnshuffle(2), (IMAGE,), "Reshape Permute Reshape"),
    "reflection_pad": (nn.ReflectionPad2d((1, 2, 3, 0)), (IMAGE,), "Pad"),
    "replication_pad": (nn.ReplicationPad2d(2), (IMAGE,), "Pad"),
    "replication_pad_3d": (nn.ReplicationPad3d(1), ((1, 2, 2, 3, 2),), "Pad"),
    "circular_pad": (nn.CircularPad2d(2), (IMAGE,), "Pad"),
    "zero_pad": (nn.ZeroPad2d((0, 1, 0, 1)), (IMAGE,), "Pad"),
    "constant_pad": (nn.ConstantPad1d(2, 3.5), ((2, 3, 4),), "Pad"),
    "pad_cuts": (Call(lambda a: F.pad(a, (-1, 1))), (IMAGE,), "Pad"),
    "pad_channels": (Call(lambda a: F.pad(a, (0, 0, 0, 0, 0, 4))), (IMAGE,), "Pad"),
    "cat": (Call(lambda a, b: torch.cat([a, b], 1)), (IMAGE, IMAGE), "Concat"),
    "cat_last": (Call(lambda a, b: torch.cat([a, b, a], -1)), (IMAGE, IMAGE), "Concat"),
    "stack": (Call(lambda a, b: torch.stack([a, b], 1)), (IMAGE, IMAGE), "Reshape Reshape Concat"),
    "chunk": (Call(lambda a: a.chunk(2, 1)), (IMAGE,), "Slice"),
    "split": (Call(lambda a: a.split([1, 3, 4], -1)), (IMAGE,), "Slice"),
    "split_and_use_one": (Call(lambda a: a.split(2, 1)[1]), (IMAGE,), "Slice Silence"),
    "unbind": (Call(lambda a: a.unbind(1)[0] + 1), (IMAGE,), "Slice Silence Reshape Power"),
    "slice": (Call(lambda a: a[:, 1:3]), (IMAGE,), "Slice Silence"),
    "slice_from_the_start": (Call(lambda a: a[:, :, :-1]), (IMAGE,), "Slice Silence"),
    "slice_nothing_off": (Call(lambda a: F.relu(a[:, :])), (IMAGE,), "ReLU"),
    "every_second": (Call(lambda a: a[:, :, ::2, ::2]), (IMAGE,), "Pooling Pooling"),
    "select": (Call(lambda a: a[:, 0]), (IMAGE,), "Slice Silence Reshape"),
    "select_last": (Call(lambda a: a[..., -1]), (IMAGE,), "Slice Silence Reshape"),
    "flatten": (nn.Flatten(), (IMAGE,), "Flatten"),
    "flatten_some": (nn.Flatten(2), (IMAGE,), "Flatten"),
    "view": (Call(lambda a: a.view(a.size(0), -1)), (IMAGE,), "Flatten"),
    "view_rows": (Call(lambda a: a.view(-1, 8)), (IMAGE,), "Reshape"),
    "unflatten": (nn.Unflatten(1, (2, 2)), (IMAGE,), "Reshape"),
    "squeeze": (Call(lambda a: a.mean((2, 3), keepdim=True).squeeze()), (IMAGE,), "Pooling Flatten"),
    "unsqueeze": (Call(lambda a: a[:, None]), (IMAGE,), "Reshape"),
    "permute": (Call(lambda a: a.permute(0, 2, 3, 1)), (IMAGE,), "Permute"),
    "transpose": (Call(lambda a: a.transpose(1, -1)), (IMAGE,), "Permute"),
    "expand": (Call(lambda a: a.expand(-1, 3, 5)), ((2, 3, 1),), "Tile"),
    "repeat": (Call(lambda a: a.repeat(1, 2, 3)), ((2, 3, 1),), "Tile Tile"),
    "mean_of_positions": (Call(lambda a: a.mean((2, 3))), (IMAGE,), "Pooling Flatten"),
    "mean_kept": (Call(lambda a: a.mean((-1, -2), keepdim=True)), (IMAGE,), "Pooling"),
    "max_of_positions": (Call(lambda a: a.amax((2, 3))), (IMAGE,), "Pooling Flatten"),
    "mean_of_channels": (Call(lambda a: a.mean(1)), (IMAGE,), "Permute Reduction"),
    "mean_of_the_last": (Call(lambda a: a.mean(-1)), (IMAGE,), "Reduction"),
    "mean_of_all": (Call(torch.mean), (IMAGE,), "Reduction"),
    "norm": (Call(lambda a: a.norm(dim=-1)), (IMAGE,), "Reduction Power"),
    "norm_1": (Call(lambda a: a.norm(1, (2, 3))), (IMAGE,), "Reduction"),
    "normalize": (
        Call(lambda a: F.normalize(a, dim=-1)),
        (IMAGE,),
        "Reduction Power Reshape Clip Tile Power Eltwise",
    ),
    "argmax": (Call(lambda a: a.argmax(1)), (IMAGE,), "ArgMax Reshape"),
    "argmax_kept": (Call(lambda a: a.argmax(-1, keepdim=True)), (IMAGE,), "ArgMax"),
    "threshold": (nn.Threshold(0.1, 0), (IMAGE,), "Threshold Eltwise"),
    "mask": (Call(lambda a: a * (a > 0.5).float()), (IMAGE,), "Threshold Eltwise"),
    "unfold": (nn.Unfold(3, 2, 1, (2, 1)), (IMAGE,), "Im2col Reshape"),
    "no_grad": (Call(torch.no_grad()(lambda a: a.abs() + 1)), (IMAGE,), "AbsVal Power"),
    "precision": (Call(lambda a: a.double().float() + 1), (IMAGE,), "Power"),
    "sum": (Call(lambda a: a.sum((1, 2, 3))), (IMAGE,), "Reduction"),
    "sum_kept": (Call(lambda a: a.sum(-1, keepdim=True)), (IMAGE,), "Reduction Reshape"),
    "contiguous": (Call(lambda a: F.relu(a.contiguous().clone().detach())), (IMAGE,), "ReLU"),
    "unused_input": (Call(lambda a, b: F.relu(a)), (IMAGE, IMAGE), "Silence ReLU"),
    "output_given_twice": (Call(lambda a: [a.abs()] * 3), (IMAGE,), "AbsVal Split Split Split"),
    "output_is_read": (Call(lambda a: (a.abs(), a.abs() + 1)), (IMAGE,), "AbsVal AbsVal Power"),
}


def layer_types(net: Any) -> str:
    return " ".join(layer.type for layer in net.layer if layer.type != "Input")


@pytest.mark.parametrize("case", CASES)
def test_an_operator_becomes_layers_that_compute_it(case: str) -> None:
    module, shapes, types = CASES[case]
    module = settled(module)
    inputs = [x(*shape, seed=i) for i, shape in enumerate(shapes)]

    found = convert_module(module, inputs)  # compares all blobs in float64

    assert layer_types(found.net_param) == types
    assert found.agreement.ok
    with torch.no_grad():
        returned = module.eval()(*inputs)
    returned = returned if isinstance(returned, tuple | list) else [returned]
    made = found.net.forward(**dict(zip(found.net.inputs, [v.numpy() for v in inputs], strict=True)))
    for blob, value in zip(found.outputs, returned, strict=True):
        expected = value.numpy()
        largest = max(1, np.abs(expected).max())
        np.testing.assert_allclose(made[blob], expected, rtol=1e-4, atol=1e-5 * largest)


# Where Caffe's gradient is not PyTorch's, and why.
OTHER_GRADIENTS = {
    "max_pool_places": "places have no gradient",
    "contiguous": "detach stops it in PyTorch",
    "no_grad": "and so does no_grad",
    "argmax": "places have no gradient",
    "argmax_kept": "places have no gradient",
    "mask": "Caffe refuses a gradient through Threshold",
    "threshold": "Caffe refuses a gradient through Threshold",
    "relu_in_place": "PyTorch refuses to change an input whose gradient is wanted",
    "batch_norm_of_the_batch": "the net is in TEST, where Caffe takes the statistics as given",
    "max_of_positions": "PyTorch shares the gradient among equal values",
}


@pytest.mark.parametrize("case", [case for case in CASES if case not in OTHER_GRADIENTS])
def test_gradients_of_inputs_are_pytorchs(case: str) -> None:
    module, shapes, _ = CASES[case]
    module = settled(module).double().eval()
    inputs = [x(*shape, seed=i).double().requires_grad_() for i, shape in enumerate(shapes)]
    message = convert_module(module, [value.detach() for value in inputs], check=False)
    message.net_param.force_backward = True
    net = caffenorm.Net(message.net_param, caffenorm.TEST, dtype=np.float64)
    net.share_with(message.net)

    returned = module(*inputs)
    returned = list(returned) if isinstance(returned, tuple | list) else [returned]
    rng = np.random.default_rng(9)
    gradients = [torch.from_numpy(rng.normal(size=tuple(value.shape))) for value in returned]
    torch.autograd.backward(returned, gradients)
    net.forward(**{name: value.detach().numpy() for name, value in zip(net.inputs, inputs, strict=True)})
    for blob, gradient in zip(message.outputs, gradients, strict=True):
        net.blobs[blob].diff[...] = gradient.numpy()
    net.backward()

    for name, value in zip(net.inputs, inputs, strict=True):
        expected = np.zeros(value.shape) if value.grad is None else value.grad.numpy()
        found = net.blobs[name].diff
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1, np.abs(expected).max()))


# What does not come back: why.
NOT_BACK = {
    "divide_by_a_constant": "the net holds its reciprocal",
    "fixed_mean": "the net holds it with the other sign",
    "factors_with_a_hole": "the net holds them repeated",
    "number_in_a_buffer": "it is a number of the prototxt",
    "matmul": "it comes back as a Linear, whose weight is the other way round",
}


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_computes_the_same_with_the_same_bits(case: str) -> None:
    module, shapes, _ = CASES[case]
    module = settled(module).float().eval()
    inputs = [x(*shape, seed=i) for i, shape in enumerate(shapes)]
    found = convert_module(module, inputs, check=False)

    back = to_torch(found.net, check=False)

    with torch.no_grad():
        expected, got = module(*inputs), back(*inputs)
    expected = list(expected) if isinstance(expected, tuple | list) else [expected]
    by_name = dict(zip(found.net.outputs, got if isinstance(got, tuple) else [got], strict=True))
    for blob, value in zip(found.outputs, expected, strict=True):
        largest = max(1, float(value.abs().max()))
        np.testing.assert_allclose(by_name[blob].numpy(), value.numpy(), rtol=1e-4, atol=1e-5 * largest)
    if case in NOT_BACK:
        return
    held = {value.numpy().tobytes() for value in back.state_dict().values()}
    for name, value in module.state_dict().items():
        if "num_batches" not in name:
            assert value.numpy().tobytes() in held, name
