"""`caffenorm`: one command a job."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from typing import Any

import click

from caffenorm._version import __version__
from caffenorm.cli import _output
from caffenorm.errors import CaffenormError, CaffenormWarning, ConfigError
from caffenorm.graph import near

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


def _marked(text: str | None) -> str | None:
    """A raw docstring has click's mark for lines to be left as they are in two characters."""
    return text and text.replace("\\b\n", "\b\n")


class _Lazy(click.Group):
    """Finds `caffenorm.cli.<name>_command` when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"caffenorm.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        command.help = _marked(command.help)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            raise click.UsageError(f'there is no command "{args[0]}"{near(args[0], set(_COMMANDS))}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="caffenorm %(version)s")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers layers of your own.",
)
@click.pass_context
def cli(context: click.Context, imports: tuple[str, ...]) -> None:
    r"""Caffe networks: run, measure, check, convert.

    \b
    Example:
      caffenorm run deploy.prototxt net.caffemodel cat.jpg --mean 104,117,123
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        return
    if imports:
        sys.path.insert(0, os.getcwd())
    for name in imports:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the user's module raises
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"--import: the module {name} does not import ({reason})") from error


cli.help = _marked(cli.help)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0 done, 1 it failed, 2 the call's words are off, 130 stopped by the user.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of layers in a terminal that lacks them
    with warnings.catch_warnings():
        warnings.simplefilter("always", CaffenormWarning)
        warnings.showwarning = _show_warning
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = cli.main(args=arguments, prog_name="caffenorm", standalone_mode=False)  # Any: a status
    except click.Abort:
        _output.error("stopped")
        return 130
    except click.ClickException as error:
        _output.error(_usage(error))
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


def _usage(error: click.ClickException) -> str:
    """What is wrong with the call, and where it is explained."""
    context = getattr(error, "ctx", None)
    where = f" (see {context.command_path} --help)" if context is not None else ""
    return error.format_message().rstrip(".") + where


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A doubtful file is one line; Python's own warnings are for developers."""
    if issubclass(category, CaffenormWarning):
        _output.warning(str(message))


if __name__ == "__main__":
    sys.exit(main())
