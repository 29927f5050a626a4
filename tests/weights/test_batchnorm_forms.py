"""Batch normalisation in the blobs of BVLC, NVIDIA, DIGITS, Intel, PSPNet and SegNet.

The expected values come from each dialect's own definition of y for one channel: a function of mean,
variance, scale and offset, computed here in float64 and compared with what BVLC's BatchNorm and Scale make of
the blobs that were handed on.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from caffenorm import weights
from caffenorm.errors import WeightsError

C = 3
MEAN = np.array([0.5, -1.0, 2.0], np.float32)
VAR = np.array([1.0, 0.25, 4.0], np.float32)
GAMMA = np.array([2.0, 3.0, 0.5], np.float32)
BETA = np.array([-1.0, 0.0, 7.0], np.float32)
ONE = np.ones(1, np.float32)
FACTOR = np.array([4.0], np.float32)
THREE = [(C,), (C,), (1,)]
FIVE = [(C,), (C,), (1,), (C,), (C,)]

NVIDIA = [MEAN, VAR, ONE, GAMMA, BETA]
DIGITS = [GAMMA, BETA, MEAN, VAR, np.zeros(1, np.float32)]
INTEL = [MEAN * 4, VAR * 4, FACTOR, GAMMA, BETA]
PSPNET = [GAMMA, BETA, MEAN, VAR]


def stored(blobs: list[np.ndarray], kind: str = "BatchNorm", name: str = "bn") -> weights.LayerWeights:
    return weights.LayerWeights(name, kind, list(blobs), [False] * len(blobs), list(range(len(blobs))), "V2")


def model(*layers: weights.LayerWeights, format: str = "caffemodel V2") -> weights.ModelWeights:
    return weights.ModelWeights("net.caffemodel", format, list(layers))


def net(**layers: list[tuple[int, ...]]) -> dict[str, list[SimpleNamespace]]:
    return {name: [SimpleNamespace(shape=shape) for shape in shapes] for name, shapes in layers.items()}


def match(layer: weights.LayerWeights, target, **options):
    report, assignments = weights.match(model(layer), target, **options)
    return report, {(one.layer, one.blob): one.array for one in assignments}


def affine(blobs: dict, norm: str = "bn", scale: str = "sc") -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of BVLC's BatchNorm and Scale at TEST, eps 0."""
    mean, var, factor = (blobs[norm, i].astype(np.float64) for i in range(3))
    gamma = blobs[scale, 0].astype(np.float64)
    beta = blobs[scale, 1].astype(np.float64) if (scale, 1) in blobs else 0.0
    slope = gamma / np.sqrt(var / factor)
    return slope, beta - slope * mean / factor


@pytest.mark.parametrize(
    ("blobs", "kind", "note"),
    [
        (NVIDIA, "BatchNorm", "NVIDIA's five-blob form"),
        (DIGITS, "BatchNorm", "the five-blob form of NVIDIA's Caffe 0.14 and 0.15"),
        (INTEL, "BatchNorm", "Intel's five-blob form"),
        (PSPNET, "BN", "PSPNet's form of BN"),
    ],
)
@pytest.mark.parametrize("axes", [1, 4])
def test_fused_forms_become_batchnorm_and_scale(blobs, kind: str, note: str, axes: int) -> None:
    shaped = [blob.reshape((1, -1, 1, 1)[:axes] if axes == 4 else (-1,)) for blob in blobs]

    report, found = match(stored(shaped, kind), net(bn=THREE, sc=[(C,), (C,)]), followers={"bn": "sc"})

    slope = GAMMA / np.sqrt(VAR.astype(np.float64))
    np.testing.assert_allclose(affine(found)[0], slope, rtol=1e-6)
    np.testing.assert_allclose(affine(found)[1], BETA - slope * MEAN, rtol=1e-6)
    assert report.loaded == ("sc", "bn")
    assert report.ok
    assert f'layer "bn": {note}' in report.notes[0]
    assert 'layer "sc": scale and offset taken from the BatchNorm layer in front' in report.notes[1]
    assert not report.doubts
    assert all(array.ndim == 1 for array in found.values())


def test_bvlc_blobs_pass_unchanged_without_a_note() -> None:
    report, found = match(stored([MEAN * 4, VAR * 4, FACTOR]), net(bn=THREE, sc=[]), followers={"bn": "sc"})
    assert (found["bn", 0] == MEAN * 4).all()
    assert (found["bn", 2] == 4).all()
    assert report.notes == ()


def test_five_blobs_pass_into_five() -> None:
    for blobs in (NVIDIA, INTEL):
        report, found = match(stored(blobs), net(bn=FIVE))
        assert [found["bn", i].tolist() for i in range(5)] == [blob.tolist() for blob in blobs]
        assert report.ok


def test_the_old_order_of_five_is_put_right() -> None:
    _, found = match(stored(DIGITS), net(bn=FIVE))
    assert [found["bn", i].tolist() for i in range(5)] == [blob.tolist() for blob in NVIDIA]


def test_three_blobs_leave_scale_and_offset_of_five() -> None:
    report, found = match(stored([MEAN, VAR, ONE]), net(bn=FIVE))
    assert sorted(found) == [("bn", 0), ("bn", 1), ("bn", 2)]
    assert "the net's stay" in report.notes[0]


def test_sums_become_averages_where_the_net_holds_averages() -> None:
    for blobs, options in (([MEAN * 4, VAR * 4, FACTOR], {}), (INTEL, {"averages": ["bn"]})):
        report, found = match(stored(blobs), net(bn=FIVE), **options)
        np.testing.assert_allclose(found["bn", 0], MEAN)
        np.testing.assert_allclose(found["bn", 1], VAR)
        assert found["bn", 2] == 1
        assert any("divided by their scale factor" in note for note in report.notes)
    zero = np.zeros(1, np.float32)
    _, found = match(stored([MEAN, VAR, zero]), net(bn=FIVE))
    assert not found["bn", 0].any()
    assert not found["bn", 1].any()
    assert found["bn", 2] == 1


def test_four_blobs_of_intel_have_no_offset() -> None:
    report, found = match(stored(INTEL[:4]), net(bn=THREE, sc=[(C,), (C,)]), followers={"bn": "sc"})
    assert (found["sc", 0] == GAMMA).all()
    assert (found["sc", 1] == 0).all()
    assert "Intel's four-blob form" in report.notes[0]
    _, found = match(stored(INTEL[:4]), net(bn=THREE, sc=[(C,)]), followers={"bn": "sc"})
    assert sorted(found) == [("bn", 0), ("bn", 1), ("bn", 2), ("sc", 0)]
    _, found = match(stored(INTEL[:4]), net(bn=FIVE[:4]))
    assert len(found) == 4


def test_bn_of_forks_passes_into_bn_with_a_note() -> None:
    report, found = match(stored(PSPNET, "BN"), net(bn=[(1, C, 1, 1)] * 4))
    assert [found["bn", i].ravel().tolist() for i in range(4)] == [blob.tolist() for blob in PSPNET]
    assert "PSPNet" in report.notes[0]
    report, found = match(stored([GAMMA, BETA], "BN"), net(bn=[(1, C, 1, 1)] * 2))
    assert found["bn", 1].shape == (1, C, 1, 1)
    assert "SegNet" in report.notes[0]


def test_an_affine_part_with_nowhere_to_go_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no Scale layer follows it in the net"):
        match(stored(NVIDIA), net(bn=THREE))
    with pytest.raises(WeightsError, match='Scale "sc" has no bias_term'):
        match(stored(NVIDIA), net(bn=THREE, sc=[(C,)]), followers={"bn": "sc"})
    with pytest.raises(WeightsError, match=r"5 blobs .* in the file, 4 blobs"):
        match(stored(NVIDIA), net(bn=FIVE[:4]))
    two = model(stored(NVIDIA), stored([GAMMA, BETA], "Scale", "sc"))
    with pytest.raises(WeightsError, match='"sc", which follows it, has its own in the file'):
        weights.match(two, net(bn=THREE, sc=[(C,), (C,)]), followers={"bn": "sc"})


def test_an_affine_part_that_does_nothing_may_be_dropped() -> None:
    plain = [MEAN, VAR, ONE, np.ones(C, np.float32), np.zeros(C, np.float32)]
    report, found = match(stored(plain), net(bn=THREE))
    assert len(found) == 3
    assert any("scale 1 and offset 0" in note for note in report.notes)


def test_a_scale_layer_without_blobs_in_the_file_waits_for_the_batchnorm() -> None:
    file = model(stored(INTEL), stored([], "Scale", "sc"))
    report, assignments = weights.match(file, net(bn=THREE, sc=[(C,), (C,)]), followers={"bn": "sc"})
    assert report.ok
    assert len(assignments) == 5


def test_a_mismatch_of_channels_names_the_layer() -> None:
    with pytest.raises(WeightsError, match=r'layer "sc", blob 0: \(3,\) in the file, \(4,\) in the net'):
        match(stored(NVIDIA), net(bn=THREE, sc=[(4,), (4,)]), followers={"bn": "sc"})
    with pytest.raises(WeightsError, match=r'layer "bn", blob 0: \(3,\) in the file, \(4,\) in the net'):
        match(stored([MEAN, VAR, ONE]), net(bn=[(4,), (4,), (1,)]))


def test_counts_of_other_layers_are_not_guessed_at() -> None:
    for shapes in ([(C,)], [(C,), (C,)], [(C,)] * 6):
        with pytest.raises(WeightsError, match="3 blobs"):
            match(stored([MEAN, VAR, ONE]), net(bn=shapes))


def test_hdf5_without_types_is_recognised_by_the_net() -> None:
    for target, options in ((THREE, {}), (THREE, {"followers": {"bn": "sc"}})):
        file = model(stored([MEAN, np.full(C, np.nan, np.float32), ONE], ""), format="HDF5")
        with pytest.raises(WeightsError, match=r"blob 1 \(variance\)"):
            weights.match(file, net(bn=target, sc=[]), **options)


def test_one_channel_in_five_blobs_is_a_doubt() -> None:
    ones = [np.full(1, value, np.float32) for value in (1, 2, 1, 4, 5)]
    report, found = match(stored(ones), net(bn=[(1,)] * 3, sc=[(1,), (1,)]), followers={"bn": "sc"})
    assert found["sc", 0] == 4
    assert "another order" in report.doubts[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("blobs", "kind", "index", "name"),
    [
        ([MEAN, VAR, ONE], "BatchNorm", 0, "mean"),
        ([MEAN, VAR, ONE], "BatchNorm", 1, "variance"),
        ([MEAN, VAR, ONE], "BatchNorm", 2, "scale factor"),
        (DIGITS, "BatchNorm", 3, "variance"),
        (PSPNET, "BN", 2, "mean"),
    ],
)
def test_statistics_that_are_not_finite_are_an_error(
    blobs, kind: str, index: int, name: str, bad: float
) -> None:
    broken = [blob.copy() for blob in blobs]
    broken[index][-1] = bad
    target = net(bn={3: THREE, 4: [(C,)] * 4, 5: FIVE}[len(blobs)])
    where = rf'net\.caffemodel: layer "bn": blob {index} \({name}\) holds NaN or infinity in 1 of'

    with pytest.raises(WeightsError, match=where):
        match(stored(broken, kind), target)

    report, found = match(stored(broken, kind), target, allow_nan=True)
    assert len(found) == len(blobs)
    assert any("NaN or infinity" in doubt for doubt in report.doubts)


def test_an_affine_part_may_hold_anything() -> None:
    broken = [MEAN, VAR, ONE, np.full(C, np.inf, np.float32), BETA]
    report, _ = match(stored(broken), net(bn=FIVE))
    assert report.ok


def test_a_zero_factor_with_statistics_is_a_doubt() -> None:
    zero = np.zeros(1, np.float32)
    report, found = match(stored([MEAN, VAR, zero]), net(bn=THREE))
    assert found["bn", 2] == 0
    assert 'layer "bn": a scale factor of 0 with statistics that are not 0' in report.doubts[0]
    report, _ = match(stored([MEAN * 0, VAR * 0, zero]), net(bn=THREE))
    assert report.doubts == ()


@pytest.mark.parametrize(("var", "factor"), [(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)])
def test_a_negative_variance_or_factor_is_a_doubt(var: float, factor: float) -> None:
    report, _ = match(stored([MEAN, VAR * var, ONE * factor]), net(bn=THREE))
    assert "negative variance or scale factor" in report.doubts[0]


def test_rounding_below_zero_is_none() -> None:
    report, _ = match(stored([MEAN, VAR * 0 - 1e-7, ONE]), net(bn=THREE))
    assert report.doubts == ()


def test_one_note_stands_for_many_layers() -> None:
    layers = [stored(NVIDIA, name=f"bn{i}") for i in range(53)]
    report, _ = weights.match(model(*layers), net(**{f"bn{i}": FIVE for i in range(53)}))
    assert report.notes == (
        'layers "bn0", "bn1", "bn2" and 50 more: NVIDIA\'s five-blob form (mean, variance, 1, scale, offset)',
    )
