from __future__ import annotations

import re

import pytest

from resnet_cli import complexity
from resnet_cli.experiment import experiment_names, experiments_folder, load_experiment
from resnet_cli.model import cifar_net
from resnet_cli.runs.plan import plan
from resnet_cli.spec import Net, Variant

TINY = Variant(dataset="synthetic", tiny=True)


def all_nets() -> list[str]:
    """Every net that an experiment trains, once."""
    return sorted({net.full_name for name in experiment_names() for net in load_experiment(name).nets})


def run_ids(name: str, variant: Variant) -> set[str]:
    """The ids of an experiment's runs."""
    return {run.run_id for run in plan(load_experiment(name), variant)}


@pytest.mark.parametrize("name", experiment_names())
def test_each_experiment_plans(name: str) -> None:
    """Every file that comes with the program plans its runs, at paper scale and as a smoke run."""
    experiment = load_experiment(name)
    expected = sum(group.seeds * len(group.nets) for group in experiment.runs)

    assert expected == len(plan(experiment, Variant()))
    assert len(experiment.nets) == len(plan(experiment, TINY))


@pytest.mark.parametrize("name", experiment_names())
def test_each_net_shown_is_trained(name: str) -> None:
    """Every net in a row, a claim or a panel is in the experiment's plan."""
    experiment = load_experiment(name)
    trained = {run.net for run in plan(experiment, Variant())}

    assert set() == set(experiment.nets_named()) - trained


@pytest.mark.parametrize("name", experiment_names())
def test_header_names_the_command(name: str) -> None:
    """Every file opens with a comment that names the command that runs it."""
    lines = (experiments_folder() / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    header = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]

    assert any(re.match(rf"#   resnet run {name}\b", line) for line in header)


@pytest.mark.parametrize("name", all_nets())
def test_each_net_builds(name: str) -> None:
    """Every net that is trained can be built, with as many parameters as are shown in tables."""
    net = Net.model_validate(name)
    built = cifar_net(net, seed=0)

    assert complexity.parameters(net) == sum(parameter.numel() for parameter in built.parameters())
    assert complexity.multiply_adds(net) > 0


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
        f"{complexity.parameters(row.net) / 1e6:.{digits[row.layers]}f}M" for row in rows if row.net
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


@pytest.mark.parametrize("name", ["fig1", "table6"])
@pytest.mark.parametrize("variant", [Variant(), Variant(schedule=0.05, precision="bf16"), TINY])
def test_figures_and_tables_share_runs(name: str, variant: Variant) -> None:
    """Figure 6 holds all runs of Figure 1 and of Table 6, so that they are trained once."""
    assert set() < run_ids(name, variant) < run_ids("fig6", variant)
