"""From a NetParameter to layers with blobs: what happens once, when a Net is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.errors import CaffenormError, GraphError, LayerError, ShapeError, Where
from caffenorm.graph import Graph
from caffenorm.layer import Count, Layer, LayerContext, registered_layers
from caffenorm.plan import LayerStep, mark_overwritten

AUTOMATIC_TOP = "(automatic)"  # Caffe's name for the top of a loss that names none
_MEGABYTE = 1 << 20


@dataclass
class LearnableParam:
    """A parameter that solvers change: the memory that all who share it by name use.

    Attributes:
        blob: of the layer that owns it.
        name: it is shared under, or empty.
        lr_mult, decay_mult: what the solver's rate and decay are multiplied by.
    """

    blob: Blob
    name: str = ""
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    written_lr: bool = False
    written_decay: bool = False


@dataclass
class BuiltNet:
    """What building gives.

    Attributes:
        steps: one a layer.
        blobs: one for each of the graph's blob names.
        learnable: parameters, each shared one once.
        param_ids: for each layer, the numbers in `learnable` of its blobs.
        owners: for each layer, which of its blobs are its own (not another layer's, shared by name).
        need_backward: for each blob, whether something that learns lies before it.
    """

    steps: list[LayerStep] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    learnable: list[LearnableParam] = field(default_factory=list)
    param_ids: list[list[int]] = field(default_factory=list)
    owners: list[list[bool]] = field(default_factory=list)
    need_backward: list[bool] = field(default_factory=list)


class _Shared:
    """The first layer that uses a parameter name."""

    def __init__(self, layer: str, index: int, learnable: int) -> None:
        self.layer = layer
        self.index = index
        self.learnable = learnable


def guarded(where: Where, work: Callable[[], None]) -> None:
    """Do it; an error gets the place it happened at."""
    try:
        work()
    except CaffenormError as error:
        if error.where is None:
            error.where = where
        raise
    except MemoryError as error:
        raise ShapeError(
            f"not enough memory ({error or 'an array could not be allocated'})", where
        ) from error


def build(net: schema.NetParameter, graph: Graph, context: LayerContext) -> BuiltNet:
    """Make and set up all layers.

    Raises:
        CaffenormError: a layer refuses its parameters or its bottoms; file, line and layer are named.
    """
    built = BuiltNet()
    built.blobs = [Blob((), context.dtype, context.ops) for _ in graph.blob_names]
    built.need_backward = [False] * len(graph.blob_names)
    classes = registered_layers()
    shared: dict[str, _Shared] = {}
    for node, message in zip(graph.nodes, net.layer, strict=True):
        if not message.HasField("phase"):
            message.phase = context.phase
        own = LayerContext(
            message.phase,
            context.ops,
            context.dtype,
            context.folder,
            context.allow_python,
            context.force_backward,
        )

        def make(node=node, message=message, own=own) -> None:  # type: ignore[no-untyped-def]  # defaults bind the loop
            layer = classes[node.type](message, own)
            bottom = [built.blobs[i] for i in node.bottoms]
            top = [built.blobs[i] for i in node.tops]
            _check_counts(layer, len(bottom), len(top))
            top += [Blob((), context.dtype, context.ops) for _ in range(_missing_tops(layer, len(top)))]
            step = LayerStep(node.index, layer, bottom, top, node.where)
            step.loss_weights = _loss_weights(layer, len(top))
            written_rates = [spec.lr_mult for spec in message.param]
            layer.layer_setup(bottom, top)
            step.reshape()
            _check_in_place(step)
            _add_params(built, layer, shared, written_rates)
            built.steps.append(step)

        guarded(node.where, make)
        _wants_gradient(built, node.bottoms, node.tops)
    _prune_backward(built, graph)
    if net.force_backward:
        _force_backward(built, graph)
    mark_overwritten(built.steps)
    return built


def _words(count: Count) -> str:
    if isinstance(count, int):
        return f"exactly {count}"
    least, most = count
    return f"at least {least}" if most is None else f"{least} to {most}"


def _fits(count: Count, found: int) -> bool:
    if isinstance(count, int):
        return found == count
    return found >= count[0] and (count[1] is None or found <= count[1])


def _check_counts(layer: Layer, bottoms: int, tops: int) -> None:
    if not _fits(layer.num_bottoms, bottoms):
        raise GraphError(f"takes {_words(layer.num_bottoms)} bottom(s), has {bottoms}")
    if not _fits(layer.num_tops, tops + _missing_tops(layer, tops)):
        raise GraphError(f"gives {_words(layer.num_tops)} top(s), has {tops}")
    if layer.same_number_of_tops and bottoms != tops:
        raise GraphError(f"gives as many tops as it has bottoms, has {bottoms} bottom(s) and {tops} top(s)")


def _missing_tops(layer: Layer, tops: int) -> int:
    """How many tops a loss makes for itself."""
    if not layer.is_loss:
        return 0
    least = layer.num_tops if isinstance(layer.num_tops, int) else layer.num_tops[0]
    return max(0, least - tops)


def _loss_weights(layer: Layer, tops: int) -> list[float]:
    written = list(layer.param.loss_weight)
    if written and len(written) != tops:
        raise LayerError(
            f"has {len(written)} loss_weight(s) for {tops} top(s); give one for each top, or none"
        )
    if written:
        return written
    return [1.0 if layer.is_loss and i == 0 else 0.0 for i in range(tops)]


def _check_in_place(step: LayerStep) -> None:
    if step.layer.in_place_ok:
        return
    if any(top is bottom for top in step.top for bottom in step.bottom):
        raise LayerError("cannot work in place; give the top a name of its own")


# --- parameters ---


def _add_params(
    built: BuiltNet, layer: Layer, shared: dict[str, _Shared], written_rates: Sequence[float]
) -> None:
    """Number the layer's parameters, join those that are shared by name.

    Caffe: whether a gradient is wanted follows from the rates that the prototxt writes (1 where it is
        silent), so a BatchNorm without `param` blocks counts as learning, although it then sets its rates to
        0.
    """
    specs = layer.param.param
    if len(specs) > len(layer.blobs):
        raise LayerError(
            f"has {len(specs)} param blocks for {len(layer.blobs)} parameter(s); remove the surplus"
        )
    numbers, owned = [], []
    for index, blob in enumerate(layer.blobs):
        spec = specs[index] if index < len(specs) else schema.ParamSpec()
        known = shared.get(spec.name) if spec.name else None
        if known is None:
            if spec.name:
                shared[spec.name] = _Shared(layer.name, index, len(built.learnable))
            numbers.append(len(built.learnable))
            owned.append(True)
            built.learnable.append(
                LearnableParam(
                    blob,
                    spec.name,
                    spec.lr_mult,
                    spec.decay_mult,
                    spec.HasField("lr_mult"),
                    spec.HasField("decay_mult"),
                )
            )
        else:
            _share_param(built.learnable[known.learnable], known, blob, spec)
            numbers.append(known.learnable)
            owned.append(False)
    rates = [*written_rates, *(1.0 for _ in layer.blobs)]
    layer.param_propagate_down = [rate != 0 for rate in rates[: len(layer.blobs)]]
    built.param_ids.append(numbers)
    built.owners.append(owned)


def _share_param(owner: LearnableParam, known: _Shared, blob: Blob, spec: schema.ParamSpec) -> None:
    what = f'parameter "{spec.name}", shared with parameter {known.index} of layer "{known.layer}",'
    if spec.share_mode == schema.ParamSpec.PERMISSIVE:
        if blob.count != owner.blob.count:
            raise ShapeError(f"{what} has {blob.count} values here and {owner.blob.count} there")
    elif blob.shape != owner.blob.shape:
        raise ShapeError(
            f"{what} has shape {list(blob.shape)} here and {list(owner.blob.shape)} there; "
            "share_mode: PERMISSIVE would compare the counts only"
        )
    blob.share_data(owner.blob)
    blob.share_diff(owner.blob)
    if spec.HasField("lr_mult"):
        if owner.written_lr and owner.lr_mult != spec.lr_mult:
            raise LayerError(f"{what} has lr_mult {spec.lr_mult:g} here and {owner.lr_mult:g} there")
        owner.lr_mult, owner.written_lr = spec.lr_mult, True
    if spec.HasField("decay_mult"):
        if owner.written_decay and owner.decay_mult != spec.decay_mult:
            raise LayerError(f"{what} has decay_mult {spec.decay_mult:g} here and {owner.decay_mult:g} there")
        owner.decay_mult, owner.written_decay = spec.decay_mult, True


# --- who needs a gradient ---


def _wants_gradient(built: BuiltNet, bottoms: Sequence[int], tops: Sequence[int]) -> None:
    """Going down the net: a layer needs backward if it learns, or if something before it does."""
    step = built.steps[-1]
    written = step.layer.param.propagate_down
    if written and len(written) != len(step.bottom):
        message = (
            f"has {len(written)} propagate_down for {len(step.bottom)} bottom(s); give one for each, or none"
        )
        raise LayerError(message, step.where)
    for i, blob in enumerate(bottoms):
        step.propagate_down[i] = written[i] if written else built.need_backward[blob]
    step.needs_backward = any(step.propagate_down) or any(step.layer.param_propagate_down)
    for blob in tops:
        built.need_backward[blob] = step.needs_backward


def _prune_backward(built: BuiltNet, graph: Graph) -> None:
    """Going up the net: what leads to no loss, or only to layers that pass nothing down, needs none."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for step, node in zip(reversed(built.steps), reversed(graph.nodes), strict=True):
        names = [graph.blob_names[i] for i in node.tops]
        names += [AUTOMATIC_TOP] * (len(step.top) - len(names))
        contributes = any(w or n in under_loss for n, w in zip(names, step.loss_weights, strict=True))
        wanted = any(n not in skipped for n in names)
        if not contributes or (step.needs_backward and not wanted):
            step.needs_backward = False
            step.propagate_down = [False] * len(step.bottom)
        for i, blob in enumerate(node.bottoms):
            name = graph.blob_names[blob]
            if contributes:
                under_loss.add(name)
            if not step.propagate_down[i]:
                skipped.add(name)
        if step.needs_backward and step.layer.ignores_propagate_down:
            step.propagate_down = [True] * len(step.bottom)


def _force_backward(built: BuiltNet, graph: Graph) -> None:
    for step, node in zip(built.steps, graph.nodes, strict=True):
        step.needs_backward = True
        for i, blob in enumerate(node.bottoms):
            step.propagate_down[i] = step.propagate_down[i] or step.layer.allow_force_backward(i)
            built.need_backward[blob] = built.need_backward[blob] or step.propagate_down[i]
        step.layer.param_propagate_down = [True] * len(step.layer.blobs)


# --- memory ---


def check_memory(built: BuiltNet) -> None:
    """Compare what the blobs will take with what this machine has, before anything is taken.

    Raises:
        ShapeError: it is too much; the largest blobs are named.
    """
    sizes: dict[int, tuple[int, str]] = {}
    for step in built.steps:
        for blob in [*step.layer.blobs, *step.top]:
            memory = blob.data_memory
            sizes.setdefault(id(memory), (memory.count * memory.dtype.itemsize, step.layer.name))
    needed = sum(size for size, _ in sizes.values())
    available = physical_memory()
    if needed > available:
        largest = sorted(sizes.values(), reverse=True)[:3]
        named = ", ".join(f'"{layer}" {size / _MEGABYTE:.0f} MB' for size, layer in largest)
        raise ShapeError(
            f"the blobs of this net take {needed / _MEGABYTE:.0f} MB, "
            f"this machine has {available / _MEGABYTE:.0f} MB; "
            f"the largest are made by layers {named}. Use a smaller batch or input."
        )


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
