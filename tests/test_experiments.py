from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paper_tasks import CIFAR10

from resnet_cli.claims import BetterTogether
from resnet_cli.cli.plot import EXPERIMENT_OF_ALIAS
from resnet_cli.experiment import Experiment, experiment_names, experiments_folder, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.runs.plan import plan

TRAINED = [name for name in experiment_names() if load_experiment(name).runs]


def paper_scale(experiment: Experiment) -> Variant:
    """The paper's own variant of an experiment."""
    return Variant(dataset=experiment.dataset)


def smoke(experiment: Experiment) -> Variant:
    """The smoke run of an experiment."""
    return Variant(dataset=experiment.task.embedded, tiny=True)


def all_nets() -> list[tuple[str, str]]:
    """Every net that an experiment trains, once, with its benchmark."""
    experiments = [load_experiment(name) for name in experiment_names()]
    return sorted({(each.task.name, net.full_name) for each in experiments for net in each.nets})


def run_ids(name: str, variant: Variant) -> set[str]:
    """The ids of an experiment's runs."""
    return {run.run_id for run in plan(load_experiment(name), variant)}


@pytest.mark.parametrize("name", TRAINED)
def test_each_experiment_plans(name: str) -> None:
    """Every file that comes with the program plans its runs, at paper scale and as a smoke run.

    And before them those of another task that they start from.
    """
    experiment = load_experiment(name)
    expected = sum(group.seeds * len(group.nets) for group in experiment.runs)
    at_scale, in_smoke = plan(experiment, paper_scale(experiment)), plan(experiment, smoke(experiment))

    assert expected == sum(run.task is experiment.task for run in at_scale)
    sources = {each.run_id for run in in_smoke for each in run.sources}
    asked = {run.net for run in in_smoke if run.task is experiment.task and run.run_id not in sources}
    assert asked <= set(experiment.nets) <= {run.net for run in in_smoke}
    for runs in (at_scale, in_smoke):
        ids = [run.run_id for run in runs]
        assert all(ids.index(run.source.run_id) < ids.index(run.run_id) for run in runs if run.source)


@pytest.mark.parametrize("name", TRAINED)
def test_each_net_shown_is_trained(name: str) -> None:
    """Every net in a row, a claim or a panel is in the experiment's plan."""
    experiment = load_experiment(name)
    trained = {run.net for run in plan(experiment, paper_scale(experiment))}

    assert set() == set(experiment.nets_named()) - trained


@pytest.mark.parametrize("name", experiment_names())
def test_header_names_the_command(name: str) -> None:
    """Every file opens with a comment that names the command that runs it."""
    lines = (experiments_folder() / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    header = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]

    assert any(re.match(rf"#   resnet run {name}\b", line) for line in header)


@pytest.mark.parametrize("name", [name for benchmark, name in all_nets() if benchmark == "cifar10"])
def test_each_net_builds(name: str) -> None:
    """Every net that is trained on CIFAR-10 can be built, with as many parameters as are shown in tables."""
    net = CIFAR10.net(name)
    built = CIFAR10.make(net, seed=0)

    assert CIFAR10.parameters(net) == sum(parameter.numel() for parameter in built.parameters())
    assert CIFAR10.multiply_adds(net) > 0


def test_imagenet_nets() -> None:
    """ImageNet's nets are those of Tables 1 to 4, option B unsaid from 50 layers on."""
    names = {name for benchmark, name in all_nets() if benchmark == "imagenet"}

    assert names == {
        "plain-18",
        "plain-34",
        "resnet-18-A",
        "resnet-34-A",
        "resnet-34-B",
        "resnet-34-C",
        "resnet-50-B",
        "resnet-101-B",
        "resnet-152-B",
    }


def test_table6_is_the_papers() -> None:
    """Table 6's rows hold the paper's numbers."""
    rows = [
        (row.label, row.net.name if row.net else None, row.layers, row.params, row.error, row.mean, row.std)
        for row in load_experiment("table6").rows
    ]

    assert rows == [
        ("Maxout", None, "", "", 9.38, None, None),
        ("NIN", None, "", "", 8.81, None, None),
        ("DSN", None, "", "", 8.22, None, None),
        ("FitNet", None, "19", "2.5M", 8.39, None, None),
        ("Highway", None, "19", "2.3M", 7.54, 7.72, 0.16),
        ("Highway", None, "32", "1.25M", 8.80, None, None),
        ("ResNet", "resnet-20", "20", "0.27M", 8.75, None, None),
        ("ResNet", "resnet-32", "32", "0.46M", 7.51, None, None),
        ("ResNet", "resnet-44", "44", "0.66M", 7.17, None, None),
        ("ResNet", "resnet-56", "56", "0.85M", 6.97, None, None),
        ("ResNet", "resnet-110", "110", "1.7M", 6.43, 6.61, 0.16),
        ("ResNet", "resnet-1202", "1202", "19.4M", 7.93, None, None),
    ]


def test_table6_params_are_the_nets() -> None:
    """The parameters printed in the paper's Table 6 are those of our nets, to the printed digit."""
    rows = [row for row in load_experiment("table6").rows if row.net]
    digits = {row.layers: len(row.params.partition(".")[2]) - 1 for row in rows}

    assert [row.params for row in rows] == [
        f"{CIFAR10.parameters(row.net) / 1e6:.{digits[row.layers]}f}M" for row in rows if row.net
    ]


def test_table6_seeds() -> None:
    """Table 6 trains ResNet-110 five times, as the paper did, and every other net once."""
    seeds = {net.name: group.seeds for group in load_experiment("table6").runs for net in group.nets}

    assert seeds == {
        "resnet-20": 1,
        "resnet-32": 1,
        "resnet-44": 1,
        "resnet-56": 1,
        "resnet-110": 5,
        "resnet-1202": 1,
    }


def test_aliases_have_figures() -> None:
    """`resnet plot cifar` and `imagenet` are the paper's learning curves, `responses` is its Figure 7."""
    titles = {alias: load_experiment(name).title for alias, name in EXPERIMENT_OF_ALIAS.items()}

    assert titles == {
        "cifar": "Figure 6. Learning curves on CIFAR-10",
        "imagenet": "Figure 4. Learning curves on ImageNet",
        "responses": "Figure 7. Standard deviations of layer responses on CIFAR-10",
    }
    assert all(load_experiment(name).figure for name in EXPERIMENT_OF_ALIAS.values())


def test_figure4_has_the_papers_axes() -> None:
    """Figure 4 shows errors from 20 to 60%, plain nets left and residual nets right."""
    figure = load_experiment("fig4").figure
    assert figure

    assert (20.0, 60.0) == (figure.y_min, figure.y_max)
    assert [["plain-18", "plain-34"], ["resnet-18", "resnet-34"]] == [
        [net.name for net in panel.nets] for panel in figure.panels
    ]


@pytest.mark.parametrize(("figure", "between"), [("fig6", 1_000), ("fig4", 5_000)])
def test_the_papers_curves(figure: str, between: int) -> None:
    """They are those of the figure's nets: in order, on the grid of the paper's tests, below the figure's edge."""
    experiment = load_experiment(figure)
    assert experiment.figure
    curves = pd.read_csv(experiments_folder() / f"curves/{figure}.csv", comment="#")
    drawn = {net.name for panel in experiment.figure.panels for net in panel.nets}

    assert drawn == set(curves["net"])
    assert {"train", "test"} == set(curves["shown"])
    assert curves["error"].between(0, experiment.figure.y_max + 3).all()
    assert (curves["iteration"] % between == 0).all()
    for _, curve in curves.groupby(["net", "shown"]):
        assert curve["iteration"].is_monotonic_increasing
        assert curve["iteration"].is_unique
        assert curve["iteration"].iloc[-1] <= experiment.protocol.iterations
        halves = np.array_split(curve["error"].to_numpy(), 2)
        assert halves[0].mean() > halves[1].mean()


def test_the_papers_curves_end_at_its_numbers() -> None:
    """Table 6 has the test error after the last update, not the best; the plain nets' numbers are the curves' ends."""
    curves = pd.read_csv(experiments_folder() / "curves/fig6.csv", comment="#")
    tests = curves[curves["shown"] == "test"].groupby("net")["error"]
    rows = {row.net.name: row for row in load_experiment("fig6").rows if row.net}
    in_table6 = [f"resnet-{depth}" for depth in (20, 32, 44, 56)]

    assert [row.error for row in rows.values() if row.read_off] == [
        tests.last()[name] for name, row in rows.items() if row.read_off
    ]
    assert [rows[name].error for name in in_table6] == pytest.approx(tests.last()[in_table6].tolist(), abs=0.035)
    assert 0.13 == pytest.approx(max(rows[name].error - tests.min()[name] for name in in_table6), abs=0.005)
    of_table6 = {row.net.name: (row.error, row.mean, row.std) for row in load_experiment("table6").rows if row.net}
    assert of_table6 == {name: (row.error, row.mean, row.std) for name, row in rows.items() if name in of_table6}


def test_the_papers_responses() -> None:
    """Figure 7 has each 3x3 layer; the means in the table are theirs."""
    responses = pd.read_csv(experiments_folder() / "curves/fig7.csv", comment="#").groupby("net")
    layers = {name: each["layer"].tolist() for name, each in responses}
    rows = {
        row.label.removeprefix("paper's "): row.model_dump()["values"]
        for row in load_experiment("fig7").rows
        if row.read_off
    }

    assert {name: list(range(1, CIFAR10.net(name).depth)) for name in rows} == layers
    assert {name: values["mean_response"] for name, values in rows.items()} == pytest.approx(
        responses["std"].mean().to_dict(), abs=0.0006
    )


def test_table1_is_the_papers() -> None:
    """Table 1 describes the paper's nets, and VGG, with the multiply-adds that the paper gives; it trains nothing."""
    table1 = load_experiment("table1")
    described = [
        (each.label, each.net if isinstance(each.net, str) else each.net.name, each.flops)
        for each in table1.architectures
    ]

    assert () == table1.runs
    assert described == [
        ("ResNet-18", "resnet-18", 1.8e9),
        ("ResNet-34", "resnet-34", 3.6e9),
        ("ResNet-50", "resnet-50-B", 3.8e9),
        ("ResNet-101", "resnet-101-B", 7.6e9),
        ("ResNet-152", "resnet-152-B", 11.3e9),
        ("plain-34", "plain-34", 3.6e9),
        ("VGG-16", "vgg-16", 15.3e9),
        ("VGG-19", "vgg-19", 19.6e9),
    ]


@pytest.mark.parametrize(
    ("name", "views", "expected"),
    [
        (
            "table2",
            "10-crop",
            [
                ("plain", "plain-18", 27.94, None),
                ("ResNet", "resnet-18", 27.88, None),
                ("plain", "plain-34", 28.54, None),
                ("ResNet", "resnet-34", 25.03, None),
            ],
        ),
        (
            "table3",
            "10-crop",
            [
                ("VGG-16", None, 28.07, 9.33),
                ("GoogLeNet", None, None, 9.15),
                ("PReLU-net", None, 24.27, 7.38),
                ("plain-34", "plain-34", 28.54, 10.02),
                ("ResNet-34 A", "resnet-34", 25.03, 7.76),
                ("ResNet-34 B", "resnet-34-B", 24.52, 7.46),
                ("ResNet-34 C", "resnet-34-C", 24.19, 7.40),
                ("ResNet-50", "resnet-50-B", 22.85, 6.71),
                ("ResNet-101", "resnet-101-B", 21.75, 6.05),
                ("ResNet-152", "resnet-152-B", 21.43, 5.71),
            ],
        ),
        (
            "table4",
            "dense",
            [
                ("VGG, ILSVRC'14 (test)", None, None, 8.43),
                ("GoogLeNet, ILSVRC'14", None, None, 7.89),
                ("VGG, v5", None, 24.4, 7.1),
                ("PReLU-net", None, 21.59, 5.71),
                ("BN-inception", None, 21.99, 5.81),
                ("ResNet-34 B", "resnet-34-B", 21.84, 5.71),
                ("ResNet-34 C", "resnet-34-C", 21.53, 5.60),
                ("ResNet-50", "resnet-50-B", 20.74, 5.25),
                ("ResNet-101", "resnet-101-B", 19.87, 4.60),
                ("ResNet-152", "resnet-152-B", 19.38, 4.49),
            ],
        ),
        (
            "table5",
            "dense",
            [
                ("VGG, ILSVRC'14", None, None, 7.32),
                ("GoogLeNet, ILSVRC'14", None, None, 6.66),
                ("VGG, v5", None, None, 6.8),
                ("PReLU-net", None, None, 4.94),
                ("BN-inception", None, None, 4.82),
                ("ResNet, six nets", None, None, 3.57),
            ],
        ),
    ],
)
def test_imagenet_tables_are_the_papers(
    name: str, views: str, expected: list[tuple[str, str | None, float | None, float | None]]
) -> None:
    """The rows of Tables 2 to 5 hold the paper's top-1 and top-5 errors, and the paper's test."""
    experiment = load_experiment(name)

    assert views == experiment.test
    assert expected == [(row.label, row.net.name if row.net else None, row.error, row.top5) for row in experiment.rows]


def test_table5_is_an_ensemble_of_six() -> None:
    """Table 5's ensemble has six nets of different depth, two of 152 layers, and is judged against its best member."""
    table5 = load_experiment("table5")
    ensemble = next(row.ensemble for row in table5.rows if row.ensemble)

    assert [34, 34, 50, 101, 152, 152] == [net.depth for net in ensemble]
    assert [ensemble] == [claim.nets for claim in table5.claims if isinstance(claim, BetterTogether)]


@pytest.mark.parametrize("variant", [{}, {"schedule": 0.05, "precision": "bf16"}, {"deviations": ("fixed-steps",)}])
def test_imagenet_experiments_share_runs(variant: dict[str, Any]) -> None:
    """Figure 4 and Table 2 have the same runs; Table 4's are Table 3's, and Table 5 adds one ResNet-152 to them."""
    ids = {
        name: run_ids(name, Variant(dataset="imagenet", **variant)) for name in ("fig4", *map("table{}".format, "2345"))
    }

    assert ids["fig4"] == ids["table2"]
    assert 2 == len(ids["table2"] & ids["table3"])
    assert 5 == len(ids["table4"])
    assert ids["table4"] < ids["table3"]
    assert 1 == len(ids["table5"] - ids["table4"])
    assert ids["table4"] < ids["table5"]


@pytest.mark.parametrize("name", ["fig1", "table6"])
@pytest.mark.parametrize(
    "variant", [Variant(), Variant(schedule=0.05, precision="bf16"), smoke(load_experiment("fig6"))]
)
def test_figures_and_tables_share_runs(name: str, variant: Variant) -> None:
    """Figure 6 holds all runs of Figure 1 and of Table 6, so that they are trained once."""
    assert set() < run_ids(name, variant) < run_ids("fig6", variant)
