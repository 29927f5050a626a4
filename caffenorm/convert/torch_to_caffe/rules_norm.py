"""Batch, instance, layer and group norm, LRN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffenorm.convert.statistics import stored_statistics
from caffenorm.convert.torch_to_caffe.builder import Shape, Stored, Value
from caffenorm.convert.torch_to_caffe.op import Op, as_array, rule, written
from caffenorm.errors import ConversionError

_EPS, _FRACTION = 1e-5, 0.999


@rule("batch_norm")
def batch_norm(op: Op) -> Value:
    """BatchNorm, and Scale where it is affine."""
    if op["training"] and op["running_mean"] is not None:
        raise ConversionError("was exported in training mode; call eval() before torch.export")
    return _batch_norm(op, op["training"])


@rule("_native_batch_norm_legit_no_training", "native_batch_norm", "_native_batch_norm_legit")
def native_batch_norm(op: Op) -> Sequence[Value | None]:
    """The same once it is decomposed."""
    if op.get("training") and op.get("running_mean") is not None:
        raise ConversionError("was exported in training mode; call eval() before torch.export")
    return [_batch_norm(op, bool(op.get("training")))] + [None] * (len(op.shapes) - 1)


def _batch_norm(op: Op, batch_statistics: bool) -> Value:
    x = op.x("input")
    if len(x.shape) < 2:
        raise ConversionError("its input has one axis; give a batch")
    mean, var = (op.constant(name, optional=True) for name in ("running_mean", "running_var"))
    weight, bias = (op.constant(name, optional=True) for name in ("weight", "bias"))
    param: dict[str, Any] = {}  # Any: numbers
    if np.float32(op["eps"]) != np.float32(_EPS):
        param["eps"] = op["eps"]
    if mean is None or var is None:
        param["use_global_stats"] = False
        zeros = np.zeros(x.shape[1], np.float32)
        blobs = [Stored(zeros), Stored(zeros), Stored(np.zeros(1, np.float32))]
    else:
        tracked = op.sibling(mean, "num_batches_tracked")
        batches = 0 if tracked is None else int(tracked)
        # In eval mode PyTorch passes 0 for the momentum None.
        momentum = None if not op["momentum"] else float(op["momentum"])
        kept = stored_statistics(as_array(mean), as_array(var), momentum, batches)
        if np.float32(kept.fraction) != np.float32(_FRACTION):
            param["moving_average_fraction"] = kept.fraction
        keys = [op.stored(mean), op.stored(var)]
        names = [*(blob.name for blob in keys), f"{keys[0].name.removesuffix('running_mean')}factor"]
        ids = [*(blob.key for blob in keys), (keys[0].key, "factor")]
        values = (kept.mean_sum, kept.var_sum, kept.factor)
        blobs = [Stored(v, key, name) for v, key, name in zip(values, ids, names, strict=True)]
        if not kept.exact:
            op.note(
                "counts batches (momentum=None), and Caffe's sums divided by that count give its statistics "
                "within a unit in the last place or two"
            )
    if "SyncBatchNorm" in op.owner:
        op.note("was a SyncBatchNorm; type SyncBatchNorm in place of BatchNorm makes it one here as well")
    y = op.layer("BatchNorm", [x], x.shape, blobs=blobs, **written("batch_norm_param", **param))
    if weight is None:
        return y
    affine = [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]
    scale = written("scale_param", bias_term=None if bias is None else True)
    return op.layer("Scale", [y], x.shape, suffix="scale", blobs=affine, **scale)


@rule("instance_norm")
def instance_norm(op: Op) -> Value:
    """InstanceNorm, with running statistics where PyTorch's has them."""
    x = op.x("input")
    if len(x.shape) < 3:
        raise ConversionError(f"its input has shape {list(x.shape)}; give a batch, (N, C, ...)")
    names = ("weight", "bias", "running_mean", "running_var")
    given = [op.constant(name, optional=True) for name in names]
    param: dict[str, Any] = _eps(op)  # Any: numbers
    if given[0] is not None:
        param["affine"] = True
    if given[2] is not None:
        if op["use_input_stats"]:
            raise ConversionError("was exported in training mode; call eval() before torch.export")
        param["track_running_stats"] = True
        if op["momentum"] != 0.1:
            param["momentum"] = op["momentum"]
    blobs = [op.stored(tensor) for tensor in given if tensor is not None]
    blobs = [
        Stored(b.values, b.key, b.name) if i >= 2 or given[0] is None else b for i, b in enumerate(blobs)
    ]
    return op.layer("InstanceNorm", [x], blobs=blobs, **written("instance_norm_param", **param))


def _eps(op: Op) -> dict[str, Any]:  # Any: numbers
    return {} if np.float32(op["eps"]) == np.float32(_EPS) else {"eps": op["eps"]}


def _affine(op: Op, shape: Shape) -> list[Stored]:
    weight, bias = (op.constant(name, optional=True) for name in ("weight", "bias"))
    if weight is None:
        return []
    if bias is None and op.kind.endswith("group_norm"):
        return [op.stored(weight), Stored(np.zeros(shape, np.float32), learns=False)]
    return [op.stored(tensor) for tensor in (weight, bias) if tensor is not None]


@rule("group_norm", "native_group_norm")
def group_norm(op: Op) -> Value | Sequence[Value | None]:
    x = op.x("input")
    groups = op.get("num_groups", op.get("group"))
    blobs = _affine(op, (x.shape[1],))
    param = {"num_groups": groups, **_eps(op)} | ({} if blobs else {"affine": False})
    y = op.layer("GroupNorm", [x], blobs=blobs, group_norm_param=param)
    return y if op.kind == "group_norm" else [y, None, None]


@rule("layer_norm", "native_layer_norm")
def layer_norm(op: Op) -> Value | Sequence[Value | None]:
    shape = tuple(op["normalized_shape"])
    blobs = _affine(op, shape)
    param: dict[str, Any] = {"normalized_shape": list(shape), **_eps(op)}  # Any: numbers
    if not blobs:
        param["elementwise_affine"] = False
    elif len(blobs) == 1:
        param["bias"] = False
    y = op.layer("LayerNorm", [op.x("input")], blobs=blobs, layer_norm_param=param)
    return y if op.kind == "layer_norm" else [y, None, None]


@rule("caffenorm.lrn")
def lrn(op: Op) -> Value:
    """What `patterns` finds F.local_response_norm to be."""
    param = {"local_size": op["size"], "alpha": op["alpha"], "beta": op["beta"], "k": op["k"]}
    return op.layer("LRN", [op.x()], lrn_param={key: v for key, v in param.items() if (key, v) != ("k", 1.0)})
