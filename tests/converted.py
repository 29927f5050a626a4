"""Golden cases for the tests of the conversion to PyTorch."""

from __future__ import annotations

import numpy as np
from golden import GoldenCase
from replay import build, by_step, set_params

from caffenorm import Net

# Cases that are not converted, and a piece of the reason that the error gives.
NOT_CONVERTED = {
    "BatchNorm/eps_0_train": "an eps of 0",
    "BatchNorm/m1_4d_train": "one value a channel",
    "BatchNorm/m1_train": "one value a channel",
    "Convolution/four_d": "along 1 to 3 axes, this has 4",
    "DummyData/gaussian": "values are random",
    "DummyData/uniform": "values are random",
    "InnerProduct/shared_permissive": "shares a parameter with f1.weight",
}
# Cases whose numbers a module cannot give.
LEFT_OUT = {
    "DummyData/constant_inplace": "in Caffe the constant changes at each forward",
}


def loaded(case: GoldenCase) -> Net:
    """The case's net in float64 with its parameters and the inputs of its last forward."""
    net = build(case, np.float64, fuse=False)
    set_params(net, case.under("param"))
    inputs = by_step(case.under("in"))
    for name, value in {**inputs[-1], **inputs.get(case.meta.get("forwards", 1) - 1, {})}.items():
        net.blobs[name].reshape(value.shape)
        net.blobs[name].data[...] = value
    net.reshape()
    return net


def draws(net: Net) -> bool:
    return net.phase == 0 and any(layer.type == "Dropout" for layer in net.layers)
