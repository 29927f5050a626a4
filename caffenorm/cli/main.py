"""`caffenorm`: one command a job."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

import click

from caffenorm.cli import _output
from caffenorm.errors import CaffenormError, CaffenormWarning

# Imported when they run, so that each command starts as fast as it can.
_COMMANDS = {
    "run": "Run a net on a picture or an array.",
    "summary": "Show a net's layers, shapes, parameters and cost.",
    "time": "Measure every layer, forward and backward.",
    "gradcheck": "Compare a net's gradients with numeric ones.",
    "convert": "Write a net for another framework, and prove that it is the same.",
    "upgrade": "Write old prototxts in today's form.",
    "draw": "Draw a net as SVG.",
}


class _Lazy(click.Group):
    """Finds `caffenorm.cli.<name>_command` when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"caffenorm.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="caffenorm", message="caffenorm %(version)s")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers layers of your own.",
)
def cli(imports: tuple[str, ...]) -> None:
    """Caffe networks: run, measure, check, convert.

    Example: caffenorm run deploy.prototxt net.caffemodel picture.png --mean 104,117,123
    """
    sys.path.insert(0, os.getcwd()) if imports else None
    for name in imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise click.BadParameter(f"{name} does not import ({error})", param_hint="--import") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 done, 1 it failed, 2 the call's words are off.
    """
    warnings.showwarning = _show_warning
    try:
        result: Any = cli.main(
            args=arguments, prog_name="caffenorm", standalone_mode=False
        )  # Any: a command's status
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.Abort:
        _output.error("stopped")
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CaffenormError as error:
        _output.error(str(error))
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        _output.error("not enough memory; use a smaller batch or input")
        return 1
    return result if isinstance(result, int) else 0


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A doubtful file is one line; Python's own warnings are for developers."""
    if issubclass(category, CaffenormWarning):
        _output.warning(str(message))


if __name__ == "__main__":
    sys.exit(main())
