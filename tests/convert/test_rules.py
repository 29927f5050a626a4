"""Rules for options and types that Caffe's golden cases do not have: blobs and gradients of single layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import describe, to_torch, verify
from caffenorm.convert.proof.results import Verification
from caffenorm.convert.source import module_source
from caffenorm.errors import ConversionError
from caffenorm.weights import write_blob

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")]


def layer(kind: str, more: str = "", bottoms: str = "data", tops: str = "y") -> str:
    listed = "".join(f'bottom: "{name}" ' for name in bottoms.split())
    made = "".join(f'top: "{name}" ' for name in tops.split())
    return f'layer {{ name: "op" type: "{kind}" {listed}{made}{more} }}\n'


def given(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def net_of(text: str, phase: int = caffenorm.TEST) -> Net:
    net = Net.from_text(text, phase, dtype=np.float64)
    rng = np.random.default_rng(2)
    for each in net.layers:
        for blob in each.blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


def proven(text: str, phase: int = caffenorm.TEST) -> Verification:
    """That blobs and gradients agree."""
    found = verify(net_of(text, phase))
    assert found.ok, str(found)
    return found


# --- Pad ---

PADS = [
    ("pad_param { pads: 1 pads: 2 pads: 3 pads: 0 }", "F.pad(data, (1, 2, 3, 0))"),
    ("pad_param { pads: 1 pads: 2 value: 1.5 }", "F.pad(data, (1, 2), value=1.5)"),
    ("pad_param { pads: -1 pads: 2 }", "F.pad(data, (-1, 2))"),
    ('pad_param { mode: "reflect" pads: 2 pads: 1 pads: 0 pads: 3 }', 'mode="reflect"'),
    ('pad_param { mode: "reflect" pads: 2 pads: 1 }', 'F.pad(data, (2, 1, 0, 0), mode="reflect")'),
    ('pad_param { mode: "replicate" pads: 2 pads: 1 pads: 0 pads: 3 pads: 1 pads: 0 }', 'mode="replicate"'),
    ('pad_param { mode: "edge" pads: 7 pads: 9 }', 'mode="replicate"'),
    ('pad_param { mode: "circular" pads: 2 pads: 1 pads: 0 pads: 3 }', 'mode="circular"'),
    ('pad_param { mode: "symmetric" pads: 2 pads: 1 pads: 0 pads: 3 }', "pad_by_index(data, "),
    ('pad_param { mode: "reflect" pads: -2 pads: 1 pads: 1 pads: -1 }', "pad_by_index(data, "),
    (
        'pad_param { mode: "wrap" pads: 0 pads: 0 pads: 0 pads: 0 pads: 0 pads: 0 pads: 1 pads: 2 }',
        "pad_by_index(data, ",
    ),
    ("pad_param { pads: 0 pads: 0 }", "y = data"),
]


@pytest.mark.parametrize(("more", "text"), PADS, ids=[more for more, _ in PADS])
def test_pads_become_f_pad_where_it_can(more: str, text: str) -> None:
    net = given("data", 2, 3, 5, 6) + layer("Pad", more)

    proven(net)

    assert text in module_source(describe(net_of(net)))


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_mirror_pads(mode: str) -> None:
    pads = "".join(f"paddings: {width} " for width in (0, 0, 1, 2, 3, 1, 0, 2))

    proven(given("data", 2, 3, 5, 6) + layer("MirrorPad", f'mirror_pad_param {{ mode: "{mode}" {pads} }}'))


# --- losses and rates ---

CLASSES = given("data", 4, 5, 3) + given("label", 4, 1, 3)


@pytest.mark.parametrize(
    "more",
    [
        "label_smoothing: 0.2",
        "label_smoothing: 0.2 ignore_label: 1 normalization: FULL",
        "weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 1 "
        "class_weighting: 0 class_weighting: 3",
        "weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 1 "
        "class_weighting: 1 class_weighting: 3 label_smoothing: 0.3 ignore_label: 2",
        "normalization: PRE_FIXED pre_fixed_normalizer: 7.5",
        "normalization: PRE_FIXED pre_fixed_normalizer: 0.5",
    ],
)
def test_softmax_losses_of_forks(more: str) -> None:
    text = CLASSES + layer("SoftmaxWithLoss", f"loss_param {{ {more} }}", "data label")

    found = proven(text, caffenorm.TRAIN)

    assert found.gradients is not None
    assert found.gradients.ok


def test_an_infogain_matrix_from_a_file_becomes_a_constant(tmp_path: Path) -> None:
    gains = np.random.default_rng(4).uniform(0, 1, (1, 1, 5, 5)).astype(np.float32)
    write_blob(tmp_path / "gains.binaryproto", gains)
    source = f'infogain_loss_param {{ source: "{tmp_path / "gains.binaryproto"}" }}'
    net = net_of(CLASSES + layer("InfogainLoss", source, "data label"), caffenorm.TRAIN)

    module = to_torch(net)

    assert module.verification.ok
    assert not module.op_gains.requires_grad
    np.testing.assert_array_equal(module.op_gains, gains)


@pytest.mark.parametrize("more", ["", "top_k: 2", "ignore_label: 1", "denominator: 30"])
@pytest.mark.parametrize("tops", ["y", "y classes"])
def test_accuracies(more: str, tops: str) -> None:
    proven(CLASSES + layer("Accuracy", f"accuracy_param {{ {more} }}", "data label", tops))


def test_the_accuracy_of_a_class_without_labels_is_0() -> None:
    text = given("data", 3, 4) + given("label", 3) + layer("Accuracy", "", "data label", "y classes")
    scores = torch.tensor([[3.0, 0, 0, 0], [0, 3, 0, 0], [3, 0, 0, 0]], dtype=torch.float64)

    classes, _ = to_torch(net_of(text))(scores, torch.tensor([0.0, 1, 1], dtype=torch.float64))

    assert classes.tolist() == [1, 0.5, 0, 0]


# --- norms ---


@pytest.mark.parametrize("tops", ["y", "y norm"])
@pytest.mark.parametrize("more", ['normalize_type: "L1"', 'normalize_type: "L2"', "bp_norm: true"])
def test_normalize_with_its_norm(more: str, tops: str) -> None:
    proven(given("data", 2, 3, 4, 5) + layer("Normalize", f"normalize_param {{ {more} }}", tops=tops))


@pytest.mark.parametrize("phase", [caffenorm.TEST, caffenorm.TRAIN])
def test_bn_gives_the_batchs_statistics(phase: int) -> None:
    more = "bn_param { scale_filler { value: 1 } shift_filler { value: 0 } }"

    proven(given("data", 2, 3, 4, 5) + layer("BN", more, tops="y mean variance"), phase)


@pytest.mark.parametrize("more", ["disable_mean: true", "disable_variance: true"])
def test_what_stored_statistics_leave_out_is_exact(more: str) -> None:
    text = given("data", 2, 3, 4, 5) + layer("BatchNorm", f"batch_norm_param {{ {more} }}")

    proven_in_test = to_torch(net_of(text), check=False)
    net = net_of(text)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    net.forward(data=x)

    found = proven_in_test(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, net.blobs["y"].data, rtol=1e-7)


# --- windows ---


@pytest.mark.parametrize("size", [(6,), (6, 7), (4, 5, 6)])
@pytest.mark.parametrize("axis", [1, 2])
def test_im2col_of_any_axes(size: tuple[int, ...], axis: int) -> None:
    lead = (2, 3, 2)[: axis + 1]
    more = f"convolution_param {{ axis: {axis} kernel_size: 2 stride: 2 pad: 1 dilation: 2 }}"

    proven(given("data", *lead, *size) + layer("Im2col", more))


def test_stochastic_pooling_gives_its_mean_in_test() -> None:
    pool = layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", "a")
    text = given("data", 2, 3, 7, 7) + layer("AbsVal", tops="a").replace('"op"', '"abs"') + pool

    proven(text)


def test_deconvolutions_with_pads_of_each_side() -> None:
    more = "num_output: 2 kernel_size: 4 stride: 2 pad_t: 1 pad_l: 0 pad_b: 2 pad_r: 1"

    proven(given("data", 2, 3, 5, 6) + layer("Deconvolution", f"convolution_param {{ {more} }}"))


def test_lrn_of_two_axes() -> None:
    proven(given("data", 2, 7) + layer("LRN", "lrn_param { local_size: 3 alpha: 0.1 }"))


@pytest.mark.parametrize("more", ["", "axis: 1", "axis: 2 top_k: 2 out_max_val: true", "out_max_val: true"])
def test_smallest_places(more: str) -> None:
    proven(given("data", 2, 5, 4) + layer("ArgMax", f"argmax_param {{ min_first: true {more} }}"))


# --- what is refused, and why ---

REFUSED = {
    "dropout_param { sample_weights_test: true }": ("Dropout", "drops in TEST too"),
    "pooling_param { pool: STOCHASTIC kernel_size: 2 }": ("Pooling", "draws at random in training"),
    "batch_norm_param { update_global_stats: true use_global_stats: true }": (
        "BatchNorm",
        "variance about the stored mean",
    ),
    "batch_norm_param { stats_batch_size: 1 }": ("BatchNorm", "every 1 images statistics of their own"),
    "batch_norm_param { disable_mean: true }": ("BatchNorm", "leaves out the batch's mean"),
    "batch_norm_param { disable_variance: true }": ("BatchNorm", "leaves out the batch's variance"),
    "batch_norm_param { eps: 0 }": ("BatchNorm", "eps of 0"),
    'dummy_data_param { shape { dim: 1 } data_filler { type: "gaussian" } }': ("DummyData", "random"),
}


@pytest.mark.parametrize("more", REFUSED)
def test_what_has_no_counterpart_is_refused_with_its_reason(more: str) -> None:
    kind, why = REFUSED[more]
    text = given("data", 2, 3, 4, 4) + layer(kind, more, "" if kind == "DummyData" else "data")

    with pytest.raises(ConversionError, match=why):
        describe(net_of(text, caffenorm.TRAIN))


# --- running statistics ---


@pytest.mark.parametrize("fraction", [0, 0.5, 1])
@pytest.mark.parametrize("more", ["", "scale_bias: true"], ids=["BVLC", "NVIDIA"])
def test_running_statistics_move_as_caffes(fraction: float, more: str) -> None:
    param = f"batch_norm_param {{ moving_average_fraction: {fraction} {more} }}"
    net = net_of(given("data", 4, 3, 5, 6) + layer("BatchNorm", param), caffenorm.TRAIN)
    stored = net.layers[-1].blobs
    stored[2].data[...] = 1 / (1 - fraction) if fraction < 1 else 7
    if more:
        stored[2].data[...] = 1
    module = to_torch(net, check=False).train()
    x = np.random.default_rng(1).standard_normal((4, 3, 5, 6))

    net.forward(data=x)
    module(torch.from_numpy(x))

    factor = stored[2].data[0]
    np.testing.assert_allclose(module.op.running_mean.numpy(), stored[0].data / factor, rtol=1e-6)
    np.testing.assert_allclose(module.op.running_var.numpy(), stored[1].data / factor, rtol=1e-6)


@pytest.mark.parametrize(
    ("factor", "says"), [(0.0, "has seen no batch yet"), (3.0, "has not converged"), (1000.0, "")]
)
def test_statistics_that_move_otherwise_are_noted(factor: float, says: str) -> None:
    net = net_of(given("data", 4, 3, 5, 6) + layer("BatchNorm"), caffenorm.TRAIN)
    net.layers[-1].blobs[2].data[...] = factor

    notes = "\n".join(describe(net).notes)

    assert says in notes
    assert bool(says) == bool(notes)
