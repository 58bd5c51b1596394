from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from paper_tasks import CIFAR10

from resnet_cli.experiment import Experiment, Figure, Panel, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.curves import learning_curves
from resnet_cli.report.interactive import InteractiveFigure, interactive_figure
from resnet_cli.report.panels import make_plots, net_colours
from resnet_cli.report.summarize import summarize

if TYPE_CHECKING:
    from conftest import AddAnalysis, AddRun

    from resnet_cli.storage.store import Store


def figure_of(store: Store, experiment: Experiment, variant: Variant) -> InteractiveFigure:
    """An experiment's interactive figure."""
    summary = summarize(store, experiment, variant)
    return interactive_figure(summary, make_plots(store, summary))


def lines(figure: InteractiveFigure, panel: int = 0) -> list[dict[str, Any]]:
    """What a panel draws."""
    return json.loads(figure.panels[panel].figure)["data"]


def layout(figure: InteractiveFigure, panel: int = 0) -> dict[str, Any]:
    """A panel's axes."""
    return json.loads(figure.panels[panel].figure)["layout"]


def with_panels(name: str, *panels: Panel) -> Experiment:
    """An experiment whose figure has these panels."""
    return load_experiment(name).model_copy(update={"figure": Figure(title="a figure", panels=panels)})


def test_a_net_is_one_group_with_one_name(store: Store, add_run: AddRun, short: Variant) -> None:
    """Test bold, training dashed, the bands of several runs: of a net all are of one colour and hide together."""
    for seed in range(2):
        add_run("resnet-20", [50.0, 9.0 + seed], 2.0 + seed, seed=seed)
    add_run("resnet-56", [50.0, 8.0])
    figure = figure_of(store, load_experiment("fig6"), short)
    drawn = lines(figure)
    of_20, of_56 = ([line for line in drawn if line["legendgroup"] == name] for name in ("resnet-20", "resnet-56"))
    colours = {line["fillcolor"] if "fill" in line else line["line"]["color"] for line in of_20}
    curves = [line for line in of_20 if "fill" not in line]

    assert ["residual"] == [panel.title for panel in figure.panels]
    assert (4, 2) == (len(of_20), len(of_56))
    assert {net_colours([Panel(title="", nets=(CIFAR10.net("resnet-20"),))], CIFAR10).popitem()[1]} == colours
    assert [("train", "dash", False), ("test", "solid", True)] == [
        (line["meta"], line["line"]["dash"], line["showlegend"]) for line in curves
    ]
    assert [True] * 2 == [line["hoverinfo"] == "skip" for line in of_20 if "fill" in line]
    assert "fill" not in str(of_56)


def test_points_are_the_learning_curves(store: Store, add_run: AddRun, short: Variant) -> None:
    """Every point is the mean over the runs, its range the lowest and the highest run's; a band goes round them."""
    for seed in range(3):
        add_run("resnet-20", [50.0, 30.123 + seed, 9.0 + seed * seed], 2.0 + seed, seed=seed)
    experiment = load_experiment("fig6")
    curves = learning_curves(summarize(store, experiment, short), CIFAR10.net("resnet-20"))
    assert curves
    _, train, band, test = lines(figure_of(store, experiment, short))

    assert curves.test.index.tolist() == test["x"]
    assert pytest.approx(curves.test["mean"].tolist(), abs=5e-5) == test["y"]
    assert [[50.0, 50.0], [30.123, 32.123], [9.0, 13.0]] == test["customdata"]
    assert [50.0, 32.123, 13.0, 9.0, 30.123, 50.0] == band["y"]
    assert [*test["x"], *test["x"][::-1]] == band["x"]
    assert curves.train.index.tolist() == train["x"]
    assert pytest.approx(curves.train["mean"].tolist(), abs=1e-4) == train["y"]


def test_averaged_statistics(store: Store, add_run: AddRun, short: Variant) -> None:
    """Tests with averaged statistics are the curve, and the caption says so."""
    for net in ("plain-20", "plain-56"):
        add_run(net, [50.0, 9.0], averaged=[20.0, 8.0])
    figure = figure_of(store, load_experiment("fig1"), short)

    assert [20.0, 8.0] == next(line["y"] for line in lines(figure, 1) if line["meta"] == "test")
    assert "(bold): at each evaluation with averaged statistics of batch normalisation." in figure.caption


def test_at_most_some_five_hundred_points(store: Store, add_run: AddRun) -> None:
    """Long runs are thinned out, so that the page stays small."""
    add_run("resnet-20", [9.0], variant=Variant(schedule=0.1))
    train = next(
        line
        for line in lines(figure_of(store, load_experiment("fig6"), Variant(schedule=0.1)))
        if "meta" in line and line["meta"] == "train"
    )

    assert 400 < len(train["x"]) <= 540
    assert train["x"][-1] == 6_400


@pytest.mark.parametrize(
    ("schedule", "expected"), [(1.0, [0.0, 20.0]), (0.01, [0.0, pytest.approx(1.05 * 80.0)])], ids=["paper", "short"]
)
def test_limits(store: Store, add_run: AddRun, schedule: float, expected: list[float]) -> None:
    """At paper scale the limits are the paper's; in a short run all is seen but what comes before its first tenth."""
    variant = Variant(schedule=schedule)
    add_run("resnet-20", [99.0, *[50.0] * 18, 9.0], variant=variant)
    figure = figure_of(store, load_experiment("fig6"), variant)

    assert expected == layout(figure)["yaxis"]["range"]
    assert pytest.approx([0, 1.01 * 64_000 * schedule]) == layout(figure)["xaxis"]["range"]


def test_show(store: Store, add_run: AddRun, short: Variant) -> None:
    """A panel of one error shows that alone, and names the net all the same."""
    add_run("plain-20", [50.0, 9.0])
    figure = figure_of(store, load_experiment("fig1"), short)

    assert [["train"], ["test"]] == [[line["meta"] for line in lines(figure, panel)] for panel in range(2)]
    assert [True, True] == [lines(figure, panel)[0]["showlegend"] for panel in range(2)]


def test_an_unfinished_run_says_so(store: Store, add_run: AddRun, short: Variant) -> None:
    """A net without a finished run is drawn as far as it got, and its name says that it is not done."""
    add_run("plain-20", [50.0, 9.0], state="running")

    assert "plain-20 (unfinished)" == lines(figure_of(store, load_experiment("fig1"), short))[0]["name"]


def test_error_against_depth(store: Store, add_run: AddRun, short: Variant) -> None:
    """Mean and standard deviation for each depth, a dash for each of several runs, squares for the paper's."""
    for seed in range(2):
        add_run("resnet-20", [50.0, 9.0 + seed], 2.0, seed=seed)
    add_run("resnet-56", [50.0, 7.0])
    experiment = with_panels("table6", Panel(title="test", kind="depth", show="test"))
    figure = figure_of(store, experiment, short)
    series, runs, paper = lines(figure)

    assert ([20, 56], [9.5, 7.0]) == (series["x"], series["y"])
    assert pytest.approx([0.5**0.5, 0.0], abs=5e-5) == series["error_y"]["array"]
    assert [[0.7071, 2], [0.0, 1]] == series["customdata"]
    assert ([20, 20], [9.0, 10.0]) == (runs["x"], runs["y"])
    assert series["legendgroup"] == runs["legendgroup"]
    assert {(20, 8.75), (56, 6.97), (1202, 7.93)} <= set(zip(paper["x"], paper["y"], strict=True))
    assert (110, 6.61) in set(zip(paper["x"], paper["y"], strict=True))  # the mean of five, as ours is a mean
    assert "square-open" == paper["marker"]["symbol"]
    assert ("log", "layers (logarithmic)") == (
        layout(figure)["xaxis"]["type"],
        layout(figure)["xaxis"]["title"]["text"],
    )


def test_panels_without_data(store: Store, add_run: AddRun, short: Variant) -> None:
    """A panel without data is left out."""
    add_run("plain-20", [50.0, 9.0])
    drawn = Panel(title="drawn", nets=(CIFAR10.net("plain-20"),))
    empty = Panel(title="empty", nets=(CIFAR10.net("plain-56"),))
    figure = figure_of(store, with_panels("fig1", drawn, empty), short)

    assert ["drawn"] == [panel.title for panel in figure.panels]


def test_layers(store: Store, add_run: AddRun, add_analysis: AddAnalysis, short: Variant) -> None:
    """Figure 7's panels: the layers in their order, and by size with the layer's number to hover; means over runs."""
    for seed in (0, 1):
        run = add_run("plain-20", [50.0, 9.0], seed=seed)
        add_analysis(run, "responses", {"layer": [1, 2, 3], "name": ["a", "b", "c"], "std": [0.5 + seed, 2.0, 0.25]})
    figure = figure_of(store, load_experiment("fig7"), short)
    in_order, by_size = (lines(figure, panel)[0] for panel in (0, 1))

    assert ([1, 2, 3], [1.0, 2.0, 0.25]) == (in_order["x"], in_order["y"])
    assert ([1, 2, 3], [2.0, 1.0, 0.25], [2, 1, 3]) == (by_size["x"], by_size["y"], by_size["customdata"])
    assert figure.caption.startswith("Standard deviation of each 3x3 layer's response")


def test_nothing_to_draw(store: Store, short: Variant) -> None:
    """Without a figure, and without runs, there is no panel."""
    assert () == figure_of(store, load_experiment("table6").model_copy(update={"figure": None}), short).panels
    assert () == figure_of(store, load_experiment("fig6"), short).panels


def test_the_json_cannot_end_its_element(store: Store, add_run: AddRun, short: Variant) -> None:
    """Markup in a hover text is escaped in the JSON, so that no script element ends where it should not."""
    add_run("plain-20", [50.0, 9.0])
    panel = figure_of(store, load_experiment("fig1"), short).panels[0]

    assert "<b>" in lines(figure_of(store, load_experiment("fig1"), short))[0]["hovertemplate"]
    assert "<" not in panel.figure


def test_the_papers_curve_belongs_to_its_net(store: Store, add_run: AddRun) -> None:
    """It is dotted, hides with the net, and says whose it is."""
    add_run("plain-20", [50.0, 9.0], variant=Variant())
    (*_, paper) = lines(figure_of(store, load_experiment("fig1"), Variant()), panel=1)

    assert ("plain-20", False, "dot") == (paper["legendgroup"], paper["showlegend"], paper["line"]["dash"])
    assert (64_000, 9.69) == (paper["x"][-1], paper["y"][-1])
    assert "<b>plain-20, the paper</b>, test<br>" in paper["hovertemplate"]
