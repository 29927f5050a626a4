"""Runs a module's forward statement by statement, as its `blobs` has them.

So it is known which statement fails, and each may be given the reference's values in place of what the
statements before it made of theirs.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

Tensors = dict[str, Any]  # Any: torch.Tensor, torch is an extra


@dataclass(frozen=True)
class _Statement:
    code: CodeType
    assigned: tuple[str, ...]


class Statements:
    """A module's forward, in parts.

    Args:
        module: with a method `blobs`, which takes what forward takes and returns every blob by name.
        source: the text of its class.

    Attributes:
        blobs: names of the blobs that the module has, in its order.
    """

    def __init__(self, module: Any, source: str) -> None:  # Any: torch.nn.Module
        self._module = module
        self._globals = type(module).blobs.__globals__
        found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
        function = next(node for node in found if node.name == "blobs")
        self._arguments = [argument.arg for argument in function.args.args[1:]]
        *body, last = function.body
        assert isinstance(last, ast.Return)
        assert isinstance(last.value, ast.Dict)
        self._holders = {
            str(ast.literal_eval(key)): ast.unparse(value)
            for key, value in zip(last.value.keys, last.value.values, strict=True)
            if key is not None
        }
        self._held: dict[str, list[str]] = defaultdict(list)
        for name, holder in self._holders.items():
            self._held[holder].append(name)
        self._body = [_Statement(_compiled(node), _assigned(node)) for node in body]
        self._last = {name: i for i, part in enumerate(self._body) for name in part.assigned}

    @property
    def blobs(self) -> list[str]:
        """Names of the blobs."""
        return list(self._holders)

    def run(
        self, inputs: Sequence[Any], reference: Mapping[str, Any], *, own: bool
    ) -> tuple[Tensors, dict[str, str]]:
        """Run all statements.

        Args:
            inputs: tensors, in forward's order.
            reference: blob name -> tensor.
            own: give every statement the reference's values, in place of what those before it have computed.
                Otherwise only what a failed statement should have made is taken from there.

        Returns:
            Blob name -> what the statement gave that assigns it last; blob name -> how that failed.
        """
        scope: dict[str, Any] = {"self": self._module}  # Any: tensors
        scope |= dict(zip(self._arguments, inputs, strict=True))
        found: Tensors = {}
        failed: dict[str, str] = {}
        for i, part in enumerate(self._body):
            why = _run(part.code, self._globals, scope)
            for variable in part.assigned:
                if self._last[variable] == i:
                    self._keep(variable, why, scope, found, failed)
                    self._replace(variable, why, scope, reference if own or why else {})
        for name, holder in self._holders.items():
            if name not in found and name not in failed:
                found[name] = scope[holder]
        return found, failed

    def _keep(self, variable: str, why: str, scope: Tensors, found: Tensors, failed: dict[str, str]) -> None:
        """A variable's last value, under the names of its blobs."""
        for name in self._held[variable]:
            if why:
                failed[name] = why
            else:
                found[name] = scope[variable]

    def _replace(self, variable: str, why: str, scope: Tensors, reference: Mapping[str, Any]) -> None:
        """Let the statements to come read the reference's value."""
        known = next((reference[name] for name in self._held[variable] if name in reference), None)
        if known is None:
            return
        fits = not why and scope[variable].numel() == known.numel()
        scope[variable] = known.reshape(scope[variable].shape) if fits else known


def _run(code: CodeType, names: dict[str, Any], scope: Tensors) -> str:
    """Run one statement; how it failed, or nothing."""
    try:
        exec(code, names, scope)
    except Exception as error:  # whatever PyTorch raises
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return ""


def _compiled(node: ast.stmt) -> CodeType:
    return compile(ast.Module([node], []), "<blobs>", "exec")


def _assigned(node: ast.stmt) -> tuple[str, ...]:
    """Names that a statement gives values to."""
    names = [
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    ]
    return tuple(dict.fromkeys(names))
