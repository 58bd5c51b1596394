"""`resnet plot`: the paper's figure with our curves, or a picture of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli.answer import write_file
from resnet_cli.cli.examples import OUTPUT
from resnet_cli.cli.options import DataDir, Depths, ResultsDir, data_folder, parse_depths
from resnet_cli.cli.paths import leading_to, path_given
from resnet_cli.cli.scale import Asked, check_takes_folder, scale_options, shown_variant
from resnet_cli.errors import BadInputError
from resnet_cli.names import EXPERIMENT_OF_ALIAS
from resnet_cli.shell import command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_cli.storage.store import Store

FigureFormat = Literal["png", "pdf", "svg"]
FORMAT_OF_SUFFIX: dict[str, FigureFormat] = {".pdf": "pdf", ".svg": "svg"}


@scale_options()
def plot(
    name: Annotated[
        str,
        typer.Argument(
            help=f"An experiment with a figure, your own .toml file, or {', '.join(EXPERIMENT_OF_ALIAS)} (figures "
            f"{', '.join(name.removeprefix('fig') for name in EXPERIMENT_OF_ALIAS.values())}); with RUN, a picture "
            "that its task draws."
        ),
    ],
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A finished run's name in <results>/runs, for a picture of it."),
    ] = None,
    *,
    form: Annotated[
        FigureFormat | None,
        typer.Option("--format", rich_help_panel=OUTPUT, help="Format (default: by the suffix of --output, else png)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=OUTPUT,
            help="File to write (default: <results>/figures/<name>).",
        ),
    ] = None,
    asked: Asked,
    depths: Depths = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = None,
) -> None:
    """Draw an experiment's figure from our runs, finished or not, or a picture of a run, and print the file's path."""
    from resnet_cli.report.figures import figure_bytes
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks import TASKS

    store = Store.open(results_dir)
    if run is not None:
        figure, stem = _picture(store, name, Path(run).name, asked, data_folder(data_dir))
    elif any(name in task.pictures for task in TASKS):
        raise BadInputError(f"{name}: name a run too: resnet plot {name} RUN, with a name in {store.root / 'runs'}")
    elif data_dir is not None:
        raise BadInputError(f"--data-dir {data_dir}: only for a picture of a run; leave it out")
    else:
        figure, stem = _figure(store, name, depths, asked, leading_to(results_dir))
    form = form or FORMAT_OF_SUFFIX.get(output.suffix.lower() if output else "", "png")
    typer.echo(write_file(output or store.figures / f"{stem}.{form}", figure_bytes(figure, form)))


def _figure(store: Store, name: str, depths: str | None, asked: Asked, results: list[str]) -> tuple[Figure, str]:
    """An experiment's figure, and the name of its file."""
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.figures import draw
    from resnet_cli.report.summarize import summarize

    source = EXPERIMENT_OF_ALIAS.get(name, name)
    experiment = load_experiment(source, parse_depths(depths))
    variant = shown_variant(store, experiment, asked)
    if experiment.figure is None:
        raise BadInputError(f"{source}: has no [figure]; its numbers: {command('table', source, *results)}")
    figure = draw(store, summarize(store, experiment, variant))
    if figure is None:
        raise BadInputError(f"{source}: no run in {store.root} has data yet; first: {command('run', source, *results)}")
    return figure, f"{experiment.stem}{variant.slug}"


def _picture(store: Store, name: str, run_id: str, asked: Asked, data_dir: Path) -> tuple[Figure, str]:
    """A picture of a run, and the name of its file."""
    from resnet_cli.report.pictures import draw_picture

    if asked != Asked(dataset_root=asked.dataset_root):
        raise BadInputError(f"{run_id}: a run's name determines its scale; leave out the options that select one")
    run = next((each for each in store.runs() if each.run_id == run_id), None)
    if run is None:
        raise BadInputError(f"'{run_id}': not the name of a run in {store.root / 'runs'}")
    if name not in run.task.pictures:
        there = ", ".join(run.task.pictures) or "none"
        raise BadInputError(f"{name}: no picture of {run.task.title}'s runs; there are: {there}")
    if asked.dataset_root:
        check_takes_folder(run.task, run_id)
    return draw_picture(store, run, name, data_dir, asked.dataset_root), f"{name}-{run_id}"
