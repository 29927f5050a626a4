"""Layers that route, cut and join blobs, and Eltwise."""

from __future__ import annotations

import numpy as np

from caffenorm import schema
from caffenorm.convert.program import Chain, Param, arguments, number, rule

_ELTWISE, _REDUCTION = schema.EltwiseParameter, schema.ReductionParameter


def _axis(axis: int, num_axes: int) -> int:
    return axis + num_axes if axis < 0 else axis


@rule("Input")
def net_input(chain: Chain) -> None:
    """Arguments of forward; nothing to compute."""


@rule("DummyData")
def dummy_data(chain: Chain) -> None:
    """Constants, as parameters that do not learn."""
    fillers = list(chain.layer.param.dummy_data_param.data_filler)
    for i, (y, blob) in enumerate(zip(chain.outputs(), chain.top, strict=True)):
        filler = fillers[min(i, len(fillers) - 1)] if fillers else schema.FillerParameter()
        if filler.type != "constant":
            raise chain.fail("its values are random and new at each forward; make it an Input")
        text = f"torch.full({tuple(blob.shape)}, {number(filler.value)})"
        value = np.full(blob.shape, filler.value, chain.layer.dtype)
        suffix = f"_{i}" if len(chain.top) > 1 else ""
        name = chain.submodule(f"nn.Parameter({text}, requires_grad=False)", {"": value}, suffix=suffix)
        chain.line(f"{y} = {name}")


@rule("Parameter")
def parameter(chain: Chain) -> None:
    """A parameter of the net itself."""
    blob = chain.layer.blobs[0]
    state = {"": Param(blob, blob.read().copy())}
    chain.set(chain.submodule(f"nn.Parameter(torch.zeros({tuple(blob.shape)}))", state))


@rule("Split")
def split(chain: Chain) -> None:
    """The same blob under several names."""
    chain.alias()


@rule("Silence")
def silence(chain: Chain) -> None:
    """Nothing comes out of it."""


@rule("Eltwise")
def eltwise(chain: Chain) -> None:
    param, inputs = chain.layer.param.eltwise_param, chain.inputs()
    if param.operation == _ELTWISE.PROD:
        chain.set(" * ".join(inputs))
    elif param.operation == _ELTWISE.MAX:
        text = inputs[0]
        for other in inputs[1:]:
            text = f"torch.maximum({text}, {other})"
        chain.set(text)
    else:
        factors = list(param.coeff) or [1.0] * len(inputs)
        first, *others = zip(factors, inputs, strict=True)
        text = _term(*first)
        for factor, x in others:
            text += f" - {_term(-factor, x)}" if factor < 0 else f" + {_term(factor, x)}"
        chain.set(text)


def _term(factor: float, x: str) -> str:
    if factor in (1, -1):
        return x if factor == 1 else f"-{x}"
    return f"{number(factor)} * {x}"


@rule("Axpy")
def axpy(chain: Chain) -> None:
    scale, x, y = chain.inputs()
    missing = chain.bottom[1].num_axes - chain.bottom[0].num_axes
    if missing > 0:
        scale = f"{scale}[{', '.join(['...'] + ['None'] * missing)}]"
    chain.set(f"{scale} * {x} + {y}")


@rule("Concat")
def concat(chain: Chain) -> None:
    param = chain.layer.param.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    inputs = chain.inputs()
    parts = f"({', '.join(inputs)}{',' if len(inputs) == 1 else ''})"
    chain.set(f"torch.cat({parts}, {_axis(axis, chain.bottom[0].num_axes)})")


@rule("Slice")
def slice_(chain: Chain) -> None:
    param = chain.layer.param.slice_param
    axis = _axis(param.slice_dim if param.HasField("slice_dim") else param.axis, chain.bottom[0].num_axes)
    outputs, sizes = chain.outputs(), [blob.shape[axis] for blob in chain.top]
    x = chain.x
    if len(outputs) == 1:
        chain.line(f"{outputs[0]} = {x}")
    elif len(set(sizes)) == 1 and not param.slice_point:
        chain.line(f"{', '.join(outputs)} = {x}.chunk({len(outputs)}, {axis})")
    else:
        points = list(param.slice_point)  # along the batch they hold for any size
        parts = f"tensor_split({points}, 0)" if axis == 0 else f"split({sizes}, {axis})"
        chain.line(f"{', '.join(outputs)} = {x}.{parts}")


@rule("Flatten")
def flatten(chain: Chain) -> None:
    param, axes = chain.layer.param.flatten_param, chain.bottom[0].num_axes
    first, last = _axis(param.axis, axes), _axis(param.end_axis, axes)
    chain.set(
        f"{chain.x}.flatten({arguments(str(first), end_dim=(str(last if last < axes - 1 else -1), '-1'))})"
    )


@rule("Reshape")
def reshape(chain: Chain) -> None:
    param, bottom = chain.layer.param.reshape_param, chain.bottom[0]
    dims = list(param.shape.dim)
    axis = param.axis if param.axis >= 0 else bottom.num_axes + param.axis + 1
    covered = bottom.num_axes - axis if param.num_axes == -1 else param.num_axes
    x = chain.x
    before = [f"{x}.shape[{i}]" if i == 0 else str(bottom.shape[i]) for i in range(axis)]
    given = [
        (f"{x}.shape[{axis + i}]" if axis + i == 0 else str(bottom.shape[axis + i])) if d == 0 else str(d)
        for i, d in enumerate(dims)
    ]
    after = [str(d) if i else f"{x}.shape[0]" for i, d in enumerate(bottom.shape)][axis + covered :]
    chain.set(f"{x}.reshape({', '.join(before + given + after) or '()'})")


@rule("Permute")
def permute(chain: Chain) -> None:
    order = list(chain.layer.param.permute_param.order)
    order += [i for i in range(chain.bottom[0].num_axes) if i not in order]
    chain.set(f"{chain.x}.permute({', '.join(map(str, order))})")


@rule("ShuffleChannel")
def shuffle_channel(chain: Chain) -> None:
    x = chain.x
    groups = chain.layer.param.shuffle_channel_param.group
    shape = f"{x}.shape"
    chain.set(f"{x}.unflatten(1, ({groups}, {shape}[1] // {groups})).transpose(1, 2).reshape({shape})")


@rule("Crop")
def crop(chain: Chain) -> None:
    param, source = chain.layer.param.crop_param, chain.bottom[0]
    axis = _axis(param.axis, source.num_axes)
    x, like = chain.inputs()
    parts = [":"] * axis
    for i in range(axis, source.num_axes):
        offset = param.offset[min(i - axis, len(param.offset) - 1)] if param.offset else 0
        parts.append(f"{offset} : {offset} + {like}.shape[{i}]" if offset else f": {like}.shape[{i}]")
    chain.set(f"{x}[{', '.join(parts)}]")


@rule("Tile")
def tile(chain: Chain) -> None:
    param, axes = chain.layer.param.tile_param, chain.bottom[0].num_axes
    counts = [1] * axes
    counts[_axis(param.axis, axes)] = param.tiles
    chain.set(f"{chain.x}.repeat({', '.join(map(str, counts))})")


@rule("Reduction")
def reduction(chain: Chain) -> None:
    param, axes = chain.layer.param.reduction_param, chain.bottom[0].num_axes
    axis = _axis(param.axis, axes)
    x = chain.x if axis in (0, axes - 1) else f"{chain.x}.flatten({axis})"
    dim = "" if axis == 0 else "-1"
    value = {
        _REDUCTION.SUM: f"{x}.sum({dim})",
        _REDUCTION.ASUM: f"{x}.abs().sum({dim})",
        _REDUCTION.SUMSQ: f"{x}.square().sum({dim})",
        _REDUCTION.MEAN: f"{x}.mean({dim})",
    }[param.operation]
    chain.set(value if param.coeff == 1 else f"{number(param.coeff)} * {value}")


@rule("ArgMax")
def arg_max(chain: Chain) -> None:
    param = chain.layer.param.argmax_param
    axis = str(_axis(param.axis, chain.bottom[0].num_axes)) if param.HasField("axis") else "None"
    listed = arguments(
        chain.x,
        axis=(axis, "None"),
        top_k=(str(param.top_k), "1"),
        out_max_val=(str(param.out_max_val), "False"),
        smallest=(str(param.min_first), "False"),
    )
    chain.set(f"{chain.helper('caffe_argmax')}({listed})")


@rule("Embed")
def embed(chain: Chain) -> None:
    layer = chain.layer
    rows, size = layer.blobs[0].shape
    x = chain.x
    given = arguments(str(rows), str(size), bias=(str(len(layer.blobs) > 1), "True"))
    module = chain.submodule(
        f"{chain.helper('Embed')}({given})",
        {
            key: Param(blob, blob.read().copy())
            for key, blob in zip(("weight", "bias"), layer.blobs, strict=False)
        },
    )
    chain.set(f"{module}({x})")


@rule("BatchReindex")
def batch_reindex(chain: Chain) -> None:
    x, index = chain.inputs()
    chain.set(f"{x}[{index}.flatten().long()]")


@rule("Filter")
def filter_rows(chain: Chain) -> None:
    inputs = chain.inputs()
    selector = f"{inputs[-1]}.flatten() != 0"
    for x, y in zip(inputs[:-1], chain.outputs(), strict=True):
        chain.line(f"{y} = {x}[{selector}]")
