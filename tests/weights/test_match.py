"""Which values of a file go where in a net, and what is said about the rest."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from caffenorm import weights
from caffenorm.errors import WeightsError


def values(*dims: int) -> np.ndarray:
    return np.arange(int(np.prod(dims)), dtype=np.float32).reshape(dims) + 1


def stored(
    name: str, *blobs: np.ndarray, kind: str = "InnerProduct", legacy: bool = False
) -> weights.LayerWeights:
    return weights.LayerWeights(name, kind, list(blobs), [legacy] * len(blobs), list(range(len(blobs))), "V2")


def model(*layers: weights.LayerWeights, notes: tuple[str, ...] = ()) -> weights.ModelWeights:
    return weights.ModelWeights("net.caffemodel", "caffemodel V2", list(layers), list(notes))


def net(**layers: list[tuple[int, ...]]) -> dict[str, list[SimpleNamespace]]:
    return {name: [SimpleNamespace(shape=shape) for shape in shapes] for name, shapes in layers.items()}


def test_layers_match_by_name_and_the_rest_is_reported() -> None:
    file = model(
        stored("ip1", values(3, 4), values(3)), stored("old", values(2)), stored("relu", kind="ReLU")
    )
    target = net(ip1=[(3, 4), (3,)], ip2=[(2, 3)], relu=[], data=[])

    report, assignments = weights.match(file, target)

    assert [(one.layer, one.blob) for one in assignments] == [("ip1", 0), ("ip1", 1)]
    assert (assignments[0].array == values(3, 4)).all()
    assert report.loaded == ("ip1",)
    assert report.missing == ("ip2",)
    assert report.unused == ("old",)
    assert report.mismatched == report.notes == ()
    assert not report.ok


def test_a_complete_file_is_ok_though_it_holds_more() -> None:
    report, _ = weights.match(model(stored("ip", values(3)), stored("more", values(2))), net(ip=[(3,)]))
    assert report.ok


def test_the_report_reads_well() -> None:
    file = model(stored("fc8_new", values(3)), stored("ip", values(2)), notes=("odd",))
    report, _ = weights.match(file, net(fc8=[(3,)], ip=[(2,)], zzz=[(1,)]))
    assert str(report) == (
        "net.caffemodel: 1 layer loaded\n"
        '  missing in the file, left as it was: "fc8" (the file has a layer "fc8_new" that the net has not)\n'
        '  missing in the file, left as it was: "zzz"\n'
        '  only in the file, not used: "fc8_new"\n'
        "  note: odd"
    )


def test_all_that_does_not_fit_is_in_one_error() -> None:
    file = model(
        stored("conv1", values(64, 3, 7, 7), values(64)),
        stored("good", values(2)),
        stored("fc8", values(1000, 16), values(1000)),
        stored("count", values(2)),
        stored("none"),
    )
    target = net(
        conv1=[(32, 3, 7, 7), (64,)], good=[(2,)], fc8=[(20, 16), (20,)], count=[(2,), (2,)], none=[(1,)]
    )

    with pytest.raises(WeightsError) as caught:
        weights.match(file, target)

    text = str(caught.value)
    assert text.startswith("net.caffemodel: 5 things are wrong:")
    for line in (
        'layer "conv1", blob 0: (64, 3, 7, 7) in the file, (32, 3, 7, 7) in the net',
        'layer "fc8", blob 0: (1000, 16) in the file, (20, 16) in the net',
        'layer "fc8", blob 1: (1000,) in the file, (20,) in the net',
        'layer "count": 1 blob (2,) in the file, 2 blobs (2,), (2,) in the net',
        'layer "none": no blobs in the file, 1 blob (1,) in the net',
    ):
        assert line in text
    assert "good" not in text
    assert "caffenorm summary" in text


def test_a_single_mismatch_is_one_line() -> None:
    with pytest.raises(
        WeightsError, match=r'^net\.caffemodel: layer "a", blob 0: \(3,\) in the file, \(2,\)'
    ) as caught:
        weights.match(model(stored("a", values(3))), net(a=[(2,)]))
    assert "\n" not in str(caught.value)


def test_mismatched_layers_can_be_passed_over_whole() -> None:
    file = model(stored("fc8", values(3), values(1000)), stored("ip", values(2)))

    report, assignments = weights.match(file, net(fc8=[(3,), (20,)], ip=[(2,)]), skip_mismatched=True)

    assert [one.layer for one in assignments] == ["ip"]
    assert report.loaded == ("ip",)
    assert report.missing == ()
    assert report.mismatched == ('layer "fc8", blob 1: (1000,) in the file, (20,) in the net',)
    assert not report.ok
    assert "does not fit" in str(report)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((1, 1, 3, 4), (3, 4)),
        ((1, 1, 1, 3), (3,)),
        ((1, 1, 1, 1), ()),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((1, 2, 3, 4), (2, 3, 4)),
        ((1, 1, 3, 4), (1, 3, 4)),
        ((2, 1, 3, 1, 2), (2, 1, 3, 1, 2)),
    ],
)
def test_old_shapes_fit_behind_leading_ones(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    _, assignments = weights.match(model(stored("a", values(*old), legacy=True)), net(a=[new]))
    assert assignments[0].array.shape == new
    assert (assignments[0].array.ravel() == values(*old).ravel()).all()


@pytest.mark.parametrize(
    ("old", "new", "legacy"),
    [
        ((3, 1, 1, 1), (3,), True),
        ((1, 3, 1, 1), (3,), True),
        ((1, 1, 3, 4), (4, 3), True),
        ((1, 1, 3, 4), (12,), True),
        ((1, 1, 3, 4), (3, 4), False),
        ((12,), (3, 4), False),
        ((3, 4), (12,), False),
        ((1, 3), (3,), False),
        ((1, 1, 1, 2), (1, 1, 1, 1, 2), True),
    ],
)
def test_equal_counts_are_not_enough(old: tuple[int, ...], new: tuple[int, ...], legacy: bool) -> None:
    with pytest.raises(WeightsError, match="in the file"):
        weights.match(model(stored("a", values(*old), legacy=legacy)), net(a=[new]))


def test_where_the_file_tells_no_shape_the_count_must_do() -> None:
    _, assignments = weights.match(model(stored("a", values(12), legacy=True)), net(a=[(3, 4)]))
    assert assignments[0].array.shape == (3, 4)
    with pytest.raises(WeightsError, match=r"\(12,\) in the file"):
        weights.match(model(stored("a", values(12), legacy=True)), net(a=[(3, 5)]))


def test_of_two_layers_with_one_name_the_last_counts_with_a_note() -> None:
    report, assignments = weights.match(model(stored("a", values(2)), stored("a", -values(2))), net(a=[(2,)]))
    assert [one.array.tolist() for one in assignments] == [[-1, -2]]
    assert report.notes == report.doubts == ('layer "a": more than once in the file; the last one counts',)


def test_notes_of_the_file_are_in_the_report() -> None:
    report, _ = weights.match(model(stored("a", values(2)), notes=("half floats",)), net(a=[(2,)]))
    assert report.notes == ("half floats",)
    assert report.doubts == ()


def test_doubles_stay_doubles() -> None:
    _, assignments = weights.match(model(stored("a", np.array([1 / 3]))), net(a=[(1,)]))
    assert assignments[0].array.dtype == np.float64
