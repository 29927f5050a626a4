"""Arguments and options that several commands have, and what their values mean."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from caffenorm import CaffenormWarning, Net, schema
from caffenorm.cli import _output
from caffenorm.weights import read_blob

F = TypeVar("F", bound=Callable[..., Any])
_PHASES = {"train": schema.TRAIN, "test": schema.TEST}
_DTYPES = {"float32": np.float32, "float64": np.float64}


def net_options(phase: str = "test") -> Callable[[F], F]:
    """`--phase --level --stage --strict --allow-python --dtype --threads`, as `options` of `load_net`."""

    def decorate(command: F) -> F:
        for option in (
            click.option(
                "--threads",
                type=click.IntRange(1),
                help="Threads for the kernels; all processors if not given.",
            ),
            click.option(
                "--allow-python", is_flag=True, help='Let layers of type "Python" run the code they name.'
            ),
            click.option("--strict", is_flag=True, help="Unknown fields in the prototxt are errors."),
            click.option(
                "--stage", multiple=True, help="A stage for include and exclude rules; may be repeated."
            ),
            click.option("--level", type=int, default=0, help="The level for include and exclude rules."),
            click.option("--phase", type=click.Choice(list(_PHASES)), default=phase, show_default=True),
        ):
            command = option(command)
        return command

    return decorate


def load_net(
    model: str,
    weights: str | None,
    *,
    phase: str,
    level: int,
    stage: tuple[str, ...],
    strict: bool,
    allow_python: bool,
    threads: int | None,
    dtype: str = "float32",
    quiet: bool = False,
) -> Net:
    """Make the net that the options describe, load its weights, and say on stderr what is worth knowing."""
    from caffenorm import set_num_threads

    if threads is not None:
        set_num_threads(threads)
    net = Net(
        model,
        _PHASES[phase],
        level=level,
        stages=stage,
        strict=strict,
        allow_python=allow_python,
        dtype=_DTYPES[dtype],
    )
    if weights is not None:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always", CaffenormWarning)
            report = net.copy_from(weights)
        for doubt in doubts:
            _output.warning(str(doubt.message))
        if report.missing and not quiet:
            _output.warning(
                f"{weights} has no weights for {len(report.missing)} layer(s): "
                + ", ".join(report.missing[:5])
                + (", ..." if len(report.missing) > 5 else "")
            )
    if not quiet:
        for remark in net.notes[:3]:
            _output.note(remark)
        if len(net.notes) > 3:
            _output.note(f"... and the like for {len(net.notes) - 3} more layer(s)")
    return net


def pair(value: str | None, name: str) -> tuple[int, int] | None:
    """`256` or `256x320` (height x width) as two numbers."""
    if value is None:
        return None
    parts = value.lower().replace(",", "x").split("x")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or any(number < 1 for number in numbers):
        raise click.BadParameter(f"takes one size or HEIGHTxWIDTH, found {value!r}", param_hint=name)
    return numbers[0], numbers[-1]


def mean_values(value: str | None) -> Any:  # Any: None, numbers or an array
    """`104,117,123`, a .npy file or a .binaryproto file."""
    if value is None:
        return None
    path = Path(value)
    if path.suffix == ".npy" and path.exists():
        return read_array(value)
    if path.suffix == ".binaryproto" or path.exists():
        return read_blob(value)
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"takes numbers (104,117,123), a .npy or a .binaryproto file, found {value!r}",
            param_hint="--mean",
        ) from None


def read_array(path: str) -> Any:  # Any: an array of any dtype
    """A .npy file; no pickled objects."""
    from caffenorm._files import readable_file
    from caffenorm.errors import ConfigError, Where

    file = readable_file(path, ConfigError, "a .npy array")
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ConfigError(f"this does not read as a .npy array ({error})", Where(file=str(file))) from error
    if not isinstance(array, np.ndarray):
        raise ConfigError("this holds several arrays; give a .npy file with one", Where(file=str(file)))
    return array
