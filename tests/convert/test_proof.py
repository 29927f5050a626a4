"""The proof itself: its figures by their definitions, and that it finds what is wrong and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from wrong_rules import NET, made, set_rule

from caffenorm.convert import ConvertOptions, Preprocessing, apply_options, verify
from caffenorm.convert import program as program_module
from caffenorm.convert.program import Chain
from caffenorm.convert.proof.compare import FLOAT16, FLOAT32, FOLDED
from caffenorm.convert.proof.figures import arg_max_agreement, cosine, figures, relative, ulps
from caffenorm.convert.proof.gradients import _backward
from caffenorm.convert.proof.inputs import picture_sets, random_sets
from caffenorm.convert.proof.results import Tolerance
from caffenorm.convert.proof.sides import make_sides
from caffenorm.convert.rules import norm
from caffenorm.sources.image import Preprocessing as PicturePreparation

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def after(kind: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Chain], None]:
    """The right rule, whose weights are then changed."""
    right = program_module._rules[(kind,)]

    def wrong(chain: Chain) -> None:
        right(chain)
        change(chain.program.submodules[-1].state)

    return wrong


# --- the figures ---

FLOATS = hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2**100), 2**100, width=32))


@given(FLOATS, st.integers(0, 5))
def test_ulps_count_the_floats_between(values: np.ndarray, steps: int) -> None:
    moved = values.copy()
    for _ in range(steps):
        moved = np.nextafter(moved, np.float32(np.inf))

    apart = ulps(values, moved)

    assert (apart == steps).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ulps_across_zero_and_of_what_is_not_finite(dtype: type) -> None:
    least = np.nextafter(dtype(0), dtype(1))
    first = np.array([-least, -0.0, np.nan, np.nan, np.inf, 1], dtype)
    second = np.array([least, 0.0, np.nan, 1, np.inf, 1 + np.finfo(dtype).eps], dtype)

    assert ulps(first, second).tolist() == [2, 0, 0, np.inf, 0, 1]


def test_relative_error_is_over_the_largest_value() -> None:
    expected = np.array([1.0, -8.0, 2.0])

    assert relative(expected, np.array([1.0, -8.0, 3.0])) == 1 / 8
    assert relative(np.zeros(3), np.array([0.0, 0.5, 0.0])) == 0.5
    assert relative(np.array([np.inf, np.nan, 2.0]), np.array([np.inf, np.nan, 1.0])) == 0.5
    assert relative(np.array([np.inf, 2.0]), np.array([-np.inf, 2.0])) == np.inf


@given(FLOATS)
def test_cosine_is_that_of_the_angle(values: np.ndarray) -> None:
    other = np.roll(values, 1)
    with np.errstate(all="ignore"):
        exact = (
            values.astype(np.longdouble)
            @ other
            / np.sqrt((values.astype(np.longdouble) ** 2).sum() * (other.astype(np.longdouble) ** 2).sum())
        )

    if np.isfinite(exact):
        assert cosine(values, other) == pytest.approx(float(exact), abs=1e-9)
    assert cosine(values, values) == pytest.approx(1)


def test_cosine_of_zeros_and_of_what_is_not_finite() -> None:
    assert cosine(np.zeros(3), np.zeros(3)) == 1
    assert cosine(np.zeros(3), np.ones(3)) == 0
    assert cosine(np.array([np.inf, 1]), np.array([np.inf, 1])) == 1
    assert cosine(np.array([1.0, 1]), np.array([np.nan, 1])) == 0


def test_arg_max_is_along_the_channels_and_takes_ties_for_agreement() -> None:
    expected = np.array([[1.0, 3, 2], [5, 5, 1], [0, 1, 2], [2, 1, 0]])
    value = np.array([[0.0, 9, 1], [0, 7, 1], [9, 1, 2], [2, 1, 0]])

    assert arg_max_agreement(expected, value) == 0.75
    assert arg_max_agreement(expected[:, :1], value[:, :1]) is None
    assert arg_max_agreement(expected[0], value[0]) is None


def test_ulps_are_given_for_half_most_and_all_of_the_values() -> None:
    expected = np.ones(1000, np.float32)
    value = expected.copy()
    value[:600] = np.nextafter(np.float32(1), np.float32(2))
    value[0] = 2

    found = figures(expected, value)

    assert (found.ulp_median, found.ulp_99, found.ulp_max) == (1, 1, 2**23)
    assert found.different == 0.6


# --- what is compared ---


def test_own_errors_are_told_from_inherited_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    net = made()
    set_rule(monkeypatch, "Convolution", after("Convolution", lambda state: state["weight"].__imul__(1.001)))

    found = verify(net)

    checks = {check.name: check for check in found.blobs}
    assert not found.ok
    assert checks["conv"].own > 1e-5
    assert not checks["conv"].own_agrees
    for name in ("pool", "fc"):
        assert not checks[name].ok
        assert checks[name].max_rel > 1e-6
        assert checks[name].own < 1e-14
        assert checks[name].own_agrees
    assert 'after "conv" (Convolution), "bn" (BatchNorm) and "scale" (Scale)' in str(found)


def test_several_seeds_and_batch_sizes_are_run() -> None:
    found = verify(made(), seeds=(0, 5), batch_sizes=(1, 3, 2))

    names = ("seed 0, batch of 1", "seed 5, batch of 1", "seed 6, batch of 3", "seed 7, batch of 2")
    assert found.rules.inputs == names
    assert found.practice is not None
    assert found.practice.inputs == names
    assert found.ok


def test_a_batch_size_in_the_source_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(chain: Chain) -> None:
        module = chain.submodule(
            "nn.Linear(64, 5)",
            {"weight": chain.layer.blobs[0].read().copy(), "bias": chain.layer.blobs[1].read().copy()},
        )
        chain.set(f"{module}({chain.x}.reshape(4, -1))")

    set_rule(monkeypatch, "InnerProduct", wrong)

    found = verify(made())

    assert found.first_difference is not None
    assert found.first_difference.name == "fc"
    assert found.first_difference.on == "seed 2, batch of 2"
    assert "RuntimeError" in str(found) or "has shape" in str(found)


def test_what_comes_behind_a_statement_that_fails_is_still_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    set_rule(monkeypatch, "Pooling", lambda chain: chain.set(f"F.no_such_pooling({chain.x})"))

    found = verify(made())

    assert found.first_difference is not None
    assert found.first_difference.name == "pool"
    assert "no_such_pooling" in found.first_difference.problem
    assert [check.name for check in found.blobs if not check.ok] == ["pool"]


def test_batch_sizes_that_caffe_refuses_are_said_not_failed() -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 6 } } }
    layer { name: "pairs" type: "Reshape" bottom: "data" top: "pairs"
            reshape_param { shape { dim: 4 dim: 3 dim: 2 } } }
    """

    found = verify(made(text))

    assert found.ok
    assert found.rules.inputs == ("seed 0, batch of 4", "seed 1, batch of 4")
    assert "not run at a batch size of 2" in found.rules.said[0]


def test_pictures_are_run_as_well(tmp_path: Path, rng: np.random.Generator) -> None:
    image = pytest.importorskip("PIL.Image")
    paths = []
    for i in range(2):
        paths.append(str(tmp_path / f"picture{i}.png"))
        image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(paths[-1])

    found = verify(made(), pictures=paths, preparation=PicturePreparation(mean=[104, 117, 123], scale=0.017))

    assert found.ok
    assert found.rules.inputs[-2:] == tuple(paths)


def test_what_departs_in_float32_alone_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    set_rule(monkeypatch, "Pooling", lambda chain: chain.set(f"F.max_pool2d({chain.x} + 3e4, 3, 2) - 3e4"))

    found = verify(made())

    assert found.rules.ok
    assert found.practice is not None
    assert not found.practice.ok
    assert not found.ok
    assert 'the first blob that departs in float32 is "pool"' in str(found)


def test_what_overflows_in_caffe_itself_is_left_out_in_float32() -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 } } }
    layer { name: "huge" type: "Power" bottom: "data" top: "huge" power_param { scale: 1e30 power: 2 } }
    layer { name: "sum" type: "InnerProduct" bottom: "huge" top: "sum"
            inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
    """

    found = verify(made(text), gradients=False)

    assert found.ok
    assert found.practice is not None
    checks = {check.name: check for check in found.practice.blobs}
    assert "beyond float32" in checks["huge"].judged
    assert np.isfinite(found.practice.worst)


def test_large_batches_are_not_needed_for_a_proof() -> None:
    found = verify(made(NET.replace("dim: 4 dim: 3", "dim: 500 dim: 3")), gradients=False)

    assert found.rules.inputs == ("seed 0, batch of 8", "seed 1, batch of 8", "seed 2, batch of 2")


def test_a_softmax_in_place_is_judged_by_its_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "scores" type: "InnerProduct" bottom: "data" top: "scores"
            inner_product_param { num_output: 4 weight_filler { type: "constant" value: 0.1 }
                                  bias_filler { type: "constant" value: 0 } } }
    layer { name: "prob" type: "Softmax" bottom: "scores" top: "scores" }
    """
    net = made(text)
    net.params["scores"][1].data[...] = [0, 60, 10, 20]

    def scale(state: dict[str, Any]) -> None:
        state["bias"][2:] *= 1.2

    set_rule(monkeypatch, "InnerProduct", after("InnerProduct", scale))

    found = verify(net)

    check = found.first_difference
    assert check is not None
    assert check.name == "scores"
    assert "logarithm" in check.judged
    assert check.max_rel > 0.05


def test_outputs_in_another_order_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    text = NET + 'layer { name: "extra" type: "Power" bottom: "fc" top: "extra" power_param { scale: 2 } }'
    right = program_module._rules[("Power",)]

    def wrong(chain: Chain) -> None:
        right(chain)
        chain.program.outputs.reverse()

    set_rule(monkeypatch, "Power", wrong)

    found = verify(made(text))

    assert not found.ok
    assert 'something else for the output "' in str(found)


# --- gradients, and a step ---


def test_gradients_of_inputs_and_all_parameters_agree() -> None:
    found = verify(made())

    assert found.gradients is not None
    assert {check.name for check in found.gradients.values} == {
        *("data", "conv.weight", "conv.bias", "bn.weight", "bn.bias", "fc.weight", "fc.bias")
    }
    assert found.gradients.worst < 1e-10


@pytest.mark.parametrize("top", ["prob", "fc"], ids=["apart", "in place"])
def test_gradients_start_before_a_softmax_that_would_swallow_them(top: str) -> None:
    net = made(NET.replace('"Softmax" bottom: "fc" top: "prob"', f'"Softmax" bottom: "fc" top: "{top}"'))
    net.params["fc"][0].data[...] *= 1e4

    found = verify(net)

    assert found.ok
    sides = make_sides(net, training=False)
    _backward(sides, random_sets(sides.net, [0], [4])[0][0])
    assert np.abs(sides.net.params["conv"][0].diff).max() > 1
    assert [layer.type for layer in sides.net.layers].count("Softmax") == 0


def test_a_right_value_with_a_wrong_gradient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(chain: Chain) -> None:
        chain.set(f"F.relu({chain.x}.detach()) + 0 * {chain.x}")

    set_rule(monkeypatch, "ReLU", wrong)

    found = verify(made())

    assert found.rules.ok
    assert found.gradients is not None
    assert found.gradients.first_difference is not None
    assert not found.ok
    assert 'gradient of "data"' in str(found)


def test_frozen_layers_have_their_gradients_compared() -> None:
    frozen = NET.replace('name: "conv" type', 'name: "conv" param { lr_mult: 0 } param { lr_mult: 0 } type')

    found = verify(made(frozen))

    assert found.gradients is not None
    check = next(check for check in found.gradients.values if check.name == "conv.weight")
    assert check.caffe == "conv[0]"
    assert found.ok


def test_the_step_normalises_by_the_batch_and_says_how_averages_differ() -> None:
    found = verify(made())

    assert found.step is not None
    assert found.step.ok
    assert found.step.batch_norms == 1
    said = {check.name: check.said for check in found.step.values if check.kind == "statistic"}
    assert said.keys() == {"bn.running_mean", "bn.running_var"}
    assert all("factor is 2.5, its limit 1000" in why for why in said.values())


@pytest.mark.parametrize(
    "factor", [1 / (1 - float(np.float32(0.999))), None], ids=["converged", "cumulative"]
)
def test_averages_that_are_exact_in_pytorch_are_held_to_it(factor: float | None) -> None:
    fraction = "batch_norm_param { moving_average_fraction: 1 }" if factor is None else ""
    net = made(NET.replace('name: "bn" type', f'name: "bn" {fraction} type'))
    net.params["bn"][2].data[...] = 3 if factor is None else factor

    found = verify(net)

    assert found.step is not None
    statistics = [check for check in found.step.values if check.kind == "statistic"]
    assert len(statistics) == 2
    assert not any(check.said for check in statistics)
    assert all(check.ok and check.max_rel < 1e-5 for check in statistics)


def test_a_wrong_momentum_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = norm.batch_norm_values
    monkeypatch.setattr(norm, "batch_norm_values", lambda b, s, eps, fraction: right(b, s, eps, 0.9))

    found = verify(made())

    assert found.rules.ok
    assert found.step is not None
    assert found.step.first_difference is not None
    assert found.step.first_difference.name == "bn.running_mean"
    assert not found.ok


def test_a_layer_without_a_gradient_leaves_them_out_and_says_why() -> None:
    text = NET + 'layer { name: "best" type: "ArgMax" bottom: "prob" top: "best" }'

    found = verify(made(text))

    assert found.ok
    assert found.gradients is not None
    assert found.gradients.skipped or found.gradients.values


# --- causes ---


def no_bias(state: dict[str, Any]) -> None:
    state["bias"][...] = 0


def turned(state: dict[str, Any]) -> None:
    state["weight"] = np.ascontiguousarray(state["weight"][..., ::-1, ::-1])


def channels_last(state: dict[str, Any]) -> None:
    weight = state["weight"]
    state["weight"] = weight.reshape(5, 4, 4, 4).transpose(0, 3, 1, 2).reshape(weight.shape).copy()


@pytest.mark.parametrize(
    ("kind", "change", "cause"),
    [
        ("Convolution", no_bias, "the bias is left out"),
        ("InnerProduct", no_bias, "the bias is left out"),
        ("Convolution", turned, "turned by 180 degrees"),
        ("InnerProduct", channels_last, "flattened with the channels last"),
    ],
)
def test_wrong_weights_are_explained(
    kind: str, change: Callable[[dict[str, Any]], None], cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_rule(monkeypatch, kind, after(kind, change))

    found = verify(made())

    assert not found.ok
    assert cause in found.cause


@pytest.mark.parametrize(
    ("layer", "wrong", "cause"),
    [
        ('type: "ReLU" relu_param { negative_slope: 0.3 }', "F.relu({x})", "negative slope"),
        ('type: "Softmax"', "F.softmax({x}, -1)", "along the last axis"),
        (
            'type: "LRN" lrn_param { local_size: 5 alpha: 0.2 beta: 0.75 }',
            "{x} / (1 + F.avg_pool3d(F.pad({x}.square(), (0, 0, 0, 0, 2, 2))[:, None], (5, 1, 1), 1)[:, 0])"
            " ** 0.75",
            "alpha is not divided",
        ),
        (
            'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 3 pad: 1 }',
            "F.max_pool2d({x}, 3, 3, ceil_mode=True)",
            "padding is left out",
        ),
    ],
    ids=["slope", "softmax", "lrn", "padding"],
)
def test_wrong_expressions_are_explained(
    layer: str, wrong: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""
    layer {{ name: "data" type: "Input" top: "data"
             input_param {{ shape {{ dim: 2 dim: 6 dim: 9 dim: 9 }} }} }}
    layer {{ name: "op" bottom: "data" top: "y" {layer} }}
    """
    kind = layer.split('"')[1]
    set_rule(monkeypatch, kind, lambda chain: chain.set(wrong.format(x=chain.x)))

    found = verify(made(text))

    assert not found.ok
    assert cause in found.cause


def test_a_single_wrong_layer_among_right_ones_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    second = NET.replace('"data" top: "conv"', '"data" top: "conv"').split("layer {")
    again = "layer {".join(
        part.replace('"conv"', '"conv2"')
        .replace('"bn"', '"bn2"')
        .replace('"scale"', '"scale2"')
        .replace('"relu"', '"relu2"')
        .replace('"data"', '"conv"')
        for part in second[2:6]
    )
    net = made("layer {".join(second[:6]) + "layer {" + again)
    right = norm.batch_norm_values
    calls: list[int] = []

    def wrong(blobs: Any, scale: Any, eps: float, fraction: float) -> Any:
        calls.append(1)
        ones = [*blobs[:2], np.ones_like(blobs[2])]
        return right(ones if len(calls) % 2 == 0 else blobs, scale, eps, fraction)

    monkeypatch.setattr(norm, "batch_norm_values", wrong)

    found = verify(net)

    assert found.first_difference is not None
    assert found.first_difference.name == "conv2"
    assert "scale factor of BatchNorm is ignored" in found.cause


# --- options ---


@pytest.mark.parametrize(
    ("options", "dtype", "most", "tolerance"),
    [
        (ConvertOptions(), "float32", 1e-5, FLOAT32),
        (ConvertOptions(channels_last=True), "float32", 1e-5, FLOAT32),
        (ConvertOptions(fold_batch_norm=True), "float32", 1e-4, FOLDED),
        (ConvertOptions(half=True), "float16", 2e-2, FLOAT16),
        (ConvertOptions(half=True, fold_batch_norm=True), "float16", 2e-2, FLOAT16),
    ],
    ids=["plain", "channels_last", "fold", "half", "half and fold"],
)
def test_options_are_proven_with_their_own_tolerance(
    options: ConvertOptions, dtype: str, most: float, tolerance: Tolerance
) -> None:
    found = verify(made(), options=options)

    assert found.ok, str(found)
    assert found.rules.worst < 1e-12
    assert found.practice is not None
    assert found.practice.dtype == dtype
    assert 0 < found.practice.worst < most
    assert found.practice.tolerance == tolerance


def test_the_modules_own_preprocessing_is_compared_with_its_definition(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image.fromarray(picture).save(tmp_path / "picture.png")
    given = Preprocessing(mean=[104, 117, 123], scale=0.017, channel_order="rgb")

    found = verify(
        made(), options=ConvertOptions(preprocessing=given), pictures=[str(tmp_path / "picture.png")]
    )

    assert found.ok, str(found)
    assert found.rules.inputs[-1].endswith("picture.png")
    inputs = picture_sets(made(), [str(tmp_path / "picture.png")], PicturePreparation(), given)[0]
    assert np.array_equal(inputs.given["data"][0], picture.transpose(2, 0, 1))
    mean = np.array([104, 117, 123])[:, None, None]
    expected = (picture[..., ::-1].transpose(2, 0, 1) - mean) * 0.017
    assert np.allclose(inputs.values["data"][0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"channel_order": "bgr"}, "channels come in the opposite order"),
        ({"mean": None}, "the mean is not subtracted"),
        ({"mean": [123, 117, 104]}, "the mean's channels are in the opposite order"),
        ({"scale": 1.0}, "the scale is left out"),
    ],
    ids=["order", "mean", "mean's order", "scale"],
)
def test_wrong_preprocessing_is_explained(
    wrong: dict[str, Any], cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Preprocessing(mean=[104, 117, 123], scale=0.017, channel_order="rgb")
    right = apply_options._preprocess
    monkeypatch.setattr(
        apply_options,
        "_preprocess",
        lambda d, g, shape, p: right(d, dataclasses.replace(g, **wrong), shape, p),
    )

    found = verify(made(), options=ConvertOptions(preprocessing=given))

    assert not found.ok
    assert found.first_difference is not None
    assert found.first_difference.name == "data"
    assert cause in found.cause


def test_what_is_beyond_float16_is_found() -> None:
    net = made()
    net.params["fc"][0].data[...] *= 1e6

    found = verify(net, options=ConvertOptions(half=True))

    assert found.rules.ok
    assert 'the first blob that departs in float16 is "fc"' in str(found)
