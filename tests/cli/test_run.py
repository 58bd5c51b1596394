"""`resnet run`: from a question to its answer, and every way to say no."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import filelock
import pandas as pd
import pytest
from processes import PATIENCE, started, wait_for

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.tasks.cifar10 import Cifar10
from resnet_cli.tasks.cifar10 import files as cifar10

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN_FILE = """
title = "Two nets"
question = "Does it run?"
section = "none"
dataset = "synthetic"
{more}
[[runs]]
nets = ["plain-8", "resnet-8"]
[[claims]]
kind = "less"
text = "Shortcuts help"
left = "resnet-8"
right = "plain-8"
[figure]
title = "Curves"
[[figure.panels]]
title = "both"
nets = ["plain-8", "resnet-8"]
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """A user's own experiment with two small nets."""
    path = tmp_path / "mine.toml"
    path.write_text(OWN_FILE.format(more=""))
    return path


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert 1 == len(lines), lines
    return lines[0]


def test_a_smoke_run_trains_and_answers(own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table and verdicts go to standard output, marked as smoke; progress, files and next steps to standard error."""
    code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu"])
    out, err = capsys.readouterr()

    assert 0 == code
    assert "SMOKE RUN (--tiny), not a result" in out
    assert "too few runs: Shortcuts help (smoke run)" in out
    assert "plain-8 seed 0: done" in err
    assert "Next: resnet plot" in err
    assert (tmp_path / "results/figures/mine-tiny.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "results/tables/mine-tiny.csv")
    assert [1, 1] == table["n"].tolist()


def test_a_second_run_trains_nothing(own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is done stays as it is; the answer is printed again."""
    _exit_code(["run", str(own_file), "--tiny", "--device", "cpu"])
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/runs").rglob("*")}
    code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu"])

    assert 0 == code
    assert first == capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "results/runs").rglob("*")}


def test_only_and_seeds_choose_the_runs(own_file: Path, tmp_path: Path) -> None:
    """`--only 'resnet-*' --seeds 2` makes two runs of one net."""
    code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu", "--only", "resnet-*", "--seeds", "2"])
    runs = Store(tmp_path / "results").runs()

    assert 0 == code
    assert [("resnet-8", 0), ("resnet-8", 1)] == [(run.net.name, run.seed) for run in runs]


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runs of table6 are listed with their updates; no data or device is needed."""
    code = _exit_code(["run", "table6", "--schedule", "0.1", "--dry-run"])
    out = capsys.readouterr().out

    assert 0 == code
    assert "10 runs" in out
    assert "schedule 0.1 of the paper's" in out
    assert "resnet-1202-cifar10-" in out
    assert "6,400" in out
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "table66"], "unknown experiment 'table66'; there are"),
        (["run", "missing.toml"], "missing.toml: No such file"),
        (["run", "table6", "--only", "vgg*"], "--only 'vgg*': matches no net of table6; it has resnet-20"),
        (["run", "depth", "--depths", "8,21"], "depth 21 is not 6n+2 (8, 14, 20"),
        (["run", "depth", "--depths", "8;14"], "--depths '8;14': write whole numbers with commas"),
        (["run", "table6", "--depths", "8"], "--depths: table6 has no depth sweep"),
        (["run", "table6", "--schedule", "0"], "--schedule 0: must be above 0"),
        (["run", "table6", "--schedule", "nan"], "--schedule nan: must be above 0"),
        (["run", "table6", "--tiny", "--schedule", "0.1"], "--tiny: has a schedule and data of its own"),
        (["run", "table6", "--seeds", "0"], "--seeds"),
        (["run", "table6", "--checkpoint-seconds", "nan"], "--checkpoint-seconds"),
        (["run", "table6", "--device", "tpu"], "--device"),
        (["run", "table6", "--precision", "fp8"], "--precision"),
        (["run", "table6", "--frobnicate"], "--frobnicate"),
        (["run"], "Missing argument 'experiment'"),
        (["frobnicate"], "frobnicate"),
        (["run", "table6", "--device", "cpu"], "data_batch_1: No such file or directory; get CIFAR-10 with"),
        (["run", "table6", "--tiny", "--device", "cpu", "--precision", "tf32"], "--precision tf32: a CUDA device"),
        (["table", "table6", "--results-dir", "/dev/null"], None),
        (["show", "table6", "--depths", "8"], "--depths: table6 has no depth sweep"),
        (["data", "verify"], "data_batch_1: No such file"),
        (["table", "table2", "--split", "45k-5k"], "--split 45k-5k: a split of CIFAR-10's training set"),
        (["table", "fig1", "--deviation", "fixed-steps"], "--deviation fixed-steps: a deviation from ImageNet's"),
        (["table", "table2", "--dataset", "folder"], "--dataset folder: give the folder with --dataset-root"),
        (["table", "fig1", "--dataset", "imagenet"], "--dataset imagenet: fig1 is about other nets"),
        (["list", "--results-dir", 300 * "r"], "rrr: File name too long"),
        (["data", "where", "--data-dir", 300 * "d"], "ddd: File name too long"),
        (["table", "fig1", "--output", f"{300 * 'o'}.csv"], "ooo.csv: File name too long"),
        (["doctor"], "data_batch_1: No such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The line names the option, file or field; there is no traceback, and nothing is left behind."""
    code = _exit_code(arguments)
    if words is None:  # a results folder that holds nothing is no error to a reader
        assert 0 == code
        return
    line = error_line(capsys)

    assert 2 == code
    assert line.startswith("error: ")
    assert words in line
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title = ", "mine.toml: not TOML: "),
        ("nets = 3", "mine.toml: title: Field required"),
        (OWN_FILE.format(more="colour = 'red'"), "mine.toml: colour: Extra inputs are not permitted"),
        (OWN_FILE.format(more="").replace("plain-8", "plain-9"), "plain-9: depth 9 is not 6n+2"),
        (OWN_FILE.format(more="protocol = {batch_size = 1}"), "mine.toml: protocol.batch_size: "),
    ],
)
def test_a_broken_experiment_file_is_named_with_its_field(
    own_file: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user learns which file and which field, in one line."""
    own_file.write_text(content)
    code = _exit_code(["run", str(own_file), "--tiny"])

    assert 2 == code
    assert words in error_line(capsys)


def test_a_results_folder_that_cannot_be_written_is_bad_input(
    own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the folder and the option."""
    (tmp_path / "file").touch()
    code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu", "--results-dir", str(tmp_path / "file")])

    assert 2 == code
    assert "choose another --results-dir" in error_line(capsys)


def test_a_locked_run_is_exit_code_4(own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another process trains the run: it is left to it."""
    _exit_code(["run", str(own_file), "--tiny", "--device", "cpu", "--only", "plain-8"])
    store = Store(tmp_path / "results")
    (run,) = store.runs()
    folder = store.folder(run)
    run_folder.write_status(folder, store.status(run).model_copy(update={"state": "running"}))
    capsys.readouterr()
    with filelock.FileLock(folder / run_folder.LOCK):
        code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu", "--only", "plain-8"])

    assert 4 == code
    assert "another process is training" in capsys.readouterr().err


def test_a_failed_run_is_exit_code_3(
    own_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run is made, the table printed, the failure told."""
    from resnet_cli.runs import one_run
    from resnet_cli.train.loop import DivergedError

    real = one_run.train

    def diverge_for_plain(run: object, *arguments: object, **options: object) -> None:
        if "plain" in str(run):
            raise DivergedError("the loss became nan at iteration 2")
        real(run, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(one_run, "train", diverge_for_plain)
    code = _exit_code(["run", str(own_file), "--tiny", "--device", "cpu"])
    out, err = capsys.readouterr()

    assert 3 == code
    assert "plain-8 seed 0: diverged: the loss became nan at iteration 2" in err
    assert "resnet-8" in out


@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [
        (signal.SIGTERM, 75, 2),
        (signal.SIGINT, 130, 1),
        (signal.SIGHUP, 75, 1),
        pytest.param(signal.SIGHUP, 75, 2, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 75, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, 2, marks=pytest.mark.long),
    ],
)
def test_a_signal_saves_what_is_in_hand(
    number: signal.Signals, code: int, jobs: int, group_ends: Callable[[int], bool], tmp_path: Path, own_file: Path
) -> None:
    """SIGTERM and SIGHUP end with 75, Ctrl-C with 130; the runs in hand are interrupted, and no process is left.

    One signal to one process and one to two; in `make test-all` the others.
    """
    own_file.write_text(OWN_FILE.format(more="protocol = {batch_size = 16, iterations = 3000, milestones = []}"))
    options = ["--device", "cpu", "--no-compile", "--jobs", str(jobs)]
    store = Store(tmp_path / "results")

    def all_train() -> bool:
        assert process.poll() is None
        return len(store.runs()) >= jobs and all(store.status(run).iteration for run in store.runs()[:jobs])

    command = [sys.executable, "-m", "resnet_cli", "run", str(own_file), *options]
    with started(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        wait_for(all_train, "no updates")
        os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)

        assert group_ends(process.pid)
    assert code == process.returncode, err
    assert "The same command continues from here" in err
    assert "Traceback" not in err
    states = [store.status(run).state for run in store.runs()]
    assert "interrupted" in states
    assert {"interrupted", "planned"} >= set(states)


def test_auto_takes_the_embedded_set_where_cifar_cannot_be_had(
    own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without CIFAR-10 and without a connection the embedded set is used, and the output says so."""

    def offline(*_: object) -> None:
        raise BadInputError("no connection")

    monkeypatch.setattr(cifar10, "download", offline)
    own_file.write_text(OWN_FILE.format(more="protocol = {batch_size = 2, iterations = 2, milestones = []}"))
    code = _exit_code(["run", str(own_file), "--dataset", "auto", "--device", "cpu", "--only", "plain-8"])
    out, err = capsys.readouterr()

    assert 0 == code
    assert "CIFAR-10 is not available: no connection" in err
    assert "embedded synthetic set" in out
    assert ["synthetic"] == [run.variant.dataset for run in Store(tmp_path / "results").runs()]


def test_auto_takes_cifar_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CIFAR-10 in place nothing is downloaded, and the plan is for CIFAR-10."""
    monkeypatch.setattr(Cifar10, "expected", lambda _task, folder: {"all": folder == tmp_path})
    code = _exit_code(["run", "fig1", "--dataset", "auto", "--data-dir", str(tmp_path), "--dry-run"])
    out, err = capsys.readouterr()

    assert 0 == code
    assert "Using CIFAR-10 in" in err
    assert "plain-56-cifar10-" in out
