from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.figures import draw, figure_bytes
from resnet_cli.report.summarize import summarize
from resnet_cli.spec import Net
from resnet_cli.tasks import task_of

if TYPE_CHECKING:
    from conftest import AddRun
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from resnet_cli.report.figures import FigureFormat
    from resnet_cli.storage.store import Store


def drawn(store: Store, experiment: str | Experiment, variant: Variant) -> Figure:
    """The figure of an experiment that has data."""
    experiment = load_experiment(experiment) if isinstance(experiment, str) else experiment
    figure = draw(store, summarize(store, experiment, variant))
    assert figure
    return figure


def own(**changes: Any) -> Experiment:
    """An experiment of one's own, made from `degradation`."""
    return Experiment.model_validate(load_experiment("degradation").model_dump(mode="json") | changes)


def lines(axes: Axes) -> dict[str, Line2D]:
    """The panel's lines by label."""
    return {str(line.get_label()): line for line in axes.lines}


def names(axes: Axes) -> list[str]:
    """The names in the panel's margin."""
    return [text.get_text() for text in axes.texts]


def footnote(figure: Figure) -> str:
    """The text below the figure, on one line."""
    return figure.get_supxlabel().replace("\n", " ")


def test_curves(store: Store, add_run: AddRun, short: Variant) -> None:
    """Training is thin and dashed, test bold and solid; a net's two lines have one colour, a depth too."""
    for net in ("plain-20", "plain-56", "resnet-20", "resnet-56"):
        add_run(net, [50.0, 9.0], 2.0)
    left, right = drawn(store, "degradation", short).axes
    train, test = lines(left)["plain-20 train"], lines(left)["plain-20 test"]

    assert ["plain-20 train", "plain-20 test", "plain-56 train", "plain-56 test"] == list(lines(left))
    assert ("--", "-") == (train.get_linestyle(), test.get_linestyle())
    assert train.get_linewidth() < test.get_linewidth()
    assert [[320.0, 50.0], [640.0, 9.0]] == np.asarray(test.get_xydata()).tolist()
    assert [640.0, 2.0] == np.asarray(train.get_xydata())[-1].tolist()
    assert train.get_color() == test.get_color() == lines(right)["resnet-20 test"].get_color()
    assert test.get_color() != lines(left)["plain-56 test"].get_color()
    assert ["plain-20", "plain-56"] == names(left)
    assert ["plain", "residual"] == [left.get_title(), right.get_title()]


def test_one_kind_of_error(store: Store, add_run: AddRun, short: Variant) -> None:
    """Figure 1's left panel has training errors only, the right one test errors only."""
    add_run("plain-20", [50.0, 9.0])
    left, right = drawn(store, "fig1", short).axes

    assert (["plain-20 train"], ["plain-20 test"]) == (list(lines(left)), list(lines(right)))
    assert (["plain-20"], ["plain-20"]) == (names(left), names(right))


def test_paper_scale(store: Store, add_run: AddRun) -> None:
    """At paper scale the axes are the paper's: errors to 20%, iterations in units of ten thousand."""
    add_run("plain-20", [50.0, 9.0], variant=Variant())
    add_run("plain-56", [90.0, 60.0], variant=Variant())
    figure = drawn(store, "fig1", Variant())

    assert (0.0, 20.0) == figure.axes[1].get_ylim()
    assert (0.0, 1.01 * 6.4) == pytest.approx(figure.axes[1].get_xlim())
    assert "iterations (1e4)" == figure.axes[1].get_xlabel()
    assert "Figure 1. Training error (left) and test error (right) of plain nets\npaper scale; CIFAR-10; fp32" == (
        figure.get_suptitle()
    )
    assert ["plain-20", "plain-56 ↑"] == names(figure.axes[1])
    assert "One run each. Cut off above 20%. Dotted: the paper's training error and test error, read off Figure 6." in (
        footnote(figure)
    )


def test_beside_the_papers_curves(store: Store, add_run: AddRun, short: Variant) -> None:
    """At paper scale each net that was run has the paper's curve beside it, dotted; elsewhere there is none."""
    for variant in (Variant(), short):
        add_run("plain-56", [90.0, 12.0], variant=variant)
    train, test = drawn(store, "fig1", Variant()).axes
    (left,) = drawn(store, "fig6", Variant()).axes
    ours, paper = lines(test)["plain-56 test"], lines(test)["plain-56, the paper"]

    assert ["plain-56 test", "plain-56, the paper"] == list(lines(test))
    assert ["plain-56 train", "plain-56 test", "plain-56, the paper"] == list(lines(left))
    assert (":", ours.get_color()) == (paper.get_linestyle(), paper.get_color())
    assert [6.4, 13.26] == np.asarray(paper.get_xydata())[-1].tolist()
    assert [6.4, 5.93] == np.asarray(lines(train)["plain-56, the paper"].get_xydata())[-1].tolist()
    assert [6.4, 13.26] == np.asarray(lines(left)["plain-56, the paper"].get_xydata())[-1].tolist()
    assert ["plain-56"] == names(test)
    assert ["plain-56 test"] == list(lines(drawn(store, "fig1", short).axes[1]))
    assert "Dotted" not in footnote(drawn(store, "fig1", short))


def test_the_papers_curve_needs_one_of_ours(store: Store, add_run: AddRun) -> None:
    """A net that is trained and not tested yet has the paper's training curve beside it, and no test curve."""
    add_run("plain-20", [50.0, 9.0], variant=Variant())
    add_run("plain-56", [], state="running", variant=Variant())
    train, test = drawn(store, "fig1", Variant()).axes

    assert "plain-56, the paper" in lines(train)
    assert ["plain-20 test", "plain-20, the paper"] == list(lines(test))


def test_imagenet_beside_the_papers_curves(store: Store, add_run: AddRun) -> None:
    """Figure 4's curves end at 550,000 updates."""
    add_run("resnet-34", [50.0, 28.0], variant=Variant(dataset="imagenet"), experiment=load_experiment("fig4"))
    (axes,) = drawn(store, "fig4", Variant(dataset="imagenet")).axes

    assert [55.0, 28.33] == np.asarray(lines(axes)["resnet-34, the paper"].get_xydata())[-1].tolist()


def test_imagenet(store: Store, add_run: AddRun, photos: Variant) -> None:
    """On ImageNet the bold line is the centre crop's validation error; a short run's axis begins at 0."""
    add_run("plain-18", [50.0] * 20, variant=photos, experiment=load_experiment("fig4"))
    figure = drawn(store, "fig4", photos)

    assert "Validation error (bold): of the centre crop, at each evaluation." in footnote(figure)
    assert "trailing mean over 60 updates" in footnote(figure)
    assert pytest.approx((0.0, 84.0)) == figure.axes[0].get_ylim()


def test_lower_limit(store: Store, add_run: AddRun) -> None:
    """At paper scale a figure's lower limit holds too; an arrow down marks a line that ends below it."""
    add_run("plain-20", [50.0, 9.0], variant=Variant())
    add_run("plain-56", [50.0, 30.0], variant=Variant())
    panels = [{"title": "", "show": "test"}]
    limits = {"title": "T", "y_min": 20, "y_max": 60, "panels": panels}
    axes = drawn(store, own(protocol=load_experiment("fig1").protocol, figure=limits), Variant()).axes[0]

    assert (20.0, 60.0) == axes.get_ylim()
    assert ["plain-20 ↓", "plain-56"] == names(axes)


@pytest.mark.parametrize("benchmark", ["cifar10", "imagenet"])
def test_depths_have_colours_of_their_own(benchmark: str) -> None:
    """No two depths that the paper draws have one colour."""
    colours = task_of(benchmark).depth_colours.values()

    assert len(colours) == len(set(colours))


@pytest.mark.parametrize(
    ("schedule", "label", "right"),
    [(0.01, "iterations", 640), (0.05, "iterations (1e3)", 3.2), (0.5, "iterations (1e4)", 3.2)],
)
def test_short_schedules(store: Store, add_run: AddRun, schedule: float, label: str, right: float) -> None:
    """A short run's axes fit its length and its errors, the first tenth left out; the title names its scale."""
    variant = Variant(schedule=schedule)
    add_run("plain-20", [99.0] + [40.0] * 19, 30.0, variant=variant)
    axes = drawn(store, "fig1", variant).axes[1]

    assert (0.0, 1.01 * right) == pytest.approx(axes.get_xlim())
    assert pytest.approx((0.0, 84.0)) == axes.get_ylim()
    assert label == axes.get_xlabel()
    assert f"schedule {schedule:g} of the paper's" in drawn(store, "fig1", variant).get_suptitle()


def test_band_over_seeds(store: Store, add_run: AddRun, short: Variant) -> None:
    """Several runs show as their mean with a band from lowest to highest; a single one has no band."""
    add_run("plain-20", [50.0, 8.0])
    add_run("plain-20", [60.0, 10.0], seed=1)
    add_run("plain-56", [50.0, 8.0])
    figure = drawn(store, "fig1", short)
    band = figure.axes[1].collections[0].get_paths()[0].get_extents()

    assert [[320.0, 55.0], [640.0, 9.0]] == np.asarray(lines(figure.axes[1])["plain-20 test"].get_xydata()).tolist()
    assert [320.0, 640.0, 8.0, 60.0] == [*band.intervalx, *band.intervaly]
    assert 1 == len(figure.axes[1].collections)
    assert "n = 2 (plain-56 1)." in footnote(figure)
    assert "the band is from the lowest to the highest run" in footnote(figure)


def test_a_panel_without_data_is_left_out(store: Store, add_run: AddRun, short: Variant) -> None:
    """Only panels with a curve are drawn; the nets of the others stand in the footnote as not run."""
    add_run("plain-20", [30.0, 9.0])
    figure = drawn(store, "fig6", short)

    assert ["plain"] == [axes.get_title() for axes in figure.axes]
    assert "resnet-1202" in footnote(figure).partition("Not run")[2]


def test_names_keep_apart(store: Store, add_run: AddRun, short: Variant) -> None:
    """Names of lines that end together do not overlap, and stand in the lines' order."""
    ends = {"resnet-20": 7.2, "resnet-32": 7.1, "resnet-44": 7.0, "resnet-56": 7.05, "resnet-110": 7.3}
    for net, error in ends.items():
        add_run(net, [30.0, error])
    figure = drawn(store, "fig6", short)
    figure.draw_without_rendering()
    boxes = sorted(
        ((Text.get_window_extent(text), text.get_text()) for text in figure.axes[0].texts), key=lambda pair: pair[0].y0
    )

    assert sorted(ends, key=ends.__getitem__) == [name for _, name in boxes]
    assert all(below.y1 <= above.y0 for (below, _), (above, _) in pairwise(boxes))


def test_shortcut_options_have_colours_of_their_own(store: Store, add_run: AddRun, short: Variant) -> None:
    """Where a panel's nets have one depth, the shortcut gives the colour: four nets, four colours, the same in both."""
    for depth in (20, 56):
        for net in (f"plain-{depth}", f"resnet-{depth}", f"resnet-{depth}-B", f"resnet-{depth}-C"):
            add_run(net, [30.0, 9.0])
    colours = [
        [to_hex(line.get_color()) for name, line in lines(axes).items() if name.endswith("test")]
        for axes in drawn(store, "shortcuts", short).axes
    ]

    assert 4 == len(set(colours[0]))
    assert colours[0] == colours[1]


def test_footnote(store: Store, add_run: AddRun, short: Variant) -> None:
    """Below the figure: what the training error is, how it is smoothed, what is unfinished, what was not run."""
    add_run("plain-20", [50.0, 9.0])
    add_run("plain-56", [50.0, 9.0], state="interrupted")
    add_run("resnet-20", [50.0, 9.0], state="running")
    figure = drawn(store, "degradation", short)

    assert (
        "Training error (dashed): running, on augmented batches, trailing mean over 64 updates. Test error (bold): at "
        "each evaluation. One run each. Unfinished, drawn as far as they got: plain-56, resnet-20. Runs "
        "without a result: plain-56 (1 interrupted), resnet-20 (1 running). Not run: resnet-56."
    ) == footnote(figure)
    assert [[320.0, 50.0]] == np.asarray(lines(figure.axes[0])["plain-56 test"].get_xydata()).tolist()


def test_averaged_statistics(store: Store, add_run: AddRun, short: Variant) -> None:
    """Where all runs of a net have tests with averaged statistics these are its curve, and the footnote says so.

    An empty field is no point. A net of which one run is from before has its running curve.
    """
    for net in ("plain-20", "resnet-20", "resnet-56"):
        add_run(net, [50.0, 30.0, 20.0, 9.0], averaged=[None, 15.0, None, 8.0])
    add_run("plain-56", [50.0, 30.0, 20.0, 9.0])
    add_run("resnet-56", [50.0, 30.0, 20.0, 9.0], seed=1)
    figure = drawn(store, "degradation", short)
    left, right = (lines(axes) for axes in figure.axes)

    assert [[320.0, 15.0], [640.0, 8.0]] == np.asarray(left["plain-20 test"].get_xydata()).tolist()
    assert [50.0, 30.0, 20.0, 9.0] == left["plain-56 test"].get_ydata().tolist()  # type: ignore[union-attr]
    assert [50.0, 30.0, 20.0, 9.0] == right["resnet-56 test"].get_ydata().tolist()  # type: ignore[union-attr]
    assert (
        "Test error (bold): at each evaluation with averaged statistics of batch normalisation (plain-56, resnet-56: "
        "running statistics). Mean over n runs" in footnote(figure)
    )


def test_a_smoke_run_is_marked(store: Store, add_run: AddRun, short: Variant) -> None:
    """A smoke run's figure says SMOKE across it; another's does not."""
    tiny = Variant(tiny=True, dataset="synthetic")
    add_run("plain-20", [90.0, 80.0], variant=tiny)
    add_run("plain-20", [90.0, 80.0])
    marked, other = drawn(store, "fig1", tiny), drawn(store, "fig1", short)

    assert ["SMOKE"] == [text.get_text() for text in marked.texts if text.get_alpha()]
    assert "SMOKE RUN (--tiny), not a result" in marked.get_suptitle()
    assert "SMOKE" not in [text.get_text() for text in other.texts]


def test_depth(store: Store, add_run: AddRun, short: Variant) -> None:
    """Final error against depth: a series a family, mean and deviation, a dot for each of several runs; two panels."""
    for seed, error in enumerate([8.0, 9.0]):
        add_run("plain-8", [90.0, error], error + 1, seed=seed)
    add_run("plain-14", [90.0, 7.0], 6.0)
    add_run("resnet-14", [90.0, 5.0], 4.0)
    left, right = drawn(store, "depth", short).axes
    plain, residual = right.containers
    mean, _, bars = plain.lines
    dots = [line for line in right.lines if line.get_marker() == "."]

    assert (["plain train", "residual train"], ["plain test", "residual test"]) == tuple(
        axes.get_legend_handles_labels()[1] for axes in (left, right)
    )
    assert [[8.0, 8.5], [14.0, 7.0]] == np.asarray(mean.get_xydata()).tolist()
    assert pytest.approx(2 * 0.5**0.5) == np.ptp(bars[0].get_segments()[0][:, 1])
    assert [[[8.0, 8.0], [8.0, 9.0]]] == [np.asarray(each.get_xydata()).tolist() for each in dots]
    assert [[14.0, 5.0]] == np.asarray(residual.lines[0].get_xydata()).tolist()
    assert [[8.0, 9.5], [14.0, 6.0]] == np.asarray(left.containers[0].lines[0].get_xydata()).tolist()
    assert (0.0, 0.0) == (left.get_ylim()[0], right.get_ylim()[0])
    assert ["8", "14", "20", "32", "44", "56"] == [label.get_text() for label in right.get_xticklabels()]


def test_depth_beside_the_paper(store: Store, add_run: AddRun, short: Variant) -> None:
    """Where the experiment has the paper's numbers they stand as open squares; 8 to 1202 layers need a logarithm."""
    add_run("resnet-110", [90.0, 7.0])
    panels = [{"title": "", "kind": "depth", "show": "test"}]
    table6 = load_experiment("table6").model_dump(mode="json") | {"figure": {"title": "T", "panels": panels}}
    axes = drawn(store, Experiment.model_validate(table6), short).axes[0]
    paper = lines(axes)["paper"]

    assert [[20, 8.75], [32, 7.51], [44, 7.17], [56, 6.97], [110, 6.61], [1202, 7.93]] == (
        np.asarray(paper.get_xydata()).tolist()
    )
    assert ("none", "log") == (paper.get_fillstyle(), axes.get_xscale())


def test_a_panel_without_nets_shows_all(store: Store, add_run: AddRun, short: Variant) -> None:
    """A panel of curves that names no nets shows those of the experiment."""
    add_run("plain-20", [50.0, 9.0])
    add_run("resnet-56", [50.0, 9.0])
    figure = drawn(store, own(figure={"title": "costs $1 and $2", "panels": [{"title": "all"}]}), short)
    figure_bytes(figure, "svg")

    assert ["plain-20", "resnet-56"] == names(figure.axes[0])


def test_nothing_to_draw(store: Store, add_run: AddRun, short: Variant) -> None:
    """No figure comes of no data, of runs the figure does not show, or of an experiment without a figure."""
    nothing = draw(store, summarize(store, load_experiment("fig6"), short))
    add_run("plain-110", [90.0, 80.0])
    add_run("resnet-20", [90.0, 80.0], state="running")

    assert nothing is None
    assert draw(store, summarize(store, load_experiment("fig1"), short)) is None
    assert draw(store, summarize(store, load_experiment("depth"), short)) is None
    without = load_experiment("fig6").model_copy(update={"figure": None})
    assert draw(store, summarize(store, without, short)) is None
    assert draw(store, summarize(store, load_experiment("table1"), short)) is None


@pytest.mark.parametrize(("form", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_files_are_reproducible(
    store: Store, add_run: AddRun, short: Variant, form: FigureFormat, start: bytes
) -> None:
    """The same numbers make the same file, byte for byte."""
    add_run("plain-20", [50.0, 9.0])
    first, second = (figure_bytes(drawn(store, "fig1", short), form) for _ in range(2))

    assert first.startswith(start)
    assert first == second
    assert b"Date" not in first


def test_colours_differ_at_any_depths(store: Store, add_run: AddRun, short: Variant) -> None:
    """Depths that the paper does not draw have colours too, unlike one another and the paper's."""
    nets = [Net.model_validate(f"plain-{depth}").name for depth in (8, 14, 20)]
    for net in nets:
        add_run(net, [50.0, 9.0])
    figure = drawn(store, own(runs=[{"nets": nets}], claims=[], figure={"title": "", "panels": [{"title": ""}]}), short)

    assert 3 == len({to_hex(line.get_color()) for line in lines(figure.axes[0]).values()})
