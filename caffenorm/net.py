"""Net: a network read from a prototxt, with its blobs and parameters; runs forward and backward."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from caffenorm import prototxt, schema
from caffenorm.backends.select import ops_for
from caffenorm.blob import Blob, ShapeClock
from caffenorm.errors import CaffenormError, ConfigError, ShapeError, Where
from caffenorm.graph import near, require_known_types, wire
from caffenorm.layer import Layer, LayerContext, registered_layers
from caffenorm.net_build import AUTOMATIC_TOP, LearnableParam, build, check_memory, guarded
from caffenorm.net_io import NetFiles
from caffenorm.plan import LayerStep, Step
from caffenorm.rewrite import fuse

Floats = NDArray[Any]  # of the net's dtype, float32 or float64


class Net(NetFiles):
    """A network that runs.

    Args:
        model: path of a prototxt, or a `NetParameter`.
        phase: `caffenorm.TRAIN` or `caffenorm.TEST`. (pycaffe's old order `Net(model, weights, phase)` works
            too.)
        level: for `min_level` and `max_level` rules. stages: for `stage` and `not_stage` rules.
        weights: path of a .caffemodel or .caffemodel.h5 to load with `copy_from`.
        dtype: of all blobs, float32 or float64.
        device: "cpu", "gpu" or "gpu:1"; None takes what `set_mode_cpu` and `set_mode_gpu` chose.
        strict: unknown fields in the prototxt are errors, not warnings.
        allow_python: let `type: "Python"` layers import the module that the prototxt names. Off by default,
            because it runs code.
        fuse: run chains such as BatchNorm, Scale, ReLU as one kernel. Values are the same as without.

    Attributes:
        blobs: name -> Blob, in the order in which layers make them. params: layer name -> its parameters.
        layers: in order, with those that were inserted (Split). layer_dict: by name.
        inputs, outputs: blob names; outputs in alphabetical order.
        top_names, bottom_names: layer name -> blob names. blob_loss_weights: blob name -> loss weight.
        learnable_params: what solvers change, each shared parameter once.
        fuse: as given; may be changed at any time.
        net_param: the message as built: upgraded, filtered, with splits.

    Raises:
        PrototxtError, GraphError, LayerError, ShapeError, WeightsError: file, line and layer are named.

    Caffe: blobs and layers are the same, names of inserted Split layers too. Memory is taken when it is
        first used.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | schema.NetParameter,
        phase: int | str | os.PathLike[str] = schema.TEST,
        weights_or_phase: int | None = None,
        *,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        dtype: DTypeLike = np.float32,
        device: str | None = None,
        strict: bool = False,
        allow_python: bool = False,
        fuse: bool = True,
    ) -> None:
        if weights_or_phase is not None:
            if isinstance(phase, int):
                raise ConfigError("Net(model, weights, phase) takes the path of the weights second")
            weights, phase = phase, weights_or_phase
        if not isinstance(phase, int) or phase not in (schema.TRAIN, schema.TEST):
            raise ConfigError(f"phase must be caffenorm.TRAIN or caffenorm.TEST, found {phase!r}")
        kind = np.dtype(dtype)
        if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ConfigError(f"a net's dtype must be float32 or float64, found {kind}")
        text = self._read(model, strict)
        text = prototxt.filter_net(text, int(phase), level, list(stages or ()))
        require_known_types(text, registered_layers())
        wire(text)
        text = prototxt.insert_splits(text)
        graph = wire(text)
        self.phase = int(phase)
        self.file = text.file
        self.net_param = text.net
        self.net_param.state.phase = self.phase
        self._ops = ops_for(device)
        folder = os.path.dirname(os.path.abspath(text.file)) if os.path.exists(text.file) else ""
        context = LayerContext(
            self.phase, self._ops, kind, folder, allow_python, force_backward=text.net.force_backward
        )
        with self._ops.selected():
            built = build(text.net, graph, context)
        guarded(Where(self.file), lambda: check_memory(built))
        self._built = built
        self._graph = graph
        self._steps: list[LayerStep] = built.steps
        self.fuse = fuse
        self._plan: list[Step] | None = None
        self._planned = False
        self._ticks = ShapeClock.ticks
        self._loss_steps = [step for step in built.steps if any(step.loss_weights)]
        self._name_parts()
        self.before_forward: list[Callable[[int], None]] = []
        self.after_forward: list[Callable[[int], None]] = []
        self.before_backward: list[Callable[[int], None]] = []
        self.after_backward: list[Callable[[int], None]] = []
        if weights is not None:
            self.copy_from(weights)

    @staticmethod
    def _read(model: Any, strict: bool) -> prototxt.NetText:  # Any: a path or a message
        if isinstance(model, schema.NetParameter):
            return prototxt.wrap_net(model)
        if isinstance(model, str | os.PathLike):
            return prototxt.read_net(model, strict=strict)
        raise ConfigError(
            f"a net is made from the path of a prototxt or from a NetParameter, found {type(model).__name__}"
        )

    @classmethod
    def from_text(cls, text: str, phase: int = schema.TEST, *, strict: bool = False, **options: Any) -> Net:
        """A net from the text of a prototxt; `options` as for `Net`."""
        return cls(prototxt.parse_net(text, strict=strict).net, phase, strict=strict, **options)

    def _name_parts(self) -> None:
        graph, built = self._graph, self._built
        names = graph.blob_names
        self.name: str = self.net_param.name
        self.blobs: OrderedDict[str, Blob] = OrderedDict(zip(names, built.blobs, strict=True))
        for step, node in zip(built.steps, graph.nodes, strict=True):
            for blob in step.top[len(node.tops) :]:
                self.blobs[AUTOMATIC_TOP] = blob
        self.layers: list[Layer] = [step.layer for step in built.steps]
        self.layer_dict: OrderedDict[str, Layer] = OrderedDict((layer.name, layer) for layer in self.layers)
        self.params: OrderedDict[str, list[Blob]] = OrderedDict(
            (layer.name, layer.blobs) for layer in self.layers if layer.blobs
        )
        self.inputs: list[str] = [names[i] for i in graph.inputs]
        self.outputs: list[str] = [names[i] for i in graph.outputs]
        self.bottom_names: OrderedDict[str, list[str]] = OrderedDict(
            (node.name, [names[i] for i in node.bottoms]) for node in graph.nodes
        )
        self.top_names: OrderedDict[str, list[str]] = OrderedDict(
            (node.name, [names[i] for i in node.tops]) for node in graph.nodes
        )
        self.blob_loss_weights: OrderedDict[str, float] = OrderedDict((name, 0.0) for name in names)
        for step, node in zip(built.steps, graph.nodes, strict=True):
            for i, weight in zip(node.tops, step.loss_weights, strict=False):
                if weight:
                    self.blob_loss_weights[names[i]] = weight
        self.learnable_params: list[LearnableParam] = built.learnable
        self._layer_names = [layer.name for layer in self.layers]
        self._blob_names = list(names)
        self._inputs = list(graph.inputs)
        self._outputs = list(graph.outputs)

    # --- running ---

    def reshape(self) -> None:
        """Carry changed input shapes through the net, without computing anything.

        Raises:
            ShapeError: a layer cannot take its new bottoms; the blobs would not fit this machine's memory.
        """
        with self._ops.selected():
            self._guard(self._steps, lambda step: step.reshape())
        self._ticks = ShapeClock.ticks
        guarded(Where(self.file), lambda: check_memory(self._built))

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,  # Any: NumPy's ArrayLike, or a GPU's array
    ) -> dict[str, Floats]:
        """Run the net.

        Args:
            blobs: names of blobs to return beside the outputs.
            start, end: names of the first and the last layer to run; end is included.
            inputs: input blob name -> values; for a net on a GPU also arrays that lie there (CuPy's,
                PyTorch's). All inputs or none; the net takes their shapes.

        Returns:
            name -> array. The arrays are the blobs' own memory: copy what must outlive the next forward.

        Raises:
            ConfigError: unknown names, or some of the inputs missing.
            ShapeError, LayerError: values that a layer cannot take.
        """
        first, last = self._range(start, end)
        if inputs:
            self._set_inputs(inputs)
        self.run_forward(first, last)
        names = self._output_names(start, end, last)
        for name in blobs or ():
            self._known_blob(name)
            if name not in names:
                names.append(name)
        return {name: self.blobs[name].data for name in names}

    def run_forward(self, first: int = 0, last: int | None = None) -> None:
        """Run layers `first` to `last` by number, and return nothing."""
        with self._ops.selected():
            self._run_forward(first, last)

    def _run_forward(self, first: int, last: int | None) -> None:
        last = len(self._steps) - 1 if last is None else last
        if self._ticks != ShapeClock.ticks:
            self._reshape_changed(first)
        if self.before_forward or self.after_forward:
            self._run_watched(first, last)
            return
        step: Step | None = None
        clock = ShapeClock
        ticks = self._ticks
        try:
            for step in self._forward_steps(first, last):
                if clock.ticks != ticks:
                    self._reshape_changed(step.first)
                    ticks = clock.ticks
                step.forward()
        except (CaffenormError, MemoryError) as error:
            raise self._placed(error, step) from error.__cause__
        self._ticks = ticks

    def _run_watched(self, first: int, last: int) -> None:
        self._leave_plan()
        for step in self._steps[first : last + 1]:
            step.reshape_if_changed()
            for call in self.before_forward:
                call(step.first)
            self._guard([step], lambda step: step.forward())
            for call in self.after_forward:
                call(step.first)

    def _reshape_changed(self, first: int) -> None:
        self._guard(self._steps[first:], lambda step: step.reshape_if_changed())
        self._ticks = ShapeClock.ticks

    @property
    def loss(self) -> float:
        """Sum over all loss tops of their values times loss weights, as of the last forward."""
        return sum(step.loss() for step in self._loss_steps)

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **top_diffs: ArrayLike,
    ) -> dict[str, Floats]:
        """Run the net backward: overwrite the blobs' diffs, add to the parameters' diffs.

        Args:
            diffs: names of blobs whose gradients to return beside those of the inputs.
            start, end: names of the first and the last layer to run, from the end of the net; end is
                included.
            top_diffs: output blob name -> gradient.

        Returns:
            name -> array, the blobs' own memory.

        Raises:
            ConfigError: unknown names. LayerError: a gradient that does not exist. ShapeError: a gradient
            that does not fit.
        """
        first = len(self._steps) - 1 if start is None else self._layer_index(start)
        last = 0 if end is None else self._layer_index(end)
        for name, value in top_diffs.items():
            if name not in self.outputs:
                raise ConfigError(f'"{name}" is not an output of this net; outputs are {self.outputs}')
            self._assign(self.blobs[name].diff, value, f'the gradient of "{name}"')
        self.run_backward(first, last)
        names = list(self.inputs) if end is None else list(self.bottom_names[end])
        for name in diffs or ():
            self._known_blob(name)
            if name not in names:
                names.append(name)
        return {name: self.blobs[name].diff for name in names}

    def run_backward(self, first: int | None = None, last: int = 0) -> None:
        """Run layers `first` down to `last` backward, by number, and return nothing."""
        with self._ops.selected():
            self._run_backward(first, last)

    def _run_backward(self, first: int | None, last: int) -> None:
        first = len(self._steps) - 1 if first is None else first
        step: Step | None = None
        try:
            for step in reversed(self._backward_steps(last, first)):
                if not step.needs_backward:
                    continue
                for call in self.before_backward:
                    call(step.first)
                step.backward()
                for call in self.after_backward:
                    call(step.first)
        except (CaffenormError, MemoryError) as error:
            raise self._placed(error, step) from error.__cause__

    def wait(self) -> None:
        """Wait until the device has done what it was given, on the current stream; a CPU always has."""
        self._ops.wait()

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: ArrayLike) -> dict[str, Floats]:
        """Run any number of examples through the net, a batch of its input's size at a time.

        Args:
            blobs: names of blobs to return beside the outputs.
            inputs: input blob name -> (examples, ...) array.

        Returns:
            name -> (examples, ...) array, copied.
        """
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        counts = {len(value) if value.ndim else 0 for value in arrays.values()}
        if set(arrays) != set(self.inputs) or len(counts) != 1:
            raise ConfigError(
                f"forward_all takes the inputs {self.inputs}, each with the same number of examples"
            )
        total = counts.pop()
        batch = self.blobs[self.inputs[0]].shape[0]
        collected: dict[str, list[Floats]] = {}
        for begin in range(0, total, batch):
            part: dict[str, Any] = {  # Any: arrays
                name: value[begin : begin + batch] for name, value in arrays.items()
            }
            filled = len(next(iter(part.values())))
            if filled < batch:
                part = {
                    n: np.concatenate([v, np.zeros((batch - filled, *v.shape[1:]), v.dtype)])
                    for n, v in part.items()
                }
            for name, value in self.forward(blobs=blobs, **part).items():
                collected.setdefault(name, []).append(np.array(value[:filled] if value.ndim else value[None]))
        return {name: np.concatenate(parts) for name, parts in collected.items()}

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        with self._ops.selected():
            for param in self.learnable_params:
                param.blob.write_diff(self._ops)[...] = 0

    # --- steps ---

    def _forward_steps(self, first: int, last: int) -> Sequence[Step]:
        """What to run: the fused plan for the whole net, single layers for a part of it."""
        if not self.fuse or first != 0 or last != len(self._steps) - 1:
            self._leave_plan()
            return self._steps[first : last + 1]
        if self._plan is None:
            self._plan = fuse(self._steps)
        self._planned = True
        return self._plan

    def _backward_steps(self, last: int, first: int) -> Sequence[Step]:
        """The plan that forward ran, or single layers where a part is asked for or somebody watches."""
        watched = bool(self.before_backward or self.after_backward)
        if self._planned and not watched and last == 0 and first == len(self._steps) - 1:
            assert self._plan is not None
            return self._plan
        self._leave_plan()
        return self._steps[last : first + 1]

    def _leave_plan(self) -> None:
        """Let the layers go on one by one where the fused plan has stopped."""
        if self._planned:
            self._planned = False
            for step in self._plan or ():
                step.settle()

    def _guard(self, steps: Iterable[LayerStep], work: Callable[[LayerStep], None]) -> None:
        step: LayerStep | None = None
        try:
            for step in steps:
                work(step)
        except (CaffenormError, MemoryError) as error:
            raise self._placed(error, step) from error.__cause__

    def _placed(self, error: CaffenormError | MemoryError, step: Step | None) -> CaffenormError:
        where = self._steps[step.first].where if step is not None else Where(self.file)
        if isinstance(error, MemoryError):
            return ShapeError(f"not enough memory ({error or 'an array could not be allocated'})", where)
        if error.where is None:
            error.where = where
        return error

    # --- names ---

    def _layer_index(self, name: str) -> int:
        try:
            return self._layer_names.index(name)
        except ValueError:
            raise ConfigError(f'there is no layer "{name}"{near(name, self._layer_names)}') from None

    def _known_blob(self, name: str) -> None:
        if name not in self.blobs:
            raise ConfigError(f'there is no blob "{name}"{near(name, self.blobs)}')

    def _range(self, start: str | None, end: str | None) -> tuple[int, int]:
        first = 0 if start is None else self._layer_index(start)
        last = len(self._steps) - 1 if end is None else self._layer_index(end)
        if first > last:
            raise ConfigError(f'layer "{start}" comes after layer "{end}"')
        return first, last

    def _output_names(self, start: str | None, end: str | None, last: int) -> list[str]:
        if end is None:
            return list(self.outputs)
        return list(self.top_names[self._layer_names[last]])

    def _set_inputs(self, inputs: Mapping[str, Any]) -> None:
        unknown = [name for name in inputs if name not in self.inputs]
        missing = [name for name in self.inputs if name not in inputs]
        if unknown or missing:
            raise ConfigError(
                f"forward takes all inputs, {self.inputs}, or none; unknown {unknown}, missing {missing}"
            )
        for name, value in inputs.items():
            blob, on_device = self.blobs[name], self._ops.is_device_array(value)
            array: Any = value if on_device else np.asarray(value)  # Any: an array of another library
            if tuple(array.shape) != blob.shape:
                if array.ndim != blob.num_axes:
                    raise ShapeError(
                        f'input "{name}" has shape {list(blob.shape)}, '
                        f"the values given have {list(array.shape)}",
                        Where(self.file),
                    )
                blob.reshape(tuple(array.shape))
            if on_device:
                self._ops.assign(blob.write(self._ops), array)
            else:
                self._assign(blob.write(), array, f'input "{name}"')

    def _assign(self, target: Floats, value: ArrayLike, what: str) -> None:
        try:
            target[...] = value
        except (ValueError, TypeError) as error:
            raise ShapeError(
                f"{what} takes {list(target.shape)} numbers: {error}", Where(self.file)
            ) from error

    @property
    def steps(self) -> Sequence[LayerStep]:
        """The layers with their blobs, one by one, as they run when nothing is fused."""
        return tuple(self._steps)

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the layers were read, such as a fork's dialect."""
        return [f'layer "{layer.name}": {note}' for layer in self.layers for note in layer.notes]

    def __repr__(self) -> str:
        phase = "TRAIN" if self.phase == schema.TRAIN else "TEST"
        return f'<Net "{self.name}" from {self.file}, {len(self.layers)} layers, {phase}>'
