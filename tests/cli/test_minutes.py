"""`resnet run --minutes`: the schedule that fits is taken and kept; where none fits, one line says what would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.data import synthetic
from resnet_cli.runs import measure as measuring
from resnet_cli.runs.estimate import Speed
from resnet_cli.runs.fit import LADDER, Measured
from resnet_cli.storage.store import Store
from resnet_cli.train import graph_step

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.spec import Net

FIT = ["run", "degradation", "--depths", "8,14", "--seeds", "1", "--dataset", "synthetic", "--device", "cpu"]
DRY = [*FIT, "--dry-run"]


class Pretended:
    """In place of measuring: each net takes as long an update, the compiled step `gain` times less; notes its calls."""

    def __init__(self) -> None:
        self.update = 0.01
        self.gain = 1.0
        self.obstacle: str | None = None
        self.calls: list[bool] = []

    def __call__(self, nets: list[Net], *_: object, is_compiled: bool) -> Measured:
        """See `measure`."""
        self.calls.append(is_compiled)
        update = self.update / (self.gain if is_compiled else 1.0)
        speeds = tuple(Speed(net, update, 0.0, is_compiled=is_compiled) for net in nets)
        return Measured(() if is_compiled and self.obstacle else speeds, 0.0, 50_000, 10_000)


@pytest.fixture(autouse=True)
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """Nothing is measured; a test that depends on the machine's speed would fail by chance."""
    instead = Pretended()
    monkeypatch.setattr(measuring, "measure", instead)
    return instead


def schedule_of(text: str) -> float:
    """The schedule that is said to be taken."""
    return float(text.split(": schedule ")[1].partition(" ")[0].rstrip(":,"))


def test_the_longest_schedule_that_fits_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Four runs at 10 ms an update: 20 minutes hold four times 12,800 updates, not 32,000; a dry run keeps nothing."""
    code = _exit_code([*DRY, "--minutes", "20"])
    said = capsys.readouterr()

    assert 0 == code
    assert 0.2 == schedule_of(said.err)
    assert "0.5 would take" in said.err
    assert "plain-8 10 (compiled)" in said.err
    assert "schedule 0.2 of the paper's" in said.out
    assert [] == list(tmp_path.iterdir())


def test_a_longer_time_takes_a_longer_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the paper's own, beyond which there is nothing to say."""
    chosen = []
    for minutes in ("1.5", "3", "10", "1000"):
        _exit_code([*DRY, "--minutes", minutes])
        chosen.append(schedule_of(said := capsys.readouterr().err))

    assert sorted(chosen) == chosen
    assert 1.0 == chosen[-1]
    assert "would take" not in said


def test_where_no_schedule_fits_a_line_says_what_would(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The minutes it names are enough; nothing is written."""
    code = _exit_code([*FIT, "--minutes", "0.2"])
    error = capsys.readouterr().err
    enough = error.split("needs --minutes ")[1].split()[0]

    assert 2 == code
    assert 1 == error.count("\n")
    assert "too short for degradation: its shortest schedule, 0.01" in error
    assert [] == list(tmp_path.iterdir())
    assert 0 == _exit_code([*DRY, "--minutes", enough])


@pytest.mark.parametrize(("update", "calls"), [(0.01, [False, True]), (0.1, [False])])
def test_the_compiled_step_is_measured_where_it_might_fit(
    update: float, calls: list[bool], pretended: Pretended
) -> None:
    """Compiling takes time; at 100 ms an update a step twice as fast cannot make 1,280 updates in 3 minutes."""
    pretended.update = update
    _exit_code([*DRY, "--minutes", "3"])

    assert calls == pretended.calls


def test_without_a_compiler_the_plain_step_counts(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    """A compiled step that would fit is not to be had."""
    pretended.update, pretended.gain = 0.02, 2.0
    _exit_code([*DRY, "--minutes", "20"])
    compiled = schedule_of(capsys.readouterr().err)
    pretended.obstacle = "no compiler here"
    _exit_code([*DRY, "--minutes", "20"])
    plain = schedule_of(capsys.readouterr().err)

    assert (0.2, 0.1) == (compiled, plain)


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few updates by the plain step, and a ladder of these."""
    monkeypatch.setattr("resnet_cli.runs.fit.LADDER", (2 / 64_000, 1 / 64_000))
    monkeypatch.setattr(graph_step, "SHORTEST", {"cpu": 10**9})
    monkeypatch.setattr(synthetic.load, "__defaults__", (256, 20))


@pytest.mark.usefixtures("_short")
def test_a_second_call_finds_its_runs_again(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The choice is kept, measured no more and said; finished runs stay as they are."""
    command = [*FIT, "--only", "plain-8", "--minutes", "20"]
    codes = [_exit_code(command)]
    first = capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/runs").rglob("*")}
    codes.append(_exit_code(command))
    second = capsys.readouterr()

    assert [0, 0] == codes
    assert schedule_of(first.err) == schedule_of(second.err)
    assert "as saved in results/minutes.json" in second.err
    assert [False] == pretended.calls
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "results/runs").rglob("*")}
    assert 1 == len(Store(tmp_path / "results").runs())


@pytest.mark.usefixtures("_short")
def test_a_damaged_file_of_choices_is_a_line_and_measured_anew(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is written anew, so that the next call is not told again."""
    command = [*FIT, "--only", "plain-8", "--minutes", "20"]
    path = tmp_path / "results/minutes.json"
    path.parent.mkdir()
    path.write_text('{"choices": [{"experiment": "degr')
    codes = [_exit_code(command)]
    damaged = capsys.readouterr().err
    codes.append(_exit_code(command))

    assert [0, 0] == codes
    assert "results/minutes.json: damaged: " in damaged.splitlines()[0]
    assert "measuring again" in damaged.splitlines()[0]
    assert "as saved in" in capsys.readouterr().err
    assert [False] == pretended.calls
    assert ["plain-8"] == [each["only"] for each in json.loads(path.read_text())["choices"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "fig1", "--minutes", "0"], "--minutes 0: must be above 0"),
        (["run", "fig1", "--minutes", "-3"], "--minutes -3: must be above 0"),
        (["run", "fig1", "--minutes", "nan"], "--minutes nan: must be above 0"),
        (["run", "fig1", "--minutes", "inf"], "--minutes inf: must be above 0"),
        (["run", "fig1", "--minutes", "5", "--schedule", "0.1"], "contradicts --schedule 0.1; leave one of them out"),
        (["run", "fig1", "--minutes", "5", "--tiny"], "contradicts --tiny; leave one of them out"),
        (["run", "fig1", "--minutes", "5", "--launcher", "slurm"], "leave it out with --launcher slurm"),
        (["run", "table1", "--minutes", "5"], "table1 trains no net"),
        (["run", "table1", "--estimate"], "--estimate: table1 trains no net"),
        (["run", "fig1", "--estimate", "--tiny"], "--estimate: contradicts --tiny"),
        (["run", "fig1", "--estimate", "--launcher", "slurm"], "--estimate: measures this machine"),
        (["run", "table2", "--minutes", "5"], "table2 uses ImageNet; leave it out"),
        (["run", "fig1", "--minutes", "5", "--device", "cpu"], "get CIFAR-10 with"),
        (["run", "fig1", "--minutes", "5", "--only", "vgg*"], "--only 'vgg*': matches no net"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(
    arguments: list[str], words: str, pretended: Pretended, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is told before anything is measured, and leaves nothing behind."""
    code = _exit_code(arguments)
    error = capsys.readouterr().err

    assert 2 == code
    assert words in error
    assert 1 == error.count("\n")
    assert [] == pretended.calls
    assert [] == list(tmp_path.iterdir())


def test_under_torchrun_it_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What one process was measured at says nothing of several."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    code = _exit_code(["run", "fig1", "--minutes", "5"])

    assert 2 == code
    assert "--minutes 5: measures one process; leave it out under torchrun" in capsys.readouterr().err


def test_the_ladder_is_what_the_help_promises() -> None:
    """From the paper's schedule down to a hundredth."""
    assert (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) == LADDER
