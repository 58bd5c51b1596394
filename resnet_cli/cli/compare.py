"""`resnet compare`: compares two results folders, of two machines or two versions."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from resnet_cli.cli.answer import write_file
from resnet_cli.cli.examples import OUTPUT, WHAT
from resnet_cli.cli.options import Depths, parse_depths
from resnet_cli.cli.paths import path_given
from resnet_cli.errors import BadInputError
from resnet_cli.streams import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    from rich.console import RenderableType

    from resnet_cli.report.compare import FolderComparison

ComparisonFormat = Literal["rich", "csv", "md", "json"]
FORMAT_OF_SUFFIX: dict[str, ComparisonFormat] = {".csv": "csv", ".md": "md", ".json": "json"}
COMMIT, COMMIT_DIGITS = re.compile("[0-9a-f]{40}"), 10
MOST_VALUES = 3  # of a field of the environments, that a printed table shows


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", parser=path_given, help="A results folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", parser=path_given, help="Another one.")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="EXPERIMENT", help="Only this experiment's runs, by its own test (default: every run)."),
    ] = None,
    *,
    any_precision: Annotated[
        bool,
        typer.Option("--any-precision", rich_help_panel=WHAT, help="Also compare runs of different precision."),
    ] = False,
    form: Annotated[
        ComparisonFormat | None,
        typer.Option(
            "--format", rich_help_panel=OUTPUT, help="Format (default: by the suffix of --output, else rich)."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=OUTPUT,
            help="Write to this file, not to the terminal.",
        ),
    ] = None,
    depths: Depths = None,
) -> None:
    """Compare two results folders: errors, their difference with its interval, logs, and environments."""
    from resnet_cli.experiment import load_experiment
    from resnet_cli.storage.store import Store

    if name is None and depths is not None:
        raise BadInputError("--depths: needs the name of an EXPERIMENT")
    experiment = load_experiment(name, parse_depths(depths)) if name else None
    for path in (a, b):
        if not (path / "runs").is_dir():
            raise BadInputError(f"{path}: not a results folder: it has no runs/")

    from rich.console import Console

    from resnet_cli.report.compare import compare as compare_stores
    from resnet_cli.report.terminal import as_text

    comparison = compare_stores(Store(a), Store(b), experiment, any_precision=any_precision)
    form = form or FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "rich")
    if output is None and form == "rich":
        Console().print(_rich(comparison, a, b))
        return
    if form == "rich":
        text = as_text(_rich(comparison, a, b))
    elif form == "csv":
        text = _csv(comparison)
    elif form == "md":
        text = _markdown(comparison, a, b)
    else:
        text = json.dumps(_as_json(comparison, a, b, name), indent=1, ensure_ascii=False) + "\n"
    typer.echo(write_file(output, text.encode()) if output else text, nl=output is not None)


def _cells(frame: pd.DataFrame, trained: Collection[str]) -> pd.DataFrame:
    """The rows of one scale, formatted for people; a net's name is in its first row only."""
    import pandas as pd

    from resnet_cli.report.cells import MINUS, mean_in_words, signed

    cells = pd.DataFrame({"net": frame["net"].mask(frame.duplicated(["run_a", "run_b"]), "")})
    cells["metric"] = ["training" if metric in trained else "test" for metric in frame["metric"]]
    for side in ("a", "b"):
        columns = frame[[f"mean_{side}", f"std_{side}", f"n_{side}"]].itertuples(index=False)
        cells[f"{side.upper()} (n)"] = [f"{mean_in_words(mean, std)} ({n})" for mean, std, n in columns]
    cells[f"B {MINUS} A"] = [signed(value) for value in frame["difference"]]
    cells["95% interval"] = [
        signed(low) if pd.isna(low) else f"{signed(low)} to {signed(high)}{' *' if excludes else ''}"
        for low, high, excludes in frame[["low", "high", "excludes_zero"]].itertuples(index=False)
    ]
    return cells


def _notes(comparison: FolderComparison) -> list[str]:
    frame = comparison.frame
    tests = ", ".join(f"{metric.heading} ({metric.unit})" for metric in comparison.metrics)
    what = f"test: {tests} after the last update; training: the running error, on augmented batches."
    notes = [f"{what} Mean ± standard deviation over n finished runs."]
    if comparison.intervals:
        notes.append(
            f"95% interval: of the difference of the means, by Welch's t, where both have two runs or more. "
            f"* excludes 0: {comparison.excluding_zero} of {comparison.intervals}; if there were no difference "
            f"anywhere, {comparison.expected_by_chance:.2g} would do so by chance."
        )
    if ((frame["difference"] == 0) & frame["low"].isna() & (frame["n_a"] > 1)).any():
        notes.append("No interval where both have the same errors, seed by seed: such runs are not independent.")
    notes += _logs_in_words(comparison.logs)
    if comparison.environments.empty:
        notes.append("The environments of these runs do not differ.")
    for side, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        if only:
            notes.append(f"Only {side} has: {', '.join(only)}.")
    return notes


def _logs_in_words(logs: pd.DataFrame) -> list[str]:
    """For each net, the seeds that both have run, and the update from which their logs differ."""
    import pandas as pd

    scales_of_net = Counter(logs.drop_duplicates(["net", "scale"])["net"])
    lines = []
    for head, its in logs.groupby(["net", "scale"], sort=False):
        net, scale = map(str, head)
        parts = []
        for update in its["differs_from"].drop_duplicates():
            alike = its["differs_from"].isna() if pd.isna(update) else its["differs_from"] == update
            seeds = ", ".join(map(str, its.loc[alike, "seed"]))
            parts.append(f"{'identical' if pd.isna(update) else f'different from update {update:,} on'} (seed {seeds})")
        where = f" ({scale})" if scales_of_net[net] > 1 else ""
        lines.append(f"Logs, {net}{where}: {'; '.join(parts)}.")
    return lines


def _environment_cells(comparison: FolderComparison) -> pd.DataFrame:
    cells = comparison.environments.rename(columns={"field": "environment", "a": "A", "b": "B"})
    for side in ("A", "B"):
        cells[side] = [_values(values) for values in cells[side]]
    return cells


def _values(values: Sequence[str]) -> str:
    from resnet_cli.report.cells import NOT_RUN

    values = [value[:COMMIT_DIGITS] if COMMIT.fullmatch(value) else value for value in values]
    more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(map(printable, values[:MOST_VALUES])) + more or NOT_RUN


def _rich(comparison: FolderComparison, a: Path, b: Path) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from resnet_cli.report.cells import grid

    parts: list[RenderableType] = [Text(f"A: {a}"), Text(f"B: {b}"), Text()]
    for scale, rows in comparison.frame.groupby("scale", sort=False):
        parts += [Text(str(scale), style="bold"), grid(_cells(rows, comparison.trained), texts=2), Text()]
    if len(comparison.environments):
        parts += [grid(_environment_cells(comparison), texts=3, prose=(1, 2)), Text()]
    return Group(*parts, *(Text(note, style="dim") for note in _notes(comparison)))


def _csv(comparison: FolderComparison) -> str:
    """The rows, with the seeds that both have and those whose logs are the same."""
    logs = comparison.logs
    seeds = logs.assign(same=logs["differs_from"].isna()).groupby(["net", "scale"])["same"].agg(["size", "sum"])
    seeds = seeds.rename(columns={"size": "common_seeds", "sum": "same_logs"}).reset_index()
    frame = comparison.frame.merge(seeds, how="left", on=["net", "scale"])
    counts = {"common_seeds": "int64", "same_logs": "int64"}
    return frame.fillna(dict.fromkeys(counts, 0)).astype(counts).to_csv(index=False, lineterminator="\n")


def _markdown(comparison: FolderComparison, a: Path, b: Path) -> str:
    from resnet_cli.report.cells import pipes

    parts = [f"A: `{a}`; B: `{b}`"]
    for scale, rows in comparison.frame.groupby("scale", sort=False):
        parts += [f"**{scale}**", pipes(_cells(rows, comparison.trained), texts=2)]
    if len(comparison.environments):
        parts.append(pipes(_environment_cells(comparison), texts=3))
    parts.append("\n".join(f"- {note}" for note in _notes(comparison)))
    return "\n\n".join(parts) + "\n"


def _as_json(comparison: FolderComparison, a: Path, b: Path, experiment: str | None) -> dict[str, Any]:
    def records(frame: pd.DataFrame) -> list[Any]:
        rows: list[Any] = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
        return rows

    return {
        "a": str(a),
        "b": str(b),
        "experiment": experiment,
        "intervals": comparison.intervals,
        "excluding_zero": comparison.excluding_zero,
        "expected_by_chance": comparison.expected_by_chance,
        "rows": records(comparison.frame),
        "logs": records(comparison.logs),
        "environments": records(comparison.environments),
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
    }
