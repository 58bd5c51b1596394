"""What SLURM's queue says about the jobs of runs. Imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store

FORMAT = "%j|%K|%i|%T|%r"  # name, place in the array, id, state, reason
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Queued:
    """A job that waits, runs or is about to end; `id` is in scancel's form: 12_3 is the array's fourth job."""

    id: str
    state: str
    reason: str

    @property
    def is_waiting(self) -> bool:
        """Whether it has no node."""
        return self.state == "PENDING"

    def __str__(self) -> str:
        if not self.is_waiting:
            return f"{self.state.lower()} {self.id}"
        return f"queued {self.id}" + (f" ({self.reason})" if self.reason != "None" else "")


class NoAnswerError(Exception):
    """`squeue` is not here, or got no answer; the message is one line."""


def queued(runs: Iterable[RunSpec], store: Store, patience: float = ANSWER_SECONDS) -> dict[str, Queued]:
    """The queue's jobs for these runs, by the run's id; asks SLURM once, and not at all if no run had a job.

    Args:
        runs: Any runs.
        store: The results folder that has them.
        patience: Seconds to wait for an answer.

    Raises:
        NoAnswerError: SLURM does not answer.
    """
    jobs = {run.run_id: job for run in runs if (job := run_folder.read_job(store.folder(run)))}
    if not jobs:
        return {}
    names = ",".join(sorted({job.name for job in jobs.values()}))
    # The user's defaults for squeue's output could hide jobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        answer = subprocess.run(  # noqa: S603
            ["squeue", "--noheader", "--array", f"--format={FORMAT}", f"--name={names}"],  # noqa: S607
            env=environment, capture_output=True, text=True, check=True, timeout=patience,
        ).stdout  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise NoAnswerError(" ".join(error.stderr.split()) or f"squeue: exit code {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswerError(f"squeue: {error}") from error
    found = {}
    for line in answer.split("\n"):
        if line.count("|") < FORMAT.count("|"):
            continue
        name, task, *rest = line.split("|", FORMAT.count("|"))
        found[name, int(task) if task.isdecimal() else 0] = Queued(*rest)  # a job of one run is not an array
    return {run_id: found[job.name, job.task] for run_id, job in jobs.items() if (job.name, job.task) in found}
