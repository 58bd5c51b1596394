from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.experiment import experiment_names

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.runs.store import Store


@pytest.fixture(autouse=True)
def _results(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_RESULTS", str(store.root))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def degraded(add_run: AddRun) -> None:
    """Plain nets, twice each, of which the deeper one is worse."""
    for seed in range(2):
        add_run("plain-20", [9.0 + seed / 10], 2.0, seed=seed)
        add_run("plain-56", [13.0 + seed / 10], 6.0 + seed / 10, seed=seed)


@pytest.mark.usefixtures("degraded")
def test_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each claim has its verdict, the figures behind it, and below the rule."""
    assert 0 == _exit_code(["check", "fig1"])
    output = capsys.readouterr().out
    assert (
        "fig1: Figure 1. Plain nets of 20 and 56 layers on CIFAR-10\nschedule 0.01 of the paper's; CIFAR-10" in output
    )
    assert (
        "reproduced: Degradation: plain-20 has lower test error than plain-56\n"
        "    test error: plain-20 9.05 ± 0.07 (n=2) against plain-56 13.05 ± 0.07 (n=2): Welch's t-test, p = 0.00016"
    ) in output
    assert "training error: plain-20 2.00 ± 0.00 (n=2) against plain-56 6.05 ± 0.07 (n=2)" in output
    assert "'Lower' is a one-sided t-test over runs" in output


@pytest.mark.usefixtures("degraded")
def test_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name every experiment is judged; those without any run share one line."""
    assert 0 == _exit_code(["check"])
    output = capsys.readouterr().out
    assert "degradation: " in output
    assert "not run: Shortcuts cure it" in output
    assert (
        "not run: every claim of fig4, table2, table3, table4, table5, table6; 'resnet run NAME' trains what is"
        in " ".join(output.split())
    )


def test_a_name_without_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """An experiment asked for by name lists its claims even if nothing was run."""
    assert 0 == _exit_code(["check", "fig1"])
    output = capsys.readouterr().out
    assert 2 == output.count("not run: Degradation")
    assert "(no finished run of plain-20, plain-56)" in output


@pytest.mark.usefixtures("degraded")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The json form is a list of experiments with their claims, verdicts and figures."""
    assert 0 == _exit_code(["check", "--format", "json"])
    content = json.loads(capsys.readouterr().out)
    fig1 = next(each for each in content if each["experiment"] == "fig1")
    names = [each["experiment"] for each in content]
    assert [name for name in experiment_names() if name != "table1"] == names  # which makes no claim
    assert ["reproduced", "reproduced"] == [claim["verdict"] for claim in fig1["claims"]]
    assert not fig1["is_paper"]
    assert pytest.approx(9.05) == fig1["claims"][1]["comparisons"][0]["left"]["mean"]


@pytest.mark.usefixtures("degraded")
def test_colours_are_off_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no terminal gets no escape codes."""
    assert 0 == _exit_code(["check", "fig1"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["table9", ""])
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """An unknown experiment is one line on standard error, and exit code 2; no name is not every name."""
    assert 2 == _exit_code(["check", name])
    assert capsys.readouterr().err.startswith(f"error: unknown experiment '{name}'; there are degradation, ")
