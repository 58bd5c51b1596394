"""Several processes on one run: one has it, the others say so and leave it alone."""

from __future__ import annotations

import io
import multiprocessing
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest
import torch
from processes import PATIENCE, killed_at_last
from small_run import result

from resnet_cli.cli.main import _exit_code
from resnet_cli.cli.screen import Screen
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.run_folder import Status

PROCESSES = 8
COMMAND = ["run", "table6", "--tiny", "--only", "resnet-20", "--device", "cpu", "--results-dir"]


def run_the_command(root: Path, answers: Path, together: Barrier) -> None:
    """The body of each process; the one that has the run waits at its first update until the others have answered."""
    torch.set_num_threads(1)
    real = Screen.progressed
    deadline = time.monotonic() + PATIENCE

    def patient(screen: Screen, run: RunSpec, status: Status) -> None:
        real(screen, run, status)
        while len(list(answers.iterdir())) < PROCESSES - 1 and time.monotonic() < deadline:
            time.sleep(0.01)

    Screen.progressed = patient  # type: ignore[method-assign]  # in a process of its own
    together.wait()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        code = _exit_code([*COMMAND, str(root)])
    (answers / f"{os.getpid()}-{code}").write_text(said.getvalue())


@pytest.mark.parametrize("rounds", [pytest.param(2, marks=pytest.mark.long), pytest.param(50, marks=pytest.mark.slow)])
def test_one_trains_and_the_others_leave_it_alone(rounds: int, tmp_path: Path) -> None:
    """Of eight that start at once, seven end with exit code 4 and say who has the run; its result is as if alone.

    Long: sixteen processes; `tests/runs/test_execute.py` has a run that is locked. Seen to fail when no lock is taken.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resnet_cli.runs.execute", "torch._dynamo", "resnet_cli.cli.run"])
    results = []
    for number in range(rounds):
        root, answers = tmp_path / f"round-{number}", tmp_path / f"answers-{number}"
        answers.mkdir()
        together = context.Barrier(PROCESSES)
        processes = [context.Process(target=run_the_command, args=(root, answers, together)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        with killed_at_last(*processes):
            for process in processes:
                process.join(PATIENCE)
        codes = [path.name.partition("-")[2] for path in answers.iterdir()]
        locked = [path.read_text() for path in answers.glob("*-4")]

        assert ["0"] + ["4"] * (PROCESSES - 1) == sorted(codes), [path.read_text() for path in answers.iterdir()]
        assert all("another process is training" in text for text in locked)
        (run,) = Store(root).runs()
        assert "done" == Store(root).status(run).state
        results.append(result(run, root))

    assert all(each == results[0] for each in results)
