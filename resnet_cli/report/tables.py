"""The paper's table with our numbers beside it, for a terminal, a document, or another program."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text
from scipy import special
from tabulate import tabulate

from resnet_cli import complexity
from resnet_cli.experiment import Row
from resnet_cli.report import architecture
from resnet_cli.report.latex import latex
from resnet_cli.report.summarize import window_in_words
from resnet_cli.spec import RunSpec

if TYPE_CHECKING:
    from rich.console import RenderableType

    from resnet_cli.experiment import Experiment
    from resnet_cli.report.summarize import Summary
    from resnet_cli.spec import Photos, Views

TextFormat = Literal["csv", "md", "latex", "json"]

TOP1, TOP5 = "paper top-1", "paper top-5"
TOP1_OURS, TOP5_OURS = "ours top-1", "ours top-5"
NOT_RUN = "–"  # noqa: RUF001  a dash, no minus
MINUS = "−"  # noqa: RUF001  a minus sign, as wide as the plus above it
DIFFERENCE = f"ours {MINUS} paper"
LOOKED_AT = (  # by experiments that are about more than errors
    "updates_to_reach",
    "mean_response",
    "gradient_ratio_start",
    "gradient_ratio",
    "start_error",
    "training_set_error",
)
NUMBERS = [
    "paper_error",
    "paper_top5",
    "paper_mean",
    "paper_std",
    "test_error",
    "test_error_std",
    "test_error_top5",
    "test_error_top5_std",
    "best_test_error",
    "train_error",
    "train_error_std",
    "difference",
    "difference_top5",
    *(f"{metric}{part}" for metric in LOOKED_AT for part in ("", "_std")),
]
PAPERS = 4  # of these, the first


@dataclass(frozen=True)
class ResultTable:
    """An experiment's table.

    Attributes:
        summary: Where its numbers are from.
        frame: One row a row of the paper's table, at full precision: label, net (None in a row from the literature,
            an ensemble's joined by +), layers, params (the paper's), parameters (ours, counted), `NUMBERS` (percent),
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
    ours_only = [
        Row(label=net.short_name(experiment.benchmark), net=net) for net in experiment.nets if net not in in_rows
    ]
    records = [_record(row, summary) for row in (*experiment.rows, *ours_only)]
    frame = pd.DataFrame(records).astype({"parameters": "Int64", **dict.fromkeys(NUMBERS, "float")})
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
    """The table for a terminal: title, variant, rows, notes. In a narrow one numbers wrap; none is cut off."""
    grids = [renderable for part in table.parts for renderable in (_grid(part), Text())]
    scale = Text(table.scale, style="" if table.summary.is_paper else "bold red")
    notes = [Text(note, style="dim") for note in table.notes]
    return Group(Text(table.title, style="bold"), scale, Text(), *grids, *notes)


def _grid(cells: pd.DataFrame) -> RichTable:
    # Without these spaces, and the deviations of all but the error, a full table fits into 80 columns.
    cells = cells.map(lambda cell: cell.replace(" ± ", "±"))
    for column in cells.columns.intersection(["train", TOP5_OURS]):
        cells[column] = [cell.partition("±")[0] for cell in cells[column]]
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for position, header in enumerate(cells.columns):
        grid.add_column(_in_two_lines(header), justify="left" if position == 0 else "right", overflow="fold")
    for label, *rest in cells.itertuples(index=False):
        grid.add_row(Text(label), *(Text(cell.replace("; ", ";\n").replace("] ", "]\n")) for cell in rest))
    return grid


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
    record: dict[str, Any] = {
        "label": row.label,
        "net": net.name if net else "+".join(member.name for member in row.ensemble) or None,
        "layers": row.layers or (str(net.depth) if net else ""),
        "params": row.params,
        "parameters": complexity.parameters(net, summary.experiment.benchmark) if net else None,
        "paper_error": row.error,
        "paper_top5": row.top5,
        "paper_mean": row.mean,
        "paper_std": row.std,
        **dict.fromkeys(NUMBERS[PAPERS:]),
        "n": 0,
    }
    if net and net.name in summary.by_net.index:
        record.update({str(column): value for column, value in summary.by_net.loc[net.name].items()})
        record["n"] = int(record["n"])
    if row.ensemble and not (ensemble := summary.ensemble(row.ensemble)).missing:
        record |= {"n": 1, **{metric: ensemble.error(metric) for metric in ("test_error", "test_error_top5")}}
    if record["n"]:
        paper = row.error if row.mean is None else row.mean
        record["difference"] = None if paper is None else record["test_error"] - paper
        record["difference_top5"] = None if row.top5 is None else record["test_error_top5"] - row.top5
    return record


def _notes(summary: Summary) -> tuple[str, ...]:
    experiment = summary.experiment
    protocol = RunSpec.of(experiment.nets[0], summary.variant, experiment.protocol, seed=0).protocol
    updates = window_in_words(summary, experiment.nets)
    error = summary.test_error_in_words
    notes = [f"ours: {error} (%) after the last update, mean ± standard deviation over n runs."]
    if protocol.photos:
        notes.append(_test(experiment.test, protocol.photos))
    if _has_top5(experiment):
        either = "top-1" if _compares_top1(experiment) else "top-5"
        notes.append(f"ours {MINUS} paper: of the {either} error.")
    else:
        if experiment.test == "1-crop" and not _extra_metrics(experiment):
            on = "validation" if protocol.photos else "test"
            notes.append(f"best: the lowest of all evaluations, chosen on the {on} set, so only shown beside it.")
        notes.append(f"train: running training error (%) on augmented batches, mean over the last {updates}.")
    notes += _definitions(experiment, updates)
    if any(row.mean is not None for row in experiment.rows):
        notes.append("paper: best run (mean ± standard deviation); the difference is to the mean where there is one.")
    if summary.is_paper:
        notes += _chance(experiment)
    for row in experiment.rows:
        if row.ensemble:
            waits = summary.ensemble(row.ensemble).missing
            names = ", ".join(net.short_name(experiment.benchmark) for net in row.ensemble)
            state = f" Waits for tested runs of {waits}." if waits else ""
            notes.append(f"{row.label}: the probabilities of {names}, averaged.{state}")
    if protocol.photos and summary.variant.dataset != "imagenet":
        notes.append("params: with ImageNet's 1,000 classes.")
    if summary.unfinished:
        notes.append(f"Runs without a result, in no number here: {summary.unfinished_text}.")
    return tuple(notes)


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
    if experiment.analysis == "responses":
        notes.append("mean response: of the layers' standard deviations, after BN and before addition or ReLU.")
    if experiment.analysis == "gradients":
        notes.append(
            "first/last: the backward signal (L2 norm) at the first 3x3 layer over that at the last; before the first "
            "update, and after the last."
        )
    if experiment.analysis == "training-set":
        notes.append(
            "train set: error (%) on the training images as they are, tested as the test images: before the first "
            "update of a net that is made from another, and after the last."
        )
    return notes


def _test(views: Views, photos: Photos) -> str:
    """How an image is tested, as section 3.4 says it."""
    match views:
        case "1-crop":
            return f"Tested on the centre {photos.crop}x{photos.crop} crop, shorter side {photos.test_side}."
        case "10-crop":
            return (
                f"Tested on 10 crops: {photos.crop}x{photos.crop} at the corners and the centre, shorter side "
                f"{photos.test_side}, and their mirrors; probabilities averaged (section 3.4)."
            )
        case "dense":
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
    ours = frame["net"].notna()
    error = [_mean(*row) for row in frame[["test_error", "test_error_std"]].itertuples(index=False)]
    if _has_top5(summary.experiment):
        top5 = frame[["test_error_top5", "test_error_top5_std"]]
        difference = frame["difference" if _compares_top1(summary.experiment) else "difference_top5"]
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                TOP1: [_paper(value) for value in frame["paper_error"]],
                TOP5: [_paper(value) for value in frame["paper_top5"]],
                TOP1_OURS: error,
                TOP5_OURS: [_mean(*row) for row in top5.itertuples(index=False)],
                "n": frame["n"].astype(str),
                DIFFERENCE: [_signed(value) for value in difference],
            }
        )
    else:
        papers = frame[["paper_error", "paper_mean", "paper_std"]]
        cells = pd.DataFrame(
            {
                "method": frame["label"],
                "layers": frame["layers"],
                "params": frame["params"].where(~ours, [f"{count:,}" for count in frame["parameters"].fillna(0)]),
                "paper": [_paper(*row) for row in papers.itertuples(index=False)],
                "ours": error,
                "best": [_mean(value) for value in frame["best_test_error"]],
                "train": [_mean(*row) for row in frame[["train_error", "train_error_std"]].itertuples(index=False)],
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
    left_out = [] if summary.experiment.test == "1-crop" and not extras else ["best"]
    left_out += ["layers"] if extras else []
    if frame["paper_error"].isna().all():
        left_out.append(TOP1)
    if frame[["paper_error", "paper_top5", "paper_mean"]].isna().all(axis=None):
        left_out += ["paper", DIFFERENCE]
    return cells.drop(columns=left_out, errors="ignore")


def _extra_metrics(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """What an experiment looks at besides the errors: a column's header, the metric in it, and its format."""
    metrics: dict[str, tuple[str, str]] = {}
    if experiment.reach is not None:
        metrics[f"updates to {experiment.reach:g}%"] = "updates_to_reach", ",.0f"
    if experiment.analysis == "responses":
        metrics["mean response"] = "mean_response", ".3f"
    if experiment.analysis == "gradients":
        metrics |= {"first/last start": ("gradient_ratio_start", ",.2f"), "first/last end": ("gradient_ratio", ",.2f")}
    if experiment.analysis == "training-set":
        metrics |= {"train set start": ("start_error", ".2f"), "train set end": ("training_set_error", ".2f")}
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
