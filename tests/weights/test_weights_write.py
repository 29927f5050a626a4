"""`.caffemodel` files that Caffe reads, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from wire_writer import blob, field, layer

from caffenorm import schema, weights
from caffenorm.errors import ConfigError

NET = """
name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" include { phase: TEST }
        param { name: "w" } phase: TEST inner_product_param { num_output: 2 } }
"""
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([0.5, -1], np.float32)


def net(text: str = NET) -> schema.NetParameter:
    return text_format.Parse(text, schema.NetParameter())


def test_protobuf_reads_the_net_and_its_blobs(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"

    left_out = weights.write_caffemodel(path, net(), {"ip": [WEIGHT, BIAS]})

    message = schema.NetParameter.FromString(path.read_bytes())
    first, second = message.layer[1].blobs
    assert list(first.shape.dim) == [2, 3]
    assert list(first.data) == WEIGHT.ravel().tolist()
    assert list(second.data) == BIAS.tolist()
    del message.layer[1].blobs[:]
    assert message == net()
    assert left_out == ()


def test_bytes_stand_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    text = 'name: "n" layer { name: "ip" type: "X" phase: TEST }'

    weights.write_caffemodel(path, net(text), {"ip": [WEIGHT]})

    assert path.read_bytes() == field(1, "n") + layer("ip", "X", [blob(WEIGHT)], b"\x50\x01")


def test_gradients_and_doubles(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    doubles = WEIGHT.astype(np.float64) / 3

    weights.write_caffemodel(
        path, net(), {"ip": [doubles, BIAS]}, {"ip": [doubles + 1, BIAS + 1], "data": []}
    )

    first, second = schema.NetParameter.FromString(path.read_bytes()).layer[1].blobs
    assert list(first.double_data) == doubles.ravel().tolist()
    assert list(first.double_diff) == (doubles + 1).ravel().tolist()
    assert not first.data
    assert list(second.diff) == (BIAS + 1).tolist()


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64]),
        arrays.array_shapes(min_dims=0, max_dims=5, max_side=4),
        elements=st.floats(width=32),
    )
)
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("net") / "net.caffemodel"

    weights.write_caffemodel(path, net(), {"ip": [array.T, array]})
    found = weights.read_weights(path).layer_dict["ip"].blobs

    assert found[0].tobytes() == array.T.tobytes()
    assert found[1].tobytes() == array.tobytes()
    assert found[0].shape == array.T.shape
    assert found[1].dtype == array.dtype


def test_empty_blobs_keep_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    weights.write_caffemodel(path, net(), {"ip": [np.empty((0, 3), np.float32)]})
    assert weights.read_weights(path).layer_dict["ip"].blobs[0].shape == (0, 3)


def test_old_blobs_of_the_message_are_replaced_and_the_message_is_left_alone(tmp_path: Path) -> None:
    message = net()
    message.layer[1].blobs.add().data.append(1)

    weights.write_caffemodel(tmp_path / "a", message, {"ip": [BIAS]})

    assert len(schema.NetParameter.FromString((tmp_path / "a").read_bytes()).layer[1].blobs) == 1
    assert len(message.layer[1].blobs) == 1


def test_fields_with_numbers_of_our_own_are_left_out_and_named(tmp_path: Path) -> None:
    text = """
    layer { name: "bn" type: "BN" bn_param { eps: 1e-3 } }
    layer { name: "up" type: "Upsample" upsample_param { scale: 2 } phase: TEST }
    layer { name: "conv" type: "Convolution" convolution_param { num_output: 2 } }
    """
    before = net(text)

    left_out = weights.write_caffemodel(tmp_path / "a", before, {})

    written = schema.NetParameter.FromString((tmp_path / "a").read_bytes())
    assert left_out == ("bn.bn_param", "up.upsample_param")
    assert not written.layer[0].HasField("bn_param")
    assert written.layer[1].phase == schema.TEST
    assert written.layer[2] == before.layer[2]
    assert before == net(text)


@pytest.mark.parametrize(
    ("blobs", "diffs", "pattern"),
    [
        ({"nowhere": [BIAS]}, None, "layers that the net does not have: nowhere"),
        ({"ip": [np.arange(3)]}, None, 'layer "ip", blob 0 is of int64'),
        ({"ip": [BIAS]}, {"ip": []}, "1 blobs and 0 gradients"),
        ({"ip": [BIAS]}, {"ip": [WEIGHT]}, "and its gradient"),
        ({"ip": [BIAS]}, {"ip": [BIAS.astype(np.float64)]}, "and its gradient"),
    ],
)
def test_what_does_not_fit_leaves_no_file(tmp_path: Path, blobs, diffs, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern):
        weights.write_caffemodel(tmp_path / "net.caffemodel", net(), blobs, diffs)
    assert not list(tmp_path.iterdir())


def test_old_layers_must_be_upgraded_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="upgrade it before saving"):
        weights.write_caffemodel(tmp_path / "a", net('layers { name: "x" type: RELU }'), {})


def test_a_file_that_caffe_could_not_read_is_not_written(tmp_path: Path) -> None:
    huge = np.broadcast_to(np.zeros(1, np.float32), (1 << 16,))  # 256 KiB each, shared memory
    many = net("".join(f'layer {{ name: "l{i}" }}' for i in range(9000)))
    one = np.ascontiguousarray(huge)
    with pytest.raises(ConfigError, match="Caffe reads at most 2,147,483,647; save it as HDF5"):
        weights.write_caffemodel(tmp_path / "a", many, {f"l{i}": [one] for i in range(9000)})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    weights.write_caffemodel(path, net(), {"ip": [BIAS]})
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        weights.write_caffemodel(path, net(), {"ip": [BIAS, np.arange(2)]})
    with pytest.raises(ConfigError, match="cannot write"):
        weights.write_caffemodel(tmp_path / "no" / "such" / "folder", net(), {})
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["net.caffemodel"]
