"""What the panels of a figure show, whatever draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_tasks import CIFAR10

from resnet_cli.experiment import Experiment, Figure, Panel, load_experiment
from resnet_cli.report.figures import draw
from resnet_cli.report.interactive import interactive_figure
from resnet_cli.report.panels import Plot, make_plots
from resnet_cli.report.summarize import summarize

if TYPE_CHECKING:
    from conftest import AddAnalysis, AddRun

    from resnet_cli.identity import Variant
    from resnet_cli.storage.store import Store


def plots(store: Store, experiment: str | Experiment, variant: Variant) -> list[Plot]:
    """The panels of an experiment that have data."""
    experiment = load_experiment(experiment) if isinstance(experiment, str) else experiment
    return make_plots(store, summarize(store, experiment, variant))


def test_nothing_of_its_kind(store: Store, add_run: AddRun, short: Variant) -> None:
    """A run that has not been tested yet has a curve in the panel of training errors, and none in that of tests."""
    add_run("plain-20", [], state="running")

    assert [["train"]] == [[line.shown for line in plot.lines] for plot in plots(store, "fig1", short)]
    footnote = draw(store, summarize(store, load_experiment("fig1"), short)).get_supxlabel().replace("\n", " ")
    assert "Test error" not in footnote
    assert footnote.endswith("Runs without a result: plain-20 (1 running). Not run: plain-56.")


def test_a_net_keeps_its_colour(store: Store, add_run: AddRun, short: Variant) -> None:
    """Colours depend on what the figure asks for, not on what has been trained so far."""
    add_run("resnet-20", [9.0])
    before = plots(store, "shortcuts", short)[0].lines[0].colour
    add_run("resnet-20-B", [9.0])
    add_run("resnet-56-B", [9.0])

    assert before == plots(store, "shortcuts", short)[0].lines[0].colour


def test_a_band_is_within_the_limits(store: Store, add_run: AddRun, short: Variant) -> None:
    """A short run's limits leave room for the worst of several runs, not only for their mean."""
    for seed, error in enumerate([82.0, 96.0]):
        add_run("plain-20", [99.0, *[error] * 19], 10.0, seed=seed)

    assert (0.0, 1.05 * 96.0) == plots(store, "fig1", short)[1].limits


def test_blocks_and_their_gates(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """Gates stand over blocks; where curves and gates share a figure each has its own unit at its axis."""
    run = add_run("highway-20", [9.0])
    columns = {"weights": ["start"] * 2 + ["end"] * 2, "layer": [1, 2] * 2, "name": ["a", "b"] * 2}
    add_analysis(run, "gates", columns | {"gate": [0.1, 0.2, 0.3, 0.4]})
    summary = summarize(store, load_experiment("gates"), short)
    made, figure = make_plots(store, summary), draw(store, summary)
    assert figure

    assert ["iterations", "block, from the first", "block, from the first"] == [plot.x_label for plot in made]
    assert ["error (%)", "mean gate", ""] == [axes.get_ylabel() for axes in figure.axes]
    assert [(0.0, None)] * 2 == [plot.limits for plot in made[1:]]
    assert "block %{customdata}" in interactive_figure(summary, made).panels[1].figure
    assert '"rangemode":"tozero"' in interactive_figure(summary, made).panels[1].figure


def test_of_single_runs_the_mean_is_all(store: Store, add_run: AddRun, short: Variant) -> None:
    """Runs are marked where a net has several; a single one is its mean."""
    for seed in range(2):
        add_run("resnet-20", [9.0 + seed], seed=seed)
    add_run("resnet-56", [7.0])
    table6 = load_experiment("table6")
    panel = Panel(title="", kind="depth", show="test", nets=(CIFAR10.net("resnet-20"), CIFAR10.net("resnet-56")))
    (plot,) = plots(store, table6.model_copy(update={"figure": Figure(title="T", panels=(panel,))}), short)

    assert [(20, 9.0), (20, 10.0)] == list(plot.lines[0].runs)
    assert [2, 1] == plot.lines[0].points["n"].tolist()
