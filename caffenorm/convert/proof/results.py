"""What a proof found: frozen dataclasses that messages, report.json and report.html are made from."""

from __future__ import annotations

from dataclasses import dataclass

from caffenorm.convert.proof.figures import EXACT, Figures


@dataclass(frozen=True)
class Tolerance:
    """How far a blob may be off, relative to its largest value.

    Attributes:
        own: what a layer itself may be off, on the reference's own inputs.
        end: what may have added up from the inputs to there.
        of_reference: where the reference's own rounding is larger, that times this is allowed.
        why: for people.
    """

    own: float
    end: float
    of_reference: float = 0.0
    why: str = ""

    def own_limit(self, reference: float) -> float:
        """For a layer's own error, given the reference's error."""
        return max(self.own, self.of_reference * reference)

    def end_limit(self, reference: float) -> float:
        """For the whole error, given the reference's error."""
        return max(self.end, self.of_reference * reference)


@dataclass(frozen=True)
class BlobCheck:
    """One blob on both sides; the worst of all inputs.

    Attributes:
        name: of the blob. layer: name of the Caffe layer that wrote it last. layer_type: its type.
        before: layers that wrote it before that one, which works in place, as (name, type).
        scores: what a softmax made it of, where that is a blob of its own; else empty.
        shape: Caffe's, of the first input.
        figures: from the inputs of the net to here: what is inherited and what is new.
        own: relative error of the statement that makes it, on the reference's own inputs.
        reference: relative error of the reference's own rounding, where a more exact one is known.
        limit_own, limit_end: what is allowed for `own` and `figures.max_rel`.
        on: name of the inputs on which it was the farthest off.
        judged: what else is to know about how it was judged, such as before a softmax.
        problem: why it could not be compared (another shape, an error), or empty.
        whole_numbers: whether it holds places or yes and no, where one unit in the last place may turn one.
        own_agrees: whether the layer by itself is within the tolerance. ok: whether the blob is altogether.
        same_as: blob that this one is a copy of (Split), or empty.
    """

    name: str
    layer: str
    layer_type: str
    shape: tuple[int, ...] = ()
    figures: Figures = EXACT
    own: float = 0.0
    reference: float = 0.0
    limit_own: float = 0.0
    limit_end: float = 0.0
    on: str = ""
    judged: str = ""
    problem: str = ""
    whole_numbers: bool = False
    own_agrees: bool = True
    ok: bool = True
    same_as: str = ""
    before: tuple[tuple[str, str], ...] = ()
    scores: str = ""

    @property
    def max_abs(self) -> float:
        """The largest difference."""
        return self.figures.max_abs

    @property
    def max_rel(self) -> float:
        """The largest difference over the blob's largest absolute value."""
        return self.figures.max_rel


@dataclass(frozen=True)
class Comparison:
    """All blobs in one precision, in the order in which Caffe makes them.

    Attributes:
        dtype: "float64", "float32" or "float16". tolerance: what was allowed. inputs: their names.
        said: what is to know, such as inputs that could not be run.
    """

    dtype: str
    tolerance: Tolerance
    blobs: tuple[BlobCheck, ...]
    inputs: tuple[str, ...]
    said: tuple[str, ...] = ()

    @property
    def first_difference(self) -> BlobCheck | None:
        """The first blob that departs, None if none does."""
        return next((check for check in self.blobs if not check.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every blob agrees."""
        return self.first_difference is None

    @property
    def worst(self) -> float:
        """The largest relative difference."""
        return max((check.max_rel for check in self.blobs), default=0.0)

    @property
    def worst_own(self) -> float:
        """The largest relative difference that a layer makes by itself."""
        return max((check.own for check in self.blobs), default=0.0)


@dataclass(frozen=True)
class ValueCheck:
    """One gradient, parameter or statistic on both sides.

    Attributes:
        name: of the PyTorch value. caffe: what it is in Caffe, such as `conv1[0]`. shape: PyTorch's.
        kind: "input", "parameter" or "statistic".
        max_rel: the largest difference, over the largest value of the kind where that is not far below all.
        limit: what is allowed. said: why it may differ by more; empty where it may not.
    """

    name: str
    caffe: str
    shape: tuple[int, ...]
    kind: str
    max_rel: float
    limit: float
    said: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is the same within the tolerance, or known to differ."""
        return self.max_rel <= self.limit or bool(self.said)


@dataclass(frozen=True)
class Gradients:
    """The gradients of one backward.

    Attributes:
        values: those of the inputs and of all parameters. dtype, inputs: of the run.
        seeded: what it was started from, for people. skipped: why there are none, or empty.
    """

    values: tuple[ValueCheck, ...] = ()
    dtype: str = "float64"
    inputs: str = ""
    seeded: str = ""
    skipped: str = ""

    @property
    def first_difference(self) -> ValueCheck | None:
        """The first that departs, None if none does."""
        return next((check for check in self.values if not check.ok), None)

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return self.first_difference is None

    @property
    def worst(self) -> float:
        """The largest relative difference among those that should agree."""
        return max((check.max_rel for check in self.values if not check.said), default=0.0)


@dataclass(frozen=True)
class TrainingStep(Gradients):
    """One step of SGD in training mode.

    Attributes:
        values: parameters and running statistics after the step, blobs of the forward after it.
        rate: the learning rate. batch_norms: how many normalised by the batch.
    """

    rate: float = 0.0
    batch_norms: int = 0


@dataclass(frozen=True)
class Verification:
    """All that was compared.

    Attributes:
        rules: in float64, where what differs is a wrong rule. practice: in the precision of the module
            written; None if only the rules were asked for.
        gradients, step: None if not asked for.
        folded: blob name -> why the module has no such blob.
        cause: what would explain the first blob that departs, if it is something known; else empty.
        problems: what else is wrong, such as outputs in another order.
        seconds: how long it took.
    """

    rules: Comparison
    folded: dict[str, str]
    cause: str = ""
    practice: Comparison | None = None
    gradients: Gradients | None = None
    step: TrainingStep | None = None
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def blobs(self) -> tuple[BlobCheck, ...]:
        """The blobs in float64."""
        return self.rules.blobs

    @property
    def first_difference(self) -> BlobCheck | None:
        """The first blob that departs, in float64 or else in practice; None if none does."""
        first = self.rules.first_difference
        if first is None and self.practice is not None:
            return self.practice.first_difference
        return first

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees."""
        parts = (self.rules, self.practice, self.gradients, self.step)
        return not self.problems and all(part is None or part.ok for part in parts)

    @property
    def worst(self) -> float:
        """The largest relative difference of a blob in float64."""
        return self.rules.worst

    @property
    def finding(self) -> str:
        """What came out, in one sentence without its end."""
        first = self.first_difference
        if first is not None:
            return self._departure(first)
        for part, what in ((self.gradients, "gradient"), (self.step, "value after one step of SGD")):
            wrong = part.first_difference if part is not None else None
            if wrong is not None:
                off = f"{wrong.max_rel:.3g} of its largest value away"
                return f'all blobs agree; the {what} of "{wrong.name}" is {off}'
        if self.problems:
            return f"all blobs agree, but {self.problems[0]}"
        worst = f"{self.worst:.1e} of a blob's largest value"
        if self.practice is not None:
            worst += f" in float64, {self.practice.worst:.1e} in {self.practice.dtype}"
        return f"{len(self.blobs)} blobs agree; the largest difference is {worst}"

    def __str__(self) -> str:
        return f"{self.finding}; it is what comes out if {self.cause}" if self.cause else self.finding

    def _departure(self, first: BlobCheck) -> str:
        why = first.problem or f"{max(first.max_rel, first.own):.3g} of its largest value away"
        writer = f'layer "{first.layer}" ({first.layer_type})'
        if first.before:
            *some, one = (f'"{name}" ({kind})' for name, kind in first.before)
            writer += f" in place after {', '.join(some)}{' and ' if some else ''}{one}"
        of_rules = self.rules.first_difference is not None or self.practice is None
        inside = "" if of_rules or self.practice is None else f" in {self.practice.dtype}"
        return f'the first blob that departs{inside} is "{first.name}", written by {writer}: {why}'
