"""LaTeX tables that compile as they are, whatever an experiment is called."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resnet_cli.experiment import Experiment, experiment_names, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.shown import variant_to_show
from resnet_cli.report.summarize import summarize
from resnet_cli.report.tables import make_table, render
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from conftest import AddRun

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
HARD = r"50% & more_of #1 $x$ a~b c^d e\f {g} é <h> | `i` --j -- k"


def experiments() -> list[Experiment]:
    """Those that come with the program, and the demo's sweep."""
    return [*map(load_experiment, experiment_names()), load_experiment("degradation", (8, 20))]


def latex(store: Store, experiment: Experiment, variant: Variant | None = None) -> str:
    """The experiment's table."""
    return render(make_table(summarize(store, experiment, variant or variant_to_show(store, experiment))), "latex")


def compiled(folder: Path, options: str, tables: list[str], packages: str = "booktabs,graphicx") -> str:
    """What pdflatex says of a document of these tables, with a reference to each; its text lies in document.pdf."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed; Debian has it in texlive-latex-recommended")
    references = [f"Table~\\ref{{{label}}}." for label in re.findall(r"\\label\{(.*)\}", "".join(tables))]
    body = "\n".join([*tables, *references])
    source = f"\\documentclass[{options}]{{article}}\n\\usepackage{{{packages}}}\n\\begin{{document}}\n{body}\n"
    (folder / "document.tex").write_text(f"{source}\\end{{document}}\n", encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "document.tex"]
    for _ in range(2):  # the second knows the references
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        said = done.stdout.decode(errors="replace")
        assert 0 == done.returncode, said[-2_000:]
    return said


def text_of(folder: Path) -> str:
    """The document's text on one line."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("pdftotext is not installed; Debian has it in poppler-utils")
    done = subprocess.run([program, "document.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return " ".join(done.stdout.decode().split())


@pytest.mark.parametrize("options", ["10pt", "10pt,twocolumn"])
@pytest.mark.parametrize("which", ["published", "empty"])
def test_every_table_compiles(store: Store, tmp_path: Path, which: str, options: str) -> None:
    """Every experiment's table, with runs and without, in one column and in two: no box too full, no reference open."""
    shown = Store(PUBLISHED) if which == "published" else store
    tables = [latex(shown, experiment) for experiment in experiments()]
    said = compiled(tmp_path, options, tables)

    assert [] == re.findall(r"(?:Overfull|Underfull|undefined|multiply|Warning).*", said)
    assert len(tables) == len(re.findall(r"\\label", "".join(tables))) > 10
    assert all(table.isascii() for table in tables)


def test_a_users_characters_survive(store: Store, tmp_path: Path, add_run: AddRun, short: Variant) -> None:
    """What means something to LaTeX stands in the document as it was written, in title, label and cell."""
    add_run("plain-20", [50.0, 9.0])
    rows = [
        {"label": f"[1] {HARD}", "net": "plain-20", "error": 9.0, "mean": 9.5, "std": 0.1},
        {"label": "* [2]\n\nÀ la", "layers": "[a$b_c] x 2", "params": f"2_0 ± {HARD}"},
        {"label": "[3x3, 64] x 2", "params": "\N{EN DASH}"},
        {"label": "", "error": 1.0},
    ]
    own = load_experiment("fig1").model_dump(mode="json") | {"name": "50% & a_b é", "title": HARD, "rows": rows}
    table = latex(store, Experiment.model_validate(own), short)
    said = compiled(tmp_path, "10pt", [table], "booktabs,graphicx,lmodern}\\usepackage[T1]{fontenc")
    text = text_of(tmp_path)

    assert "\\label{tab:50-a-b-schedule-0.01}" in table
    assert "|" not in table  # which is printed as a dash where the encoding is OT1
    assert [] == re.findall(r"(?:Overfull|undefined|Warning).*", said)
    for words in (f"Table 1: {HARD}. Schedule 0.01", f"[1] {HARD}", f"2_0 ± {HARD}", "* [2] À la", "[a$b_c] x 2"):
        assert "".join(words.split()) in "".join(text.split())


def test_numbers_stand_at_their_points(store: Store, add_run: AddRun, short: Variant) -> None:
    """A mean and its deviation are two columns that meet, so that points stand below points; a rule parts the rows."""
    add_run("resnet-20", [50.0, 8.7])
    add_run("resnet-20", [50.0, 9.1], 3.0, seed=1)
    add_run("resnet-32", [50.0, 18.7])
    table = latex(store, load_experiment("table6"), short)

    assert "\\begin{tabular}{lrrr@{}lr@{}lrr@{}lrr}" in table
    assert "Highway & 19 & 2.3M & 7.54 & \\ (7.72 $\\pm$ 0.16) &  &" in table
    assert (
        "ResNet & 20 & 269,722 & 8.75 & & 8.90 & \\ $\\pm$ 0.28 & 8.70 & 2.00 & \\ $\\pm$ 1.41 & 2 & +0.15 \\\\"
        in table
    )
    assert "ResNet & 32 & 464,154 & 7.51 & & 18.70 & & 18.70 & 1.00 & & 1 & +11.19 \\\\" in table
    assert "\\multicolumn{2}{c}{\\textendash{}}" in table
    assert "Highway & 32 & 1.25M & 8.80 & &" in table.partition("\\midrule\nResNet & 20")[0]
    assert "\\begin{table*}" in table


def test_headers_in_two_rows(store: Store, photos: Variant) -> None:
    """Both errors of the paper stand under one head, and both of ours; the difference's header is broken."""
    lines = latex(store, load_experiment("table3"), photos).splitlines()
    first = lines.index("\\toprule") + 1
    broken = "\\begin{tabular}[b]{@{}r@{}}ours\\\\$-$ paper\\end{tabular}"

    assert [
        " & \\multicolumn{2}{c}{paper} & \\multicolumn{2}{c}{ours} &  &  \\\\",
        "\\cmidrule(lr){2-3} \\cmidrule(lr){4-5}",
        f"method & top-1 & top-5 & top-1 & top-5 & $n$ & {broken} \\\\",
    ] == lines[first : first + 3]


def test_layers_as_the_paper_draws_them(store: Store) -> None:
    """Table 1's blocks are stacked in brackets, and its FLOPs powers of ten."""
    table = latex(store, load_experiment("table1"))

    assert (
        "$\\left[\\begin{array}{@{}c@{}}1{\\times}1, 64 \\\\ 3{\\times}3, 64 \\\\ 1{\\times}1, 256\\end{array}\\right]"
        "{\\times}3$" in table
    )
    assert "$1.8{\\times}10^{9}$" in table


def test_caption_and_notes(store: Store, short: Variant) -> None:
    """The caption says what, at which scale and whose table; what a reader must know further stands below."""
    table = latex(store, load_experiment("table6"), short)
    caption = (
        "\\caption{Classification error on the CIFAR-10 test set (\\%). Schedule 0.01 of the paper's; CIFAR-10; fp32. "
        "After Table~6 of He et~al.\\ (2016).}\n\\label{tab:table6-schedule-0.01}\n"
    )

    assert caption in table
    assert table.index("\\bottomrule") < table.index("\\emph{best}: the lowest of all evaluations")
    assert table.startswith("% needs \\usepackage{booktabs,graphicx}\n\\begin{table*}\n")


def test_a_narrow_table_takes_one_column(store: Store, short: Variant) -> None:
    """Only what needs it stands across both columns of a page."""
    own = load_experiment("fig1").model_dump(mode="json")
    rows = [{"label": "plain", "net": net} for net in ("plain-20", "plain-56")]
    narrow = latex(store, Experiment.model_validate(own | {"rows": rows}), short)
    wide = latex(store, Experiment.model_validate(own | {"rows": [{**rows[0], "label": 40 * "plain "}]}), short)

    assert ("\\end{table}\n", "\\end{table*}\n") == (narrow[-12:], wide[-13:])


def test_a_smoke_runs_caption(store: Store) -> None:
    """The option's two hyphens stay two."""
    table = latex(store, load_experiment("table6"), Variant(tiny=True, dataset="synthetic"))

    assert "SMOKE RUN (-{}-tiny), not a result" in table
