"""Figure 7 and its like: numbers of each layer, from what runs hold to lines and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from resnet_cli.claims.judge import judge
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.figures import draw
from resnet_cli.report.panels import is_wide, layer_values
from resnet_cli.report.summarize import summarize, updates_to_reach
from resnet_cli.report.tables import make_table
from resnet_cli.spec import Net

if TYPE_CHECKING:
    from conftest import AddAnalysis, AddRun
    from matplotlib.axes import Axes

    from resnet_cli.storage.store import Store

NAMES = ["conv1", "layer1.0.conv1", "layer1.0.conv2"]


def lines(axes: Axes) -> dict[str, tuple[str, list[float]]]:
    """Each net's line style and values."""
    return {str(line.get_label()): (line.get_linestyle(), [*map(float, line.get_ydata())]) for line in axes.lines}


def test_responses(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """Means over runs, in the layers' order and by size; plain nets dashed; summed up as the mean over layers.

    A run that was trained and not analysed has no part in it, and the table says so.
    """
    for seed, first in enumerate([1.0, 3.0]):
        run = add_run("plain-20", [9.0], seed=seed)
        add_analysis(run, "responses", {"layer": [1, 2, 3], "name": NAMES, "std": [first, 0.5, 1.5]})
    add_analysis(add_run("resnet-20", [8.0]), "responses", {"layer": [1, 2, 3], "name": NAMES, "std": [1, 0.1, 0.4]})
    add_run("resnet-56", [7.0])
    summary = summarize(store, load_experiment("fig7"), short)
    figure = draw(store, summary)
    assert figure
    in_order, by_size = figure.axes
    table = make_table(summary)

    assert {"plain-20": ("--", [2.0, 0.5, 1.5]), "resnet-20": ("-", [1.0, 0.1, 0.4])} == lines(in_order)
    assert {"plain-20": ("--", [2.0, 1.5, 0.5]), "resnet-20": ("-", [1.0, 0.4, 0.1])} == lines(by_size)
    assert ("standard deviation", "log") == (in_order.get_ylabel(), in_order.get_yscale())
    assert ["plain-20", "resnet-20"] == list(summary.by_net.index)
    assert [4 / 3, 0.5] == pytest.approx(summary.by_net["mean_response"].tolist())
    cells = table.parts[0].set_index("method")["mean response"]
    assert ["1.333 ± 0.471", "–", "0.500", "–", "–"] == cells[::2].tolist()  # noqa: RUF001
    assert ["1.820", "1.513", "1.622", "1.130", "0.985"] == cells[1::2].tolist()
    assert [f"paper's {net}" for net in cells.index[::2]] == cells.index[1::2].tolist()
    assert "Read off the paper's figure, to within 0.02: paper's plain-20, " in "\n".join(table.notes)
    assert "resnet-56 (1 no responses)" in summary.unfinished_text


def test_beside_the_papers_layers(store: Store, add_run: AddRun, add_analysis: AddAnalysis) -> None:
    """At the paper's scale its own responses are dotted, without an entry in the legend."""
    run = add_run("resnet-20", [8.0], variant=Variant())
    add_analysis(run, "responses", {"layer": [1, 2, 3], "name": NAMES, "std": [1, 0.1, 0.4]})
    figure = draw(store, summarize(store, load_experiment("fig7"), Variant()))
    assert figure
    in_order, by_size = ([line for line in axes.lines if line.get_linestyle() == ":"] for axes in figure.axes)

    assert (1, 1) == (len(in_order), len(by_size))
    assert ([1, 1.72], [19, 2.5]) == tuple(np.asarray(in_order[0].get_xydata())[[0, -1]].tolist())
    assert ([1, 2.5], [19, 1.15]) == tuple(np.asarray(by_size[0].get_xydata())[[0, -1]].tolist())
    assert ["resnet-20"] == figure.axes[0].get_legend_handles_labels()[1]
    assert (
        "Dotted: the paper's values, read off Figure 7; residual nets with markers."
        in figure.get_supxlabel().replace("\n", " ")
    )


def test_responses_alike(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """Numbers of one size stand on a linear axis from 0, or a small difference would look like a large one."""
    add_analysis(add_run("plain-20", [9.0]), "responses", {"layer": [1, 2, 3], "name": NAMES, "std": [0.9, 0.8, 0.7]})
    figure = draw(store, summarize(store, load_experiment("fig7"), short))
    assert figure

    assert ["linear"] * 2 == [axes.get_yscale() for axes in figure.axes]
    assert [0.0] * 2 == [axes.get_ylim()[0] for axes in figure.axes]


def test_backward_signals(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """Before the first update and after the last, on logarithmic axes; summed up as the first layer over the last."""
    columns = {
        "weights": ["start"] * 3 + ["end"] * 3,
        "layer": [1, 2, 3] * 2,
        "name": NAMES * 2,
        "norm": [50.0, 5.0, 0.5, 0.2, 0.3, 0.4],
    }
    add_analysis(add_run("plain-56", [9.0]), "gradients", columns)
    summary = summarize(store, load_experiment("gradients"), short)
    figure = draw(store, summary)
    assert figure
    start, end = figure.axes
    cells = make_table(summary).parts[0].set_index("method")

    assert ([50.0, 5.0, 0.5], [0.2, 0.3, 0.4]) == (lines(start)["plain-56"][1], lines(end)["plain-56"][1])
    assert ("log", "log") == (start.get_yscale(), end.get_yscale())
    assert [("100.00", "0.50")] == [
        tuple(row) for row in cells.loc[["plain-56"], ["first/last start", "first/last end"]].to_numpy()
    ]


def test_training_set(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """The error on the training set at the end, and of a net that is made from another at its start."""
    for name, weights, errors in (
        ("plain-20", ["end"], [4.0]),
        ("plain-56-from-20", ["source", "start", "end"], [4.0, 4.5, 3.0]),
    ):
        columns = {"weights": weights, "loss": [1.0] * len(errors), "error": errors, "images": [50_000] * len(errors)}
        add_analysis(add_run(name, [9.0]), "training-set", columns | {"changed": [0] * len(errors)})
    summary = summarize(store, load_experiment("construction"), short)
    cells = make_table(summary).parts[0].set_index("method")
    start, *others = judge(summary)

    assert ("not reproduced", 0.5) == (start.verdict, start.comparisons[0].difference)
    assert ["not run", "not run"] == [judgement.verdict for judgement in others]
    assert ["–", "–", "4.50"] == cells["train set start"].tolist()  # noqa: RUF001
    assert ["4.00", "–", "3.00"] == cells["train set end"].tolist()  # noqa: RUF001


@pytest.mark.parametrize(("start", "verdict"), [(4.0, "reproduced"), (4.01, "reproduced"), (4.02, "not reproduced")])
def test_the_same_start(
    start: float, verdict: str, store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant
) -> None:
    """A construction has its source's error in each run, or it has not; chance has no part in it."""
    for seed, first in enumerate([start, 8.0 - start]):  # one above, one below: their mean is the source's
        columns = {"weights": ["source", "start", "end"], "loss": [1.0] * 3, "error": [4.0, first, 3.0]}
        columns |= {"images": [50_000] * 3, "changed": [0] * 3}
        add_analysis(add_run("plain-56-from-20", [9.0], seed=seed), "training-set", columns)
    judgement = judge(summarize(store, load_experiment("construction"), short))[0]

    assert (verdict, None, "") == (judgement.verdict, judgement.p, judgement.reason)


@pytest.mark.parametrize(("values", "wide"), [([1.0, 0.1], False), ([1.0, 0.099], True), ([1.0, 0.0], False)])
def test_a_wide_range_is_logarithmic(values: list[float], wide: bool) -> None:
    """More than ten to one; a layer that answers nothing has no place on a logarithmic axis."""
    assert wide == is_wide([pd.DataFrame({"end": values}), pd.DataFrame({"end": [0.5]})])


def test_updates_to_an_error(store: Store, add_run: AddRun, short: Variant) -> None:
    """The first update whose trailing mean over 64 is at most 50%; never there counts with all 640.

    Of 80% until update 576 and 0% from there, the mean of 64 is at most 50 when 24 of them are 0: at update 600.
    """
    add_run("resnet-20", [9.0], 0.0)
    add_run("plain-20", [9.0], 70.0)
    summary = summarize(store, load_experiment("convergence"), short)

    assert {"resnet-20": 600.0, "plain-20": 640.0} == summary.by_net["updates_to_reach"].to_dict()
    assert ["640", "600"] == [
        make_table(summary).parts[0].set_index("method")["updates to 50%"][net] for net in ("plain-20", "resnet-20")
    ]


def test_an_error_that_nobody_reached(store: Store, add_run: AddRun, short: Variant) -> None:
    """Where no run of either net gets to the error, nothing was measured, and nothing is refuted."""
    for seed in range(5):
        for net in ("plain-20", "resnet-20"):
            add_run(net, [80.0], 70.0, seed=seed)
        add_run("plain-56", [80.0], 0.0, seed=seed)
    of_20, of_56, deeper = judge(summarize(store, load_experiment("convergence"), short))

    assert ("too few runs", "no run reached 50%") == (of_20.verdict, of_20.reason)
    assert "not run" == of_56.verdict
    assert "not reproduced" == deeper.verdict  # plain-56 gets there, plain-20 does not


@pytest.mark.parametrize(
    ("analysis", "columns"),
    [
        ("responses", {"layer": [1, 3], "name": ["a", "b"], "std": [1.0, 1.0]}),
        ("responses", {"layer": [], "name": [], "std": []}),
        ("gradients", {"weights": ["end"], "layer": [1], "name": ["a"], "norm": [1.0]}),
        ("gradients", {"weights": ["start", "end"], "layer": [1, 2], "name": ["a", "b"], "norm": [1.0, 1.0]}),
        ("training-set", {"weights": ["start"], "loss": [1.0], "error": [5.0], "images": [9], "changed": [0]}),
        ("training-set", {"weights": ["end"], "loss": [1.0], "error": [500.0], "images": [9], "changed": [0]}),
    ],
)
def test_what_no_analysis_writes(
    analysis: str,
    columns: dict[str, list[Any]],
    store: Store,
    add_run: AddRun,
    add_analysis: AddAnalysis,
    short: Variant,
) -> None:
    """Other layers, other weights, an error of 500%: refused in one line that says what to do."""
    add_analysis(add_run("plain-20", [9.0]), analysis, columns)
    name = {"responses": "fig7", "gradients": "gradients", "training-set": "construction"}[analysis]

    with pytest.raises(
        BadInputError, match=rf"{analysis}.csv: (not what an analysis of plain-20 writes; delete this file|column)"
    ):
        summarize(store, load_experiment(name), short)


def test_windows_of_longer_runs_are_named(store: Store, add_run: AddRun, short: Variant) -> None:
    """Three times the updates are averaged over three times as many; notes say so."""
    for net in ("plain-20", "plain-20-x3"):
        add_run(net, [9.0])
    notes = make_table(summarize(store, load_experiment("longer"), short)).notes

    assert any("mean over the last 64 updates (plain-20-x3, plain-56-x3: 192 updates)." in note for note in notes)


def test_no_error_to_reach(store: Store, add_run: AddRun, short: Variant) -> None:
    """An experiment that names no error counts no updates to it."""
    run = add_run("resnet-20", [9.0])

    assert updates_to_reach(store.train_log(run)["train_error"], 60, None) is None
    assert "updates to 50%" not in make_table(summarize(store, load_experiment("degradation"), short)).parts[0]


def test_nothing_measured(store: Store, add_run: AddRun, short: Variant) -> None:
    """Without an analysis there is no figure of layers; a table that is none is refused by name."""
    run = add_run("plain-20", [9.0])
    experiment = load_experiment("fig7")
    summary = summarize(store, experiment, short)

    assert layer_values(store, summary, Net.model_validate("plain-20")) is None
    assert draw(store, summary) is None

    (store.folder(run) / "responses.csv").write_text("layer,name,std\n1,conv1,x\n")

    with pytest.raises(BadInputError, match=r"responses.csv: column std: not a number in every row"):
        summarize(store, experiment, short)
