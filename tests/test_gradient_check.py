"""The gradient checker: it finds what is wrong, says where, and leaves the net as it was."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import caffenorm
from caffenorm import ConfigError, Layer, LayerError, Net, check_gradients, register_layer
from caffenorm.gradient_check import GradientError, check_layer

SHAPE = (3, 4)


class Elementwise(Layer):
    """Base of the layers here: one bottom, one top of its shape."""

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom, top):
        self.write(top[0])[...] = self.function(self.read(bottom[0]))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self.write_diff(bottom[0])[...] = self.read_diff(top[0]) * self.slope(self.read(bottom[0]))

    def function(self, x):
        return x**3

    def slope(self, x):
        return 3 * x**2


@register_layer("TestCube")
class Cube(Elementwise):
    pass


@register_layer("TestWrongCube")
class WrongCube(Elementwise):
    def slope(self, x):
        return 3 * x**2 + np.where(np.arange(x.size).reshape(x.shape) == 7, 1e-4, 0)


@register_layer("TestAddsToBottom")
class AddsToBottom(Cube):
    def backward(self, top, propagate_down, bottom):
        self.update_diff(bottom[0])[...] += self.read_diff(top[0]) * self.slope(self.read(bottom[0]))


@register_layer("TestScalar")
class Scalar(Elementwise):
    """y = p x, with a parameter p that starts at 0."""

    forgets = False

    def layer_setup(self, bottom, top):
        self.blobs = [self.new_blob(())]

    def forward(self, bottom, top):
        self.write(top[0])[...] = self.read(self.blobs[0]) * self.read(bottom[0])

    def backward(self, top, propagate_down, bottom):
        if self.param_propagate_down[0] and not self.forgets:
            self.update_diff(self.blobs[0])[...] += (self.read_diff(top[0]) * self.read(bottom[0])).sum()
        if propagate_down[0]:
            self.write_diff(bottom[0])[...] = self.read(self.blobs[0]) * self.read_diff(top[0])


@register_layer("TestForgetsParameter")
class ForgetsParameter(Scalar):
    forgets = True


@register_layer("TestAbs")
class Abs(Elementwise):
    at_0 = 0.0

    def function(self, x):
        return abs(x)

    def slope(self, x):
        return np.where(x == 0, self.at_0, np.sign(x))


@register_layer("TestAbsSubgradient")
class AbsSubgradient(Abs):
    at_0 = 0.3


@register_layer("TestWrongAtKink")
class WrongAtKink(Abs):
    at_0 = 3.0


@register_layer("TestWrongWave")
class WrongWave(Elementwise):
    def function(self, x):
        return np.sin(1000 * x)

    def slope(self, x):
        return 1000.03 * np.cos(1000 * x)


@register_layer("TestCounts")
class Counts(Elementwise):
    """Changes with every forward: its parameter grows, as BatchNorm's statistics do, and takes part."""

    def layer_setup(self, bottom, top):
        self.blobs = [self.new_blob(())]
        del self.param.param[:]
        self.param.param.add(lr_mult=0)

    def forward(self, bottom, top):
        self.update(self.blobs[0])[...] += 1
        self.write(top[0])[...] = float(self.read(self.blobs[0])) * self.read(bottom[0])

    def backward(self, top, propagate_down, bottom):
        self.write_diff(bottom[0])[...] = float(self.read(self.blobs[0])) * self.read_diff(top[0])


@register_layer("TestCarries")
class Carries(Elementwise):
    """Remembers its last output in work space, as recurrent layers do."""

    def forward(self, bottom, top):
        state = self.scratch("state", bottom[0].shape)
        if not np.isfinite(state).all() or abs(state).max() > 1e3:
            state[...] = 0
        y = self.write(top[0])
        y[...] = self.read(bottom[0]) ** 2 + state
        state[...] = 0.5 * y

    def slope(self, x):
        return 2 * x


@register_layer("TestMask")
class Mask(Elementwise):
    def forward(self, bottom, top):
        self.mask = self.rng.random(bottom[0].shape) < 0.5
        super().forward(bottom, top)

    def function(self, x):
        return x * self.mask

    def slope(self, x):
        return self.mask


@register_layer("TestUnrepeatable")
class Unrepeatable(Elementwise):
    """Draws its mask from a generator that nobody can set back."""

    stream = np.random.default_rng(1)

    def function(self, x):
        return x * self.stream.random(x.shape)


@register_layer("TestRefuses")
class Refuses(Elementwise):
    def backward(self, top, propagate_down, bottom):
        raise LayerError("has no gradient, alas")


@register_layer("TestForwardOnly")
class ForwardOnly(Layer):
    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom, top):
        self.write(top[0])[...] = self.read(bottom[0])


def only(report):
    assert len(report.checks) == 1
    return report.checks[0]


# --- what is right passes ---


@pytest.mark.parametrize("exhaustive", [False, True])
@pytest.mark.parametrize(
    ("layer", "in_place"),
    [
        ("TestCube", False),
        ("TestScalar", False),
        ("TestAbs", False),
        ("TestMask", False),
        ("TestMask", True),
        ("Softmax", False),
        ("Softmax", True),
    ],
)
def test_right_gradients_pass(layer, in_place, exhaustive):
    report = check_layer(f"type: '{layer}'", [SHAPE], in_place=in_place, exhaustive=exhaustive)
    assert report.ok, str(report)
    assert report.worst.error < 1e-7


def test_all_bottoms_and_parameters_are_compared():
    report = check_layer("type: 'TestScalar'", [SHAPE])
    assert [(check.what, check.shape, check.compared) for check in report.checks] == [
        ("bottom 0", SHAPE, 12),
        ("parameter 0", (), 1),
    ]
    report = check_layer("type: 'EuclideanLoss'", [SHAPE, SHAPE])
    assert [check.what for check in report.checks] == ["bottom 0", "bottom 1"]


def test_labels_are_drawn_for_losses_and_not_compared():
    report = check_layer("type: 'SoftmaxWithLoss'", [(4, 3, 2), (4, 2)])
    check = only(report)
    assert check.what == "bottom 0"
    assert check.ok


def test_values_of_any_size_are_compared():
    for size in (1e-6, 1e4):
        inputs = [size * np.random.default_rng(0).normal(size=SHAPE)]
        assert check_layer("type: 'TestCube'", [SHAPE], inputs=inputs).ok
    offset = 1e4 + np.random.default_rng(0).normal(size=SHAPE)
    assert check_layer("type: 'TestCube'", [SHAPE], inputs=[offset]).ok


def test_large_arrays_are_sampled():
    check = only(check_layer("type: 'TestCube'", [(100, 100)], samples=7))
    assert check.compared == 7
    assert only(check_layer("type: 'TestCube'", [(15, 10)], samples=None)).compared == 150


# --- what is wrong is found and named ---


@pytest.mark.parametrize("exhaustive", [False, True])
def test_a_wrong_element_is_found_and_named(exhaustive):
    report = check_layer("type: 'TestWrongCube'", [SHAPE], exhaustive=exhaustive)

    check = only(report)
    assert not report.ok
    assert (check.layer, check.type, check.what, check.name) == ("layer", "TestWrongCube", "bottom 0", "x0")
    assert check.index == (1, 3)
    assert check.analytic != pytest.approx(check.numeric, rel=1e-6)
    for text in ("TestWrongCube", "bottom 0", "[1, 3]", f"{check.numeric:.9g}", "1 of 1 gradients are wrong"):
        assert text in str(report)


def test_a_forgotten_parameter_is_found():
    report = check_layer("type: 'TestForgetsParameter'", [SHAPE])
    assert [check.what for check in report.failures] == ["parameter 0"]


def test_a_bottom_whose_gradient_is_added_to_instead_of_overwritten_is_found():
    check = only(check_layer("type: 'TestAddsToBottom'", [SHAPE]))
    assert not check.ok
    assert math.isinf(check.error)
    assert math.isnan(check.analytic)


def test_a_gradient_that_is_not_the_derivative_is_found_in_caffes_label_smoothing():
    body = "type: 'SoftmaxWithLoss' loss_param { label_smoothing: 0.1 }"
    assert not check_layer(body, [SHAPE, SHAPE[:1]]).ok


def test_raise_on_failure():
    with pytest.raises(GradientError, match=r'layer "layer" \(TestWrongCube\), bottom 0') as caught:
        check_layer("type: 'TestWrongCube'", [SHAPE], raise_on_failure=True)
    assert caught.value.report.failures[0].index == (1, 3)
    assert pickle.loads(pickle.dumps(caught.value)).report == caught.value.report


NET = """
name: "three"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 3 dim: 4 } } }
layer { name: "scalar" type: "TestScalar" bottom: "x" top: "a" }
layer { name: "middle" type: "TestCube" bottom: "a" top: "b" }
layer { name: "last" type: "TestCube" bottom: "b" top: "c" }
layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "loss" loss_weight: 0.7 }
"""


def made(text=NET, dtype=np.float64, value=0.8):
    net = Net.from_text(text, caffenorm.TRAIN, dtype=dtype)
    net.params["scalar"][0].data[...] = value
    return net


def test_every_layer_of_a_net_is_checked():
    report = check_gradients(made())
    assert report.ok, str(report)
    assert [(check.layer, check.what) for check in report.checks] == [
        ("scalar", "bottom 0"),
        ("scalar", "parameter 0"),
        ("middle", "bottom 0"),
        ("last", "bottom 0"),
        ("loss", "bottom 0"),
        ("loss", "bottom 1"),
    ]


def test_the_wrong_layer_of_a_net_is_named_and_no_other():
    report = check_gradients(made(NET.replace('"middle" type: "TestCube"', '"middle" type: "TestWrongCube"')))
    assert [check.layer for check in report.failures] == ["middle"]
    assert report.worst.layer == "middle"


def test_a_whole_net_is_checked_through_to_its_loss():
    assert check_gradients(made(), scope="net").ok
    wrong = NET.replace('"middle" type: "TestCube"', '"middle" type: "TestWrongCube"')
    report = check_gradients(made(wrong), scope="net")
    assert [(check.layer, check.what) for check in report.failures] == [("scalar", "parameter 0")]


@pytest.mark.parametrize("scope", ["layers", "net"])
def test_a_net_without_a_loss_is_checked_by_its_outputs(scope):
    text = "force_backward: true\n" + NET[: NET.index('layer { name: "loss"')]
    report = check_gradients(made(text), scope=scope)
    assert report.ok, str(report)
    assert ("scalar", "bottom 0", "x") in [(check.layer, check.what, check.name) for check in report.checks]


@pytest.mark.parametrize("scope", ["layers", "net"])
def test_a_blob_that_is_read_twice(scope):
    text = NET.replace('bottom: "c" bottom: "t"', 'bottom: "c" bottom: "a"')
    report = check_gradients(made("force_backward: true\n" + text), scope=scope)
    assert report.ok, str(report)


def test_bottoms_that_share_their_values_are_one_array():
    text = NET.replace('bottom: "c" bottom: "t"', 'bottom: "c" bottom: "c"')
    report = check_gradients(made("force_backward: true\n" + text))
    assert report.ok, str(report)
    assert "bottoms 0, 1" in [check.what for check in report.checks if check.layer == "loss"]


def test_only_the_layers_that_are_asked_for():
    report = check_gradients(made(), layers=["last"])
    assert [check.layer for check in report.checks] == ["last"]


# --- kinks ---


@pytest.mark.parametrize("exhaustive", [False, True])
def test_where_there_is_no_derivative_a_subgradient_will_do(exhaustive):
    x = np.linspace(-1, 1, 12).reshape(SHAPE)
    x[1, 1] = x[2, 0] = 0
    check = only(check_layer("type: 'TestAbsSubgradient'", [SHAPE], inputs=[x], exhaustive=exhaustive))
    assert check.ok
    assert check.kinks == 2


@pytest.mark.parametrize("exhaustive", [False, True])
def test_but_no_other_number(exhaustive):
    x = np.linspace(-1, 1, 12).reshape(SHAPE)
    x[1, 1] = 0
    check = only(check_layer("type: 'TestWrongAtKink'", [SHAPE], inputs=[x], exhaustive=exhaustive))
    assert not check.ok
    assert check.index == (1, 1)


def test_strong_curvature_is_not_taken_for_a_kink():
    x = np.linspace(1e-3, 1.5e-3, 12).reshape(SHAPE)
    assert not check_layer("type: 'TestWrongWave'", [SHAPE], inputs=[x], step=0.05, exhaustive=True).ok


def test_a_kink_within_the_step_is_stepped_around():
    x = np.linspace(-1, 1, 12).reshape(SHAPE)
    x[1, 1] = 1e-6
    check = only(check_layer("type: 'TestAbs'", [SHAPE], inputs=[x]))
    assert check.ok
    assert check.kinks == 0


def test_kink_and_range_leave_out_what_lies_near():
    x = np.linspace(-1, 1, 12).reshape(SHAPE)
    x[1, 1], x[0, 0], x[0, 1] = 0, 2.05, -1.96
    body = "type: 'TestWrongAtKink'"
    assert only(check_layer(body, [SHAPE], inputs=[x], kink_range=0.05)).kinks == 1
    assert only(check_layer(body, [SHAPE], inputs=[x], kink_range=0.05)).ok
    assert only(check_layer(body, [SHAPE], inputs=[x], kink=2, kink_range=0.1)).kinks == 2


# --- what cannot be compared ---


def test_layers_without_a_gradient_are_left_out_with_the_reason():
    assert check_layer("type: 'TestForwardOnly'", [SHAPE]).left_out == (("layer", "has no backward"),)
    assert check_layer("type: 'Accuracy'", [SHAPE, SHAPE[:1]]).left_out == (("layer", "has no gradient"),)
    report = check_layer("type: 'Accuracy'", [SHAPE, SHAPE[:1]])
    assert report.ok
    assert report.worst is None
    assert "no gradient was compared" in str(report)


def test_a_bottom_that_the_layer_refuses_a_gradient_is_left_out_with_the_reason():
    report = check_layer("type: 'TestRefuses'", [SHAPE])
    assert report.left_out == (("layer", "bottom 0: has no gradient, alas"),)
    assert report.checks == ()
    assert "alas" in str(report)
    assert check_layer("type: 'ArgMax'", [SHAPE]).left_out


def test_a_layer_that_never_repeats_is_a_failure():
    check = only(check_layer("type: 'TestUnrepeatable'", [SHAPE]))
    assert "two runs on the same values" in check.message
    assert not check.ok


def test_what_is_not_finite_is_a_failure():
    x = np.zeros(SHAPE)
    x[1, 2] = np.inf
    check = only(check_layer("type: 'TestCube'", [SHAPE], inputs=[x]))
    assert not check.ok
    assert math.isinf(check.error)


# --- state ---


def test_memory_and_statistics_are_put_back_between_runs():
    assert check_layer("type: 'TestCounts'", [SHAPE]).ok
    assert check_layer("type: 'TestCarries'", [SHAPE]).ok


@pytest.mark.parametrize("scope", ["layers", "net"])
def test_the_net_is_left_as_it_was(scope):
    text = NET.replace('"middle" type: "TestCube"', '"middle" type: "TestMask"')
    text = text.replace('"last" type: "TestCube"', '"last" type: "TestCounts"')
    net = made(text)
    rng = np.random.default_rng(0)
    net.forward(x=rng.normal(size=SHAPE), t=rng.normal(size=SHAPE))
    net.backward()
    blobs = [*net.blobs.values(), *(blob for blobs in net.params.values() for blob in blobs)]
    before = [(blob.data.copy(), blob.diff.copy()) for blob in blobs]
    caffenorm.set_random_seed(5)

    report = check_gradients(net, scope=scope)

    assert report.ok, str(report)
    for blob, (data, diff) in zip(blobs, before, strict=True):
        np.testing.assert_array_equal(blob.data, data)
        np.testing.assert_array_equal(blob.diff, diff)
    drawn = net.layers[0].rng.random()
    caffenorm.set_random_seed(5)
    assert drawn == net.layers[0].rng.random()


def test_inputs_that_hold_zeros_are_filled_and_emptied_again():
    net = made()
    assert check_gradients(net).ok
    np.testing.assert_array_equal(net.blobs["x"].data, np.zeros(SHAPE))


def test_given_inputs_are_used():
    x = np.full(SHAPE, 2.0)
    check = check_gradients(made(), inputs={"x": x}, layers=["scalar"], exhaustive=True).checks[1]
    assert check.numeric == pytest.approx(2, rel=1e-6)


def test_a_float32_net_is_checked_as_a_copy_in_float64():
    net = made(dtype=np.float32)
    net.forward(x=np.full(SHAPE, 2.0), t=np.ones(SHAPE))
    report = check_gradients(net, exhaustive=True, layers=["scalar"])
    assert report.ok
    assert report.checks[1].numeric == pytest.approx(2, rel=1e-6)
    assert net.blobs["a"].dtype == np.float32


def test_a_prototxt_is_made_into_a_net(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    report = check_gradients(path)
    assert report.ok, str(report)
    assert len(report.checks) == 6


def test_the_same_seed_gives_the_same_report():
    assert check_gradients(made(), seed=3) == check_gradients(made(), seed=3)


# --- arguments ---


def test_bad_arguments():
    net = made()
    with pytest.raises(ConfigError, match="scope"):
        check_gradients(net, scope="all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="step"):
        check_gradients(net, step=0)
    with pytest.raises(ConfigError, match="no layer lost"):
        check_gradients(net, layers=["lost"])
    with pytest.raises(ConfigError, match="no input"):
        check_gradients(net, inputs={"y": np.zeros(3)})
    with pytest.raises(ConfigError, match="phase"):
        check_gradients(net, phase=caffenorm.TEST)
    with pytest.raises(ConfigError, match="layers"):
        check_gradients(net, layers=["last"], scope="net")
