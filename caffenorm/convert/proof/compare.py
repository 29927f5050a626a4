"""Compares the blobs of a net and its module on one set of inputs after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffenorm._extras import require
from caffenorm.convert.options import ConvertOptions
from caffenorm.convert.proof.copies import blob_names
from caffenorm.convert.proof.figures import APART, figures, relative, worst
from caffenorm.convert.proof.inputs import InputSet
from caffenorm.convert.proof.results import BlobCheck, Comparison, Tolerance
from caffenorm.convert.proof.statements import Statements
from caffenorm.net import Net
from caffenorm.plan import LayerStep

Arrays = dict[str, NDArray[Any]]  # Any: float32 or float64

RULES = Tolerance(
    own=2e-7,
    end=1e-6,
    why="in float64 different orders of summation leave 1e-12, and constants that Caffe keeps in float32 "
    "1e-7; a wrong rule leaves more",
)
FLOAT32 = Tolerance(
    own=1e-5,
    end=1e-4,
    of_reference=10,
    why="sums in another order round differently; where Caffe's own float32 is farther from float64 than "
    "that, ten times its distance is allowed",
)
FOLDED = Tolerance(
    own=1e-4,
    end=1e-3,
    of_reference=30,
    why="folded weights are rounded once more, so more is allowed than for the plain module",
)
FLOAT16 = Tolerance(
    own=2e-2,
    end=1e-1,
    of_reference=10,
    why="float16 has 11 bits: half a unit in its last place is 5e-4 of a value, batch norms divide by "
    "statistics that are rounded so, and all of it adds up",
)

_LOGARITHM = "compared by its logarithm: its bottom is gone, and a softmax hides errors"
_OVERFLOWS = "not compared: Caffe's own values are beyond float32 here"
_WHOLE_NUMBERS = frozenset({"ArgMax", "Accuracy", "Threshold", "Filter"})


def tolerance_of(options: ConvertOptions) -> Tolerance:
    """What is allowed where a module runs: options that change numbers on purpose have their own."""
    if options.half:
        return FLOAT16
    return FOLDED if options.fold_batch_norm else FLOAT32


@dataclass(frozen=True)
class Converted:
    """The module that stands for the net.

    Attributes:
        module: to run. statements: its forward in parts. dtype: of torch, that its inputs take.
        inputs, outputs: blob names in the order of forward.
        numpy_dtype: the precision in which values are compared.
        prepares: whether it takes what `InputSet.given` has.
    """

    module: Any  # Any: torch.nn.Module, torch is an extra
    statements: Statements
    dtype: Any  # Any: torch.dtype
    inputs: list[str]
    outputs: list[str]
    numpy_dtype: np.dtype[Any]  # Any: float16, float32 or float64
    prepares: bool = False

    def tensors(self, values: InputSet) -> list[Any]:  # Any: tensors
        """What forward takes."""
        torch = require("torch", extra="torch", to="convert to PyTorch")
        given = [values.for_module(name) if self.prepares else values.values[name] for name in self.inputs]
        return [torch.from_numpy(np.ascontiguousarray(value)).to(self.dtype) for value in given]

    def tensor(self, value: NDArray[Any]) -> Any:  # Any: a tensor
        """A reference's value as the module's own kind."""
        torch = require("torch", extra="torch", to="convert to PyTorch")
        return torch.from_numpy(np.array(value)).to(self.dtype)

    def array(self, tensor: Any) -> NDArray[Any]:  # Any: a tensor; an array of a float type
        """A module's value in the precision that is compared."""
        found: NDArray[Any] = tensor.detach().cpu().double().numpy().astype(self.numpy_dtype)
        return found


class BlobRun:
    """Collects the worst of each blob over several inputs.

    Args:
        net: the reference, which `add` runs.
        converted: the module. tolerance: what is allowed.
    """

    def __init__(self, net: Net, converted: Converted, tolerance: Tolerance) -> None:
        self.net = net
        self.converted = converted
        self.tolerance = tolerance
        self.problems: list[str] = []
        self._names = blob_names(net)
        self._checks: dict[str, BlobCheck] = {}
        self._inputs: list[str] = []

    def add(self, values: InputSet, exact: Arrays | None = None) -> tuple[Arrays, Arrays]:
        """Run both sides and compare.

        Args:
            values: for all inputs.
            exact: blob name -> the reference's values in higher precision, to measure its own rounding.

        Returns:
            Blob name -> the reference's values; blob name -> what each statement of the module made of them.
        """
        torch = require("torch", extra="torch", to="convert to PyTorch")
        self._inputs.append(values.name)
        given: dict[str, Any] = values.values  # Any: arrays
        self.net.forward(**given)
        expected = {
            self._names[id(b)]: b.read() for step in self.net.steps for b in (*step.bottom, *step.top)
        }
        reference = {name: self.converted.tensor(value) for name, value in expected.items()}
        with torch.no_grad():
            tensors = self.converted.tensors(values)
            found, failed = self.converted.statements.run(tensors, reference, own=False)
            own, _ = self.converted.statements.run(tensors, reference, own=True)
            self._check_forward(tensors, found, failed)
        arrays = {name: self.converted.array(value) for name, value in found.items()}
        for name, step in _writers(self.net, self._names).items():
            original = self._names[id(step.bottom[0])] if step.layer.type == "Split" else ""
            if original in self._checks and name in found and found[name] is found.get(original):
                check = replace(self._checks[original], layer=step.layer.name, layer_type="Split", judged="")
                self._checks[name] = replace(check, name=name, same_as=original)
            elif name in arrays:
                mine = self.converted.array(own[name]) if name in own else None
                precise = exact[name] if exact and name in exact else expected[name]
                if (np.isfinite(precise) & ~np.isfinite(expected[name])).any():
                    check = replace(self._describe(step, name, expected[name]), judged=_OVERFLOWS)
                    self._keep(replace(check, on=values.name))
                    continue
                check = self._check(step, name, expected[name], arrays[name], mine)
                self._keep(self._judged(check, values, relative(precise, expected[name])))
            elif name in failed:
                check = self._describe(step, name, expected[name])
                check = replace(check, figures=APART, own=np.inf, problem=failed[name])
                self._keep(self._judged(check, values, 0.0))
        return expected, {name: self.converted.array(value) for name, value in own.items()}

    def comparison(self, said: tuple[str, ...] = ()) -> Comparison:
        """What has been found."""
        return Comparison(
            str(self.converted.numpy_dtype),
            self.tolerance,
            tuple(self._checks.values()),
            tuple(self._inputs),
            said,
        )

    def _describe(self, step: LayerStep, name: str, expected: NDArray[Any]) -> BlobCheck:
        kind = step.layer.type
        places = kind == "Pooling" and len(step.top) > 1 and self._names[id(step.top[1])] == name
        judged = scores = ""
        if kind == "Softmax":
            before = self._names[id(step.bottom[0])]
            scores = before if before != name and before in self.converted.statements.blobs else ""
            judged = f'a softmax hides errors; see its bottom "{scores}"' if scores else _LOGARITHM
        return BlobCheck(
            name,
            step.layer.name,
            kind,
            expected.shape,
            judged=judged,
            before=self._before(step, name),
            scores=scores,
            whole_numbers=kind in _WHOLE_NUMBERS or places,
        )

    def _before(self, last: LayerStep, name: str) -> tuple[tuple[str, str], ...]:
        """The layers that write a blob before its last one does in place."""
        writers = [step.layer for step in self.net.steps if any(self._names[id(b)] == name for b in step.top)]
        return tuple((layer.name, layer.type) for layer in writers if layer is not last.layer)

    def _check(
        self,
        step: LayerStep,
        name: str,
        expected: NDArray[Any],
        value: NDArray[Any],
        own: NDArray[Any] | None,
    ) -> BlobCheck:
        check = self._describe(step, name, expected)
        if expected.shape != value.shape and not (expected.size == value.size == 1):
            problem = f"it has shape {list(value.shape)}, Caffe's {list(expected.shape)}"
            return replace(check, figures=APART, own=np.inf, problem=problem)
        kind = self.converted.numpy_dtype
        with np.errstate(over="ignore"):
            wanted = expected.astype(kind)
        value = value.reshape(expected.shape)
        mine = own.reshape(expected.shape) if own is not None and own.size == expected.size else None
        if check.judged == _LOGARITHM:
            wanted, value = _logarithms(wanted), _logarithms(value)
            mine = None if mine is None else _logarithms(mine)
        off = relative(wanted, mine) if mine is not None else np.inf
        return replace(check, figures=figures(wanted, value, brief=kind == np.float64), own=off)

    def _judged(self, check: BlobCheck, values: InputSet, rounding: float) -> BlobCheck:
        """With the limits that hold for these inputs, and whether it is within them."""
        limit_own, limit_end = self.tolerance.own_limit(rounding), self.tolerance.end_limit(rounding)
        counted = check.whole_numbers and check.figures.different <= limit_end
        own_agrees = not check.problem and (counted or check.own <= limit_own)
        return replace(
            check,
            reference=rounding,
            limit_own=limit_own,
            limit_end=limit_end,
            on=values.name,
            own_agrees=own_agrees,
            ok=own_agrees and (counted or check.max_rel <= limit_end),
        )

    def _keep(self, check: BlobCheck) -> None:
        """The worse of this and what the inputs before gave."""
        known = self._checks.get(check.name)
        if known is None:
            self._checks[check.name] = check
            return
        later = (check.ok, -check.max_rel, -check.own) < (known.ok, -known.max_rel, -known.own)
        self._checks[check.name] = replace(
            check if later else known,
            shape=known.shape,
            figures=worst(known.figures, check.figures),
            own=max(known.own, check.own),
            reference=max(known.reference, check.reference),
            own_agrees=known.own_agrees and check.own_agrees,
        )

    def _check_forward(self, tensors: list[Any], found: Mapping[str, Any], failed: Mapping[str, str]) -> None:
        """Forward, as users call it, returns the outputs in their order."""
        if failed or self.problems:
            return
        result = self.converted.module(*tensors)
        results = result if isinstance(result, tuple) else () if result is None else (result,)
        wanted = [name for name in self.converted.outputs if name in found]
        if len(results) != len(self.converted.outputs):
            count = len(self.converted.outputs)
            self.problems.append(f"forward returns {len(results)} values where the net has {count} outputs")
        elif len(wanted) == len(results):
            for name, value in zip(wanted, results, strict=True):
                if not np.array_equal(
                    self.converted.array(value), self.converted.array(found[name]), equal_nan=True
                ):
                    self.problems.append(f'forward returns something else for the output "{name}"')


def _writers(net: Net, names: dict[int, str]) -> dict[str, LayerStep]:
    """Blob name -> the layer that writes it last, in that order."""
    writers: dict[str, LayerStep] = {}
    for step in net.steps:
        for blob in step.top:
            writers.pop(names[id(blob)], None)
            writers[names[id(blob)]] = step
    return writers


def _logarithms(probabilities: NDArray[Any]) -> NDArray[Any]:
    least = np.finfo(probabilities.dtype).tiny
    return np.asarray(np.log(np.maximum(probabilities, least)))
