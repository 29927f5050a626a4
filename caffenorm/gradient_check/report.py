"""What a gradient check found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from caffenorm.errors import CaffenormError


@dataclass(frozen=True)
class GradientCheck:
    """One array whose gradient was compared.

    Attributes:
        layer, type: of the layer.
        what: "bottom 0", "bottoms 0, 1" (which share their values), "parameter 1", "input".
        name: of the blob; empty for a parameter without one.
        shape: of the array.
        compared: how many elements were.
        kinks: how many of them were left out, because the function has no derivative there.
        error: the largest difference, in relation to the size of the gradient; infinite where something is
        not finite.
        index: of the element with that error; empty where there is none.
        analytic, numeric: its gradients.
        tolerance: the largest error that is allowed.
        message: what else went wrong; empty if nothing.
    """

    layer: str
    type: str
    what: str
    name: str
    shape: tuple[int, ...]
    compared: int
    kinks: int
    error: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    tolerance: float
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the gradients agree."""
        return not self.message and self.error <= self.tolerance

    def __str__(self) -> str:
        place = f'layer "{self.layer}" ({self.type}), {self.what}' + (f' "{self.name}"' if self.name else "")
        if self.message:
            return f"{place}: {self.message}"
        if not self.index and not self.compared:
            return f"{place}: nothing to compare"
        return (
            f"{place}: at {list(self.index)} analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, "
            f"relative error {self.error:.1e}"
        )


@dataclass(frozen=True)
class GradientReport:
    """All comparisons of a net or layer.

    Attributes:
        checks: one for each array.
        left_out: layers with nothing to compare, and why.
    """

    checks: tuple[GradientCheck, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all gradients agree."""
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> list[GradientCheck]:
        """The comparisons that do not agree."""
        return [check for check in self.checks if not check.ok]

    @property
    def worst(self) -> GradientCheck | None:
        """The comparison with the largest error; None if nothing was compared."""
        return max(self.checks, key=_badness, default=None)

    def __str__(self) -> str:
        rows = [_row(check) for check in self.checks]
        lines = _table(("layer", "type", "gradient of", "shape", "compared", "kinks", "error", ""), rows)
        lines += [f'left out: layer "{layer}" {reason}' for layer, reason in self.left_out]
        lines += [f"wrong: {check}" for check in self.failures]
        lines.append(self._summary())
        return "\n".join(lines)

    def _summary(self) -> str:
        worst = self.worst
        if worst is None:
            return "no gradient was compared"
        elements = sum(check.compared for check in self.checks)
        counts = f"{elements} elements of {len(self.checks)} arrays"
        if self.ok:
            allowed = f"largest error {worst.error:.1e}, allowed {worst.tolerance:.1e}"
            return f"all gradients agree: {counts}, {allowed}"
        return f"{len(self.failures)} of {len(self.checks)} gradients are wrong"


class GradientError(CaffenormError):
    """Gradients that do not agree; `report` has the comparisons."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__("\n".join(["wrong gradients:", *(str(check) for check in report.failures)]))
        self.report = report

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.report,)


def _badness(check: GradientCheck) -> float:
    return math.inf if check.message or math.isnan(check.error) else check.error / check.tolerance


def _row(check: GradientCheck) -> tuple[str, ...]:
    what = check.what + (f' "{check.name}"' if check.name else "")
    return (
        check.layer,
        check.type,
        what,
        "x".join(str(dim) for dim in check.shape) or "one number",
        str(check.compared),
        str(check.kinks),
        "-" if check.message or not check.compared else f"{check.error:.1e}",
        "ok" if check.ok else "WRONG",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
