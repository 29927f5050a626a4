"""BatchNorm and Scale to torch.nn.BatchNorm1d, 2d, 3d and back, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffenorm import schema
from caffenorm._extras import require
from caffenorm.convert.rules.norm import batch_norm_state, batch_norm_values
from caffenorm.convert.statistics import stored_statistics
from caffenorm.errors import ConversionError, ShapeError
from caffenorm.layer import Layer

Blobs = Layer | Sequence[ArrayLike]
_STATISTICS = 3


def _arrays(source: Blobs, what: str, counts: tuple[int, ...]) -> list[Any]:
    values = (
        [blob.read() for blob in source.blobs]
        if isinstance(source, Layer)
        else [np.asarray(value) for value in source]
    )
    if len(values) not in counts:
        raise ShapeError(f"{what} has {' or '.join(map(str, counts))} blobs, found {len(values)}")
    return [np.ascontiguousarray(v, dtype=v.dtype if v.dtype == np.float64 else np.float32) for v in values]


def batch_norm_to_torch(
    batch_norm: Blobs,
    scale: Blobs | None = None,
    *,
    dims: int = 2,
    eps: float | None = None,
    moving_average_fraction: float | None = None,
) -> Any:  # Any: torch.nn.Module, torch is an extra
    """A BatchNorm layer, with the Scale that follows it, as one PyTorch module in eval mode.

    Args:
        batch_norm: the layer, or its three blobs: sums of means (C,), sums of variances (C,), factor (1,).
        scale: the layer, or its blobs: factor (C,) and offset (C,), if any; None gives a module without
            affine part.
        dims: 1, 2 or 3, for BatchNorm1d, 2d or 3d.
        eps, moving_average_fraction: taken from the layer; 1e-5 and 0.999 where blobs are given.

    Returns:
        `torch.nn.BatchNorm<dims>d`: running statistics are the sums divided by the factor (0 where it is 0),
        momentum is 1 - moving_average_fraction, or None (the cumulative average) for a fraction of 1, with
        the factor as `num_batches_tracked`.

    Raises:
        ShapeError: the blobs do not fit together. MissingExtraError: torch is not installed.

    Caffe: in eval the module gives Caffe's numbers. In training it does so once the factor has converged to 1
        / (1 - fraction), because Caffe's average is sum(f^k x) / sum(f^k).
    """
    nn = require("torch.nn", extra="torch", to="convert to PyTorch")
    torch = require("torch", extra="torch", to="convert to PyTorch")
    if dims not in (1, 2, 3):
        raise ShapeError(f"dims must be 1, 2 or 3, found {dims!r}")
    param = (
        batch_norm.param.batch_norm_param if isinstance(batch_norm, Layer) else schema.BatchNormParameter()
    )
    eps = param.eps if eps is None else eps
    fraction = param.moving_average_fraction if moving_average_fraction is None else moving_average_fraction
    blobs = _arrays(batch_norm, "BatchNorm", (_STATISTICS,))
    factors = None if scale is None else _arrays(scale, "Scale", (1, 2))
    channels = blobs[0].size
    if blobs[2].size != 1:
        raise ShapeError(f"the factor is one value, found {blobs[2].size}")
    for values in [blobs[1], *(factors or [])]:
        if values.size != channels:
            raise ShapeError(f"the mean has {channels} channels, and a blob beside it {values.size}")
    values = batch_norm_values(blobs, factors, float(str(np.float32(eps))), fraction)
    module = getattr(nn, f"BatchNorm{dims}d")(
        channels,
        eps=values.eps,
        momentum=values.momentum,
        affine=scale is not None,
        dtype=getattr(torch, str(blobs[0].dtype)),
    )
    module.load_state_dict(
        {name: torch.from_numpy(np.array(value)) for name, value in batch_norm_state(values).items()}
    )
    return module.eval()


def batch_norm_from_torch(
    module: Any, name: str = "bn", bottom: str = "data", top: str | None = None
) -> list[schema.LayerParameter]:  # Any: torch.nn.Module
    """A PyTorch batch norm as a BatchNorm layer, and a Scale layer where it is affine, with their blobs.

    Args:
        module: BatchNorm1d, 2d, 3d or SyncBatchNorm.
        name: of the BatchNorm; the Scale is called `<name>/scale`. bottom: what it reads.
        top: what both write, the Scale in place; `name` if not given.

    Returns:
        One or two `LayerParameter`s. The factor is the power of two nearest to 1 / momentum, where Caffe's
        factor settles, so that all values keep their bits and training goes on as it would. Where momentum is
        None it is `num_batches_tracked`, the number of batches that Caffe's sums stand for, and the
        statistics come back within 3 units in the last place (bit for bit if that is a power of two).

    Raises:
        ConversionError: the module is no batch norm, or keeps no running statistics.
    """
    torch = require("torch", extra="torch", to="convert from PyTorch")
    if not isinstance(module, torch.nn.modules.batchnorm._NormBase) or "Instance" in type(module).__name__:
        raise ConversionError(f"{type(module).__name__} is no batch norm")
    top = name if top is None else top
    layer = schema.LayerParameter(name=name, type="BatchNorm", bottom=[bottom], top=[top])
    layer.param.extend([schema.ParamSpec(lr_mult=0, decay_mult=0) for _ in range(_STATISTICS)])
    layer.batch_norm_param.eps = module.eps
    fraction = 1.0 if module.momentum is None else 1.0 - module.momentum
    layer.batch_norm_param.moving_average_fraction = fraction
    if module.running_mean is None:
        layer.batch_norm_param.use_global_stats = False
        zeros = np.zeros(module.num_features, np.float32)
        statistics = [zeros, zeros, np.zeros(1, np.float32)]
    else:
        mean, var = (value.detach().cpu().numpy() for value in (module.running_mean, module.running_var))
        kept = stored_statistics(mean, var, module.momentum, int(module.num_batches_tracked))
        statistics = [kept.mean_sum, kept.var_sum, kept.factor]
    _add_blobs(layer, statistics)
    layers = [layer]
    if module.affine:
        scale = schema.LayerParameter(name=f"{name}/scale", type="Scale", bottom=[top], top=[top])
        scale.scale_param.bias_term = True
        _add_blobs(scale, [value.detach().cpu().numpy() for value in (module.weight, module.bias)])
        layers.append(scale)
    return layers


def _add_blobs(layer: schema.LayerParameter, values: Sequence[Any]) -> None:  # Any: float arrays
    for value in values:
        blob = layer.blobs.add()
        blob.shape.dim.extend(value.shape)
        (blob.double_data if value.dtype == np.float64 else blob.data).extend(value.ravel().tolist())
