"""Weights under plain names, in .npz and .safetensors files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import golden
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caffenorm
from caffenorm import Net, weights
from caffenorm.errors import CaffenormWarning, ConfigError, WeightsError
from caffenorm.weights import LayerWeights, ModelWeights

Write = Callable[[Path, dict[str, np.ndarray]], None]
FORMS = pytest.mark.parametrize(
    ("suffix", "write"), [("npz", weights.write_npz), ("safetensors", weights.write_safetensors)]
)
LENET = Path(__file__).parents[2] / "examples" / "lenet.prototxt"


def values(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def layer(name: str, kind: str, *blobs: np.ndarray, legacy: bool = False) -> LayerWeights:
    return LayerWeights(name, kind, list(blobs), [legacy] * len(blobs), list(range(len(blobs))))


def names(*layers: LayerWeights) -> list[str]:
    return list(weights.named_arrays(layers))


# --- names ---


@pytest.mark.parametrize(
    ("kind", "shapes", "roles"),
    [
        ("Convolution", [(4, 3, 3, 3)], "weight"),
        ("Convolution", [(4, 3, 3, 3), (4,)], "weight bias"),
        ("conv", [(4, 3, 3, 3), (4,)], "weight bias"),
        ("Scale", [(4,), (4,)], "weight bias"),
        ("Bias", [(4,)], "bias"),
        ("BatchNorm", [(4,), (4,), (1,)], "mean_sum var_sum scale_factor"),
        ("BATCH_NORM", [(4,), (4,), (1,)], "mean_sum var_sum scale_factor"),
        ("", [(4,), (4,), (1,)], "mean_sum var_sum scale_factor"),
        ("BatchNorm", [(4,), (4,), (1,), (4,), (4,)], "mean_sum var_sum scale_factor weight bias"),
        ("BatchNorm", [(4,), (4,), (4,), (4,), (1,)], "0 1 2 3 4"),
        ("BN", [(1, 4, 1, 1)] * 4, "weight bias running_mean running_var"),
        ("InstanceNorm", [(4,)] * 4, "weight bias running_mean running_var"),
        ("InstanceNorm", [(4,)] * 2, "0 1"),
        ("LSTM", [(8, 3), (8,), (8, 2)], "0 1 2"),
    ],
)
def test_blobs_are_called_by_their_role(kind: str, shapes: list[tuple[int, ...]], roles: str) -> None:
    one = layer("a/b.c", kind, *(values(*shape) for shape in shapes))

    assert names(one) == [f"a/b.c.{role}" for role in roles.split()]


def test_of_layers_of_one_name_the_last_counts_as_in_caffe() -> None:
    arrays = weights.named_arrays([layer("a", "Bias", values(1)), layer("a", "Bias", values(2))])

    assert arrays["a.bias"].shape == (2,)


def test_shapes_of_old_files_lose_their_axes_of_one() -> None:
    arrays = weights.named_arrays(
        [
            layer("conv", "CONVOLUTION", values(1, 3, 5, 5), values(1, 1, 1, 1), legacy=True),
            layer("ip", "innerproduct", values(1, 1, 1, 7), values(1, 1, 1, 1), legacy=True),
            layer("new", "InnerProduct", values(1, 1, 1, 7)),
        ]
    )

    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {
        "conv.weight": (1, 3, 5, 5),
        "conv.bias": (1,),
        "ip.weight": (1, 7),
        "ip.bias": (1,),
        "new.weight": (1, 1, 1, 7),
    }


# --- there and back ---


@FORMS
def test_the_way_back_gives_the_same_bits(tmp_path: Path, suffix: str, write: Write) -> None:
    given_layers = [
        layer("z/größe.1", "Convolution", values(2, 3, 1, 1), np.array([np.nan, -0.0], np.float32)),
        layer("", "Scale", values(3)),
        layer("数据", "BatchNorm", values(3, dtype=np.float64), values(3), values(1)),
        layer("a b\\c", "LSTM", values(4, 2), values(4), values(4, 1)),
        layer("many", "Strange", *(values(index + 1) for index in range(12))),
        layer("empty", "InnerProduct", np.empty((0, 4), np.float32)),
        layer("one", "Scale", np.float32(7).reshape(())),
    ]
    path = tmp_path / f"net.{suffix}"

    write(path, weights.named_arrays(given_layers))
    model = weights.read_weights(path)

    assert model.format == suffix
    assert model.layer_dict.keys() == {one.name for one in given_layers}
    for one in given_layers:
        found = model.layer_dict[one.name]
        assert found.indices == one.indices
        for ours, theirs in zip(found.blobs, one.blobs, strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            assert ours.tobytes() == theirs.tobytes()


@FORMS
@pytest.mark.parametrize("name", ["model", "legacy_v0", "legacy_v1", "legacy_double", "shared_iter_5"])
def test_files_of_caffe_come_back_as_caffemodels(
    tmp_path: Path, suffix: str, write: Write, name: str
) -> None:
    original = weights.read_caffemodel(golden.FOLDER / "snapshots" / f"{name}.caffemodel")
    write(tmp_path / f"net.{suffix}", weights.named_arrays(original.layers))
    model = weights.read_weights(tmp_path / f"net.{suffix}")
    net = caffenorm.schema.NetParameter()
    for one in model.layers:
        net.layer.add(name=one.name, type=one.type)

    weights.write_caffemodel(tmp_path / "net.caffemodel", net, {one.name: one.blobs for one in model.layers})

    back = weights.read_caffemodel(tmp_path / "net.caffemodel").layer_dict
    stored = [one for one in original.layers if one.blobs]
    assert {one.name for one in stored} == back.keys()
    for one in stored:
        for ours, theirs in zip(back[one.name].blobs, one.blobs, strict=True):
            assert ours.tobytes() == theirs.tobytes()


@given(st.lists(st.text(max_size=12), unique=True, min_size=1, max_size=5))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, found: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    arrays = weights.named_arrays(layer(name, "Scale", values(2)) for name in found)

    weights.write_safetensors(folder / "net.safetensors", arrays)
    assert [one.name for one in weights.read_weights(folder / "net.safetensors").layers] == found

    if not any("\0" in name for name in found):
        weights.write_npz(folder / "net.npz", arrays)
        assert [one.name for one in weights.read_weights(folder / "net.npz").layers] == found


def test_numpy_reads_what_is_written_and_what_it_writes_is_read(tmp_path: Path) -> None:
    weights.write_npz(tmp_path / "ours.npz", {"a/b.weight": values(2, 3), "a/b.bias": values(2)})
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as found:
        assert list(found) == ["a/b.weight", "a/b.bias"]
        assert (found["a/b.weight"] == values(2, 3)).all()

    np.savez_compressed(
        tmp_path / "theirs.npz",
        **{
            "a.weight": np.asfortranarray(values(2, 3)),
            "a.bias": values(2).astype(">f8"),
            "b.0": np.float16([2]),
        },
    )
    first, second = weights.read_weights(tmp_path / "theirs.npz").layers
    assert (first.blobs[0] == values(2, 3)).all()
    assert (first.blobs[1] == values(2)).all()
    assert first.blobs[1].dtype == np.float64
    assert second.blobs[0].dtype == np.float32


def test_the_safetensors_library_reads_what_is_written_and_what_it_writes_is_read(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    arrays = {"a.weight": values(3, 2), "a.bias": values(3), "b.scale_factor": values(1, dtype=np.float64)}

    weights.write_safetensors(tmp_path / "ours.safetensors", arrays)
    found = library.load_file(tmp_path / "ours.safetensors")
    assert found.keys() == arrays.keys()
    assert all(
        (found[name] == array).all() and found[name].dtype == array.dtype for name, array in arrays.items()
    )

    library.save_file(arrays, tmp_path / "theirs.safetensors", {"format": "pt"})
    model = weights.read_weights(tmp_path / "theirs.safetensors")
    assert (model.layer_dict["a"].blobs[0] == arrays["a.weight"]).all()
    assert (model.layer_dict["a"].blobs[1] == arrays["a.bias"]).all()


def test_all_tensors_of_a_safetensors_file_are_aligned(tmp_path: Path) -> None:
    arrays = {"a.0": values(3), "a.1": values(2, dtype=np.float64), "a.2": np.float16([1]), "a.3": values(1)}

    weights.write_safetensors(tmp_path / "net.safetensors", arrays)

    content = (tmp_path / "net.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert all(header[name]["data_offsets"][0] % array.itemsize == 0 for name, array in arrays.items())


def test_brain_floats_are_read_exactly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    numbers = torch.tensor([1.0, -2.5, float("inf"), 3.140625], dtype=torch.bfloat16)
    library.save_file({"a.weight": numbers}, tmp_path / "net.safetensors")

    found = weights.read_weights(tmp_path / "net.safetensors").layers[0].blobs[0]

    assert found.tolist() == numbers.float().tolist()


@FORMS
def test_the_same_net_gives_the_same_file(tmp_path: Path, suffix: str, write: Write) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.{suffix}", {"x.weight": values(2), "x.bias": values(2)})

    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


# --- nets ---


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_net_saves_and_loads_itself(tmp_path: Path, suffix: str) -> None:
    net, other = Net(LENET, caffenorm.TEST), Net(LENET, caffenorm.TEST)
    path = tmp_path / f"net.{suffix}"

    net.save(path)
    report = other.copy_from(path)

    assert report.ok
    assert not report.unused
    for name, blobs in net.params.items():
        for ours, theirs in zip(blobs, other.params[name], strict=True):
            assert (ours.data == theirs.data).all()


@FORMS
def test_missing_unused_and_shapes_are_reported(tmp_path: Path, suffix: str, write: Write) -> None:
    net = Net(LENET, caffenorm.TEST)
    arrays = dict(net.named_parameters())
    first, *_ = net.params
    path = tmp_path / f"net.{suffix}"

    arrays["other.weight"] = values(3)
    write(path, {name: array for name, array in arrays.items() if not name.startswith(f"{first}.")})
    report = net.copy_from(path)
    assert report.missing == (first,)
    assert report.unused == ("other",)

    arrays[f"{first}.weight"] = values(3, 3)
    write(path, arrays)
    with pytest.raises(WeightsError, match=rf'layer "{first}", blob 0: \(3, 3\) in the file'):
        net.copy_from(path)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_gradients_are_not_saved_by_name(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ConfigError, match="hold no gradients"):
        Net(LENET, caffenorm.TEST).save(tmp_path / f"net.{suffix}", diffs=True)


def test_nothing_of_another_name_is_taken_for_weights(tmp_path: Path) -> None:
    weights.write_safetensors(
        tmp_path / "state.safetensors",
        {"bn.running_mean": values(3), "bn.num_batches_tracked": np.zeros((), np.int64)},
    )

    with pytest.raises(WeightsError, match="looks like a state dict of PyTorch"):
        weights.read_weights(tmp_path / "state.safetensors")


@FORMS
def test_roles_and_indices_of_one_layer_are_not_mixed(tmp_path: Path, suffix: str, write: Write) -> None:
    write(tmp_path / f"net.{suffix}", {"a.weight": values(2), "a.1": values(2)})

    with pytest.raises(WeightsError, match="both by role and by index"):
        weights.read_weights(tmp_path / f"net.{suffix}")


def test_what_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        weights.write_npz(tmp_path / "net.npz", {"a\0b.weight": values(1)})
    with pytest.raises(ConfigError, match="cannot be stored"):
        weights.write_safetensors(tmp_path / "net.safetensors", {"a.weight": np.zeros(1, np.complex64)})
    assert not list(tmp_path.iterdir())


def test_named_arrays_load_silently(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    net = Net(LENET, caffenorm.TEST)
    net.save(tmp_path / "net.npz")

    net.copy_from(tmp_path / "net.npz")

    assert not [found for found in recwarn if issubclass(found.category, CaffenormWarning)]


def test_model_weights_of_a_file_know_where_they_come_from(tmp_path: Path) -> None:
    weights.write_npz(tmp_path / "net.npz", {"a.weight": values(1)})

    model = weights.read_npz(tmp_path / "net.npz")

    assert isinstance(model, ModelWeights)
    assert model.file == str(tmp_path / "net.npz")
