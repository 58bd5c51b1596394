"""`torchrun -m resnet_cli run`: one net over several processes, from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from processes import PATIENCE, started, wait_for
from rich.console import Console

from resnet_cli.cli.main import _exit_code
from resnet_cli.cli.screen import Screen
from resnet_cli.device.ranks import LOST
from resnet_cli.experiment import load_experiment
from resnet_cli.identity import Variant
from resnet_cli.runs.execute import execute
from resnet_cli.runs.plan import plan
from resnet_cli.runs.settings import Settings
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ["degradation", "--depths", "8,14", "--only", "resnet-8", "--dataset", "synthetic", "--seeds", "1"]
SMALL += ["--schedule", "0.0005", "--device", "cpu", "--checkpoint-seconds", "0"]


def one_process(variant: Variant, root: Path) -> pd.DataFrame:
    """What one process makes of the one run that these options ask for: its log."""
    (run,) = plan(load_experiment("degradation", (8, 14)), variant, only="resnet-8", seeds=1)
    store = Store(root)
    report = execute([run], store, Settings("cpu", root), Screen("", [run], Console(quiet=True)))

    assert {run.run_id: "done"} == report.endings
    return store.train_log(run)


def torchrun(*arguments: str, processes: int = 2, restarts: int = 0) -> list[str]:
    """The command line."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*start, f"--max-restarts={restarts}", "-m", "resnet_cli", "run", *arguments]


def be_first_of(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process believe that torchrun has started it as the first of so many."""
    names = {"RANK": 0, "WORLD_SIZE": count, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": count, "TORCHELASTIC_RUN_ID": "x"}
    for name, value in names.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchrun has it where nothing is said; and it says nothing of it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as stream:  # noqa: PTH123
        return [int(child) for child in stream.read().split()]


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="finds processes in Linux's /proc")  # noqa: PTH110
def test_a_killed_process_and_torchruns_restart(tmp_path: Path) -> None:
    """A process is killed; torchrun starts all anew, and they go on to the result of one process of the same batch.

    Long: each of torchrun's starts loads torch three times.
    """
    store = Store(tmp_path / "two")

    def is_saved() -> bool:
        assert launcher.poll() is None
        return any((store.folder(run) / run_folder.CHECKPOINT).exists() for run in store.runs())

    command = torchrun(*SMALL, "--results-dir", str(store.root), restarts=1)
    with started(command, stderr=subprocess.PIPE) as launcher:
        wait_for(is_saved, "no checkpoint")
        os.kill(children(launcher.pid)[1], signal.SIGKILL)
        _, errors = launcher.communicate(timeout=PATIENCE)

    assert 0 == launcher.returncode, errors
    assert 1 == errors.count(LOST)
    (run,) = store.runs()
    expected = one_process(run.variant, tmp_path / "one")
    pd.testing.assert_frame_equal(expected.head(5), store.train_log(run).head(5), rtol=1e-3)  # then rounding grows
    assert list(range(1, 33)) == store.train_log(run)["iteration"].tolist()
    assert 2 == run.variant.accumulate == store.environment(run)["ranks"]


@pytest.mark.long
def test_sync_bn_is_the_run_of_one_process(tmp_path: Path) -> None:
    """Synchronised, the run is the one without parts, and its first updates are the same.

    Long: see above. `tests/train/test_together.py` compares the updates of a synchronised net.
    """
    command = torchrun("degradation", "--depths", "8,14", "--only", "resnet-8", "--tiny", "--seeds", "1", "--sync-bn")
    done = subprocess.run([*command, "--device", "cpu"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert 1 == done.stdout.count("SMOKE RUN")  # one process answers
    store = Store(tmp_path / "results")
    (run,) = store.runs()
    expected = one_process(Variant(dataset="synthetic", tiny=True), tmp_path / "one")
    assert Store(tmp_path / "one").runs() == [run]
    pd.testing.assert_frame_equal(expected.head(3), store.train_log(run).head(3), rtol=0.01)


def test_a_batch_that_does_not_divide(tmp_path: Path) -> None:
    """Three processes cannot share a batch of 16: one line, once, and nothing is begun."""
    command = torchrun("table6", "--tiny", "--results-dir", "none", processes=3)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 0 != done.returncode
    assert 1 == done.stderr.count("error: torchrun: 3 processes cannot share a batch of 16 equally")
    assert done.stderr.startswith("error: ")  # what torchrun has to say comes after
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "count", "line"),
    [
        (["table6", "--tiny", "--sync-bn"], 1, "error: --sync-bn: is for several processes that train one net"),
        (["table6", "--tiny"], 3, "error: torchrun: 3 processes cannot share a batch of 16 equally"),
        (
            ["table6", "--tiny", "--accumulate", "2"],
            4,
            "error: --accumulate 2: cannot be shared by 4 processes equally",
        ),
        (["table6", "--tiny", "--accumulate", "4", "--sync-bn"], 2, "error: --accumulate 4: and --sync-bn contradict"),
        (["table6", "--tiny", "--jobs", "2"], 2, "error: --jobs 2: torchrun trains one net at a time"),
        (["table1"], 2, "error: torchrun: table1 trains no net"),
    ],
)
def test_what_several_processes_cannot_do(
    arguments: list[str],
    count: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line and exit code 2, before the first waits for the others."""
    if count > 1:
        be_first_of(count, monkeypatch)

    assert 2 == _exit_code(["run", *arguments, "--device", "cpu"])
    lines = capsys.readouterr().err.splitlines()
    assert 1 == len(lines), lines
    assert lines[0].startswith(line)
    assert [] == list(tmp_path.iterdir())


def test_what_normalisation_sees_is_the_runs_identity(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four processes plan the run of four parts; with more parts that one; synchronised the one of the whole batch."""
    plans = {}
    for options in ((), ("--accumulate", "8"), ("--sync-bn",)):
        for count in (1, 4):
            be_first_of(count, monkeypatch)
            asked = [each for each in options if count > 1 or each != "--sync-bn"]
            assert 0 == _exit_code(["run", "table6", "--only", "resnet-20", "--tiny", "--dry-run", *asked])
            plans[options, count] = capsys.readouterr().out
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert 0 == _exit_code(["run", "table6", "--only", "resnet-20", "--tiny", "--dry-run", "--accumulate", "4"])

    assert capsys.readouterr().out == plans[(), 4] != plans[(), 1]
    assert plans[("--accumulate", "8"), 1] == plans[("--accumulate", "8"), 4]
    assert plans[(), 1] == plans[("--sync-bn",), 4]


@pytest.mark.long
def test_a_detector_over_two_processes(tmp_path: Path) -> None:
    """Two processes make of a detector what one makes of the same parts: an image is sampled alike in both.

    Long: torchrun loads torch three times.
    """
    options = ["scenes", "--tiny", "--only", "*resnet*", "--seeds", "1", "--device", "cpu", "--results-dir"]
    subprocess.run(torchrun(*options, str(tmp_path / "two")), check=True, capture_output=True, timeout=PATIENCE)
    alone = [sys.executable, "-m", "resnet_cli", "run", *options, str(tmp_path / "one"), "--accumulate", "2"]
    subprocess.run(alone, check=True, capture_output=True, timeout=PATIENCE)
    (two,), (one,) = (list((tmp_path / each / "runs").glob("faster-*")) for each in ("two", "one"))
    both = [pd.read_csv(each / run_folder.TRAIN_CSV) for each in (two, one)]

    assert two.name == one.name
    pd.testing.assert_frame_equal(*both, rtol=1e-4, atol=1e-6)
