from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.experiment import experiment_names

if TYPE_CHECKING:
    from conftest import AddRun

    from resnet_cli.storage.store import Store


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
        "reproduced: Degradation: plain-20 has lower test error than plain-56 (p = 0.00016, corrected 0.00031)\n"
        "    test error: plain-20 9.05 ± 0.07 (n=2) against plain-56 13.05 ± 0.07 (n=2)\n"
        "        difference -4.00 (95% CI -4.30 to -3.70), g = -31.92; Welch's t-test, p = 0.00016\n"
    ) in "\n".join(line.rstrip() for line in output.splitlines())
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
        "not run: every claim of construction, demo, fig4, fig7, gradients, localisation, scenes, table10, table11, "
        "table13, table2, table3, table4, table5, table6, table7, table8, table9, wrbn; to train what is missing: "
        "resnet run NAME" in " ".join(output.split())
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
    assert pytest.approx(-4.0) == fig1["claims"][1]["comparisons"][0]["difference"]
    assert fig1["claims"][1]["p"] < fig1["claims"][1]["corrected_p"] < 0.05


@pytest.mark.usefixtures("degraded")
def test_colours_are_off_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no terminal gets no escape codes."""
    assert 0 == _exit_code(["check", "fig1"])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["table15", ""])
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """An unknown experiment is one line on standard error, and exit code 2; no name is not every name."""
    assert 2 == _exit_code(["check", name])
    assert capsys.readouterr().err.startswith(f"error: unknown experiment '{name}'; there are construction, ")


def test_lines_are_short(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, add_run: AddRun) -> None:
    """At 100 columns the figures of two nets take two lines, none of them broken."""
    monkeypatch.setenv("COLUMNS", "100")
    for seed in range(3):
        add_run("plain-20", [32.53 + seed / 3], 33.26 + seed / 3, seed=seed)
        add_run("plain-56", [35.83 + seed / 2], 37.62 + seed, seed=seed)

    assert 0 == _exit_code(["check", "fig1"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert 2 == sum(line.endswith("(n=3)") for line in lines)
    assert 2 == sum(line.startswith("difference -") and "; Welch's t-test, p = " in line for line in lines)


def test_power(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """--power tells the seeds that each claim needs by the paper's numbers, in a table that 80 columns hold."""
    monkeypatch.setenv("COLUMNS", "80")

    assert 0 == _exit_code(["check", "table6", "--power"])
    lines = capsys.readouterr().out.splitlines()
    assert "claimed                        gap         std  p<0.05  p<0.01   n=2   n=3   n=5" == lines[2]
    assert "resnet-56 < resnet-44   0.20 paper  0.16 paper       9      15  0.02  0.07  0.22" in lines
    assert "gap unknown: resnet-1202 < 0.1, training error" in lines
    assert "p<: the number of seeds per net for 80% power" in "\n".join(lines)


def test_power_of_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name every experiment's seeds are told, those without any run too."""
    assert 0 == _exit_code(["check", "--power"])
    output = capsys.readouterr().out
    assert "spread unknown: plain-18 < plain-34; resnet-34 < resnet-18; resnet-34 < plain-34" in " ".join(
        output.split()
    )
    assert "makes no claim about runs" in output  # Table 5's is about one ensemble


def test_power_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The json form has the levels, and of each comparison gap, deviation, their source, seeds and power."""
    assert 0 == _exit_code(["check", "table6", "--power", "--format", "json"])
    content = json.loads(capsys.readouterr().out)[0]
    need = content["needs"][0]
    assert (0.05, 0.01, 0.8) == (content["alpha"], content["strictest_alpha"], content["power"])
    assert ("resnet-32 < resnet-20", "paper", "paper") == (need["comparison"], need["gap_from"], need["std_from"])
    assert pytest.approx((1.24, 0.16, 2, 3)) == (need["gap"], need["std"], need["seeds"], need["strict_seeds"])
    assert ["2", "3", "5"] == list(need["power"])
