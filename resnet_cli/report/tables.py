"""The paper's table with our numbers beside it, for a terminal, a document, or another program."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich.console import Group
from rich.text import Text
from scipy import special
from tabulate import tabulate

from resnet_cli.analyses import ANALYSES, analysis_of
from resnet_cli.experiment import Row
from resnet_cli.report import architecture
from resnet_cli.report.latex import latex
from resnet_cli.report.summarize import REACH, window_in_words
from resnet_cli.report.terminal import Grid
from resnet_cli.streams import printable
from resnet_cli.tasks.classification import Classification

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from resnet_cli.experiment import Experiment
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Photos
    from resnet_cli.tasks.metric import Metric
    from resnet_cli.tasks.task import Task

TextFormat = Literal["csv", "md", "latex", "json"]

TOP1, TOP5 = "paper top-1", "paper top-5"
TOP1_OURS, TOP5_OURS = "ours top-1", "ours top-5"
NOT_RUN = "–"  # noqa: RUF001  a dash, no minus
MINUS = "−"  # noqa: RUF001  a minus sign, as wide as the plus above it
DIFFERENCE = f"ours {MINUS} paper"


def numbers_of(task: Task) -> list[str]:
    """The columns of a table's frame that hold numbers, the paper's first."""
    lead, *others = task.metrics
    papers = [*(f"paper_{metric.row or metric.key}" for metric in task.metrics), "paper_mean", "paper_std"]
    ours = [*_with_std(task.metrics), f"best_{lead.key}", *_with_std([task.trained])]
    differences = ["difference", *(f"difference_{metric.row or metric.key}" for metric in others)]
    looked_at = [number for analysis in ANALYSES for number in analysis.numbers]
    return [*papers, *ours, *differences, REACH, f"{REACH}_std", *_with_std(looked_at)]


def _with_std(metrics: Iterable[Metric]) -> list[str]:
    return [f"{metric.key}{part}" for metric in metrics for part in ("", "_std")]


@dataclass(frozen=True)
class ResultTable:
    """An experiment's table.

    Attributes:
        summary: Where its numbers are from.
        frame: One row a row of the paper's table, at full precision: label, net (None in a row from the literature,
            an ensemble's joined by +), layers, params (the paper's), parameters (ours, counted), `numbers_of`,
            and n, the finished runs, or 1 for an ensemble that is complete. Table 1's: `architecture.describe`.
        parts: Its cells as every format for people shows them, under their headers; Table 1 has two parts.
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
    """The paper's rows in the file's order, then nets of the experiment that no row names; and its architectures.

    The frame is of the architectures where there is nothing else.
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
    return ResultTable(summary, frame, (_in_words(frame, summary), *parts), (*_notes(summary), *notes))


def render(table: ResultTable, form: TextFormat) -> str:
    """The table as text that ends with a newline; the variant stands in each form, in csv as the column `scale`."""
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
    """The table for a terminal: title, variant, rows, notes. In a narrow one its rows are paragraphs."""
    grids = [renderable for part in table.parts for renderable in (_grid(part), Text())]
    scale = Text(table.scale, style="" if table.summary.is_paper else "bold red")
    notes = [Text(note, style="dim") for note in table.notes]
    return Group(Text(table.title, style="bold"), scale, Text(), *grids, *notes)


def _grid(cells: pd.DataFrame) -> Grid:
    # Without these spaces, and the deviations of all but the error, a full table fits into 80 columns.
    cells = cells.map(lambda cell: cell.replace(" ± ", "±"))
    for column in cells.columns.intersection(["train", TOP5_OURS]):
        cells[column] = [cell.partition("±")[0] for cell in cells[column]]
    rows = [
        [label, *(cell.replace("; ", ";\n").replace("] ", "]\n") for cell in rest)]
        for label, *rest in cells.itertuples(index=False)
    ]
    return Grid([_in_two_lines(header) for header in cells.columns], rows)


def _in_two_lines(header: str) -> str:
    return header.replace(f"{MINUS} ", f"{MINUS}\n").replace(" top", "\ntop").replace("'s ", "'s\n")


def as_json(table: ResultTable) -> dict[str, Any]:
    """The table as plain values at full precision; what is not known is None."""
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
        "n": 0,
    }
    if net and net.name in summary.by_net.index:
        record.update({str(column): value for column, value in summary.by_net.loc[net.name].items()})
        record["n"] = int(record["n"])
    if row.ensemble and not (ensemble := summary.ensemble(row.ensemble)).missing:
        record |= {"n": 1, **{metric.key: ensemble.error(metric.key) for metric in task.metrics}}
    if record["n"]:
        for metric, best in papers.items():
            paper = row.mean if metric == lead and row.mean is not None else best
            name = "difference" if metric == lead else f"difference_{metric.row or metric.key}"
            record[name] = None if paper is None else record[metric.key] - paper
    return record


def _notes(summary: Summary) -> tuple[str, ...]:
    experiment = summary.experiment
    protocol = summary.planned[experiment.nets[0]].protocol
    updates = window_in_words(summary, experiment.nets)
    task = summary.task
    lead, trained = (f"{each.heading}{f' ({each.unit})' if each.unit else ''}" for each in (task.metric, task.trained))
    notes = [f"ours: {lead} after the last update, mean ± standard deviation over n runs."]
    if protocol.photos:
        notes.append(_test(experiment.test, protocol.photos))
    if _has_top5(experiment):
        either = "top-1" if _compares_top1(experiment) else "top-5"
        notes.append(f"ours {MINUS} paper: of the {either} error.")
    else:
        if experiment.test == experiment.task.views[0] and not _extra_metrics(experiment):
            on, end = task.metric.heading.split()[0], "highest" if task.metric.higher_is_better else "lowest"
            notes.append(f"best: the {end} of all evaluations, chosen on the {on} set, so only shown beside it.")
        notes.append(f"train: running {trained} on augmented batches, mean over the last {updates}.")
    notes += _definitions(experiment, updates)
    if any(row.mean is not None for row in experiment.rows):
        notes.append("paper: best run (mean ± standard deviation); the difference is to the mean where there is one.")
    if summary.is_paper:
        notes += _chance(experiment)
    for row in experiment.rows:
        if row.ensemble:
            waits = summary.ensemble(row.ensemble).missing
            names = ", ".join(experiment.task.short_name(net) for net in row.ensemble)
            state = f" Waits for tested runs of {waits}." if waits else ""
            notes.append(f"{row.label}: the probabilities of {names}, averaged.{state}")
    if protocol.photos and isinstance(task, Classification) and summary.variant.dataset != task.dataset:
        notes.append(f"params: with {task.title}'s {task.classes:,} classes.")
    if summary.unfinished:
        notes.append(f"Runs without a result, in no number here: {summary.unfinished_text}.")
    return (*notes, *_left_out(summary))


def _left_out(summary: Summary) -> list[str]:
    """Which folders hold runs of these nets and are not counted."""
    folders = ", ".join(printable(each.path.name) for each in summary.left_out)
    why = "Left out, for these folders were renamed, copied or damaged ('resnet doctor' says what to do)"
    return [f"{why}: {folders}."] if folders else []


def _chance(experiment: Experiment) -> list[str]:
    """What a difference of a single run from the paper's can be without meaning anything."""
    notes = []
    for row in experiment.rows:
        runs = max((group.seeds for group in experiment.runs if row.net in group.nets), default=0)
        if row.net and row.std and runs > 1:
            difference = special.stdtrit(runs - 1, 0.975) * math.sqrt(2) * row.std
            spread = f"the paper's {runs} runs of {row.label}-{row.layers} ({row.std:g}; Student's t)"
            notes.append(
                f"chance: a run of ours and one of the paper's differ by less than {difference:.2f} in 95 of 100 "
                f"cases, if nets spread as {spread}."
            )
    return notes


def _definitions(experiment: Experiment, updates: str) -> list[str]:
    """What the columns of `_extra_metrics` are."""
    notes = []
    if experiment.reach is not None:
        notes.append(
            f"updates to {experiment.reach:g}%: until the running training error, trailing mean over {updates}, is no "
            "more; a run that never gets there counts with all its updates."
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


def _has_top5(experiment: Experiment) -> bool:
    return any(row.top5 is not None for row in experiment.rows)


def _compares_top1(experiment: Experiment) -> bool:
    return any(row.error is not None for row in experiment.rows if row.net or row.ensemble)


def _in_words(frame: pd.DataFrame, summary: Summary) -> pd.DataFrame:
    ours, task = frame["net"].notna(), summary.task
    lead, trained = task.metric, task.trained

    def means(metric: Metric) -> list[str]:
        form = f".{metric.digits}f"
        columns = frame[[metric.key, f"{metric.key}_std"]]
        return [_mean(mean, std, form) for mean, std in columns.itertuples(index=False)]

    if _has_top5(summary.experiment):
        difference = frame["difference" if _compares_top1(summary.experiment) else "difference_top5"]
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                TOP1: [_paper(value) for value in frame["paper_error"]],
                TOP5: [_paper(value) for value in frame["paper_top5"]],
                TOP1_OURS: means(lead),
                TOP5_OURS: means(task.metrics[1]),
                "n": frame["n"].astype(str),
                DIFFERENCE: [_signed(value) for value in difference],
            }
        )
    else:
        papers = frame[[f"paper_{lead.row or lead.key}", "paper_mean", "paper_std"]]
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                "layers": frame["layers"],
                "params": frame["params"].where(~ours, [f"{count:,}" for count in frame["parameters"].fillna(0)]),
                "paper": [_paper(*row) for row in papers.itertuples(index=False)],
                "ours": means(lead),
                "best": [_mean(value) for value in frame[f"best_{lead.key}"]],
                "train": means(trained),
                "n": frame["n"].astype(str),
                DIFFERENCE: [_signed(value) for value in frame["difference"]],
            }
        )
    cells.loc[~ours, cells.columns.intersection([TOP1_OURS, TOP5_OURS, "ours", "best", "train", "n", DIFFERENCE])] = ""
    extras = _extra_metrics(summary.experiment)
    for header, (metric, form) in extras.items():
        values = zip(frame[metric], frame[f"{metric}_std"], strict=True)
        column = pd.Series([_mean(mean, std, form) for mean, std in values]).where(ours, "")
        cells.insert(list(cells.columns).index("n"), header, column)
    # Beside a test over many views the best centre crop says nothing, and beside what an experiment is about little.
    left_out = [] if summary.experiment.test == task.views[0] and not extras else ["best"]
    left_out += ["layers"] if extras else []
    papers_columns = [f"paper_{metric.row or metric.key}" for metric in task.metrics]
    if frame[papers_columns[0]].isna().all():
        left_out.append(TOP1)
    if frame[[*papers_columns, "paper_mean"]].isna().all(axis=None):
        left_out += ["paper", DIFFERENCE]
    return cells.drop(columns=left_out, errors="ignore")


def _extra_metrics(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """What an experiment looks at besides the errors: a column's header, the metric in it, and its format."""
    metrics: dict[str, tuple[str, str]] = {}
    if experiment.reach is not None:
        metrics[f"updates to {experiment.reach:g}%"] = REACH, ",.0f"
    if experiment.analysis:
        numbers = analysis_of(experiment.analysis).numbers
        metrics |= {number.header or number.heading: (number.key, f",.{number.digits}f") for number in numbers}
    return metrics


def _mean(mean: float, std: float = float("nan"), form: str = ".2f") -> str:
    if pd.isna(mean):
        return NOT_RUN
    return f"{mean:{form}}" if pd.isna(std) else f"{mean:{form}} ± {std:{form}}"


def _paper(error: float, mean: float = float("nan"), std: float = float("nan")) -> str:
    if pd.isna(mean):
        return "" if pd.isna(error) else f"{error:.2f}"
    return _mean(mean, std) if pd.isna(error) else f"{error:.2f} ({_mean(mean, std)})"


def _signed(difference: float) -> str:
    return NOT_RUN if pd.isna(difference) else f"{difference:+.2f}".replace("-", MINUS)


def _markdown(table: ResultTable) -> str:
    body = "\n\n".join(pipes(part) for part in table.parts)
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"**{table.title}** ({table.scale})\n\n{body}\n\n{notes}\n"


def pipes(cells: pd.DataFrame, texts: int = 1) -> str:
    """A table in Markdown; the first columns, so many, are texts."""
    cells = cells.map(lambda cell: cell.replace("|", "\\|"))
    align = ["left"] * texts + ["right"] * (len(cells.columns) - texts)
    rows, headers = cells.to_numpy().tolist(), list(cells.columns)
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
