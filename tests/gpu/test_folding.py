"""Folded chains on the GPU: one product and its ending, without the host, and the single layers' numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import emulated_cupy
from tolerances import assert_close

import caffenorm
from caffenorm import Net
from caffenorm.folding import FoldedProduct

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 dim: 9 dim: 8 } } }\n'
ENDING = """
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "bn" batch_norm_param { eps: 0.001 } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "scale" bottom: "%s" top: "sum" }
layer { name: "relu" type: "ReLU" bottom: "sum" top: "relu" relu_param { negative_slope: 0.1 } }
"""
PRODUCTS = {
    "Convolution": ("x", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 engine: CAFFE }"),
    "1x1": ("x", "convolution_param { num_output: 4 kernel_size: 1 bias_term: false engine: CAFFE }"),
    "DepthwiseConvolution": ("x", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 engine: CAFFE }"),
    "InnerProduct": ("z", "inner_product_param { num_output: 6 }"),
}


def text_of(product: str) -> str:
    other, param = PRODUCTS[product]
    kind = "Convolution" if product == "1x1" else product
    text = INPUT
    if product == "InnerProduct":
        text += f'layer {{ name: "z" type: "InnerProduct" bottom: "x" top: "z" {param} }}\n'
    return text + f'layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {param} }}' + ENDING % other


def net_with_values(text: str, **how: Any) -> Net:
    net = Net.from_text(text, caffenorm.TEST, **how)
    rng = np.random.default_rng(2)
    for name, blobs in net.params.items():
        for blob in blobs:
            values = rng.normal(size=blob.shape)
            blob.data[...] = np.abs(values) + 0.5 if name == "bn" else values
    net.blobs["x"].data[...] = rng.normal(size=net.blobs["x"].shape)
    return net


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_folded_chain_gives_the_single_layers_numbers(gpu: Any, product: str) -> None:
    text = text_of(product)
    net, plain = net_with_values(text, device="gpu"), net_with_values(text, device="cpu", fuse=False)

    net.forward()
    plain.forward()

    assert any(isinstance(step, FoldedProduct) for step in net._plan)
    for name in ("relu", "sum", "scale", "bn", "y"):
        assert_close(net.blobs[name].data, plain.blobs[name].data, name)


@pytest.mark.parametrize("product", ["Convolution", "1x1", "DepthwiseConvolution"])
def test_a_folded_chain_stays_on_the_gpu(gpu: Any, product: str) -> None:
    if gpu is not emulated_cupy:
        pytest.skip("only the emulation counts what happens")
    net = net_with_values(text_of(product), device="gpu")
    net.forward()
    net.blobs["x"].gpu_data[...] = 1
    emulated_cupy.events.clear()

    net.run_forward()

    happened = dict(emulated_cupy.events)
    assert set(happened) <= {"launch"}
    assert happened["launch"] <= (1 if product == "DepthwiseConvolution" else 2)


def test_folding_again_stays_on_the_gpu(gpu: Any) -> None:
    if gpu is not emulated_cupy:
        pytest.skip("only the emulation counts what happens")
    net, plain = (net_with_values(text_of("Convolution"), device="gpu", fuse=fuse) for fuse in (True, False))
    net.forward()
    for each in (net, plain):
        each.params["y"][0].gpu_data[...] = 0.25
    emulated_cupy.events.clear()

    net.run_forward()

    assert not {"to_host", "to_device", "synchronise"} & set(emulated_cupy.events)
    plain.forward()
    assert_close(net.blobs["relu"].data, plain.blobs["relu"].data, "relu")
