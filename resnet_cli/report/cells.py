"""A table's cells as text, the same in every format for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from tabulate import tabulate

from resnet_cli.analyses import analysis_of
from resnet_cli.report.summarize import REACH
from resnet_cli.report.terminal import Grid

if TYPE_CHECKING:
    from collections.abc import Collection

    from resnet_cli.experiment import Experiment
    from resnet_cli.report.summarize import Summary
    from resnet_cli.tasks.metric import Metric
    from resnet_cli.tasks.task import Task

NOT_RUN = "–"  # noqa: RUF001  a dash, not a minus
MINUS = "−"  # noqa: RUF001  a minus sign, as wide as the plus above it
RUNNING = "running"
DIFFERENCE = f"ours {MINUS} paper"


def has_others(experiment: Experiment) -> bool:
    """Whether the table shows other metrics besides the task's first one: top-5 errors, say."""
    return len(shown(experiment)) > 1


def shown(experiment: Experiment) -> list[Metric]:
    """The task's first metric, and those with numbers in the paper's table; without any, those of the claims."""
    lead, *others = experiment.task.metrics
    of_paper = [metric for metric in others if any(row.paper(metric) is not None for row in experiment.rows)]
    claimed = [metric for metric in others if any(claim.metric == metric.key for claim in experiment.claims)]
    is_papers = of_paper or any(row.paper(lead) is not None for row in experiment.rows)
    return [lead, *(of_paper if is_papers else claimed)]


def compared(experiment: Experiment) -> Metric:
    """The metric whose difference from the paper a table with several metrics shows.

    It is the first metric if the paper has it for one of our nets, else the second.
    """
    lead, second, *_ = experiment.task.metrics
    ours = [row for row in experiment.rows if row.net or row.ensemble]
    return lead if any(row.paper(lead) is not None for row in ours) else second


def header_of(metric: Metric, whose: str) -> str:
    """The header of a metric's column in a table with several metrics."""
    short = {"error": "top-1", "top5": "top-5"}.get(metric.row or "", metric.header or metric.heading)
    return f"{whose} {short}"


def shows_both(frame: pd.DataFrame, task: Task) -> bool:
    """Whether a net was tested with averaged statistics; the table then also has errors with running statistics."""
    key = task.metric.averaged.key
    return key in frame and bool(frame[key].notna().any())


def shows_best(frame: pd.DataFrame, experiment: Experiment) -> bool:
    """Whether a column shows the best of all evaluations beside the last one.

    It does not where tests average many views, since evaluations in training have one view; nor beside the columns of
    `extra_metrics`, which matter more; nor with averaged statistics, since such evaluations are few, and a terminal has
    no room for both columns.
    """
    is_usual = experiment.test == experiment.task.views[0] and not extra_metrics(experiment)
    return is_usual and not shows_both(frame, experiment.task)


def in_words(frame: pd.DataFrame, summary: Summary) -> pd.DataFrame:
    """The cells of a table's frame (`ResultTable.frame`) with their headers, without empty columns."""
    ours, task = frame["net"].notna(), summary.task
    both = shows_both(frame, task)
    lead, trained = task.metric, task.trained

    def means(metric: Metric) -> list[str]:
        form = f".{metric.digits}f"
        columns = frame[[metric.key, f"{metric.key}_std"]]
        return [mean_in_words(mean, std, form) for mean, std in columns.itertuples(index=False)]

    metrics = shown(summary.experiment)
    of_ours = [header_of(metric, "ours") for metric in metrics]
    if has_others(summary.experiment):
        which = compared(summary.experiment)
        difference = frame["difference" if which == lead else f"difference_{which.row or which.key}"]
        papers = {header_of(each, "paper"): frame[f"paper_{each.row or each.key}"] for each in metrics}
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                **{header: [_paper(value) for value in values] for header, values in papers.items()},
                **{header: means(each) for header, each in zip(of_ours, metrics, strict=True)},
                "n": frame["n"].astype(str),
                DIFFERENCE: [signed(value) for value in difference],
            }
        )
    else:
        running = pd.Series(means(lead))
        averaged = pd.Series(means(lead.averaged)) if both else running
        leads = frame[[f"paper_{lead.row or lead.key}", "paper_mean", "paper_std"]]
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                "layers": frame["layers"],
                "params": frame["params"].where(
                    ~ours, ["" if pd.isna(count) else f"{count:,}" for count in frame["parameters"]]
                ),
                "paper": [_paper(*row) for row in leads.itertuples(index=False)],
                "ours": averaged.where(averaged != NOT_RUN, running),
                RUNNING: running,
                "best": [mean_in_words(value) for value in frame[f"best_{lead.key}"]],
                "train": means(trained),
                "n": frame["n"].astype(str),
                DIFFERENCE: [signed(value) for value in frame["difference"]],
            }
        )
    said_of_ours = [*of_ours, "ours", RUNNING, "best", "train", "n", DIFFERENCE]
    cells.loc[~ours, cells.columns.intersection(said_of_ours)] = ""
    extras = extra_metrics(summary.experiment)
    for header, (metric, form) in extras.items():
        values = zip(frame[metric], frame[f"{metric}_std"], strict=True)
        column = pd.Series([mean_in_words(mean, std, form) for mean, std in values])
        column = column.where(ours | frame[metric].notna(), "")
        cells.insert(list(cells.columns).index("n"), header, column)
    left_out = [] if shows_best(frame, summary.experiment) else ["best"]
    left_out += [] if both else [RUNNING]
    left_out += ["layers"] if extras else []
    papers_columns = [f"paper_{metric.row or metric.key}" for metric in task.metrics]
    left_out += [
        header_of(metric, "paper")
        for metric, column in zip(task.metrics, papers_columns, strict=True)
        if frame[column].isna().all()
    ]
    if frame[[*papers_columns, "paper_mean"]].isna().all(axis=None):
        left_out += ["paper", DIFFERENCE]
    return cells.drop(columns=left_out, errors="ignore")


def extra_metrics(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """The columns besides the errors: header to metric and number format."""
    metrics: dict[str, tuple[str, str]] = {}
    if experiment.reach is not None:
        metrics[f"updates to {experiment.reach:g}%"] = REACH, ",.0f"
    if experiment.analysis:
        numbers = analysis_of(experiment.analysis).numbers
        metrics |= {number.header or number.heading: (number.key, f",.{number.digits}f") for number in numbers}
    return metrics


def mean_in_words(mean: float, std: float = float("nan"), form: str = ".2f") -> str:
    """A mean and, if known, its standard deviation; a dash if there is no mean."""
    if pd.isna(mean):
        return NOT_RUN
    return f"{mean:{form}}" if pd.isna(std) else f"{mean:{form}} ± {std:{form}}"


def _paper(error: float, mean: float = float("nan"), std: float = float("nan")) -> str:
    if pd.isna(mean):
        return "" if pd.isna(error) else f"{error:.2f}"
    return mean_in_words(mean, std) if pd.isna(error) else f"{error:.2f} ({mean_in_words(mean, std)})"


def signed(difference: float) -> str:
    """A difference with its sign; a dash if there is none."""
    if pd.isna(difference):
        return NOT_RUN
    return f"{round(difference, 2) + 0.0:+.2f}".replace("-", MINUS)  # + 0.0: no minus before a zero


def grid(cells: pd.DataFrame, texts: int = 1, prose: Collection[int] = ()) -> Grid:
    """A table for a terminal; the first `texts` columns are left-aligned, and lines may break in those of `prose`."""
    # Without these spaces a full table fits into 80 columns.
    rows = cells.map(lambda cell: cell.replace(" ± ", "±")).to_numpy().tolist()
    return Grid(list(cells.columns), rows, range(texts), prose)


def pipes(cells: pd.DataFrame, texts: int = 1) -> str:
    """A table in Markdown; the first `texts` columns are left-aligned."""
    cells = cells.map(lambda cell: cell.replace("|", "\\|"))
    align = ["left"] * texts + ["right"] * (len(cells.columns) - texts)
    rows, headers = cells.to_numpy().tolist(), list(cells.columns)
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
