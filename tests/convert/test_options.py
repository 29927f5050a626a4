"""Options of the module that a net becomes: folding, half precision, channels last, preprocessing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffenorm
from caffenorm import Net
from caffenorm.convert import (
    ConvertOptions,
    Preprocessing,
    describe,
    to_torch,
    verify,
    write_torch,
)
from caffenorm.convert.live import build_module
from caffenorm.convert.source import module_source
from caffenorm.errors import ConfigError, ShapeError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
)
FOLDING = ConvertOptions(fold_batch_norm=True)


def one(kind: str, bottom: str, top: str, more: str = "", name: str = "") -> str:
    return f'layer {{ name: "{name or top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


def norm(blob: str, bias: bool = True) -> str:
    scale = f"scale_param {{ bias_term: {str(bias).lower()} }}"
    return one("BatchNorm", blob, blob, name=f"{blob}_bn") + one("Scale", blob, blob, scale, f"{blob}_scale")


def net_of(text: str, phase: int = caffenorm.TEST, dtype: Any = np.float64) -> Net:
    """With random parameters; variances and factors of norms are positive."""
    net = Net.from_text(INPUT + text, phase, dtype=dtype)
    rng = np.random.default_rng(3)
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            norms = layer.type in ("BatchNorm", "SyncBatchNorm", "BN") and i
            blob.data[...] = rng.uniform(0.5, 2, blob.shape) if norms else rng.normal(0, 0.4, blob.shape)
    return net


CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 %s }"
WITH_CONV = one("Convolution", "data", "c", CONV % "") + norm("c") + one("ReLU", "c", "c", name="r")


def blobs_of(net: Net, options: ConvertOptions, x: np.ndarray) -> dict[str, Any]:
    module = build_module(describe(net, options), np.float64)
    with torch.no_grad():
        return module.blobs(torch.from_numpy(x))


# --- folding ---


@pytest.mark.parametrize(
    ("first", "layers"),
    [
        (one("Convolution", "data", "c", CONV % ""), norm("c")),
        (one("Convolution", "data", "c", CONV % "bias_term: false"), norm("c")),
        (one("Convolution", "data", "c", CONV % "bias_term: false"), norm("c", bias=False)),
        (one("Convolution", "data", "c", CONV % ""), one("BatchNorm", "c", "c", name="n")),
        (one("Convolution", "data", "c", CONV % ""), one("BatchNorm", "c", "n") + one("TanH", "n", "t")),
        (one("Convolution", "data", "c", CONV % ""), one("SyncBatchNorm", "c", "c", name="n")),
        (
            one("Convolution", "data", "c", CONV % ""),
            one("BN", "c", "n", "bn_param { slope_filler { value: 1 } }"),
        ),
        (
            one("Convolution", "data", "c", CONV % ""),
            one("BatchNorm", "c", "n", "batch_norm_param { scale_bias: true fused_relu: true }"),
        ),
        (
            one(
                "DepthwiseConvolution",
                "data",
                "c",
                "convolution_param { num_output: 3 kernel_size: 3 }",
            ),
            norm("c"),
        ),
        (one("Deconvolution", "data", "c", CONV % "stride: 2"), norm("c")),
        (
            one("Deconvolution", "data", "c", "convolution_param { num_output: 6 kernel_size: 2 group: 3 }"),
            norm("c"),
        ),
        (
            one("Convolution", "data", "c", "convolution_param { num_output: 6 kernel_size: 2 group: 3 }"),
            norm("c"),
        ),
        (one("InnerProduct", "data", "c", "inner_product_param { num_output: 5 }"), norm("c")),
        (
            one("InnerProduct", "data", "c", "inner_product_param { num_output: 5 transpose: true }"),
            norm("c"),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")
def test_norms_fold_into_what_comes_before(first: str, layers: str) -> None:
    net = net_of(first + layers)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8))

    found = blobs_of(net, FOLDING, x)

    program = describe(net, FOLDING)
    assert len(program.submodules) == 1
    assert "BatchNorm" not in module_source(program)
    net.forward(data=x)
    for name, value in found.items():
        np.testing.assert_allclose(value.numpy(), net.blobs[name].data, rtol=1e-6, atol=1e-9, err_msg=name)


def test_a_blob_that_is_folded_is_said_to_be() -> None:
    net = net_of(
        one("Convolution", "data", "c", CONV % "")
        + one("BatchNorm", "c", "n")
        + one("Scale", "n", "s", "scale_param { bias_term: true }")
    )

    program = describe(net, FOLDING)

    assert program.folded == {
        "c": "Convolution and BatchNorm and Scale are one module",
        "n": "Convolution and BatchNorm and Scale are one module",
    }


@pytest.mark.parametrize(
    "text",
    [
        norm("data"),
        one("Convolution", "data", "c", CONV % "") + one("ReLU", "c", "c", name="r") + norm("c"),
        one("Convolution", "data", "c", CONV % "relu: true") + norm("c"),
        one("Convolution", "data", "c", CONV % "")
        + one("BatchNorm", "c", "c", "batch_norm_param { use_global_stats: false }", "n"),
        one("Convolution", "data", "c", CONV % "") + one("TanH", "c", "t") + one("BatchNorm", "c", "n"),
        "".join(
            one("Convolution", "data", c, f'param {{ name: "w" }} param {{ name: "b" }} {CONV % ""}')
            + norm(c)
            for c in ("a", "c")
        ),
    ],
    ids=["no_convolution", "relu_between", "relu_inside", "batch", "read_elsewhere", "shared"],
)
@pytest.mark.filterwarnings("ignore::caffenorm.CaffenormWarning")
def test_what_would_not_be_exact_is_not_folded(text: str) -> None:
    net = net_of(text)

    program = describe(net, FOLDING)

    assert "BatchNorm2d" in module_source(program)
    assert any("not folded" in note for note in program.notes)
    assert verify(net, options=FOLDING, gradients=False).ok


# --- preprocessing ---


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("maximum", [255, 1])
@pytest.mark.parametrize("mean", [None, 120.0, [104.0, 117.0, 123.5], "image", "larger"])
def test_pictures_are_prepared_as_the_definition_says(order: str, maximum: float, mean: Any) -> None:
    net = net_of(WITH_CONV)
    rng = np.random.default_rng(5)
    size = {"image": 8, "larger": 11}.get(mean) if isinstance(mean, str) else None
    array = rng.uniform(90, 130, (3, size, size)) if size else mean
    given = Preprocessing(array, 0.017, channel_order=order, maximum=maximum)
    pictures = rng.uniform(0, maximum, (2, 3, 8, 8))

    found = blobs_of(net, ConvertOptions(preprocessing=given), pictures)["data"]

    expected = np.empty((2, 3, 8, 8))
    for channel in range(3):
        source = pictures[:, 2 - channel if order == "rgb" else channel] * 255 / maximum
        off = array[channel, 1:9, 1:9] if mean == "larger" else array[channel] if size else 0
        if isinstance(mean, list):
            off = mean[channel]
        expected[:, channel] = (source - (mean if isinstance(mean, float) else off)) * 0.017
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-9)


def test_bytes_go_in_as_they_are() -> None:
    net = net_of(WITH_CONV, dtype=np.float32)
    options = ConvertOptions(preprocessing=Preprocessing([104, 117, 123]))
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)

    module = build_module(describe(net, options))

    assert torch.equal(module(pictures), module(pictures.float()))


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ({"channel_order": "gbr"}, ConfigError, "must be one of bgr, rgb"),
        ({"scale": 0.0}, ConfigError, "above 0"),
        ({"maximum": float("nan")}, ConfigError, "above 0"),
        ({"input": "label"}, ConfigError, '"label", which is none'),
        ({"mean": [1.0, 2.0]}, ShapeError, r"mean of shape \[2\]"),
        ({"mean": np.zeros((3, 4, 4))}, ShapeError, "does not fit"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(bad: dict[str, Any], error: type, says: str) -> None:
    net = net_of(WITH_CONV)

    with pytest.raises(error, match=says):
        describe(net, ConvertOptions(preprocessing=Preprocessing(**bad)))


def test_a_layer_may_be_called_preprocess_and_a_blob_pictures() -> None:
    net = net_of(one("Convolution", "data", "pictures", CONV % "", "preprocess"))
    options = ConvertOptions(preprocessing=Preprocessing(120))

    assert verify(net, options=options, gradients=False).ok


# --- half precision and memory ---


def test_half_notes_what_it_loses() -> None:
    net = net_of(WITH_CONV + one("LRN", "c", "l"))
    net.params["c_bn"][1].data[0] = 1e6
    net.params["c"][0].data[0, 0, 0, 0] = 1e-9

    notes = "\n".join(describe(net, ConvertOptions(half=True)).notes)

    assert "1 of c_bn.running_var are above 65504, and become infinite" in notes
    assert "1 of 129 values are too small and become 0, most of all in c.weight, 1 of 108" in notes
    assert "1 batch norms keep their statistics with 11 bits" in notes
    assert "l square what they are given" in notes


def test_channels_last_is_for_convolutions() -> None:
    net = net_of(one("InnerProduct", "data", "y", "inner_product_param { num_output: 2 }"))

    with pytest.raises(ConfigError, match="no weights of 4 or 5 axes"):
        describe(net, ConvertOptions(channels_last=True))


def test_channels_last_weights_lie_so() -> None:
    module = build_module(describe(net_of(WITH_CONV), ConvertOptions(channels_last=True)))

    assert module.c.weight.is_contiguous(memory_format=torch.channels_last)
    assert module(torch.rand(2, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)


# --- all together, written ---

WHOLE = (
    WITH_CONV
    + one("Pooling", "c", "p", "pooling_param { kernel_size: 3 stride: 2 pad: 2 }")
    + one("InnerProduct", "p", "f", "inner_product_param { num_output: 5 }")
    + one("Softmax", "f", "prob")
)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("prepares", [False, True])
def test_options_combine(fold: bool, half: bool, last: bool, prepares: bool, tmp_path: Path) -> None:
    net = net_of(WHOLE, dtype=np.float32)
    given = Preprocessing([104, 117, 123.68], 0.017) if prepares else None
    options = ConvertOptions(fold, half, last, given)
    form = "safetensors" if last else "pt"
    if form == "safetensors":
        pytest.importorskip("safetensors")

    written = write_torch(net, tmp_path, options, form)

    assert [path.name for path in written.files] == ["model.py", f"weights.{form}"]
    module = loaded(tmp_path)
    state = module.state_dict()
    assert {v.dtype for v in state.values() if v.is_floating_point()} == {
        torch.float16 if half else torch.float32
    }
    x = torch.rand(2, 3, 8, 8) * 255 if prepares else torch.randn(2, 3, 8, 8)
    x = x.half() if half and not prepares else x
    assert torch.equal(module(x), written.module(x))
    assert verify(net, options=options, gradients=False).ok


def loaded(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("model_of_options", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    written = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, keeps = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(written)
    finally:
        sys.dont_write_bytecode = keeps
    return written.load()


def test_to_torch_takes_options() -> None:
    module = to_torch(net_of(WHOLE, dtype=np.float32), options=FOLDING)

    assert module.verification.ok
    assert not [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize("form", ["npz", ""])
def test_unknown_formats_are_refused(form: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pt or safetensors"):
        write_torch(net_of(WITH_CONV), tmp_path, format=form)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="cannot make the folder"):
        write_torch(net_of(WITH_CONV), tmp_path / "file")
