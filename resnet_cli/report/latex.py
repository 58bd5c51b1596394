"""The table in LaTeX, for a paper: booktabs and graphicx, numbers aligned at the decimal point, notes below."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from tabulate import LATEX_ESCAPE_RULES

from resnet_cli.report.cells import NOT_RUN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from resnet_cli.report.tables import ResultTable

# In OT1, still LaTeX's default encoding, a bar is printed as a dash. pdflatex does not know U+2212, the minus sign.
ESCAPES = {
    **LATEX_ESCAPE_RULES,
    "^": "\\textasciicircum{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    "±": "$\\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "\\textendash{}",
    "\N{MULTIPLICATION SIGN}": "$\\times$",
}
SPREAD = re.compile(r"([^ ]+) ([±(].*)")  # a number, and what follows it: ± 0.28, or (7.72 ± 0.16)
LAYERS = re.compile(r"\[((?:\d+x\d+, \d+(?:; )?)+)\] x (\d+)")  # Table 1's blocks: [3x3, 64; 3x3, 64] x 2
PAPERS = re.compile(r"((?:Table|Figure) \d+)\. (.*)")
COLUMN_WIDTH = 240  # points, in a two-column paper; wider tables span both columns
CHARACTER_WIDTH, COLUMN_SEPARATION = 4.6, 12  # points: a digit at \small, and twice \tabcolsep


def latex(table: ResultTable) -> str:
    """A float that needs booktabs and graphicx. It is scaled down to the line's width, but never up.

    The text is ASCII, except for other letters in the user's own texts.
    """
    title = PAPERS.fullmatch(table.title)
    caption = f"{_escape(title[2] if title else table.title)}. {_escape(table.scale[:1].upper() + table.scale[1:])}."
    if title:
        caption += f" After {title[1].replace(' ', '~')} of He et~al.\\ (2016)."
    summary = table.summary
    label = re.sub(r"[^A-Za-z0-9.]+", "-", f"{summary.experiment.stem}{summary.variant.slug}")
    ours = [] if summary.only_describes else table.frame["net"].notna().tolist()
    bodies = [_tabular(part, ours if position == 0 else []) for position, part in enumerate(table.parts)]
    float_ = "table*" if max(map(_width, table.parts)) > COLUMN_WIDTH else "table"
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        f"\\begin{{{float_}}}",
        "\\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{tab:{label}}}",
        "\\small\\smallskip",
        "\n\\par\\medskip\n".join(
            f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{body}}}"
            for body in bodies
        ),
        "\\par\\medskip",
        "\\begin{minipage}{\\linewidth}",
        "\\footnotesize",
        *(_note(note) for note in table.notes),
        "\\end{minipage}",
        f"\\end{{{float_}}}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(cells: pd.DataFrame, ours: Sequence[bool]) -> str:
    """One part of the table; `ours` says which rows are ours, and a rule separates them from the literature's."""
    columns = [cells[header].tolist() for header in cells.columns]
    is_split = [position > 0 and any(map(SPREAD.fullmatch, column)) for position, column in enumerate(columns)]
    has_layers = any(LAYERS.fullmatch(cell) for column in columns for cell in column)
    number = "c" if has_layers else "r"
    preamble = "".join("r@{}l" if split else number for split in is_split[1:])
    rows = []
    for position, row in enumerate(cells.itertuples(index=False)):
        if position and (has_layers or ours[position - 1 : position] != ours[position : position + 1]):
            rows.append("\\addlinespace" if has_layers else "\\midrule")
        label, *rest = row
        texts = [_first(label), *(_cell(cell, split=split) for cell, split in zip(rest, is_split[1:], strict=True))]
        rows.append(" & ".join(texts) + " \\\\")
    lines = ["\\toprule", *_headers(list(cells.columns), is_split), "\\midrule", *rows, "\\bottomrule"]
    return "\n".join([f"\\begin{{tabular}}{{l{preamble}}}", *lines, "\\end{tabular}"])


def _headers(headers: Sequence[str], is_split: Sequence[bool]) -> list[str]:
    """The headers; `paper top-1` and `paper top-5` stand under a common `paper`."""
    widths = [1 + split for split in is_split]
    groups = [header.rpartition(" top-")[0] for header in headers]
    lines = []
    if any(groups):
        cells, rules, place = [], [], 1
        for group, its in itertools.groupby(zip(groups, widths, strict=True), key=lambda pair: pair[0]):
            width = sum(width for _, width in its)
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{_escape(group)}}}" if group else " & " * (width - 1))
            if group:
                rules.append(f"\\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        lines += [" & ".join(cells) + " \\\\", " ".join(rules)]
    names = [_header(header.removeprefix(f"{group} ")) for header, group in zip(headers, groups, strict=True)]
    cells = [
        f"\\multicolumn{{{width}}}{{c}}{{{name}}}" if width > 1 else name
        for name, width in zip(names, widths, strict=True)
    ]
    return [*lines, " & ".join(cells) + " \\\\"]


def _header(header: str) -> str:
    if header == "n":
        return "$n$"
    minuend, minus, subtrahend = header.partition(" \N{MINUS SIGN} ")
    if not minus:
        return _escape(header)
    return f"\\begin{{tabular}}[b]{{@{{}}r@{{}}}}{minuend}\\\\$-$ {subtrahend}\\end{{tabular}}"


def _first(label: str) -> str:
    """A row's label; without {} LaTeX would read [ or * as an argument of the previous row's end."""
    return ("{}" if label.lstrip().startswith(("[", "*")) else "") + _escape(label)


def _cell(cell: str, *, split: bool) -> str:
    if split and cell == NOT_RUN:
        return f"\\multicolumn{{2}}{{c}}{{{_escape(cell)}}}"
    if layers := LAYERS.fullmatch(cell):
        rows = " \\\\ ".join(_escape(layer).replace("$", "") for layer in layers[1].split("; "))
        return f"$\\left[\\begin{{array}}{{@{{}}c@{{}}}}{rows}\\end{{array}}\\right]{{\\times}}{layers[2]}$"
    if not split:
        return _escape(cell)
    parts = SPREAD.fullmatch(cell)
    return f"{_escape(parts[1])} & \\ {_escape(parts[2])}" if parts else f"{_escape(cell)} &"


def _note(note: str) -> str:
    """A note as a paragraph; the header that it explains is emphasised."""
    term, colon, rest = note.partition(": ")
    return f"\\emph{{{_escape(term)}}}: {_escape(rest)}" if colon and len(term.split()) <= 3 else _escape(note)  # noqa: PLR2004


def _escape(text: str) -> str:
    """A text on one line, escaped for LaTeX."""
    printable = "".join(each for each in " ".join(text.split()) if each.isprintable())
    escaped = "".join(ESCAPES.get(each, each) for each in printable)
    escaped = re.sub(r"-(?=-)", "-{}", escaped)  # two hyphens would become a dash
    escaped = re.sub(r"\b(\d+)x(\d+)\b", r"$\1{\\times}\2$", escaped)
    return re.sub(r"\b(\d+\.\d+)e(\d+)\b", r"$\1{\\times}10^{\2}$", escaped)


def _width(cells: pd.DataFrame) -> float:
    """A part's width in points, roughly."""
    if any(LAYERS.fullmatch(cell) for cell in cells.to_numpy().ravel()):
        return float("inf")
    longest = [max(map(len, [header, *cells[header]])) for header in cells.columns]
    return sum(longest) * CHARACTER_WIDTH + len(longest) * COLUMN_SEPARATION
