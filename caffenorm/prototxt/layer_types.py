"""What layer types were called before they were strings: the enum of V1 nets and the names of V0 nets."""

from __future__ import annotations

from functools import cache
from typing import Any

from caffenorm import schema

# Types that are not their enum name in camel case. BVLC's first, then those of forks.
_SPELLED = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
    "BN": "BN",
    "CRELU": "CReLU",
    "DEFORMABLECONVOLUTION": "DeformableConvolution",
    "DENSE_CRF": "DenseCRF",
    "ELU": "ELU",
    "LSTM_RESHAPE": "LSTMReshape",
    "NMS": "NMS",
    "NORM": "Normalize",
    "PRELU": "PReLU",
    "PRIORBOX": "PriorBox",
    "PSROI_POOLING": "PSROIPooling",
    "RELU6": "ReLU6",
    "ROIPOOLING": "ROIPooling",
    "ROI_ALIGN": "ROIAlign",
    "ROI_POOLING": "ROIPooling",
    "RPN": "RPN",
    "SPP": "SPP",
    "UNPOOLING": "UnPooling",
    "VOXEL_SOFTMAX_LOSS": "VoxelSoftmaxWithLoss",
    "YUVTONORMALIZEDGRAY": "YuvToNormalizedGray",
    "YUVTORGB": "YuvToRgb",
}

# The lower-case types of V0 nets and the V1 types that they became. "padding" is no layer any more.
V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}


def layer_type_enum() -> Any:  # Any: the class of descriptors depends on the protobuf runtime
    """The enum of V1 layer types."""
    return schema.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"]


def type_of_v1(name: str) -> str:
    """The type string of a V1 type: `INNER_PRODUCT` is "InnerProduct"."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    return _SPELLED.get(name, camel)


@cache
def v1_type_strings() -> dict[int, str]:
    """The type string of each number of the V1 enum."""
    return {value.number: type_of_v1(value.name) for value in layer_type_enum().values}
