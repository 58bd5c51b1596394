# ruff: noqa: RUF001  the tables have true dashes and minus signs
from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from resnet_cli.experiment import Experiment, experiment_names, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.shown import variant_to_show
from resnet_cli.report.summarize import summarize
from resnet_cli.report.tables import make_table, render, rich_table
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from conftest import AddRun, AddTest

    from resnet_cli.report.tables import ResultTable, TextFormat

PUBLISHED = Path(__file__).parents[2] / "results" / "published"

RICH = """\
Table 6. Classification error on the CIFAR-10 test set (%)
schedule 0.01 of the paper's; CIFAR-10; fp32

                                                                          ours −
method   layers      params             paper       ours  best  train  n   paper
────────────────────────────────────────────────────────────────────────────────
Maxout                                   9.38
NIN                                      8.81
DSN                                      8.22
FitNet       19        2.5M              8.39
Highway      19        2.3M  7.54 (7.72±0.16)
Highway      32       1.25M              8.80
ResNet       20     269,722              8.75  8.90±0.28  8.50   2.00  2   +0.15
ResNet       32     464,154              7.51          –     –      –  0       –
ResNet       44     658,586              7.17          –     –      –  0       –
ResNet       56     853,018              6.97          –     –      –  0       –
ResNet      110   1,727,962  6.43 (6.61±0.16)  6.51±0.10  6.40   0.07  2   −0.10
ResNet     1202  19,421,274              7.93       7.90  7.90   0.05  1   −0.03

ours: test error (%) after the last update, mean ± standard deviation over n
runs.
best: the lowest of all evaluations, for comparison only: it is chosen on the
test set.
train: running training error (%) on augmented batches, mean over the last 64
updates.
paper: best run (mean ± standard deviation); the difference is from the mean, if
there is one.
Runs without a result, not counted here: resnet-56 (1 diverged).
"""

MARKDOWN = """\
**Table 6. Classification error on the CIFAR-10 test set (%)** (schedule 0.01 of the paper's; CIFAR-10; fp32)

| method   |   layers |     params |              paper |        ours |   best |       train |   n |   ours − paper |
|:---------|---------:|-----------:|-------------------:|------------:|-------:|------------:|----:|---------------:|
| Maxout   |          |            |               9.38 |             |        |             |     |                |
| NIN      |          |            |               8.81 |             |        |             |     |                |
| DSN      |          |            |               8.22 |             |        |             |     |                |
| FitNet   |       19 |       2.5M |               8.39 |             |        |             |     |                |
| Highway  |       19 |       2.3M | 7.54 (7.72 ± 0.16) |             |        |             |     |                |
| Highway  |       32 |      1.25M |               8.80 |             |        |             |     |                |
| ResNet   |       20 |    269,722 |               8.75 | 8.90 ± 0.28 |   8.50 | 2.00 ± 1.41 |   2 |          +0.15 |
| ResNet   |       32 |    464,154 |               7.51 |           – |      – |           – |   0 |              – |
| ResNet   |       44 |    658,586 |               7.17 |           – |      – |           – |   0 |              – |
| ResNet   |       56 |    853,018 |               6.97 |           – |      – |           – |   0 |              – |
| ResNet   |      110 |  1,727,962 | 6.43 (6.61 ± 0.16) | 6.51 ± 0.10 |   6.40 | 0.07 ± 0.00 |   2 |          −0.10 |
| ResNet   |     1202 | 19,421,274 |               7.93 |        7.90 |   7.90 |        0.05 |   1 |          −0.03 |

- ours: test error (%) after the last update, mean ± standard deviation over n runs.
- best: the lowest of all evaluations, for comparison only: it is chosen on the test set.
- train: running training error (%) on augmented batches, mean over the last 64 updates.
- paper: best run (mean ± standard deviation); the difference is from the mean, if there is one.
- Runs without a result, not counted here: resnet-56 (1 diverged).
"""


TABLE3 = """\
Table 3. Error on ImageNet validation (%, 10-crop)
schedule 0.001 of the paper's; ImageNet; fp32

             paper  paper        ours   ours     ours −
method       top-1  top-5       top-1  top-5  n   paper
───────────────────────────────────────────────────────
VGG-16       28.07   9.33
GoogLeNet            9.15
PReLU-net    24.27   7.38
plain-34     28.54  10.02       29.00  10.50  1   +0.46
ResNet-34 A  25.03   7.76  24.50±0.71   7.50  2   −0.53
ResNet-34 B  24.52   7.46           –      –  0       –
ResNet-34 C  24.19   7.40           –      –  0       –
ResNet-50    22.85   6.71           –      –  0       –
ResNet-101   21.75   6.05           –      –  0       –
ResNet-152   21.43   5.71           –      –  0       –

ours: validation error (%) after the last update, mean ± standard deviation over
n runs.
Tested on 10 crops: 224x224 at the corners and the centre, shorter side 256, and
their mirrors; probabilities averaged (section 3.4).
ours − paper: the difference in top-1 error.
Runs without a result, not counted here: resnet-34-B (1 not tested).
"""


@pytest.fixture
def table3(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> ResultTable:
    """Table 3 with one net run twice, one once, and one not tested."""
    experiment = load_experiment("table3")
    for net, seed, errors in (
        ("plain-34", 0, (29.0, 10.5)),
        ("resnet-34", 0, (24.0, 7.0)),
        ("resnet-34", 1, (25.0, 8.0)),
    ):
        add_test(add_run(net, [60.0, 30.0], seed=seed, variant=photos, experiment=experiment), "10-crop", *errors)
    add_run("resnet-34-B", [60.0, 30.0], variant=photos, experiment=experiment)
    return make_table(summarize(store, experiment, photos))


@pytest.fixture
def table6(store: Store, add_run: AddRun, short: Variant) -> ResultTable:
    """Table 6 with two nets run twice, one once, and one diverged."""
    add_run("resnet-20", [50.0, 8.5, 8.7], 1.0)
    add_run("resnet-20", [50.0, 9.0, 9.1], 3.0, seed=1)
    add_run("resnet-110", [40.0, 6.44], 0.07)
    add_run("resnet-110", [6.4, 6.58], 0.07, seed=1)
    add_run("resnet-1202", [50.0, 7.9], 0.05)
    add_run("resnet-56", [50.0, 8.7], state="diverged")
    return make_table(summarize(store, load_experiment("table6"), short))


def printed(table: ResultTable, width: int) -> str:
    """The table as a terminal of this width shows it, without the blanks at the ends of lines."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(rich_table(table))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def test_rich(table6: ResultTable) -> None:
    """In 80 columns the paper's table stands with ours beside it, and nothing wraps."""
    assert RICH == printed(table6, 80)


def test_top1_and_top5(table3: ResultTable) -> None:
    """In 80 columns Table 3 has both errors, the paper's and ours, how they were tested, and no best centre crop."""
    assert TABLE3 == printed(table3, 80)


def test_top1_and_top5_in_other_formats(table3: ResultTable) -> None:
    """Both errors, their deviations and their distances to the paper's are there for other programs."""
    row = json.loads(render(table3, "json"))["rows"][4]

    assert "| ResNet-34 A |         25.03 |          7.76 | 24.50 ± 0.71 |  7.50 ± 0.71 |   2 |          −0.53 |" in (
        render(table3, "md")
    )
    assert pytest.approx([24.5, 0.5**0.5, 7.5, 0.5**0.5, -0.53, -0.26]) == [
        row[column]
        for column in (
            "test_error",
            "test_error_std",
            "test_error_top5",
            "test_error_top5_std",
            "difference",
            "difference_top5",
        )
    ]


def test_one_error_over_many_views(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> None:
    """Table 2 has top-1 errors only; beside ten crops there is no best centre crop, and no note on it."""
    experiment = load_experiment("table2")
    add_test(add_run("plain-18", [60.0, 30.0], 28.5, variant=photos, experiment=experiment), "10-crop", 27.5)
    table = make_table(summarize(store, experiment, photos))

    assert ["method", "layers", "params", "paper", "ours", "train", "n", "ours − paper"] == list(table.parts[0].columns)
    assert ["plain", "18", "11,515,688", "27.94", "27.50", "28.50", "1", "−0.44"] == table.parts[0].loc[0].tolist()
    assert not any(note.startswith("best") for note in table.notes)


def test_what_chance_does(store: Store, short: Variant) -> None:
    """At the paper's scale a difference has a measure: 95% of those of two runs, by a spread estimated from five."""
    notes = make_table(summarize(store, load_experiment("table6"), Variant())).notes
    (note,) = [note for note in notes if note.startswith("chance: ")]
    told = re.search(r"less than (\d\.\d\d) in 95 of 100", note)
    runs = np.random.default_rng(0).normal(6.6, 0.2, (400_000, 7))
    spread = runs[:, :5].std(axis=1, ddof=1)

    assert told
    below = abs(runs[:, 5] - runs[:, 6]) < float(told[1]) / 0.16 * spread
    assert 0.95 == pytest.approx(below.mean(), abs=0.002)
    assert "the paper's 5 runs of resnet-110 (0.16; Student's t)" in note
    assert not any("chance" in note for note in make_table(summarize(store, load_experiment("table6"), short)).notes)


def test_only_top5(store: Store, photos: Variant) -> None:
    """Table 5 has no top-1 error of the paper's, so no column for it; the differences are of the top-5 error."""
    table = make_table(summarize(store, load_experiment("table5"), photos))

    assert ["method", "paper top-5", "ours top-1", "ours top-5", "n", "ours − paper"] == list(table.parts[0].columns)
    assert "ours − paper: the difference in top-5 error." in table.notes
    assert ["resnet-34-B", "resnet-34-C", "resnet-50", "resnet-101", "resnet-152"] == table.frame["label"].tolist()[6:]


def test_metrics_of_which_there_is_something_to_say(store: Store) -> None:
    """Those of which the paper has numbers; where it has none, those that claims are about. No empty column of it."""
    headers = {}
    for name, dataset in (("table13", "imagenet-loc"), ("localisation", "drawn-objects")):
        table = make_table(summarize(store, load_experiment(name), Variant(dataset=dataset)))
        headers[name] = list(table.parts[0].columns)
    of_both = ["top-5", "given, 1 crop", "given, dense"]

    assert headers == {
        "table13": [
            "method",
            *(f"{whose} {each}" for whose in ("paper", "ours") for each in of_both),
            "n",
            "ours − paper",
        ],
        "localisation": ["method", "ours top-5", "ours given, dense", "ours gain", "n"],
    }


@pytest.mark.parametrize(
    ("name", "variant", "note"),
    [
        (
            "table4",
            Variant(dataset="imagenet"),
            (
                "Tested fully convolutionally at shorter sides 224, 256, 384, 480, 640, each image and its mirror; "
                "probabilities averaged (section 3.4)."
            ),
        ),
        (
            "table3",
            Variant(dataset="synthetic-photos", tiny=True),
            (
                "Tested on 10 crops: 32x32 at the corners and the centre, shorter side 37, and their mirrors; "
                "probabilities averaged (section 3.4)."
            ),
        ),
        ("fig4", Variant(dataset="imagenet"), "Tested on the centre 224x224 crop, shorter side 256."),
    ],
)
def test_the_test_is_named(store: Store, name: str, variant: Variant, note: str) -> None:
    """A table of ImageNet says how it tests, in the sizes that were used."""
    assert note in make_table(summarize(store, load_experiment(name), variant)).notes


def test_rich_loses_no_digit(table6: ResultTable) -> None:
    """However narrow the terminal, digits wrap and are never cut off."""
    wide, narrow = (
        "".join(
            character for line in printed(table6, width).splitlines()[3:] for character in line if character.isdigit()
        )
        for width in (120, 50)
    )

    assert sorted(wide) == sorted(narrow)


def test_markdown(table6: ResultTable) -> None:
    """The table for a README, with its scale in the caption and its notes below."""
    assert MARKDOWN == render(table6, "md")


def test_csv(table6: ResultTable) -> None:
    """A csv row has full precision, empty fields for what is not known, and the scale."""
    rows = list(csv.DictReader(io.StringIO(render(table6, "csv"))))

    assert 12 == len(rows)
    assert {"schedule 0.01 of the paper's; CIFAR-10; fp32"} == {row["scale"] for row in rows}
    assert ("resnet-20", "269722", "0.27M", "2", "") == tuple(
        rows[6][column] for column in ("net", "parameters", "params", "n", "paper_mean")
    )
    assert pytest.approx([8.9, 0.08**0.5, 0.15]) == [
        float(rows[6][column]) for column in ("test_error", "test_error_std", "difference")
    ]
    assert ("", "0") == (rows[7]["test_error"], rows[7]["n"])


def test_json(table6: ResultTable) -> None:
    """The json form has numbers at full precision, null for what is not known, and says what they are."""
    content = json.loads(render(table6, "json"))
    header, rows = content["header"], content["rows"]

    assert ("table6", False, False, 5) == tuple(header[key] for key in ("experiment", "is_paper", "is_smoke", "n"))
    assert "schedule 0.01 of the paper's; CIFAR-10; fp32" == header["variant"]
    assert [{"net": "resnet-56", "state": "diverged"}] == header["unfinished"]
    assert list(table6.notes) == header["definitions"]
    assert pytest.approx(6.51 - 6.61, abs=1e-12) == rows[10]["difference"]
    assert (1_727_962, 2, 6.61, 0.16) == tuple(rows[10][key] for key in ("parameters", "n", "paper_mean", "paper_std"))
    assert (None, None, 0) == tuple(rows[7][key] for key in ("test_error", "test_error_std", "n"))
    assert (1, 7.9, None) == tuple(rows[11][key] for key in ("n", "test_error", "test_error_std"))


CELL_NUMBERS = {
    "ours": ("test_error", "test_error_std", "test_map50", "test_map50_std"),
    "ours top-1": ("test_error", "test_error_std"),
    "ours top-5": ("test_error_top5", "test_error_top5_std"),
    "train": ("train_error", "train_error_std"),
    "best": ("best_test_error", "best_test_map50"),
    "paper top-1": ("paper_error",),
    "paper top-5": ("paper_top5",),
    "paper": ("paper_error", "paper_test_map50", "paper_mean", "paper_std"),
    "n": ("n",),
    "parameters": ("parameters",),
    "multiply-adds": ("multiply_adds",),
}


def cells_of_markdown(text: str) -> list[list[str]]:
    """The cells of all tables, headers first, without the lines below them."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if not row[0].startswith(":-")]


def cells_of_latex(text: str) -> list[list[str]]:
    """The cells below the headers of all tables, as they are read; columns that meet are one."""
    found = []
    for preamble, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}\}", text, re.DOTALL):
        columns = re.findall(r"r@\{\}l|[lrc]", preamble)
        for line in body.partition("\\midrule\n")[2].splitlines():
            if not line.endswith(" \\\\"):
                continue
            parts = [part.strip() for part in re.split(r"(?<!\\)&", line.removesuffix(" \\\\"))]
            row = []
            for column in columns:
                cell = parts.pop(0)
                if column == "r@{}l" and not cell.startswith("\\multicolumn{2}"):
                    cell = f"{cell} {parts.pop(0)}"
                row.append(as_read(cell))
            assert [] == parts
            found.append(row)
    return found


def as_read(cell: str) -> str:
    """A LaTeX cell as markdown has it."""
    cell = re.sub(r"\\multicolumn\{\d\}\{c\}\{(.*)\}", r"\1", cell)
    layers = r"\\left\[\\begin\{array\}\{@\{\}c@\{\}\}(.*)\\end\{array\}\\right\]\{\\times\}(\d+)"
    cell = re.sub(layers, lambda match: f"[{match[1].replace(f' {2 * chr(92)} ', '; ')}] x {match[2]}", cell)
    for command, character in (
        ("\\textendash{}", "–"),
        ("$-$", "−"),
        ("\\pm", "±"),
        ("{\\times}10^{", "e"),
        ("{\\times}", "x"),
    ):
        cell = cell.replace(command, character)
    return " ".join(re.sub(r"[$\\{}]", "", cell).split())


@pytest.mark.parametrize("name", ["table3 with runs", "table6 with runs", *experiment_names()])
def test_the_formats_agree(request: pytest.FixtureRequest, name: str) -> None:
    """Every number is the same in csv, json, markdown and LaTeX, to the digits that each shows."""
    if name.endswith(" with runs"):
        table: ResultTable = request.getfixturevalue(name.removesuffix(" with runs"))
    else:
        published, experiment = Store(PUBLISHED), load_experiment(name)
        table = make_table(summarize(published, experiment, variant_to_show(published, experiment)))
    rows = json.loads(render(table, "json"))["rows"]
    of_csv = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    of_markdown = cells_of_markdown(render(table, "md"))
    headers = [list(part.columns) for part in table.parts]

    assert len(rows) == len(of_csv)
    for row, other in zip(rows, of_csv, strict=True):
        assert {*row, "scale"} == other.keys()
        for key, value in row.items():
            assert value == (float(other[key]) if isinstance(value, int | float) else other[key] or value), key
    assert [row for row in of_markdown if row not in headers] == cells_of_latex(render(table, "latex"))
    by_rows = of_markdown[-len(rows) :]  # the last table, or the only one, has a line a row
    for row, cells in zip(rows, by_rows, strict=True):
        shown = dict(zip(headers[-1], cells, strict=True))
        for header in CELL_NUMBERS.keys() & shown.keys():
            if not row.keys() >= set(CELL_NUMBERS[header]):
                continue  # another task's metric of this name
            numbers = [row[key] for key in CELL_NUMBERS[header]]
            known = [number for number in numbers if number is not None]
            digits = re.findall(r"[\d.,]*\d", shown[header])
            is_ours = header in ("n", "parameters", "multiply-adds")
            wanted = [f"{number:,}" if is_ours else f"{number:.2f}" for number in known]
            assert wanted == digits or (header == "n" and row["net"] is None), (row, header)


def test_markdown_keeps_a_bar_in_its_cell(store: Store, short: Variant) -> None:
    """A bar in a label does not open a column."""
    own = load_experiment("fig1").model_dump(mode="json") | {"rows": [{"label": "A | B"}]}

    assert "| A \\| B   |" in render(make_table(summarize(store, Experiment.model_validate(own), short)), "md")


def test_without_rows_each_net_has_one(store: Store, add_run: AddRun, short: Variant) -> None:
    """An experiment without the paper's numbers lists its nets in the file's order and has no column for them."""
    add_run("plain-56", [13.0])
    text = render(make_table(summarize(store, load_experiment("degradation"), short)), "md")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]

    assert ["method", "plain-20", "plain-56", "resnet-20", "resnet-56"] == rows
    assert "paper |" not in text


def test_nets_without_a_row_follow(store: Store, short: Variant) -> None:
    """A net that no row names is not lost: it stands below the paper's rows."""
    own = load_experiment("fig1").model_dump(mode="json") | {"rows": [{"label": "Other", "error": 9.0}]}
    frame = make_table(summarize(store, Experiment.model_validate(own), short)).frame

    assert ["Other", "plain-20", "plain-56"] == frame["label"].tolist()


@pytest.mark.parametrize("form", ["rich", "csv", "md", "latex", "json"])
def test_a_smoke_run_is_marked(store: Store, add_run: AddRun, form: TextFormat) -> None:
    """Every format says that a smoke run is no result."""
    variant = Variant(tiny=True, dataset="synthetic")
    add_run("resnet-20", [70.0], variant=variant)
    table = make_table(summarize(store, load_experiment("table6"), variant))
    text = printed(table, 80) if form == "rich" else render(table, form).replace("-{}-", "--")

    assert "SMOKE RUN (--tiny), not a result; embedded synthetic set, not CIFAR-10" in text


def test_averaged_statistics(store: Store, add_run: AddRun, short: Variant) -> None:
    """What the paper's protocol is taken to be comes first, and the error with running statistics beside it.

    A net with a run from before has the running error in both, and the notes name it.
    """
    for seed in (0, 1):
        add_run("resnet-20", [50.0, 8.5], seed=seed, averaged=[None, 8.75 + seed])
        add_run("resnet-32", [50.0, 7.5], seed=seed, averaged=[None, 7.75] if seed else None)
    table = make_table(summarize(store, load_experiment("table6"), short))
    ours = table.parts[0].iloc[table.frame.index[table.frame["n"] > 0]]
    cells = ours[["ours", "running", "ours − paper"]]

    assert [
        ["9.25 ± 0.71", "8.50 ± 0.00", "+0.50"],
        ["7.50 ± 0.00", "7.50 ± 0.00", "−0.01"],
    ] == cells.to_numpy().tolist()
    assert "best" not in table.parts[0]
    first, second = table.notes[:2]
    assert first.startswith(
        "ours: test error (%) after the last update with averaged statistics of batch normalisation"
    )
    assert "(resnet-32: running statistics)" in first
    assert "running: the same with running statistics; the verdicts use these." == second
    assert re.search("^ResNet +20 +269,722 +8.75 9.25±0.71    8.50 ", printed(table, 80), re.MULTILINE)
