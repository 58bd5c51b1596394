"""Output whose reader goes, and output in character sets that lack a character."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from processes import PATIENCE, started, wait_for

from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store
from resnet_cli.streams import fitting
from resnet_cli.train import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

RESNET = [sys.executable, "-m", "resnet_cli"]
TITLE = "Tôt ± – — − × → … ≤ “ ” ’ ж 深"  # noqa: RUF001  what it is about
OWN_FILE = f"""
title = "{TITLE}"
question = "Does it run?"
section = "none"
dataset = "synthetic"
[[runs]]
nets = ["plain-8"]
[[rows]]
label = "Net"
net = "plain-8"
error = 8.75
mean = 8.9
std = 0.2
"""
LONG = OWN_FILE.replace("[[runs]]", "protocol = {batch_size = 16, iterations = 3000, milestones = []}\n[[runs]]")
OTHERS = ["latin-1", "cp437", "cp1252", "koi8-r", "shift_jis", "utf-8", "ascii:strict"]
CHARACTER_SETS = ["ascii", "cp866", *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)]


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "91.25 ± 0.10", "91.25 +- 0.10"),
        ("cp866", "−0.58 – × → …", "-0.58 - x -> ..."),  # noqa: RUF001  a minus sign and a dash
        ("latin-1", "± é −1", "± é -1"),  # noqa: RUF001  a minus sign
        ("ascii", "é ñ Ångström", "e n Angstrom"),
        ("cp1252", "深 ж", "? ?"),
        ("ascii", "folder-\udcff", "folder-\udcff"),
        ("utf-8", "± − 深 \udcff", "± − 深 \udcff"),  # noqa: RUF001  a minus sign
    ],
)
def test_a_character_that_is_missing_has_a_likeness(encoding: str, text: str, shown: str) -> None:
    """What a character set has stays; else there is something like it; a name's raw bytes stay what they are."""
    assert shown == fitting(text, encoding)


@pytest.mark.parametrize("encoding", CHARACTER_SETS)
def test_a_run_in_any_character_set(encoding: str, tmp_path: Path) -> None:
    """Table, verdicts and progress are written as the terminal can take them; the files are UTF-8.

    Two character sets; in `make test-all` all nine, a process each.
    """
    (tmp_path / "mine.toml").write_text(OWN_FILE, encoding="utf-8")
    command = [*RESNET, "run", "mine.toml", "--tiny", "--device", "cpu"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    out, err = (each.decode(encoding.partition(":")[0]) for each in (done.stdout, done.stderr))

    assert 0 == done.returncode, err
    assert "Traceback" not in err
    assert f"8.75 (8.90{'±' if encoding in ('latin-1', 'cp1252', 'utf-8', 'shift_jis', 'cp437') else '+-'}0.20)" in out
    assert "Net" in out
    assert TITLE in (tmp_path / "results/tables/mine-tiny.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp866", "latin-1"])
@pytest.mark.parametrize("command", ["--help", "list", "show table6", "table table6", "check table6", "data where"])
def test_every_answer_in_any_character_set(encoding: str, command: str, tmp_path: Path) -> None:
    """No command fails for a character; the columns of a table stay below one another."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    done = subprocess.run([*RESNET, *command.split()], cwd=tmp_path, env=environment, capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert done.stdout.decode(encoding)


def test_the_file_of_a_table_does_not_depend_on_the_terminal(store: Store, add_run: AddRun, tmp_path: Path) -> None:
    """A table that is written to a file is in UTF-8 whatever the terminal takes."""
    add_run("resnet-20", [50.0, 8.0])
    for encoding in ("ascii", "utf-8"):
        command = [*RESNET, "table", "table6", "--results-dir", str(store.root), "--output", f"{encoding}.txt"]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)

    assert "±" in (tmp_path / "utf-8.txt").read_text(encoding="utf-8")
    assert (tmp_path / "utf-8.txt").read_bytes() == (tmp_path / "ascii.txt").read_bytes()


@pytest.mark.parametrize("command", ["--help", "--version", "list", "show table6", "table table6 --format csv"])
def test_a_reader_that_has_gone_is_no_fault(command: str, tmp_path: Path) -> None:
    """`resnet list | head -1` ends as a program that SIGPIPE ends, without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*RESNET, *command.split()], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(writing)

    assert (128 + signal.SIGPIPE, b"") == (done.returncode, done.stderr)


def test_an_error_is_told_though_nobody_reads_the_answer(tmp_path: Path) -> None:
    """The exit code of an error stays."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*RESNET, "show", "table66"], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(writing)

    assert 2 == done.returncode
    assert b"unknown experiment" in done.stderr


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_goes_on_when_nobody_reads_what_it_says(jobs: int, tmp_path: Path) -> None:
    """Progress and answer go nowhere; the run is made, and its table written."""
    (tmp_path / "mine.toml").write_text(OWN_FILE, encoding="utf-8")
    reading, writing = os.pipe()
    os.close(reading)
    command = [*RESNET, "run", "mine.toml", "--tiny", "--device", "cpu", "--jobs", str(jobs)]
    done = subprocess.run(command, stdout=writing, stderr=writing, cwd=tmp_path, check=False)
    os.close(writing)
    store = Store(tmp_path / "results")

    assert 128 + signal.SIGPIPE == done.returncode
    assert ["done"] == [store.status(run).state for run in store.runs()]
    assert (tmp_path / "results/tables/mine-tiny.csv").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110  before there is a Path
def test_a_full_disk_behind_the_output(tmp_path: Path) -> None:
    """The answer is lost, which is an error of one line; progress that is lost is none."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123  a device
        lost = subprocess.run([*RESNET, "list"], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
        (tmp_path / "mine.toml").write_text(OWN_FILE, encoding="utf-8")
        command = [*RESNET, "run", "mine.toml", "--tiny", "--device", "cpu"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, cwd=tmp_path, check=False)

    assert (2, b"error: standard output: No space left on device\n") == (lost.returncode, lost.stderr)
    assert 0 == done.returncode
    assert b"Net" in done.stdout


def train_until_saved(process: subprocess.Popen[str], store: Store, runs: int = 1, terminal: int = -1) -> None:
    """Waits for updates of all its runs, and reads what it writes to a terminal, whose buffer would be full else."""

    def is_training() -> bool:
        assert process.poll() is None
        with contextlib.suppress(BlockingIOError):
            while terminal >= 0 and os.read(terminal, 65_536):
                pass
        return sum(store.status(run).iteration > 0 for run in store.runs()) == runs

    wait_for(is_training, "no updates")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_terminal_that_is_lost(jobs: int, tmp_path: Path) -> None:
    """When the terminal goes, the runs in hand are saved, and can go on; nothing can be said any more.

    All processes have the signal; one run, in `make test-all` two side by side.
    """
    (tmp_path / "mine.toml").write_text(LONG, encoding="utf-8")
    store = Store(tmp_path / "results")
    ours, theirs = pty.openpty()
    # A new session whose first terminal is this one: closing it is what a lost connection does.
    own = f"import fcntl, termios, os; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv({RESNET[0]!r}, "
    options = ["--device", "cpu", "--no-compile", "--seeds", str(jobs), "--jobs", str(jobs)]
    command = [*RESNET, "run", "mine.toml", *options]
    with started(
        [sys.executable, "-c", f"{own}{command!r})"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path
    ) as process:
        os.close(theirs)
        os.set_blocking(ours, False)
        train_until_saved(process, store, jobs, ours)
        os.close(ours)
        assert 75 == process.wait(PATIENCE)
    for run in store.runs():
        status = run_folder.read_status(store.folder(run))
        state, problems = checkpoint.load(store.folder(run))

        assert ("interrupted", []) == (status.state, problems)
        assert state is not None
        assert status.iteration == state.iteration


def test_a_run_under_nohup_does_not_hear_of_its_terminal(tmp_path: Path) -> None:
    """Where SIGHUP is ignored it stays so: the run goes on, and is ended by SIGTERM."""
    (tmp_path / "mine.toml").write_text(LONG, encoding="utf-8")
    store = Store(tmp_path / "results")
    command = ["nohup", *RESNET, "run", "mine.toml", "--device", "cpu", "--no-compile"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path) as process:
        train_until_saved(process, store)
        process.send_signal(signal.SIGHUP)
        (run,) = store.runs()
        before = store.status(run).iteration
        wait_for(lambda: store.status(run).iteration > before + 2, "it does not go on")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)

    assert 75 == process.returncode
