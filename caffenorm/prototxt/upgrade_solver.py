"""Solvers of any age to today's form: `solver_type` was an enum before it became the string `type`."""

from __future__ import annotations

from dataclasses import dataclass

from caffenorm import schema
from caffenorm.errors import PrototxtError, Where

_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


@dataclass
class UpgradedSolver:
    """A solver in today's form.

    Attributes:
        solver: the message that was given, if nothing was to be done, else a changed copy.
        changes: what was upgraded, in words; empty where nothing was.
    """

    solver: schema.SolverParameter
    changes: list[str]


def upgrade_solver(solver: schema.SolverParameter, where: Where | None = None) -> UpgradedSolver:
    """Bring a solver into today's form. The nets inside it are left alone; they upgrade when they are built.

    Args:
        solver: is not changed.
        where: the place of `solver_type`, for messages.

    Raises:
        PrototxtError: both the old and the new field are there.
    """
    if not solver.HasField("solver_type"):
        return UpgradedSolver(solver, [])
    if solver.HasField("type"):
        both = 'the solver has both "solver_type" (the old form) and "type"; leave out "solver_type"'
        raise PrototxtError(both, where)
    name = schema.SolverParameter.SolverType.Name(solver.solver_type)
    upgraded = schema.SolverParameter()
    upgraded.CopyFrom(solver)
    upgraded.type = _TYPES.get(name, name)
    upgraded.ClearField("solver_type")
    return UpgradedSolver(upgraded, [f"solver_type {name}, an enum, in place of the string type"])
