"""The parameters of a net, and of a state dict, as modules: tensors by role, in order.

On Caffe's side a BatchNorm and the Scale behind it are one module with PyTorch's roles (weight, bias,
running_mean, running_var, num_batches_tracked); an InnerProduct that keeps its weights the other way round
has them turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm.blob import Blob
from caffenorm.layer import Layer, canonical_axis
from caffenorm.layers.batch_norm import STATISTICS, BatchNorm
from caffenorm.layers.inner_product import InnerProduct
from caffenorm.net import Net
from caffenorm.plan import LayerStep
from caffenorm.weights.model import LayerWeights
from caffenorm.weights.names import roles

Array = NDArray[Any]  # Any: floats, or int64
TRACKED = "num_batches_tracked"
STATISTIC_ROLES = ("running_mean", "running_var")
# What others call the roles.
_ALIASES = {
    "kernel": "weight",
    "gamma": "weight",
    "w": "weight",
    "beta": "bias",
    "b": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
    "moving_variance": "running_var",
}


@dataclass
class Module:
    """Tensors that belong together.

    Attributes:
        name: of the layer, or what stands before the last dot in the state dict. index: its place in order.
        tensors: by role. names: by role, their full names. defaults: by role, a value that can be left out or
            made up (an offset of zeros, a scale of ones), because it changes nothing.
        put: writes values by role into the net; of Caffe's side alone.
    """

    name: str
    index: int
    tensors: dict[str, Array]
    names: dict[str, str]
    defaults: dict[str, float] = field(default_factory=dict)
    put: Callable[[Mapping[str, Array]], None] | None = None

    @property
    def is_norm(self) -> bool:
        """Whether it has running statistics."""
        return "running_mean" in self.tensors

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Roles and shapes that must fit, as one key."""
        return tuple(sorted((role, value.shape) for role, value in self.tensors.items() if role != TRACKED))


def modules_of_state(state: Mapping[str, Array]) -> list[Module]:
    """The modules of a state dict, in the order of their first names."""
    found: dict[str, Module] = {}
    for name, value in state.items():
        prefix, _, role = name.rpartition(".")
        module = found.setdefault(prefix, Module(prefix, len(found), {}, {}))
        known = _ALIASES.get(role, role)
        role = role if known in module.tensors else known
        module.tensors[role], module.names[role] = value, name
    for module in found.values():
        module.defaults = {"bias": 0.0} | ({"weight": 1.0} if module.is_norm else {})
    return list(found.values())


def modules_of_net(net: Net) -> list[Module]:
    """The modules of a net, in the order in which they run."""
    found: list[Module] = []
    for module in _modules(net.steps):
        module.index = len(found)
        module.names = {role: f"{module.name}.{role}" for role in module.tensors}
        found.append(module)
    return found


def _modules(steps: Sequence[LayerStep]) -> Iterator[Module]:
    joined: set[int] = set()
    for i, step in enumerate(steps):
        layer = step.layer
        if i in joined or not layer.blobs:
            continue
        if isinstance(layer, BatchNorm) and not layer.form.special:
            scale = steps[i + 1] if i + 1 < len(steps) and _joins(step, steps[i + 1]) else None
            if scale is not None:
                joined.add(i + 1)
            affine = scale.layer.blobs if scale is not None else layer.blobs[STATISTICS:]
            yield _norm(layer, affine)
        else:
            yield _plain(layer)


def _joins(norm: LayerStep, scale: LayerStep) -> bool:
    """Whether a Scale multiplies the channels that the BatchNorm before it normalises."""
    layer = scale.layer
    if layer.type != "Scale" or scale.bottom != norm.top or len(norm.layer.blobs) > STATISTICS:
        return False
    axis = canonical_axis(layer.param.scale_param.axis, scale.bottom[0].num_axes)
    return axis == 1 and bool(layer.blobs) and layer.blobs[0].shape == norm.layer.blobs[0].shape


def _plain(layer: Layer) -> Module:
    """A layer whose blobs are what they are."""
    blobs = layer.blobs
    kinds: Sequence[str] = roles(
        LayerWeights(
            layer.name, layer.type, [b.read() for b in blobs], [False] * len(blobs), list(range(len(blobs)))
        )
    )
    if layer.type == "InstanceNorm" and len(blobs) == 2:
        kinds = STATISTIC_ROLES if layer.param.instance_norm_param.track_running_stats else ("weight", "bias")
    turned = isinstance(layer, InnerProduct) and layer.transpose
    tensors = {
        role: np.array(blob.read().T if turned and role == "weight" else blob.read(), order="C")
        for role, blob in zip(kinds, blobs, strict=True)
    }
    pairs = dict(zip(kinds, blobs, strict=True))

    def put(values: Mapping[str, Array]) -> None:
        for role, value in values.items():
            if role in pairs:
                own = value.reshape(tensors[role].shape)
                pairs[role].write()[...] = own.T if turned and role == "weight" else own

    zero = "bias" in tensors and not tensors["bias"].any()
    return Module(layer.name, 0, tensors, {}, {"bias": 0.0} if zero else {}, put)


def _norm(layer: BatchNorm, affine: Sequence[Blob]) -> Module:
    """A BatchNorm with its scale and offset; the sums are divided by the factor."""
    mean, var = (np.empty(layer.channels, layer.dtype) for _ in range(2))
    layer.read_stored(mean, var)
    tensors: dict[str, Array] = {
        role: np.array(blob.read()) for role, blob in zip(("weight", "bias"), affine, strict=False)
    }
    tensors |= {"running_mean": mean, "running_var": var}
    cumulative = layer.form.fraction == 1 and not layer.form.averages
    factor = float(layer.blobs[2].read().reshape(-1)[0])
    tensors[TRACKED] = np.asarray(round(factor) if cumulative and np.isfinite(factor) else 0, np.int64)

    def put(values: Mapping[str, Array]) -> None:
        batches = int(values[TRACKED]) if cumulative and TRACKED in values else 1
        new = layer.dtype.type(max(1, batches))
        for role, blob in zip(STATISTIC_ROLES, layer.blobs, strict=False):
            if role in values:
                blob.write()[...] = values[role].reshape(blob.shape) * new
        if STATISTIC_ROLES[0] in values:
            layer.blobs[2].write()[...] = new
        for role, blob in zip(("weight", "bias"), affine, strict=False):
            if role in values:
                blob.write()[...] = values[role].reshape(blob.shape)

    neutral = {"weight": 1.0, "bias": 0.0}
    defaults = {
        role: value
        for role, value in neutral.items()
        if role in tensors and bool((tensors[role] == value).all())
    }
    return Module(layer.name, 0, tensors, {}, defaults, put)
