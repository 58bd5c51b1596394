"""One HTML page with all results: self-contained and interactive, to be mailed, put online or printed."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from resnet_cli import __version__
from resnet_cli.claims.comparison import Verdict
from resnet_cli.claims.judge import RULE, judge
from resnet_cli.report.commands import flags
from resnet_cli.report.departures import Departure, departures
from resnet_cli.report.figures import draw_plots, figure_bytes
from resnet_cli.report.interactive import interactive_figure
from resnet_cli.report.panels import make_plots
from resnet_cli.report.pictures import draw_all
from resnet_cli.report.tables import make_table
from resnet_cli.runs.plan import plan
from resnet_cli.shell import command
from resnet_cli.tasks.choices import choices

if TYPE_CHECKING:
    import pandas as pd

    from resnet_cli.claims.judge import Judgement
    from resnet_cli.experiment import Experiment
    from resnet_cli.report.interactive import InteractiveFigure
    from resnet_cli.report.pictures import Drawn
    from resnet_cli.report.summarize import Summary
    from resnet_cli.storage.store import Store


@dataclass(frozen=True)
class Section:
    """An experiment on the page.

    Attributes:
        parts: The table's cells; Table 1 has two parts.
        figure: An SVG as a data URL, empty if the experiment has none. As images, several SVGs cannot mix up their ids.
        interactive: The same figure for a browser that runs scripts.
        pictures: Pictures of some of its runs; see `draw_all`.
        commands: Each command with its purpose.
        departures: Where the runs differ from the paper.
        environments: What the runs were trained with, each once, with the number of runs.
        days: The days on which the runs were started, from their records.
    """

    experiment: Experiment
    scale: str
    is_paper: bool
    parts: tuple[pd.DataFrame, ...]
    notes: tuple[str, ...]
    figure: str
    interactive: InteractiveFigure
    pictures: list[Drawn]
    judgements: list[Judgement]
    commands: list[tuple[str, str]]
    departures: list[Departure]
    environments: list[tuple[str, int]]
    days: list[str]


def make_section(store: Store, summary: Summary, data_dir: Path | None = None) -> Section:
    """Draws an experiment's figure and collects the rest of its section; pictures take datasets from `data_dir`."""
    table = make_table(summary)
    plots = make_plots(store, summary)
    figure = draw_plots(summary, plots)
    image = _base64(figure_bytes(figure, "svg")) if figure else ""
    environments = _environments(store, summary)
    return Section(
        summary.experiment,
        summary.scale,
        summary.is_paper,
        table.parts,
        table.notes,
        image and f"data:image/svg+xml;base64,{image}",
        interactive_figure(summary, plots),
        list(draw_all(store, summary, data_dir or Path("data"))),
        judge(summary),
        _commands(summary),
        [] if summary.only_describes else departures(summary.experiment, summary.variant),
        Counter(map(_text, environments)).most_common(),
        [day for environment in environments if (day := _day(environment.get("started")))],
    )


def render_page(sections: list[Section]) -> str:
    """The page as HTML. The same runs give the same page, so it has the dates of the runs but not its own.

    Its content security policy allows it to load nothing, and to run only the two scripts whose hashes it lists.
    """
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = _base64
    # Without figures no script is needed.
    has_figures = any(section.interactive.panels for section in sections)
    scripts = [get_plotlyjs(), (folder / "page.js").read_text(encoding="utf-8")] if has_figures else []
    verdicts = Counter(judgement.verdict for section in sections for judgement in section.judgements)
    days = sorted(day for section in sections for day in section.days)
    return environment.get_template("page.html").render(
        sections=sections,
        verdicts=[(verdict, verdicts[verdict]) for verdict in get_args(Verdict)],
        days=list(dict.fromkeys(days[:1] + days[-1:])),
        choices=choices({section.experiment.task.name for section in sections if section.experiment.runs}),
        rule=RULE,
        scripts=scripts,
        hashes=[_base64(hashlib.sha256(script.encode()).digest()) for script in scripts],
        version=__version__,
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _commands(summary: Summary) -> list[tuple[str, str]]:
    """Commands that repeat these runs, train what is missing, and show the results; each with its purpose."""
    experiment, variant = summary.experiment, summary.variant
    swept = ["--depths", ",".join(map(str, experiment.depths))] if experiment.depths else []
    same = [experiment.name, *swept, *([] if summary.only_describes else flags(variant, experiment.dataset))]
    table = command("table", *same, "--format", "latex")
    if summary.only_describes:
        return [("show it", command("run", *same)), ("the table for a paper", table)]
    planned = Counter(run.net for run in plan(experiment, variant))
    seeds = summary.runs.groupby("net")["seed"].max() + 1
    here = {net: int(seeds[net.name]) for net in planned if net.name in seeds.index}
    found = []
    if here == planned:
        found.append(("repeat these runs", command("run", *same)))
    else:
        if here.keys() == planned.keys() and len(counts := set(here.values())) == 1:
            found.append(("repeat these runs", command("run", *same, "--seeds", counts.pop())))
        else:
            for net, count in here.items():
                name = experiment.task.short_name(net)
                found.append((f"repeat the runs of {name}", command("run", *same, "--only", name, "--seeds", count)))
        found.append(("train all runs of the experiment", command("run", *same)))
    if experiment.figure:
        found.append(("the figure for a paper", command("plot", *same, "--format", "pdf")))
    found.append(("the table for a paper", table))
    if experiment.claims:
        found.append(("check the claims", command("check", *same)))
    return found


def _environments(store: Store, summary: Summary) -> list[dict[str, Any]]:
    """What each of the runs was trained with."""
    ids = set(summary.runs["run_id"])
    return [store.environment(run) for run in store.runs() if run.run_id in ids]


def _day(started: object) -> str:
    """The date of a time stamp as runs record it; empty if it is not one."""
    match = re.match(r"\d{4}-\d\d-\d\d", started) if isinstance(started, str) else None
    return match[0] if match else ""


def _text(environment: dict[str, Any]) -> str:
    """Everything that may change a result, so not the start time; then the environments in which it was resumed."""
    left_out = ("started", "resumed")
    known = [f"{name} {value}" for name, value in environment.items() if name not in left_out and value is not None]
    resumed = environment.get("resumed")
    each_time = [each for each in resumed if isinstance(each, dict)] if isinstance(resumed, list) else []
    later = [f"; then {_text(each)}" for each in each_time]
    return (", ".join(known) or "unknown") + "".join(later)
