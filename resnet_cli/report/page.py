"""One HTML page with everything the runs say: self-contained, no scripts, made to be mailed or printed."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from resnet_cli.report.claims import RULE, judge
from resnet_cli.report.figures import draw, figure_bytes
from resnet_cli.report.tables import make_table

if TYPE_CHECKING:
    import pandas as pd

    from resnet_cli.experiment import Experiment
    from resnet_cli.report.claims import Judgement
    from resnet_cli.report.summarize import Summary
    from resnet_cli.runs.store import Store


@dataclass(frozen=True)
class Section:
    """An experiment on the page.

    Attributes:
        parts: The table's cells; Table 1 has two parts.
        figure: An SVG as a data URL, empty if the experiment has none: as images, figures cannot mix up their ids.
        environments: What the runs were trained with, each once, with the number of runs.
    """

    experiment: Experiment
    scale: str
    is_paper: bool
    parts: tuple[pd.DataFrame, ...]
    notes: tuple[str, ...]
    figure: str
    judgements: list[Judgement]
    environments: list[tuple[str, int]]


def make_section(store: Store, summary: Summary) -> Section:
    """Draws an experiment's figure and gathers what stands beside it."""
    table = make_table(summary)
    figure = draw(store, summary)
    image = base64.b64encode(figure_bytes(figure, "svg")).decode() if figure else ""
    return Section(
        summary.experiment,
        summary.scale,
        summary.is_paper,
        table.parts,
        table.notes,
        image and f"data:image/svg+xml;base64,{image}",
        judge(summary),
        _environments(store, summary),
    )


def render_page(sections: list[Section]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(sections=sections, rule=RULE)


def _environments(store: Store, summary: Summary) -> list[tuple[str, int]]:
    ids = set(summary.runs["run_id"])
    runs = [run for run in store.runs() if run.run_id in ids]
    return Counter(_text(store.environment(run)) for run in runs).most_common()


def _text(environment: dict[str, Any]) -> str:
    """All that may change a result, so not when the run was started; then where it went on, if it did."""
    left_out = ("started", "resumed")
    known = [f"{name} {value}" for name, value in environment.items() if name not in left_out and value is not None]
    resumed = environment.get("resumed")
    each_time = [each for each in resumed if isinstance(each, dict)] if isinstance(resumed, list) else []
    later = [f"; then {_text(each)}" for each in each_time]
    return (", ".join(known) or "unknown") + "".join(later)
