"""`resnet check`: a verdict on every claim, with the figures behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from resnet_cli.cli.answer import print_verdicts
from resnet_cli.cli.examples import OUTPUT, WHAT
from resnet_cli.cli.options import Depths, ResultsDir, every_experiment, parse_depths
from resnet_cli.cli.paths import leading_to
from resnet_cli.cli.scale import Asked, scale_options, shown_variant, shown_variants
from resnet_cli.shell import command

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_cli.report.summarize import Summary


@scale_options()
def check(
    name: Annotated[
        str | None, typer.Argument(help="An experiment or your own .toml file (default: every experiment).")
    ] = None,
    *,
    form: Annotated[
        Literal["rich", "json"], typer.Option("--format", rich_help_panel=OUTPUT, help="Format of the answer.")
    ] = "rich",
    power: Annotated[
        bool,
        typer.Option("--power", rich_help_panel=WHAT, help="Print how many seeds each claim needs, not the verdicts."),
    ] = False,
    asked: Asked,
    depths: Depths = None,
    results_dir: ResultsDir = None,
) -> None:
    """Print a verdict on each of the paper's claims: reproduced, not reproduced, too few runs, or not run.

    With --power, print how many seeds per net show each claim with a probability of 80%, assuming that the paper's
    numbers are true (at another scale than the paper's: that ours are).
    """
    import json

    from rich.console import Console
    from rich.text import Text

    from resnet_cli.claims import judge as claims
    from resnet_cli.claims import power as powers
    from resnet_cli.experiment import load_experiment
    from resnet_cli.report.summarize import summarize
    from resnet_cli.storage.store import Store

    store, chosen = Store.open(results_dir), parse_depths(depths)
    if name is None:  # options that apply only to some experiments exclude the others
        claiming = [each for each in every_experiment(chosen) if each.claims]
        summaries = [summarize(store, *each) for each in shown_variants(store, claiming, asked)]
    else:
        experiment = load_experiment(name, chosen)
        summaries = [summarize(store, experiment, shown_variant(store, experiment, asked))]
    if form == "json":
        content = [_power_as_json(summary) if power else _verdicts_as_json(summary) for summary in summaries]
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    idle = [] if name or power else [summary.experiment.name for summary in summaries if summary.runs.empty]
    shown = [summary for summary in summaries if summary.experiment.name not in idle]
    for summary in shown:
        console.print(Text(f"{summary.experiment.name}: {summary.experiment.title}", style="bold"))
        console.print(Text(summary.scale, style="" if summary.is_paper else "bold red"))
        if power:
            _print_power(summary, console)
        else:
            _print_verdicts(summary, console)
        console.print()
    if shown:
        console.print(Text(powers.RULE if power else claims.RULE, style="dim"))
    if idle:
        train = command("run", "NAME", *leading_to(results_dir))
        console.print(
            Text(f"not run: every claim of {', '.join(idle)}; to train what is missing: {train}"), soft_wrap=True
        )


def _header(summary: Summary) -> dict[str, object]:
    return {
        "experiment": summary.experiment.name,
        "title": summary.experiment.title,
        "variant": summary.scale,
        "is_paper": summary.is_paper,
    }


def _verdicts_as_json(summary: Summary) -> dict[str, object]:
    from resnet_cli.claims.judge import RULE, judge

    return {
        **_header(summary),
        "rule": RULE,
        "claims": [judgement.as_json() for judgement in judge(summary)],
    }


def _print_verdicts(summary: Summary, console: Console) -> None:
    from resnet_cli.claims.judge import judge

    judgements = judge(summary)
    if judgements:
        print_verdicts(judgements, console)
    else:
        console.print("makes no claim")


def _power_as_json(summary: Summary) -> dict[str, object]:
    from resnet_cli.claims.comparison import SIGNIFICANCE
    from resnet_cli.claims.power import POWER, RULE, needs, strictest_level

    return {
        **_header(summary),
        "rule": RULE,
        "alpha": SIGNIFICANCE,
        "strictest_alpha": strictest_level(summary.experiment),
        "power": POWER,
        "needs": [need.as_json() for need in needs(summary)],
    }


def _print_power(summary: Summary, console: Console) -> None:
    from rich.text import Text

    from resnet_cli.claims.comparison import SIGNIFICANCE
    from resnet_cli.claims.power import needs, seeds_shown, strictest_level
    from resnet_cli.report.terminal import Grid

    found = needs(summary)
    if not found:
        console.print("makes no claim about runs")
        return
    alphas = {f"{alpha:.2g}": None for alpha in (SIGNIFICANCE, strictest_level(summary.experiment))}
    shown = seeds_shown(summary.experiment)
    headers = ["claimed", "gap", "std", *(f"p<{alpha}" for alpha in alphas), *(f"n={seeds}" for seeds in shown)]
    rows = []
    problems: dict[str, list[str]] = {}
    for need in found:
        claimed = need.comparison
        if need.metric != "test_error":
            claimed += f", {need.metric_in_words}"
        if need.problem:
            problems.setdefault(need.problem, []).append(claimed)
            continue
        seeds = [_count(each) for each in (need.seeds, need.strict_seeds)][-len(alphas) :]
        powers = [f"{need.power[each]:.2f}" for each in shown]
        gap, std = f"{need.gap:z.2f} {need.gap_from}", f"{need.std:z.2f} {need.std_from}"
        rows.append([claimed, gap, std, *seeds, *powers])
    if rows:
        console.print(Grid(headers, rows, prose=(0,)))
    for problem, claims in problems.items():
        console.print(Text(f"{problem}: {'; '.join(claims)}", style="yellow"))


def _count(seeds: int | None) -> str:
    from resnet_cli.claims.power import MOST_SEEDS

    return f"more than {MOST_SEEDS:,}" if seeds is None else str(seeds)
