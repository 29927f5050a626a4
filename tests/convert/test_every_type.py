"""Every layer type as PyTorch: blobs, gradients of inputs and of parameters, and one step of training.

Types with golden cases are in `test_golden_nets` and `test_gradients`; these are the others.
"""

from __future__ import annotations

import golden
import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import verify
from caffenorm.convert.program import converted_types

pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")]

# Types without parameters that pass no gradient.
NO_GRADIENT = {"Accuracy", "ArgMax", "Input", "Threshold", "Silence", "DummyData", "Filter", "Parameter"}
IMAGES = (4, 3, 5, 6)
# Type, parameters, shapes of the bottoms after the first one.
CASES = [
    ("Axpy", "", [(4, 3, 5, 6), (4, 3, 5, 6)]),
    ("BN", "bn_param { slope_filler { value: 1 } }", []),
    ("BN", "bn_param { scale_filler { value: 1 } }", []),
    ("BN", "bn_param { scale_filler { value: 1 } bn_mode: INFERENCE }", []),
    ("BN", "bn_param { slope_filler { value: 1 } frozen: true }", []),
    ("BatchNorm", "batch_norm_param { scale_bias: true fused_relu: true }", []),
    ("BatchNorm", "batch_norm_param { use_weight_bias: true }", []),
    ("BatchNorm", "batch_norm_param { use_weight_bias: true bias_term: false }", []),
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 relu: true negative_slope: 0.1 }", []),
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 pad_t: 1 pad_b: 2 pad_r: 1 }", []),
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 tf_pad: SAME }", []),
    ("ConvolutionDepthwise", "convolution_param { num_output: 3 kernel_size: 3 }", []),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad_t: 1 pad_r: 2 }", []),
    ("DepthwiseConvolution", "convolution_param { num_output: 6 kernel_size: 3 bias_term: false }", []),
    ("Dropout", "dropout_param { dropout_ratio: 0.3 }", []),
    ("ELU", "elu_param { alpha: 0.7 lambda: 1.3 }", []),
    ("GN", "group_norm_param { num_groups: 3 }", []),
    ("GroupNorm", "group_norm_param { num_groups: 1 eps: 0.01 }", []),
    ("GroupNorm", "group_norm_param { num_groups: 3 affine: false }", []),
    ("InnerProduct", "inner_product_param { num_output: 4 relu: true }", []),
    ("InstanceNorm", "instance_norm_param { affine: true }", []),
    ("InstanceNorm", "instance_norm_param { affine: true track_running_stats: true }", []),
    ("LayerNorm", "layer_norm_param { }", []),
    ("LayerNorm", "layer_norm_param { axis: 2 bias: false }", []),
    ("LayerNorm", "layer_norm_param { elementwise_affine: false }", []),
    ("MirrorPad", 'mirror_pad_param { mode: "symmetric" paddings: [0, 0, 0, 0, 1, 2, 2, 1] }', []),
    ("NdConvolution", "convolution_param { num_output: 2 kernel_size: 3 kernel_size: 2 }", []),
    ("NdPooling", "pooling_param { kernel_size: 2 stride: 2 }", []),
    ("Normalize", "norm_param { across_spatial: false channel_shared: false }", []),
    ("Normalize", "norm_param { }", []),
    ("Normalize", 'normalize_param { normalize_type: "L1" }', []),
    ("PReLU", "prelu_param { channel_shared: true }", []),
    ("Pad", 'pad_param { mode: "reflect" pads: [1, 2, 0, 1] }', []),
    ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", []),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 ceil_mode: false pool: AVE }", []),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE avg_include_pad: false }", []),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad_t: 1 pad_b: 2 pad_r: 1 }", []),
    ("ReLU", "relu_param { negative_slope: 0.2 }", []),
    ("ReLU6", "", []),
    ("Scale", "scale_param { bias_term: true min_value: -0.5 max_value: 5 }", []),
    ("ShuffleChannel", "shuffle_channel_param { group: 3 }", []),
    ("SmoothL1Loss", "smooth_l1_loss_param { sigma: 2 }", [(4, 3, 5, 6)]),
    ("SyncBatchNorm", "", []),
]

# Which of the blobs learn, where others are statistics.
LEARNT = {
    "BatchNorm": slice(3, None),
    "SyncBatchNorm": slice(3, None),
    "BN": slice(2),
    "InstanceNorm": slice(2),
}


def net_of(kind: str, more: str, others: list[tuple[int, ...]], phase: int) -> Net:
    shapes = [IMAGES, *others]
    if kind == "Axpy":
        shapes = [(4, 3), *others]
    text = ""
    for i, shape in enumerate(shapes):
        size = f"input_param {{ shape {{ dim: {list(shape)} }} }}"
        text += f'layer {{ name: "in{i}" type: "Input" top: "in{i}" {size} }}\n'
    bottoms = "".join(f'bottom: "in{i}" ' for i in range(len(shapes)))
    text += f'layer {{ name: "op" type: "{kind}" {bottoms} top: "y" {more} }}\n'
    net = Net.from_text(text, phase, dtype=np.float64)
    rng = np.random.default_rng(6)
    for blob in net.layers[-1].blobs:
        blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


@pytest.mark.parametrize("phase", [caffenorm.TEST, caffenorm.TRAIN], ids=["test", "train"])
@pytest.mark.parametrize(("kind", "more", "others"), CASES, ids=[f"{kind} {more}" for kind, more, _ in CASES])
def test_blobs_and_gradients_agree(kind: str, more: str, others: list[tuple[int, ...]], phase: int) -> None:
    net = net_of(kind, more, others, phase)

    found = verify(net)

    assert found.ok, str(found)
    assert found.gradients is not None
    assert not found.gradients.skipped
    values = found.gradients.values
    assert {check.name for check in values if check.kind == "input"} == set(
        net.inputs[: 1 if kind.endswith("Loss") else None]
    )
    learnt = [check for check in values if check.kind == "parameter"]
    assert len(learnt) == len(net.layers[-1].blobs[LEARNT.get(kind, slice(None))])
    assert all(check.max_rel <= check.limit for check in values if not check.said)


def test_every_type_is_compared_with_its_gradients() -> None:
    here = {kind for kind, _, _ in CASES}

    assert converted_types() - here - NO_GRADIENT <= set(golden.layer_families())
