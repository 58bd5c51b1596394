"""`resnet report`: one HTML page with tables, figures, verdicts and environments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_cli.cli.answer import check_writable, write_file
from resnet_cli.cli.examples import OUTPUT
from resnet_cli.cli.options import DataDir, Depths, ResultsDir, data_folder, every_experiment, parse_depths
from resnet_cli.cli.paths import leading_to, path_given
from resnet_cli.errors import BadInputError
from resnet_cli.shell import command


def report(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            parser=path_given,
            metavar="<path>",
            rich_help_panel=OUTPUT,
            help="File to write (default: <results>/report.html).",
        ),
    ] = None,
    depths: Depths = None,
    data_dir: DataDir = None,
    results_dir: ResultsDir = None,
) -> None:
    """Write one HTML page on every experiment with a finished run, and on Table 1; print its path.

    The page needs no network and its curves are interactive. The same runs give the same bytes.

    --depths applies to the experiments that compare depths. --data-dir has the test images for pictures of runs.
    """
    from resnet_cli.report.page import make_section, render_page
    from resnet_cli.report.shown import variant_to_show
    from resnet_cli.report.summarize import summarize
    from resnet_cli.storage.store import Store

    if output is not None:
        check_writable(output)  # before the figures are drawn
    store = Store.open(results_dir)
    experiments = every_experiment(parse_depths(depths))
    summaries = [summarize(store, experiment, variant_to_show(store, experiment)) for experiment in experiments]
    if all(summary.runs.empty for summary in summaries):
        raise BadInputError(
            f"{store.root}: no run of any experiment is finished; this takes seconds: "
            + command("run", "fig1", "--tiny", *leading_to(results_dir))
        )
    folder = data_folder(data_dir)
    sections = [make_section(store, each, folder) for each in summaries if len(each.runs) or each.only_describes]
    typer.echo(write_file(output or store.root / "report.html", render_page(sections).encode()))
