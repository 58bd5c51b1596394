"""The paper's table with our numbers beside it, for a terminal, a document, or another program."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich.console import Group
from rich.text import Text
from scipy import special

from resnet_cli.analyses import analyses_for, analysis_of
from resnet_cli.experiment import Row
from resnet_cli.report import architecture
from resnet_cli.report.cells import (
    MINUS,
    RUNNING,
    compared,
    grid,
    has_others,
    header_of,
    in_words,
    pipes,
    shown,
    shows_best,
    shows_both,
)
from resnet_cli.report.latex import latex
from resnet_cli.report.summarize import REACH, window_in_words
from resnet_cli.report.terminal import UNBROKEN
from resnet_cli.runs.plan import runs_needed
from resnet_cli.streams import printable
from resnet_cli.tasks.classification import Classification

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from resnet_cli.experiment import Experiment
    from resnet_cli.report.summarize import Summary
    from resnet_cli.report.terminal import Grid
    from resnet_cli.spec import Photos
    from resnet_cli.tasks.metric import Metric
    from resnet_cli.tasks.task import Task

TextFormat = Literal["csv", "md", "latex", "json"]


def numbers_of(task: Task) -> list[str]:
    """The columns of a table's frame that hold numbers; the paper's come first."""
    lead, *others = task.metrics
    papers = [*(f"paper_{metric.row or metric.key}" for metric in task.metrics), "paper_mean", "paper_std", "read_off"]
    ours = [*_with_std(task.metrics), f"best_{lead.key}", *_with_std([*task.averaged_metrics, task.trained])]
    differences = ["difference", *(f"difference_{metric.row or metric.key}" for metric in others)]
    return [*papers, *ours, *differences, REACH, f"{REACH}_std", *_with_std(looked_at(task))]


def looked_at(task: Task) -> list[Metric]:
    """The analyses' numbers that a task's tables show."""
    return [number for analysis in analyses_for(task) for number in analysis.numbers]


def _with_std(metrics: Iterable[Metric]) -> list[str]:
    return [f"{metric.key}{part}" for metric in metrics for part in ("", "_std")]


@dataclass(frozen=True)
class ResultTable:
    """An experiment's table.

    Attributes:
        summary: The numbers that it shows.
        frame: One row per row of the paper's table, at full precision. Columns: label, net (None in a row from the
            literature; an ensemble's nets are joined by +), layers, params (the paper's), parameters (ours, counted),
            `numbers_of`, and n (the finished runs, or 1 for a complete ensemble). For Table 1 see
            `architecture.describe`.
        parts: The cells with their headers, as formats for people show them; Table 1 has two parts.
        notes: What a reader must know to read it.
    """

    summary: Summary
    frame: pd.DataFrame
    parts: tuple[pd.DataFrame, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The table's title."""
        return self.summary.experiment.title

    @property
    def scale(self) -> str:
        """Scale, data and precision in words; stands on the table in every format."""
        return self.summary.scale


def make_table(summary: Summary) -> ResultTable:
    """The paper's rows in the file's order, then nets that no row names, then the experiment's architectures.

    If the experiment has only architectures, the frame describes these.
    """
    experiment = summary.experiment
    described = architecture.describe(experiment)
    parts, notes = architecture.in_words(described), architecture.notes(experiment)
    if summary.only_describes:
        return ResultTable(summary, described, parts, notes)
    in_rows = {row.net for row in experiment.rows}
    ours_only = [Row(label=experiment.task.short_name(net), net=net) for net in experiment.nets if net not in in_rows]
    records = [_record(row, summary) for row in (*experiment.rows, *ours_only)]
    frame = pd.DataFrame(records).astype({"parameters": "Int64", **dict.fromkeys(numbers_of(experiment.task), "float")})
    return ResultTable(summary, frame, (in_words(frame, summary), *parts), (*_notes(summary, frame), *notes))


def render(table: ResultTable, form: TextFormat) -> str:
    """The table as text that ends with a newline. Each format states the variant; in csv it is the column `scale`."""
    match form:
        case "csv":
            return table.frame.assign(scale=table.scale).to_csv(index=False, lineterminator="\n")
        case "md":
            return _markdown(table)
        case "latex":
            return latex(table)
        case "json":
            return json.dumps(as_json(table), indent=1, ensure_ascii=False) + "\n"


def rich_table(table: ResultTable) -> RenderableType:
    """The table for a terminal: title, variant, rows, notes. In a narrow terminal each row is a paragraph."""
    others = [header_of(metric, "ours") for metric in shown(table.summary.experiment)[1:]]
    grids = [renderable for part in table.parts for renderable in (_grid(part, others), Text())]
    scale = Text(table.scale, style="" if table.summary.is_paper else "bold red")
    notes = [Text(note, style="dim") for note in table.notes]
    return Group(Text(table.title, style="bold"), scale, Text(), *grids, *notes)


def _grid(part: pd.DataFrame, others: Iterable[str]) -> Grid:
    cells = part.copy()
    # Only the first metric keeps its standard deviation, so that a full table fits into 80 columns.
    for column in cells.columns.intersection(["train", RUNNING, *others]):
        cells[column] = [cell.partition(" ± ")[0] for cell in cells[column]]
    cells.iloc[:, 1:] = cells.iloc[:, 1:].map(lambda cell: cell.replace("; ", ";\n").replace("] ", "]\n"))
    return grid(cells.rename(columns=_in_two_lines))


def _in_two_lines(header: str) -> str:
    return header.replace(f" {MINUS} ", f"{UNBROKEN}{MINUS}\n").replace(" top", "\ntop").replace("'s ", "'s\n")


def as_json(table: ResultTable) -> dict[str, Any]:
    """The table as plain values at full precision; unknown values are None."""
    summary = table.summary
    rows = table.frame.astype(object).where(table.frame.notna(), None).to_dict(orient="records")
    return {
        "header": {
            "experiment": summary.experiment.name,
            "title": table.title,
            "variant": table.scale,
            "is_paper": summary.is_paper,
            "is_smoke": summary.variant.tiny,
            "n": len(summary.runs),
            "definitions": list(table.notes),
            "unfinished": [{"net": net, "state": state} for net, state in summary.unfinished],
        },
        "rows": rows,
    }


def _record(row: Row, summary: Summary) -> dict[str, Any]:
    net = row.net
    task, lead = summary.task, summary.task.metric
    papers = {metric: row.paper(metric) for metric in task.metrics}
    record: dict[str, Any] = {
        "label": row.label,
        "net": net.name if net else "+".join(member.name for member in row.ensemble) or None,
        "layers": row.layers or (str(net.depth) if net else ""),
        "params": row.params,
        "parameters": task.parameters(net) if net else None,
        **dict.fromkeys(numbers_of(task)),
        **{f"paper_{metric.row or metric.key}": value for metric, value in papers.items()},
        "paper_mean": row.mean,
        "paper_std": row.std,
        "read_off": row.read_off,
        "n": 0,
    }
    if not net and not row.ensemble:  # the analyses' numbers that the literature gives
        record |= {each.key: row.told(each) for each in looked_at(task)}
    if net and net.name in summary.by_net.index:
        record.update({str(column): value for column, value in summary.by_net.loc[net.name].items()})
        record["n"] = int(record["n"])
    if row.ensemble and not (ensemble := summary.ensemble(row.ensemble)).missing:
        record |= {"n": 1, **ensemble.numbers}
    if record["n"]:
        for metric, best in papers.items():
            paper = row.mean if metric == lead and row.mean is not None else best
            name = "difference" if metric == lead else f"difference_{metric.row or metric.key}"
            averaged = record.get(metric.averaged.key, math.nan)
            ours = record[metric.key] if pd.isna(averaged) else averaged
            record[name] = None if paper is None else ours - paper
    return record


def _notes(summary: Summary, frame: pd.DataFrame) -> tuple[str, ...]:
    experiment = summary.experiment
    protocol = summary.planned[experiment.nets[0]].protocol
    updates = window_in_words(summary, experiment.nets)
    task = summary.task
    lead, trained = (f"{each.heading}{f' ({each.unit})' if each.unit else ''}" for each in (task.metric, task.trained))
    notes = _ours(lead, frame, task)
    if protocol.photos:
        notes.append(_test(experiment.test, protocol.photos))
    if has_others(experiment):
        notes += _difference(experiment)
    else:
        if shows_best(frame, experiment):
            on, end = task.metric.heading.split()[0], "highest" if task.metric.higher_is_better else "lowest"
            notes.append(f"best: the {end} of all evaluations, for comparison only: it is chosen on the {on} set.")
        notes.append(f"train: running {trained} on augmented batches, mean over the last {updates}.")
    notes += _definitions(experiment, updates)
    if any(row.mean is not None for row in experiment.rows):
        notes.append("paper: best run (mean ± standard deviation); the difference is from the mean, if there is one.")
    for accuracy in sorted({row.read_off for row in experiment.rows if row.read_off}):
        labels = ", ".join(row.label for row in experiment.rows if row.read_off == accuracy)
        notes.append(f"Read off the paper's figure, to within {accuracy:g}: {labels}.")
    if summary.is_paper:
        notes += _chance(experiment)
    notes += [_together(row, summary) for row in experiment.rows if row.ensemble]
    if protocol.photos and isinstance(task, Classification) and summary.variant.dataset != task.dataset:
        notes.append(f"params: counted with {task.title}'s {task.classes:,} classes.")
    if summary.unfinished:
        notes.append(f"Runs without a result, not counted here: {summary.unfinished_text}.")
    return (*notes, *_left_out(summary))


def _ours(lead: str, frame: pd.DataFrame, task: Task) -> list[str]:
    """What our errors are, and the nets with runs that predate averaged statistics, whose errors use running ones."""
    spread = "mean ± standard deviation over n runs."
    if not shows_both(frame, task):
        return [f"ours: {lead} after the last update, {spread}"]
    running = frame["net"][(frame["n"] > 0) & frame[task.metric.averaged.key].isna()]
    others = f" ({', '.join(running)}: running statistics)" if len(running) else ""
    return [
        f"ours: {lead} after the last update with averaged statistics of batch normalisation{others}, {spread}",
        f"{RUNNING}: the same with running statistics; the verdicts use these.",
    ]


def _difference(experiment: Experiment) -> list[str]:
    """Which of several metrics the difference from the paper is about; no note where the paper has no numbers."""
    if all(row.paper(each) is None for row in experiment.rows for each in experiment.task.metrics):
        return []
    metric = compared(experiment)
    which = {"error": "top-1 error", "top5": "top-5 error"}.get(metric.row or "", metric.heading)
    return [f"ours {MINUS} paper: the difference in {which}."]


def _together(row: Row, summary: Summary) -> str:
    """Which nets an ensemble combines and how, and what is missing."""
    task, waits = summary.task, summary.ensemble(row.ensemble).missing
    counted = {
        task.short_name(net): runs_needed(summary.experiment, count, tiny=summary.variant.tiny)
        for net, count in Counter(row.ensemble).items()
    }
    names = ", ".join(f"{count} runs of {name}" if count > 1 else name for name, count in counted.items())
    how = f"the probabilities of {names}, averaged"
    if task.joins_nets:
        how = f"{names} as an ensemble: each classifies all proposals; their probabilities and box offsets are averaged"
    return f"{row.label}: {how}." + (f" Missing: {waits}." if waits else "")


def _left_out(summary: Summary) -> list[str]:
    """The folders with runs of these nets that are not counted."""
    folders = ", ".join(printable(each.path.name) for each in summary.left_out)
    why = "Left out, because these folders were renamed, copied or damaged ('resnet doctor' says what to do)"
    return [f"{why}: {folders}."] if folders else []


def _chance(experiment: Experiment) -> list[str]:
    """How far a single run can differ from the paper's by chance."""
    notes = []
    for row in experiment.rows:
        runs = max((group.seeds for group in experiment.runs if row.net in group.nets), default=0)
        if row.net and row.std and runs > 1:
            difference = special.stdtrit(runs - 1, 0.975) * math.sqrt(2) * row.std
            spread = f"that of the paper's {runs} runs of {row.net.name} ({row.std:g}; Student's t)"
            notes.append(
                f"chance: a run of ours and one of the paper's differ by less than {difference:.2f} in 95 of 100 "
                f"cases, if the standard deviation over a net's runs is {spread}."
            )
    return notes


def _definitions(experiment: Experiment, updates: str) -> list[str]:
    """What the columns of `extra_metrics` are."""
    notes = []
    if experiment.reach is not None:
        notes.append(
            f"updates to {experiment.reach:g}%: until the running training error, trailing mean over {updates}, is at "
            "most this; a run that never reaches it counts with all its updates."
        )
    if experiment.analysis:
        notes.append(analysis_of(experiment.analysis).note)
    return notes


def _test(views: str, photos: Photos) -> str:
    """How an image is tested, as section 3.4 says it."""
    match views:
        case "1-crop":
            return f"Tested on the centre {photos.crop}x{photos.crop} crop, shorter side {photos.test_side}."
        case "10-crop":
            return (
                f"Tested on 10 crops: {photos.crop}x{photos.crop} at the corners and the centre, shorter side "
                f"{photos.test_side}, and their mirrors; probabilities averaged (section 3.4)."
            )
        case _:
            sides = ", ".join(map(str, photos.dense_sides))
            return (
                f"Tested fully convolutionally at shorter sides {sides}, each image and its mirror; probabilities "
                "averaged (section 3.4)."
            )


def _markdown(table: ResultTable) -> str:
    body = "\n\n".join(pipes(part) for part in table.parts)
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"**{table.title}** ({table.scale})\n\n{body}\n\n{notes}\n"
