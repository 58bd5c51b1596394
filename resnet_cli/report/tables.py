"""The paper's table with our numbers beside it, for a terminal, a document, or another program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text
from tabulate import LATEX_ESCAPE_RULES, tabulate

from resnet_cli import complexity
from resnet_cli.experiment import Row
from resnet_cli.report.summarize import averaging_window
from resnet_cli.spec import RunSpec

if TYPE_CHECKING:
    from rich.console import RenderableType

    from resnet_cli.report.summarize import Summary

TextFormat = Literal["csv", "md", "latex", "json"]

NOT_RUN = "–"  # noqa: RUF001  a dash, no minus
MINUS = "−"  # noqa: RUF001  a minus sign, as wide as the plus above it
NUMBERS = [
    "paper_error",
    "paper_mean",
    "paper_std",
    "test_error",
    "test_error_std",
    "best_test_error",
    "train_error",
    "train_error_std",
    "difference",
]


@dataclass(frozen=True)
class ResultTable:
    """An experiment's table.

    Attributes:
        summary: Where its numbers are from.
        frame: One row a row of the paper's table, at full precision: label, net (None in a row from the literature),
            layers, params (the paper's), parameters (ours, counted), `NUMBERS` (percent), and n, the finished runs.
        notes: What a reader must know to read it.
    """

    summary: Summary
    frame: pd.DataFrame
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
    """The paper's rows in the file's order, then nets of the experiment that no row names."""
    in_rows = {row.net for row in summary.experiment.rows}
    ours_only = [Row(label=net.name, net=net) for net in summary.experiment.nets if net not in in_rows]
    records = [_record(row, summary) for row in (*summary.experiment.rows, *ours_only)]
    frame = pd.DataFrame(records).astype({"parameters": "Int64", **dict.fromkeys(NUMBERS, "float")})
    return ResultTable(summary, frame, _notes(summary))


def render(table: ResultTable, form: TextFormat) -> str:
    """The table as text that ends with a newline; the variant stands in each form, in csv as the column `scale`."""
    match form:
        case "csv":
            return table.frame.assign(scale=table.scale).to_csv(index=False, lineterminator="\n")
        case "md":
            return _markdown(table)
        case "latex":
            return _latex(table)
        case "json":
            return json.dumps(as_json(table), indent=1, ensure_ascii=False) + "\n"


def rich_table(table: ResultTable) -> RenderableType:
    """The table for a terminal: title, variant, rows, notes. In a narrow one numbers wrap; none is cut off."""
    # Without these spaces, and the training error's deviation, a full table fits into 80 columns.
    cells = in_words(table).map(lambda cell: cell.replace(" ± ", "±"))
    cells["train"] = [cell.partition("±")[0] for cell in cells["train"]]
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for position, header in enumerate(cells.columns):
        grid.add_column(
            header.replace(f"{MINUS} ", f"{MINUS}\n"), justify="left" if position == 0 else "right", overflow="fold"
        )
    for label, *rest in cells.itertuples(index=False):
        grid.add_row(Text(label), *rest)
    scale = Text(table.scale, style="" if table.summary.is_paper else "bold red")
    notes = [Text(note, style="dim") for note in table.notes]
    return Group(Text(table.title, style="bold"), scale, Text(), grid, Text(), *notes)


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
        "net": net and net.name,
        "layers": row.layers or (str(net.depth) if net else ""),
        "params": row.params,
        "parameters": complexity.parameters(net) if net else None,
        "paper_error": row.error,
        "paper_mean": row.mean,
        "paper_std": row.std,
        **dict.fromkeys(NUMBERS[3:]),
        "n": 0,
    }
    if net and net.name in summary.by_net.index:
        record.update({str(column): value for column, value in summary.by_net.loc[net.name].items()})
        record["n"] = int(record["n"])
        paper = row.error if row.mean is None else row.mean
        record["difference"] = None if paper is None else record["test_error"] - paper
    return record


def _notes(summary: Summary) -> tuple[str, ...]:
    spec = RunSpec.of(summary.experiment.nets[0], summary.variant, summary.experiment.protocol, seed=0)
    window = averaging_window(spec.protocol)
    updates = "1 update" if window == 1 else f"{window} updates"
    notes = [
        "ours: test error (%) after the last update, mean ± standard deviation over n runs.",
        "best: the lowest of all evaluations, chosen on the test set, so only shown beside it.",
        f"train: running training error (%) on augmented batches, mean over the last {updates}.",
    ]
    if any(row.mean is not None for row in summary.experiment.rows):
        notes.append("paper: best run (mean ± standard deviation); the difference is to the mean where there is one.")
    if summary.unfinished:
        notes.append(f"Runs without a result, in no number here: {summary.unfinished_text}.")
    return tuple(notes)


def in_words(table: ResultTable) -> pd.DataFrame:
    """The table's cells as every format for people shows them, under their headers."""
    frame = table.frame
    ours = frame["net"].notna()
    cells = pd.DataFrame(
        {
            "method": frame["label"],
            "layers": frame["layers"],
            "params": frame["params"].where(~ours, [f"{count:,}" for count in frame["parameters"].fillna(0)]),
            "paper": [_paper(*row) for row in frame[NUMBERS[:3]].itertuples(index=False)],
            "ours": [_mean(*row) for row in frame[["test_error", "test_error_std"]].itertuples(index=False)],
            "best": [_mean(value) for value in frame["best_test_error"]],
            "train": [_mean(*row) for row in frame[["train_error", "train_error_std"]].itertuples(index=False)],
            "n": frame["n"].astype(str),
            f"ours {MINUS} paper": [_signed(value) for value in frame["difference"]],
        }
    )
    cells.loc[~ours, ["ours", "best", "train", "n", f"ours {MINUS} paper"]] = ""
    if frame["paper_error"].isna().all() and frame["paper_mean"].isna().all():
        cells = cells.drop(columns=["paper", f"ours {MINUS} paper"])
    return cells


def _mean(mean: float, std: float = float("nan")) -> str:
    if pd.isna(mean):
        return NOT_RUN
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def _paper(error: float, mean: float, std: float) -> str:
    if pd.isna(mean):
        return "" if pd.isna(error) else f"{error:.2f}"
    return _mean(mean, std) if pd.isna(error) else f"{error:.2f} ({_mean(mean, std)})"


def _signed(difference: float) -> str:
    return NOT_RUN if pd.isna(difference) else f"{difference:+.2f}".replace("-", MINUS)


def _markdown(table: ResultTable) -> str:
    cells = in_words(table).map(lambda cell: cell.replace("|", "\\|"))
    align = ["left", *["right"] * (len(cells.columns) - 1)]
    body = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"**{table.title}** ({table.scale})\n\n{body}\n\n{notes}\n"


def _latex(table: ResultTable) -> str:
    cells = in_words(table)
    align = ["left", *["right"] * (len(cells.columns) - 1)]
    body = tabulate(
        cells.to_numpy().tolist(), list(cells.columns), tablefmt="latex_booktabs", disable_numparse=True, colalign=align
    )
    caption = "".join(
        LATEX_ESCAPE_RULES.get(character, character)
        for character in f"{table.title} ({table.scale}). {' '.join(table.notes)}"
    )
    # ASCII only, so that the table compiles whatever the document's encoding and font.
    text = f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n{body}\n\\end{{table}}\n"
    for character, command in (("±", "$\\pm$"), (MINUS, "$-$"), (NOT_RUN, "--")):
        text = text.replace(character, command)
    return text
