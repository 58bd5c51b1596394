"""`resnet check`: a verdict on every claim, with the figures behind it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from resnet_cli.cli.answer import print_verdicts
from resnet_cli.cli.options import (
    Accumulate,
    Asked,
    DatasetOption,
    DatasetRoot,
    Depths,
    Deviations,
    PrecisionOption,
    ResultsDir,
    Schedule,
    SplitOption,
    Tiny,
    every_experiment,
    fits,
    parse_depths,
    shown_variant,
)
from resnet_cli.experiment import load_experiment
from resnet_cli.runs.store import Store


def check(
    name: Annotated[
        str | None, typer.Argument(help="An experiment or a .toml file of your own (default: every experiment).")
    ] = None,
    *,
    form: Annotated[Literal["rich", "json"], typer.Option("--format", help="How to write it.")] = "rich",
    schedule: Schedule = None,
    tiny: Tiny = False,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    precision: PrecisionOption = None,
    dataset_root: DatasetRoot = None,
    deviation: Deviations = None,
    accumulate: Accumulate = None,
    depths: Depths = None,
    results_dir: ResultsDir = None,
) -> None:
    """Judge the paper's claims by our runs: reproduced, not reproduced, too few runs, not run."""
    import json

    from rich.console import Console
    from rich.text import Text

    from resnet_cli.report.claims import RULE, judge
    from resnet_cli.report.summarize import summarize

    store, chosen = Store.open(results_dir), parse_depths(depths)
    experiments = every_experiment(chosen) if name is None else [load_experiment(name, chosen)]
    asked = Asked(schedule, tiny, dataset, dataset_root, split, precision, deviation, accumulate)
    if name is None:  # options that are about some experiments only leave the others out
        experiments = [each for each in experiments if each.claims and fits(each, asked)]
    summaries = [summarize(store, each, shown_variant(store, each, asked)) for each in experiments]
    if form == "json":
        content = [
            {
                "experiment": summary.experiment.name,
                "title": summary.experiment.title,
                "variant": summary.scale,
                "is_paper": summary.is_paper,
                "rule": RULE,
                "claims": [judgement.as_json() for judgement in judge(summary)],
            }
            for summary in summaries
        ]
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    console = Console()
    idle = [] if name else [summary.experiment.name for summary in summaries if summary.runs.empty]
    for summary in summaries:
        if summary.experiment.name in idle:
            continue
        console.print(Text(f"{summary.experiment.name}: {summary.experiment.title}", style="bold"))
        console.print(Text(summary.scale, style="" if summary.is_paper else "bold red"))
        judgements = judge(summary)
        if judgements:
            print_verdicts(judgements, console)
        else:
            console.print("makes no claim")
        console.print()
    if len(idle) < len(summaries):
        console.print(Text(RULE, style="dim"))
    if idle:
        console.print(Text(f"not run: every claim of {', '.join(idle)}; 'resnet run NAME' trains what is missing"))
