"""caffenorm: Caffe networks, run, trained, checked and converted from Python.

`import caffenorm as caffe` gives old pycaffe code what it expects: `Net`, `TRAIN`, `TEST`, `set_mode_cpu` and
so on.
"""

from caffenorm import functional as functional
from caffenorm import layers as _layers  # noqa: F401  importing registers them
from caffenorm._random import set_random_seed
from caffenorm._version import __version__
from caffenorm.backends.select import (
    get_num_threads,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_num_threads,
)
from caffenorm.blob import Blob
from caffenorm.errors import (
    CaffenormError,
    CaffenormWarning,
    ConfigError,
    ConversionError,
    DeviceError,
    GraphError,
    LayerError,
    MissingExtraError,
    PrototxtError,
    ShapeError,
    WeightsError,
)
from caffenorm.gradient_check import GradientError, check_gradients, check_layer
from caffenorm.layer import Layer, LayerContext, layer_type_list, register_layer
from caffenorm.net import Net
from caffenorm.schema import TEST, TRAIN

__all__ = [
    "TEST",
    "TRAIN",
    "Blob",
    "CaffenormError",
    "CaffenormWarning",
    "ConfigError",
    "ConversionError",
    "DeviceError",
    "GradientError",
    "GraphError",
    "Layer",
    "LayerContext",
    "LayerError",
    "MissingExtraError",
    "Net",
    "PrototxtError",
    "ShapeError",
    "WeightsError",
    "__version__",
    "check_gradients",
    "check_layer",
    "functional",
    "get_num_threads",
    "layer_type_list",
    "register_layer",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_num_threads",
    "set_random_seed",
]
