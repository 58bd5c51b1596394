"""What a command prints after its runs: the table and the verdicts; and the files that it writes."""

from __future__ import annotations

import tempfile
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from resnet_cli.claims.judge import Judgement
    from resnet_cli.experiment import Experiment
    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store

VERDICT_STYLES = {"reproduced": "green", "not reproduced": "red", "too few runs": "yellow", "not run": "dim"}


def present(
    store: Store,
    experiment: Experiment,
    variant: Variant,
    *,
    console: Console,
) -> list[Path]:
    """Writes the table as csv and md, and the figure as png if there is one to draw; prints the table and the verdicts.

    Returns:
        The files written.
    """
    from resnet_cli.claims.judge import RULE, judge
    from resnet_cli.report.figures import draw, figure_bytes
    from resnet_cli.report.summarize import summarize
    from resnet_cli.report.tables import make_table, render, rich_table

    summary = summarize(store, experiment, variant)
    table = make_table(summary)
    name = f"{experiment.stem}{variant.slug}"
    written = [
        write_file(store.tables / f"{name}.csv", render(table, "csv").encode()),
        write_file(store.tables / f"{name}.md", render(table, "md").encode()),
    ]
    figure = draw(store, summary)
    if figure:
        written.append(write_file(store.figures / f"{name}.png", figure_bytes(figure, "png")))
    console.print(rich_table(table))
    if experiment.claims:
        console.print()
        print_verdicts(judge(summary), console)
        console.print(RULE, style="dim", highlight=False, markup=False)
    return written


def print_verdicts(judgements: list[Judgement], console: Console) -> None:
    """Prints each verdict with its claim and the figures behind it."""
    from rich.padding import Padding
    from rich.text import Text

    for judgement in judgements:
        reason = f" ({judgement.reason})" if judgement.reason else ""
        verdict = Text(judgement.verdict, style=VERDICT_STYLES[judgement.verdict])
        console.print(verdict + Text(f": {judgement.claim.text}{reason}"))
        for comparison in judgement.comparisons:
            lines = [f"{judgement.metric_in_words}: {comparison.sides}", comparison.outcome]
            for indent, line in zip((4, 8), lines, strict=True):
                if line:
                    console.print(Padding(Text(line, style="dim"), (0, 0, 0, indent)))


def say(console: Console, line: str, *, label: int = 0) -> None:
    """Prints a line. On a terminal it is wrapped between words, so no number is split; elsewhere it stays one line.

    Args:
        console: Where to print.
        line: The text.
        label: Length of the label at the start of the line: it is printed dim, and wrapped lines begin after it.
    """
    from rich.text import Text

    if console.is_terminal:
        lines = textwrap.wrap(
            line,
            console.width,
            subsequent_indent=" " * label,
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = "\n".join(lines)
    text = Text(line)
    text.stylize("dim", 0, label)
    console.print(text, soft_wrap=True)


def say_commands(console: Console, line: str) -> None:
    """Prints a line with commands to paste: it is not wrapped, and nothing in it is read as markup."""
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


@contextmanager
def counted(console: Console, doing: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar on a terminal; yields a function to call with the number done and the total."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        shown = progress.add_task(doing, total=None, visible=False)
        yield lambda done, total: progress.update(shown, completed=done, total=total, visible=True)


def check_writable(path: Path) -> None:
    """Checks that a file can be written there; creates the folders above it.

    Raises:
        BadInputError: The path cannot be written.
    """
    try:
        if path.is_dir():
            raise BadInputError(f"{path}: is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error


def write_file(path: Path, content: bytes) -> Path:
    """Writes a file completely or not at all; creates the folders above it.

    Raises:
        BadInputError: The path cannot be written.
    """
    from resnet_cli.storage import run_folder

    try:
        if path.is_dir():
            raise BadInputError(f"{path}: is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        run_folder.replace_file(path, content)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror}") from error
    return path
