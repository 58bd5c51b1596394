"""`resnet plot`: the paper's figure with our curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from resnet_cli.cli.answer import write_file
from resnet_cli.cli.options import Depths, ResultsDir, parse_depths
from resnet_cli.cli.paths import leading_to, path_given
from resnet_cli.cli.scale import Asked, scale_options, shown_variant
from resnet_cli.errors import BadInputError
from resnet_cli.names import EXPERIMENT_OF_ALIAS
from resnet_cli.shell import command

FigureFormat = Literal["png", "pdf", "svg"]
FORMAT_OF_SUFFIX: dict[str, FigureFormat] = {".pdf": "pdf", ".svg": "svg"}


@scale_options()
def plot(
    name: Annotated[
        str,
        typer.Argument(
            help=f"An experiment with a figure, your own .toml file, or {', '.join(EXPERIMENT_OF_ALIAS)} (figures "
            f"{', '.join(name.removeprefix('fig') for name in EXPERIMENT_OF_ALIAS.values())})."
        ),
    ],
    *,
    form: Annotated[
        FigureFormat | None,
        typer.Option("--format", help="Kind of file (default: by the suffix of --output, else png)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", parser=path_given, metavar="<path>", help="In place of <results>/figures/<name>."),
    ] = None,
    asked: Asked,
    depths: Depths = None,
    results_dir: ResultsDir = None,
) -> None:
    """Draw an experiment's figure from our runs, finished or not, and print the file's path."""
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.figures import draw, figure_bytes
    from resnet_cli.report.summarize import summarize
    from resnet_cli.storage.store import Store

    source = EXPERIMENT_OF_ALIAS.get(name, name)
    experiment, store = load_experiment(source, parse_depths(depths)), Store.open(results_dir)
    variant = shown_variant(store, experiment, asked)
    form = form or FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "png")
    if experiment.figure is None:
        raise BadInputError(
            f"{source}: has no [figure]; its numbers: {command('table', source, *leading_to(results_dir))}"
        )
    figure = draw(store, summarize(store, experiment, variant))
    if figure is None:
        raise BadInputError(
            f"{source}: no run in {store.root} has data yet; first: {command('run', source, *leading_to(results_dir))}"
        )
    content = figure_bytes(figure, form)
    typer.echo(write_file(output or store.figures / f"{experiment.stem}{variant.slug}.{form}", content))
