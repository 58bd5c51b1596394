"""The `resnet` command: its subcommands, and how errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from resnet_cli import __version__
from resnet_cli.cli.bench import bench
from resnet_cli.cli.check import check
from resnet_cli.cli.compare import compare
from resnet_cli.cli.data import data_app
from resnet_cli.cli.doctor import doctor
from resnet_cli.cli.eval import evaluate_weights
from resnet_cli.cli.export import export
from resnet_cli.cli.list import list_experiments
from resnet_cli.cli.plot import plot
from resnet_cli.cli.report import report
from resnet_cli.cli.reproduce import reproduce
from resnet_cli.cli.run import run
from resnet_cli.cli.show import show
from resnet_cli.cli.status import status
from resnet_cli.cli.table import table
from resnet_cli.errors import EXIT_BAD_INPUT, EXIT_CTRL_C, EXIT_UNEXPECTED, BadInputError

LONGEST_LINE = 1_500

app = typer.Typer(
    help="Reproduces the tables and figures of Deep Residual Learning for Image Recognition (He et al., CVPR 2016).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("list")(list_experiments)
app.command()(show)
app.command()(run)
app.command()(reproduce)
app.command()(status)
app.command()(table)
app.command()(plot)
app.command()(check)
app.command()(compare)
app.command("eval")(evaluate_weights)
app.command()(export)
app.command()(bench)
app.command()(report)
app.add_typer(data_app, name="data")
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"resnet {__version__}")  # noqa: T201  the answer itself
        raise typer.Exit


@app.callback()
def _options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Global options; `main` itself looks at --debug."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its code (the README lists them)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str]) -> int:
    try:
        outcome = app(args=arguments, prog_name="resnet", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        if "--debug" in arguments[:1]:
            raise
        return _report(error)
    except KeyboardInterrupt:
        return EXIT_CTRL_C
    return outcome if isinstance(outcome, int) else 0


def _report(error: Exception) -> int:
    """Prints an error as one line; returns the exit code."""
    from resnet_cli.pair import explanation

    if isinstance(error, typer.Abort):
        return EXIT_CTRL_C
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
    """A message on one line that does nothing to the terminal, its middle left out if it is longer than a screen."""
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in " ".join(message.split()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 400]} ... {line[-400:]}"
