"""`resnet table`: the paper's table with our numbers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from resnet_cli.cli.answer import write_file
from resnet_cli.cli.examples import OUTPUT
from resnet_cli.cli.options import Depths, ExperimentName, ResultsDir, parse_depths
from resnet_cli.cli.paths import path_given
from resnet_cli.cli.scale import Asked, scale_options, shown_variant

TableFormat = Literal["rich", "csv", "md", "latex", "json"]
FORMAT_OF_SUFFIX: dict[str, TableFormat] = {".csv": "csv", ".md": "md", ".tex": "latex", ".json": "json"}


@scale_options()
def table(
    name: ExperimentName,
    *,
    form: Annotated[
        TableFormat | None,
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
    asked: Asked,
    depths: Depths = None,
    results_dir: ResultsDir = None,
) -> None:
    """Show the paper's numbers beside ours: mean, standard deviation, number of runs, difference."""
    from rich.console import Console

    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.summarize import summarize
    from resnet_cli.report.tables import make_table, render, rich_table
    from resnet_cli.report.terminal import as_text
    from resnet_cli.storage.store import Store

    experiment, store = load_experiment(name, parse_depths(depths)), Store.open(results_dir)
    variant = shown_variant(store, experiment, asked)
    result = make_table(summarize(store, experiment, variant))
    form = form or FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "rich")
    if output is None and form == "rich":
        Console().print(rich_table(result))
        return
    text = as_text(rich_table(result)) if form == "rich" else render(result, form)
    typer.echo(write_file(output, text.encode()) if output else text, nl=output is not None)
