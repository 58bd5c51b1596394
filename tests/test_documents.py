"""The documents say what is: every command and option, every file, every assumption."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import typer.main
from paper_tasks import CIFAR10
from scipy import stats

from resnet_cli.analyses import analysis_of
from resnet_cli.claims.judge import judge
from resnet_cli.cli.app import app
from resnet_cli.data.stream import PADDING
from resnet_cli.evaluate.evaluate import AVERAGED_BATCH, AVERAGED_IMAGES
from resnet_cli.experiment import experiment_names, experiments_folder, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.cells import NOT_RUN, signed
from resnet_cli.report.paired import make_pair
from resnet_cli.report.panels import layer_values
from resnet_cli.report.shown import variant_to_show
from resnet_cli.report.summarize import summarize
from resnet_cli.report.tables import make_table, render, rich_table
from resnet_cli.report.terminal import as_text
from resnet_cli.spec import Plateau, Warmup
from resnet_cli.spec.protocol import FEWEST_UPDATES_OF_A_WINDOW
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from resnet_cli.identity import RunSpec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PUBLISHED = Store(ROOT / "results/published")
SHORT = Variant(schedule=0.02, precision="bf16")
AT_PAPER_SCALE = Variant(precision="bf16")
DEMO = Variant(dataset="shapes-16", precision="bf16")
FIRST_DROP = CIFAR10.protocol.milestones[0]
LAST = CIFAR10.protocol.iterations
CURVES = experiments_folder() / "curves"


def commands() -> dict[str, set[str]]:
    """Every command with its options."""
    found = {}
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        for path, each in {f"{name} {sub}": c for sub, c in inner.items()}.items() if inner else [(name, command)]:
            found[path] = {option for parameter in each.params for option in parameter.opts if option.startswith("-")}
    return found


def section_of_paper_scale(heading: str) -> str:
    """The section of docs/paper-scale.md whose heading begins so."""
    return (DOCS / "paper-scale.md").read_text().partition(f"\n## {heading}")[2].partition("\n## ")[0]


def runs_at_paper_scale(net: str) -> list[RunSpec]:
    """A net's published runs with the paper's whole schedule, by seed."""
    runs = (run for run in PUBLISHED.runs() if run.variant == AT_PAPER_SCALE and run.net.name == net)
    return sorted(runs, key=lambda run: run.seed)


def paper_curve(net: str, shown: str, iterations: ArrayLike) -> np.ndarray:
    """The paper's error at these updates, interpolated between its tests."""
    curves = pd.read_csv(CURVES / "fig6.csv", comment="#").set_index(["net", "shown"]).loc[(net, shown)]
    return np.interp(iterations, curves["iteration"], curves["error"])


def test_every_command_and_option_is_in_the_reference() -> None:
    """docs/commands.md has a section for each command, and in it each option."""
    reference = (DOCS / "commands.md").read_text()
    sections = dict(re.findall(r"^#+ `resnet ([^`]+)`\n(.*?)(?=^#+ `resnet|\Z)", reference, re.MULTILINE | re.DOTALL))
    for name, options in commands().items():
        assert name in sections
        for option in options:
            assert f"`{option}" in sections[name], f"{name} {option}"


def test_readme_names_every_experiment() -> None:
    """The README's table leaves none out."""
    for name in experiment_names():
        assert f"`{name}`" in README, name


def test_readme_is_short() -> None:
    """A newcomer reads it to the end, and sees on its first screen how to begin."""
    lines = README.splitlines()

    assert len(lines) <= 130
    assert {"make demo", "make test"} <= {line.partition(" #")[0].rstrip() for line in lines[:12]}


def test_the_tree_is_as_it_is_shown() -> None:
    """Each module stands in CONTRIBUTING.md's tree with its purpose, and the tree names no file that is not there."""
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("<!-- tree -->")[2].partition("<!-- /tree -->")[0]
    named, folder = set(), ""
    for line in tree.partition("resnet_cli/\n")[2].partition("\ntests/")[0].splitlines():
        name, *purpose = line.split()
        folder = folder if line.startswith("    ") else ""
        if name.endswith("/"):
            folder = name
        else:
            assert purpose, name
            named.add(folder + name)
    modules = {
        str(path.relative_to(ROOT / "resnet_cli"))
        for path in (ROOT / "resnet_cli").rglob("*.*")
        if path.suffix in {".py", ".html", ".js"} and not path.name.startswith("__")
    }

    assert modules == named


def test_assumptions_are_listed_with_their_values() -> None:
    """What the paper leaves open is listed with the value that the code has."""
    assumptions = (DOCS / "what-the-paper-leaves-open.md").read_text()

    assert f"last {Warmup().window} updates" in assumptions
    assert f"{Warmup().from_depth} layers and more" in assumptions
    assert f"pad {PADDING}" in assumptions
    assert f"averaged over {AVERAGED_IMAGES:,} training images" in assumptions
    plateau = Plateau()
    assert f"{plateau.window:,} updates (an epoch) is not {plateau.improvement:g} points below" in assumptions
    assert f"{plateau.patience} times in a row; at most {plateau.drops} drops" in assumptions
    assert f"not below {FEWEST_UPDATES_OF_A_WINDOW:,} updates" in assumptions
    for word in ("fan-in", "1/255", "BN", "momentum", "epoch", "running", "zero channels", "last 5,000"):
        assert word in assumptions, word


def test_every_promise_names_a_test_that_is_there() -> None:
    """Each file and test that docs/trust.md names exists, and every test with a full count is in it."""
    document = (DOCS / "trust.md").read_text()
    named = re.findall(r"`(tests/[a-z_0-9/]+\.py)(?:::(\w+))?`", document)
    for path, name in named:
        assert f"def {name}" in (ROOT / path).read_text(), (path, name)
    with_full_counts = [
        path for path in ROOT.glob("tests/trust/test_*.py") if "marks=pytest.mark.slow" in path.read_text()
    ]

    assert with_full_counts
    assert {str(path.relative_to(ROOT)) for path in with_full_counts} <= {path for path, _ in named}


@pytest.mark.parametrize(
    ("document", "name", "depths", "variant"),
    [
        ("docs/cifar10.md", "degradation", (8, 20), SHORT),
        ("README.md", "fig6", None, AT_PAPER_SCALE),
        ("docs/start.md", "demo", None, DEMO),
    ],
)
def test_documents_show_what_is_published(
    document: str, name: str, depths: tuple[int, ...] | None, variant: Variant
) -> None:
    """The errors in the README and the pages for beginners are those that the published runs give, computed anew."""
    text = (ROOT / document).read_text()
    nets = summarize(PUBLISHED, load_experiment(name, depths), variant).by_net

    assert len(nets)
    for net in nets.itertuples():
        test, train = (
            f"{mean:.2f} ± {std:.2f}" if net.n > 1 else f"{mean:.2f}"
            for mean, std in ((net.test_error, net.test_error_std), (net.train_error, net.train_error_std))
        )
        best, took = "", ""
        if variant == AT_PAPER_SCALE:
            hours = " and ".join([r"[\d.]+"] * net.n)
            best, took = rf" {net.best_test_error:.2f} \|", rf" {hours} hours \|"
        row = rf"^\| {net.Index} .*\| {test} \|{best} {train} \| {net.n} \|{took}$"
        assert re.search(row, text, re.MULTILINE | re.IGNORECASE), row


@pytest.mark.parametrize(
    ("document", "name", "depths", "variant"),
    [("README.md", "demo", None, DEMO), ("docs/table.md", "degradation", (8, 20), SHORT)],
)
def test_documents_show_what_is_printed(
    document: str, name: str, depths: tuple[int, ...] | None, variant: Variant
) -> None:
    """What a command is shown to print is what it prints of the published runs."""
    printed = as_text(rich_table(make_table(summarize(PUBLISHED, load_experiment(name, depths), variant))))
    table = re.search(r"^method .*?(?=\n\n)", printed, re.MULTILINE | re.DOTALL)

    assert table
    assert table[0] in (ROOT / document).read_text()


@pytest.mark.parametrize(
    ("document", "name", "depths", "variant"),
    [
        *[("arguments.md", each, None, SHORT) for each in ("degradation", "shortcuts", "gates", "gradients", "fig7")],
        *[("arguments.md", each, (8, 20), SHORT) for each in ("construction", "single-layer", "convergence", "longer")],
        ("detection.md", "scenes", None, Variant(dataset="drawn-scenes")),
        ("localisation.md", "localisation", None, Variant(dataset="drawn-objects")),
        ("speech.md", "wrbn", None, Variant(dataset="spoken")),
    ],
)
def test_documents_have_what_is_published(
    document: str, name: str, depths: tuple[int, ...] | None, variant: Variant
) -> None:
    """A page has each experiment's table and verdicts as the published runs give them, computed anew."""
    text = (DOCS / document).read_text()
    summary = summarize(PUBLISHED, load_experiment(name, depths), variant)
    rows = [line for line in render(make_table(summary), "md").splitlines() if line.startswith("|")]

    assert len(summary.runs)
    assert "\n".join(rows) in text
    for judgement in judge(summary):
        assert f"- {judgement.verdict}: {judgement.claim.text}\n" in text


def test_the_demos_are_what_is_shown() -> None:
    """Of the published runs the commands of results/README.md show those of the two demos, three of each net."""
    for experiment in (load_experiment("degradation", (8, 20)), load_experiment("demo")):
        variant = variant_to_show(PUBLISHED, experiment)

        assert [3] * 4 == summarize(PUBLISHED, experiment, variant).by_net["n"].tolist()


@pytest.mark.parametrize("name", ["table6", "fig6", "fig7"])
def test_paper_scale_is_what_is_published(name: str) -> None:
    """docs/paper-scale.md has the rows of the nets that were trained and what was judged of them, computed anew."""
    document = (DOCS / "paper-scale.md").read_text()
    summary = summarize(PUBLISHED, load_experiment(name), AT_PAPER_SCALE)
    rows = [line for line in render(make_table(summary), "md").splitlines() if re.search(r"\|   [1-9] \|", line)]

    assert rows
    assert len(summary.by_net) == len(rows)
    assert all(row in document for row in rows)
    for judgement in judge(summary):
        if judgement.verdict != "not run":
            assert f"- {judgement.verdict}: {judgement.claim.text}\n" in document


@pytest.mark.parametrize("net", sorted({run.net.name for run in PUBLISHED.runs() if run.variant == AT_PAPER_SCALE}))
def test_hours_are_those_of_the_runs(net: str) -> None:
    """README and docs/paper-scale.md say how long each run at the paper's scale took, training and testing."""
    took = [PUBLISHED.status(run) for run in runs_at_paper_scale(net)]
    hours = " and ".join(f"{(each.train_seconds + each.evaluate_seconds) / 3600:.1f}" for each in took) + " hours"
    told = " ".join((DOCS / "paper-scale.md").read_text().split())

    assert re.search(rf"^\| {net} .*\| {hours} \|$", README, re.MULTILINE | re.IGNORECASE), hours
    assert re.search(rf"\b{hours} \({net}\)", told, re.IGNORECASE), hours


def test_statistics_of_batch_normalisation_are_those_measured() -> None:
    """docs/paper-scale.md has the rows of bn-statistics.csv, and what is said of them."""
    section = section_of_paper_scale("Nets of 20 layers while")
    measured = pd.read_csv(ROOT / "results/published/bn-statistics.csv")
    before, end = measured[measured["iteration"] < FIRST_DROP], measured[measured["iteration"] == LAST]
    errors = ["running", "averaged_over_10", "averaged_over_100"]
    logs = {run.run_id: PUBLISHED.eval_log(run) for run in PUBLISHED.runs() if run.variant == AT_PAPER_SCALE}

    assert len(before) + len(end) == len(measured)
    assert before[["iteration", *errors]].to_numpy().tolist() == [
        [float(cell.replace(",", "")) for cell in row]
        for row in re.findall(r"^\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \|$", section, re.MULTILINE)
    ]
    paper = paper_curve("plain-20", "test", before["iteration"])
    assert [f"{each:.2f}" for each in paper] == re.findall(r"^\| [\d,]+ \| .* \| ([\d.]+) \|$", section, re.MULTILINE)
    near = [sum(abs(before[name].to_numpy() - paper) < 0.7) for name in errors[1:]]
    assert [8, 9] == near
    assert "Over 100 batches nine of ten points are within 0.7" in " ".join(section.split())
    assert "over 10 batches eight" in " ".join(section.split())
    assert [[run.split("-cifar10")[0], run[-1], *row] for run, *row in end[["run", *errors]].to_numpy().tolist()] == [
        [net, seed, *map(float, row)]
        for net, seed, *row in re.findall(
            r"^\| (\w+-20) \| (\d) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE
        )
    ]
    assert [logs[run]["test_error"].iloc[-1] for run in end["run"]] == pytest.approx(end["running"].tolist())
    assert (
        "The means are " + ", ".join(f"{before[name].mean():.2f}" for name in errors) + f" and {paper.mean():.2f}."
        in section
    )
    more, less = end["averaged_over_100"] - end["running"], before["running"] - before["averaged_over_100"]
    at_the_end, at_first = f"{more.min():.2f} to {more.max():.2f}", f"{int(less.min())} to {int(less.max())}"
    choices = (DOCS / "what-the-paper-leaves-open.md").read_text()
    assert f"is {at_the_end} higher at the end, plain-20's is {at_first} points lower" in choices


def test_the_papers_curves_are_as_told() -> None:
    """docs/paper-scale.md says where the paper's curves end and drop, and what their lowest points are."""
    section = " ".join(section_of_paper_scale("The paper's curves").split())
    tests = {
        figure: {
            net: curve.set_index("iteration")["error"]
            for net, curve in points[points["shown"] == "test"].groupby("net")
        }
        for figure in ("fig4", "fig6")
        for points in [pd.read_csv(CURVES / f"{figure}.csv", comment="#")]
    }
    of_table = {row.net.name: row.error for row in load_experiment("table6").rows if row.net}
    ends = {net: f"{curve.iloc[-1]:.2f}" for net, curve in tests["fig6"].items()}
    below = {net: f"{of_table[net] - curve.min():.2f}" for net, curve in tests["fig6"].items() if net in of_table}

    for family in ("resnet", "plain"):
        first, second, third, last = (ends[f"{family}-{depth}"] for depth in (20, 32, 44, 56))
        assert f"end at {first}, {second}, {third} and {last}" in section
    assert f"are {below['resnet-20']}, {below['resnet-32']} and {below['resnet-44']} below the table" in section
    assert tests["fig6"]["resnet-56"].min() == float(ends["resnet-56"])
    assert f"ResNet-110 ends at {ends['resnet-110']}" in section
    steps = {
        each: [curve[each] - curve[each + 5_000] for curve in tests["fig4"].values()] for each in (150_000, 300_000)
    }
    drops = [step for each in steps.values() for step in each]
    assert f"drop by {min(drops):.0f} to {max(drops):.0f} points between updates 150,000 and 155,000" in section


def test_responses_are_the_papers_times_a_factor() -> None:
    """docs/paper-scale.md says how the paper's responses differ from those of the published runs."""
    section = " ".join(section_of_paper_scale("Figure 7").split())
    read_off = pd.read_csv(CURVES / "fig7.csv", comment="#")
    paper = {name: each["std"].to_numpy() for name, each in read_off.groupby("net")}
    runs = [run for run in PUBLISHED.runs() if run.variant == AT_PAPER_SCALE and run.net.depth == 20]
    factors = {
        run.run_id: paper[run.net.name] / PUBLISHED.analysis(run, analysis_of("responses"))["std"].to_numpy()
        for run in runs
    }
    told = {run_id: f"{each[:-1].mean():.2f} ± {each[:-1].std():.2f}" for run_id, each in factors.items()}
    plain, residual = paper["plain-20"], paper["resnet-20"]
    added, inside = residual[2::2], residual[1::2]

    (at_20_layers,) = (
        each.p
        for each in judge(summarize(PUBLISHED, load_experiment("fig7"), AT_PAPER_SCALE))
        if each.claim.text.startswith("20 layers: ")
    )
    assert f"rests on two runs of each net (p = {at_20_layers:.3f})" in section
    assert 4 == len(factors)
    assert (
        f"the factor is {told['plain-20-cifar10-f89d9df1-s0']} and {told['plain-20-cifar10-f89d9df1-s1']} in plain-20 "
        f"(seeds 0 and 1) and {told['resnet-20-cifar10-395433ef-s0']} and {told['resnet-20-cifar10-395433ef-s1']} in "
        "ResNet-20"
    ) in section
    assert [1.5] * 4 == [round(each[-1], 1) for each in factors.values()]
    counts = sum(residual < plain), sum(sorted(residual)[i] < sorted(plain)[i] for i in range(19))
    assert f"{counts[0]} of 19 layers, {counts[1]} of 19 when sorted, and the same blocks" in section
    assert [True] * 6 + [False] * 3 == (added < inside).tolist()


def test_responses_of_56_layers_are_as_told() -> None:
    """docs/paper-scale.md compares both nets of 56 layers with each other, with 20 layers and with the paper's."""
    told = " ".join(section_of_paper_scale("Figure 7").split())
    paper = pd.read_csv(CURVES / "fig7.csv", comment="#").set_index(["net", "layer"])["std"]
    nets = ["plain-56", "resnet-20", "resnet-56"]
    summary = summarize(PUBLISHED, load_experiment("fig7"), AT_PAPER_SCALE)
    layers = {net.name: layer_values(PUBLISHED, summary, net) for net in summary.planned}
    ours = pd.concat({net: table["end"] for net in nets if (table := layers[net]) is not None})
    plain, residual = (paper[net] / ours[net] for net in ("plain-56", "resnet-56"))
    smaller = [sum(each["resnet-56"] < each["plain-56"]) for each in (ours, paper)]
    sorted_smaller = [sum(np.sort(each["resnet-56"]) < np.sort(each["plain-56"])) for each in (ours, paper)]
    means = [f"from {each['resnet-20'].mean():.3f} to {each['resnet-56'].mean():.3f}" for each in (ours, paper)]

    assert f"the residual nets' mean falls {means[0]}, and the paper's {means[1]}." in told
    assert f"in {smaller[0]} of 55 layers, in the paper in {smaller[1]}, too; when sorted, at " in told
    assert f"at {sorted_smaller[0]} of 55 places and at {sorted_smaller[1]}." in told
    assert (
        f"it varies from {plain.min():.1f} to {plain.max():.1f} in plain-56 and from {residual.min():.1f} to "
        f"{residual.max():.1f} in ResNet-56. In plain-56 it is about 6 at layers 26 to 28, where our responses are "
        f"smallest ({ours['plain-56'].min():.2f} to {ours['plain-56'].loc[26:28].max():.2f})"
    ) in told
    assert plain[plain.round() == 6].index.tolist() == [26, 27, 28]


def test_responses_without_decay_are_as_told() -> None:
    """docs/paper-scale.md has what benchmarks/first_updates.py measured of ResNet-20."""
    section = section_of_paper_scale("Figure 7")
    measured = pd.read_csv(ROOT / "results/published/first-updates.csv")
    measured = measured[(measured["net"] == "resnet-20") & (measured["rate"] == 0.1)].set_index(
        ["decays_norms", "iteration"]
    )
    rows = [
        f"| {number:,} | {with_decay.mean_response:.3f} | {without.mean_response:.3f} | "
        f"{with_decay.train_error:.2f} | {without.train_error:.2f} |"
        for (number, with_decay), (_, without) in zip(
            measured.loc[True].iterrows(), measured.loc[False].iterrows(), strict=True
        )
    ]

    assert "\n".join(rows) in section
    with_decay, without = (measured.loc[each, "mean_response"].iloc[-1] for each in (True, False))
    assert f"is {with_decay:.3f} with decay, and still falling, and {without:.3f} without" in " ".join(section.split())
    assert f"The ratio is {without / with_decay:.2f};" in section


def test_first_updates_are_as_told() -> None:
    """docs/paper-scale.md has what benchmarks/first_updates.py measured of ResNet-56, and the paper's errors."""
    section = section_of_paper_scale("ResNet-56's first updates")
    levels = ["net", "precision", "rate", "decays_norms", "iteration"]
    measured = pd.read_csv(ROOT / "results/published/first-updates.csv").set_index(levels).sort_index()
    settings = [("bf16", 0.1, True), ("fp32", 0.1, True), ("bf16", 0.1, False), ("bf16", 0.05, True)]
    trained = [measured.loc[("resnet-56", *each), "train_error"] for each in settings]
    rows = []
    for number in range(500, 4001, 500):
        cells = [f"{each[number]:.2f}" if number in each.index else NOT_RUN for each in trained]
        paper = f"{paper_curve('resnet-56', 'train', [number])[0]:.2f}" if number in (3_000, 4_000) else NOT_RUN
        rows.append(f"| {number:,} | {' | '.join([*cells, paper])} |")

    def of(net: str, rate: float, shown: str, number: int) -> str:
        return f"{measured.loc[(net, 'bf16', rate, True, number), f'{shown}_error']:.2f}"

    def papers(net: str, shown: str, number: int) -> str:
        return f"{paper_curve(net, shown, [number])[0]:.2f}"

    of_the_runs = [
        PUBLISHED.train_log(run).set_index("iteration")["train_error"].loc[5_501:6_000].mean()
        for run in runs_at_paper_scale("resnet-20")
    ]
    told = " ".join(section.split())

    assert "\n".join(rows) in section
    assert f"is {trained[0][3_000] - trained[1][3_000]:.1f} lower after 3,000 updates" in told
    assert (trained[2] > trained[0][trained[2].index]).all()
    assert (
        f"averaged statistics is {of('resnet-56', 0.05, 'test', 4_000)}; the paper's is "
        f"{papers('resnet-56', 'test', 4_000)}, and ours at rate 0.1 is {of('resnet-56', 0.1, 'test', 4_000)}."
    ) in told
    assert (
        f"is {of('resnet-20', 0.05, 'train', 6_000)} at rate 0.05 and {of_the_runs[0]:.2f} at rate 0.1; the paper's at "
        f"update 6,000 is {papers('resnet-20', 'train', 6_000)}. With seed 1 it is {of_the_runs[1]:.2f} at rate 0.1, "
    ) in told
    for rate, numbers in ((0.05, range(3_000, 6_001, 1_000)), (0.1, [3_000])):
        ours = measured.loc[("resnet-20", "bf16", rate, True)].loc[list(numbers), "test_error"]
        above = ours - paper_curve("resnet-20", "test", numbers)
        points = " to ".join(dict.fromkeys(f"{each:.1f}" for each in (above.min(), above.max())))
        assert re.search(rf"rate {rate:g} (is|it is) {re.escape(points)} points above", told), (rate, points)


def trailing_train_error(run: RunSpec) -> pd.Series:
    """A run's training error, mean over the last 391 updates, by update from 391 on."""
    return PUBLISHED.train_log(run).set_index("iteration")["train_error"].rolling(391).mean().dropna()


def beside_the_paper(net: str, since: int, seed: int = 0) -> pd.DataFrame:
    """What a net's run measured at its tests both ways from this update on, and the paper's curves there."""
    run = runs_at_paper_scale(net)[seed]
    both = PUBLISHED.eval_log(run).dropna().set_index("iteration")
    trained = trailing_train_error(run)[both.index]
    beside = pd.DataFrame(
        {
            "running": both["test_error"],
            "averaged": both["averaged_test_error"],
            "paper": paper_curve(net, "test", both.index),
            "train": trained,
            "paper's train": paper_curve(net, "train", both.index),
        }
    )
    return beside[beside.index >= since]


def lowest_error(net: str) -> float:
    """Of all tests of a net's only run at the paper's scale, with running statistics."""
    (run,) = runs_at_paper_scale(net)
    return float(PUBLISHED.eval_log(run)["test_error"].min())


def from_the_papers(beside: pd.DataFrame) -> tuple[pd.Series, pd.Series, np.ndarray]:
    """How far averaged test and training errors are from the paper's, and which tests are before the first drop."""
    test, train = beside["averaged"] - beside["paper"], beside["train"] - beside["paper's train"]
    return test, train, beside.index <= FIRST_DROP


def check_rows(section: str, beside: pd.DataFrame) -> None:
    """A section's table has what was measured at the updates that it names, which are in order."""
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| [0-9]", line)]

    assert rows
    assert [f"{number:,}" for number in beside.index if f"| {number:,} |" in section] == [row[0] for row in rows]
    for updates, *cells in rows:
        assert [f"{each:.2f}" for each in beside.loc[int(updates.replace(",", ""))]] == cells


def test_plain_56_is_as_told() -> None:
    """docs/paper-scale.md has what plain-56 and the paper's measured, and how far they are apart."""
    section = section_of_paper_scale("Plain-56")
    told = " ".join(section.split())
    shown = beside_the_paper("plain-56", since=22_000)  # before, the paper's curve is cut off
    test, train, early = from_the_papers(shown)

    check_rows(section, shown)
    assert 39.57 == shown["running"].max() == shown["running"][23_438]
    assert f"by {test[early].min():.1f} to {test[early].max():.1f} points while the rate is 0.1" in told
    assert f"by {test[~early].min():.1f} to {test[~early].max():.1f} points afterwards" in told
    assert f"error is {train[early].min():.1f} to {train[early].max():.1f} points above the paper's" in told
    assert f"from update 44,532 on it is at most {train.loc[44_532:].abs().max():.1f} points, with either sign" in told


def test_resnet_20_is_as_told() -> None:
    """docs/paper-scale.md has what ResNet-20's second run and the paper's measured, and how far they are apart."""
    section = section_of_paper_scale("ResNet-20: ")
    told = " ".join(section.split())
    # Before, the paper's curve falls by points between two of its tests.
    shown = beside_the_paper("resnet-20", since=4_000, seed=1)
    test, train, early = from_the_papers(shown)
    first, second = (PUBLISHED.eval_log(run)["test_error"].iloc[-1] for run in runs_at_paper_scale("resnet-20"))

    check_rows(section, shown)
    assert f"end at {first:.2f} (seed 0) and {second:.2f} (seed 1)" in told
    by_chance = [f"{stats.t.ppf(0.975, 4) * std * np.sqrt(1 + 1 / 2):.2f}" for std in (0.16, 0.22)]
    assert f"the mean of two runs differs from a single one by less than {by_chance[0]}." in told
    assert f"(0.22) the latter is {by_chance[1]}." in told
    assert f"at most {test[early].abs().max():.1f} points from the paper's at each of {sum(early)} tests" in told
    assert test[early].min() < 0 < test[early].max()
    assert f"and the training error is between {below_and_above(train[early])}." in told
    assert f"the training error is at most {train[~early].abs().max():.1f} points from the paper's" in told
    assert f"the test error is {-test[~early].max():.1f} to {-test[~early].min():.1f} points below." in told


def test_residual_nets_of_20_layers_learn_faster() -> None:
    """docs/paper-scale.md says when training errors first fall below 50% and 20%, and that residual nets' are lower."""
    told = " ".join(section_of_paper_scale("What shortcuts do at 20 layers").split())
    plain, residual = (
        [trailing_train_error(run) for run in runs_at_paper_scale(net)] for net in ("plain-20", "resnet-20")
    )

    assert all((one < other).all() for one in residual for other in plain)
    below = {
        error: [" and ".join(f"{each[each < error].index[0]:,}" for each in nets) for nets in (residual, plain)]
        for error in (50, 20)
    }
    assert f"first falls below 50% after {below[50][0]} updates (seeds 0 and 1) against {below[50][1]}," in told
    assert f"and below 20% after {below[20][0]} against {below[20][1]}." in told


def test_resnet_32_is_as_told() -> None:
    """docs/paper-scale.md has what ResNet-32 and the paper's measured, and how far they are apart."""
    section = section_of_paper_scale("ResNet-32: ")
    told = " ".join(section.split())
    # Before, the paper's curve falls by points between two of its tests.
    shown = beside_the_paper("resnet-32", since=7_000)
    test, train, early = from_the_papers(shown)
    lowest = lowest_error("resnet-32")

    check_rows(section, shown)
    assert f"its lowest with running ones is {lowest:.2f}." in told
    assert f"the averaged test error is between {below_and_above(test[early])} the paper's" in told
    assert f"within a point at {sum(test[early].abs() < 1)} of {sum(early)} tests" in told
    assert f"and the training error between {below_and_above(train[early])}." in told
    assert f"After the drop the test error is {test[~early].min():.1f} to {test[~early].max():.1f} points above" in told
    assert f"the training error at most {train[~early].abs().max():.1f} points from the paper's, with either" in told
    assert train[~early].min() < 0 < train[~early].max()


def below_and_above(differences: pd.Series) -> str:
    """How far they reach."""
    return f"{-differences.min():.1f} points below and {differences.max():.1f} points above"


def p_of_growth(growth: float, *nets: tuple[float, int, int]) -> float:
    """How likely chance alone makes the difference from the paper's single run grow so much from one net to another.

    Welch's t, two-sided. Of each net: the standard deviation of others' runs, how many these are, and how many of ours
    are averaged.
    """
    variances = np.array([std**2 * (1 + 1 / ours) for std, _, ours in nets])
    freedom = variances.sum() ** 2 / sum(variances**2 / [others - 1 for _, others, _ in nets])
    return float(2 * stats.t.sf(growth / np.sqrt(variances.sum()), freedom))


def test_the_difference_grows_with_depth() -> None:
    """docs/paper-scale.md has the differences of ours and others' nets from the paper's, by depth."""
    told = " ".join(section_of_paper_scale("ResNet-32: ").split())
    frame = make_table(summarize(PUBLISHED, load_experiment("fig6"), AT_PAPER_SCALE)).frame.set_index("label")
    ours = frame["test_error"] - frame["paper_error"]
    table = section_of_paper_scale("ResNet-20: ").partition("| net | paper |")[2]
    by_net = {
        net.lower(): [cell.strip() for cell in cells.split("|")]
        for net, cells in re.findall(r"\| (\w+-\d\d) \|(.*)\|", table)
    }

    def others(net: str, column: int) -> str:
        return signed(float(by_net[net][column].split()[0]) - float(by_net[net][0].split()[0]))

    for each, sentence in (
        (lambda net: signed(ours[net]), "Our residual nets of 20, 32 and 56 layers differ by {}, {} and {} "),
        (lambda net: others(net, 1), "a-martyn's differ by {}, {} and {},"),
        (lambda net: others(net, 3), "fish145's by {}, {} and {};"),
    ):
        assert sentence.format(*map(each, ("resnet-20", "resnet-32", "resnet-56"))) in told
    plain = "our plain nets of 20 and 56 layers by {} and {}."
    assert plain.format(signed(ours["plain-20"]), signed(ours["plain-56"])) in told
    growth = [f"{ours[f'{family}-56'] - ours[f'{family}-20']:.2f}" for family in ("resnet", "plain")]
    assert f"it grows by {' and '.join(growth)}." in told
    spread = {
        net: (float(by_net[net][2].split(" ± ")[1]), 5, frame.loc[net, "n"])
        for net in ("resnet-20", "resnet-56", "plain-20", "plain-56")
    }
    p_residual = p_of_growth(float(growth[0]), spread["resnet-20"], spread["resnet-56"])
    p_plain = p_of_growth(float(growth[1]), spread["plain-20"], spread["plain-56"])
    assert f"looked at after the fact: p = {p_residual:.1g} and {p_plain:.1g})" in told
    with_six_runs = p_of_growth(float(growth[0]), spread["resnet-20"], (0.54, 6, 1))
    assert f"the first may be chance (p = {with_six_runs:.1g})" in told
    assert f"nabla0001's by {others('resnet-20', 2)} and {others('resnet-56', 2)}." in told
    for name, column in (("fish145's show it", 3), ("a-martyn's", 1), ("nabla0001's", 2)):
        assert f"{name} ({others('plain-20', column)} and {others('plain-56', column)})" in told


def test_resnet_56_is_as_told() -> None:
    """docs/paper-scale.md has what ResNet-56, the paper's and others' measured, and how far they are apart."""
    section = section_of_paper_scale("ResNet-56: ")
    told = " ".join(section.split())
    # Before, the paper's curve falls by points between two of its tests.
    shown = beside_the_paper("resnet-56", since=9_000)
    test, train, early = from_the_papers(shown)
    others = [float(each) for each in re.findall(r"[678]\.\d\d", told.partition("lowest errors were")[2])[:6]]
    lowest = lowest_error("resnet-56")

    check_rows(section, shown)
    assert f"the training error is {train[early].min():.1f} to {train[early].max():.1f} points above" in told
    assert f"averaged test error {test[early].min():.1f} to {test[early].max():.1f} points" in told
    assert f"from update 49,219 on it is at most {train.loc[49_219:].max():.1f} points above" in told
    assert f"the test error stays {test[~early].min():.1f} to {test[~early].max():.1f} points above" in told
    assert f"a mean of {np.mean(others):.2f} and a standard deviation of {np.std(others, ddof=1):.2f}" in told
    assert shown["running"].iloc[-1] == lowest
    assert min(others) < lowest < max(others)


@pytest.mark.parametrize(
    ("better", "other", "seeds", "told"),
    [
        (
            "plain-20",
            "plain-56",
            (0, 0),
            "{} test images are right with plain-20 (seed 0) only, {} with plain-56 only (sign test, one-sided {})",
        ),
        (
            "resnet-56",
            "plain-56",
            (0, 0),
            "{} test images are right with ResNet-56 only, {} with plain-56 only (sign test, one-sided {})",
        ),
        ("resnet-56", "resnet-20", (0, 0), "Against ResNet-20 these are {} and {} with seed 0 ({})"),
        ("resnet-56", "resnet-20", (0, 1), "{} and {} with seed 1 ({}). In the paper"),
        (
            "resnet-32",
            "resnet-20",
            (0, 0),
            "{} test images are right with ResNet-32 only, {} with ResNet-20 (seed 0) only (sign test, one-sided {})",
        ),
        ("resnet-32", "resnet-20", (0, 1), "{} against {} with seed 1 ({}). Against ResNet-56"),
        (
            "resnet-32",
            "resnet-56",
            (0, 0),
            "Against ResNet-56 these are {} and {} (two-sided, as the paper has the other order: {})",
        ),
        (
            "resnet-20",
            "plain-20",
            (0, 0),
            "{} test images are right with ResNet-20 only, {} with plain-20 only, both of seed 0 (one-sided {})",
        ),
        ("resnet-20", "plain-20", (0, 1), "{} against {} with plain-20 of seed 1 ({})"),
        ("resnet-20", "plain-20", (1, 0), "With ResNet-20 of seed 1 these are {} against {} ({})"),
        ("resnet-20", "plain-20", (1, 1), "and {} against {} ({})."),
    ],
)
def test_sign_tests_are_worked_out_anew(better: str, other: str, seeds: tuple[int, int], told: str) -> None:
    """docs/paper-scale.md has how many test images only one of two nets gets right, and the sign test's p."""
    left, right = (runs_at_paper_scale(net)[seed] for net, seed in zip((better, other), seeds, strict=True))
    test = make_pair(PUBLISHED, (left.net, right.net), {left.net: [left], right.net: [right]}, left.task.views[0]).test
    assert test is not None
    p = test.p * (2 if "two-sided" in told else 1)
    in_words = "p < 0.000000001" if p < 1e-9 else f"p = {np.format_float_positional(p, 2, fractional=False)}"
    page = " ".join((DOCS / "paper-scale.md").read_text().split())

    assert told.format(test.only_left, test.only_right, in_words) in page


def test_gradients_in_bf16_are_as_told() -> None:
    """docs/paper-scale.md has the rows of bf16-gradients.csv."""
    section = section_of_paper_scale("ResNet-56: ")
    measured = pd.read_csv(ROOT / "results/published/bf16-gradients.csv")
    rows = [
        f"  | {run.partition('-cifar10')[0]}, seed {run[-1]} | {cosine:.3f} | {noise:.1f} | {remains:.3f} |"
        for run, cosine, noise, remains in measured.itertuples(index=False)
    ]
    told = " ".join(section.split())
    noise = measured["noise_percent"]

    assert len(rows) == 4
    assert "\n".join(rows) in section
    assert f"Rounding adds {noise.min():.1f} to {noise.max():.1f}% to the variance" in told
    assert f"the difference is at most {100 * measured['remains'].max():.1f}% of the gradient's length" in told


def test_number_of_images_is_by_trial() -> None:
    """docs/paper-scale.md has the rows of bn-statistics-images.csv; as many are averaged over as agree with 12,800."""
    section = section_of_paper_scale("Tested both ways")
    measured = pd.read_csv(ROOT / "results/published/bn-statistics-images.csv")
    averaged = [name for name in measured.columns if name.startswith("averaged_over_")]
    images = {AVERAGED_BATCH * int(name.rpartition("_")[2]): measured[name] for name in averaged}
    off = {number: (errors - images[12_800]).abs() for number, errors in images.items() if number != 12_800}
    rows = []
    for run, iteration, *errors in measured.itertuples(index=False):
        cells = [
            f"{run.partition('-cifar10')[0]}, seed {run[-1]}",
            f"{iteration:,}",
            *(f"{each:.2f}" for each in errors),
        ]
        rows.append(f"| {' | '.join(cells)} |")

    assert f"| net | updates | running | {' | '.join(f'{number:,}' for number in images)} |" in section
    assert rows == re.findall(r"^\| .*, seed .*$", section, re.MULTILINE)
    assert AVERAGED_IMAGES == min(off, key=lambda number: off[number].mean())
    means = [f"{off[number].mean():.2f}" for number in (AVERAGED_IMAGES, 1_280, 2_560, 8_960)]
    assert "differ from 12,800 by {} points, fewer images by {} and {}, and 8,960 by {}".format(
        *means
    ) in section.replace("\n", " ")
    assert f"(5,120: {off[AVERAGED_IMAGES].max():.2f} at most)" in section


def test_estimates_are_worked_out_anew() -> None:
    """docs/scale.md has the tables that benchmarks/scale.py prints."""
    command = [sys.executable, ROOT / "benchmarks/scale.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    times, traffic = printed.strip().split("\n\n")

    assert times in (DOCS / "scale.md").read_text()
    assert traffic in (DOCS / "scale.md").read_text()


def test_links_lead_somewhere() -> None:
    """Every relative link and picture in the documents is a file."""
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results/README.md"]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
