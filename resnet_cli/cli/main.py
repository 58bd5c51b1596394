"""The `resnet` command: its subcommands, errors in one line, and their exit codes."""

from __future__ import annotations

import gc
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from resnet_cli import __version__, streams
from resnet_cli.cli.examples import examples
from resnet_cli.errors import EXIT_BAD_INPUT, EXIT_CTRL_C, EXIT_READER_GONE, EXIT_UNEXPECTED, BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_LINE = 1_500
PAPER = "Deep Residual Learning for Image Recognition"

# The commands in the order of the help, each with its function, or its app, in the module of its name. Only the one
# that is called is loaded: the others take longer than most answers.
COMMANDS = {
    "list": "list_experiments",
    "show": "show",
    "run": "run",
    "reproduce": "reproduce",
    "status": "status",
    "table": "table",
    "plot": "plot",
    "check": "check",
    "compare": "compare",
    "eval": "evaluate_weights",
    "export": "export",
    "bench": "bench",
    "report": "report",
    "data": "data_app",
    "doctor": "doctor",
}


def make_app(names: Iterable[str]) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        help=f"Reproduces the tables and figures of {PAPER} (He et al., CVPR 2016).",
        no_args_is_help=True,
        epilog=examples(""),
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in names:
        command = getattr(import_module(f"resnet_cli.cli.{name}"), COMMANDS[name])
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, epilog=examples(name))(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"resnet {__version__}")  # noqa: T201  the answer itself
        raise typer.Exit


def _options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Global options; `main` itself looks at --debug."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its code (docs/run.md lists them)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    streams.install()
    code = _exit_code(arguments) or (EXIT_READER_GONE if streams.reader_gone() else 0)
    if "torch" not in sys.modules:  # its libraries complain at exit about objects that were not collected
        gc.freeze()  # else Python searches all objects for cycles before it ends, a seventh of `list`'s time
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        app = make_app(_needed(arguments))
        outcome = app(args=arguments, prog_name="resnet", standalone_mode=False)
        if sys.stdout is not None:  # it was closed
            sys.stdout.flush()
    except Exception as error:
        if "--debug" in arguments[:1]:
            raise
        return _report(error)
    except KeyboardInterrupt:
        return EXIT_CTRL_C
    return outcome if isinstance(outcome, int) else 0


def _needed(arguments: list[str]) -> Iterable[str]:
    """The command that is called; all commands if it is unknown or missing, for the help and for similar names."""
    called = next((each for each in arguments if each != "--debug"), None)
    return [called] if called in COMMANDS else COMMANDS


def _report(error: Exception) -> int:
    """Prints an error as one line; returns the exit code."""
    from resnet_cli.device.versions import explanation

    if isinstance(error, typer.Abort):
        return EXIT_CTRL_C
    if isinstance(error, BadInputError):
        message, code = str(error), EXIT_BAD_INPUT
    elif in_the_way := explanation(error):
        message, code = in_the_way, EXIT_BAD_INPUT
    elif isinstance(error, OSError) and error.filename:
        message, code = f"{error.filename}: {error.strerror}", EXIT_BAD_INPUT
    elif hasattr(error, "format_message"):  # what Typer raises on bad usage
        if not error.format_message():  # it has shown the help instead
            return EXIT_BAD_INPUT
        message, code = f"{error.format_message()} See 'resnet --help'.", EXIT_BAD_INPUT
    else:
        message = f"unexpected {type(error).__name__}: {error}; 'resnet --debug ...' shows where"
        code = EXIT_UNEXPECTED
    print("error:", _one_line(message), file=sys.stderr)  # noqa: T201
    return code


def _one_line(message: str) -> str:
    """A message on one line without control characters; if it is longer than a screen, its middle is left out."""
    # Spaces stay as they are: they may belong to a path that is to be pasted.
    joined = re.sub(r"\s*[\n\r]\s*", " ", message.strip())
    line = streams.printable(joined)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 400]} ... {line[-400:]}"
