"""`resnet report`: one HTML page with tables, figures, verdicts and environments."""

from __future__ import annotations

import typer

from resnet_cli.cli.answer import write_file
from resnet_cli.cli.options import Depths, ResultsDir, every_experiment, parse_depths
from resnet_cli.errors import BadInputError
from resnet_cli.runs.store import Store


def report(*, depths: Depths = None, results_dir: ResultsDir = None) -> None:
    """Write one self-contained HTML page on every experiment that has a finished run, and print its path.

    --depths holds for the experiments that sweep depths.
    """
    from resnet_cli.report.page import make_section, render_page
    from resnet_cli.report.summarize import summarize

    store = Store.open(results_dir)
    experiments = every_experiment(parse_depths(depths))
    summaries = [summarize(store, experiment, store.variant_to_show(experiment)) for experiment in experiments]
    sections = [make_section(store, summary) for summary in summaries if len(summary.runs)]
    if not sections:
        raise BadInputError(
            f"{store.root}: no run of any experiment is finished; 'resnet run fig1 --tiny' takes seconds"
        )
    typer.echo(write_file(store.root / "report.html", render_page(sections).encode()))
