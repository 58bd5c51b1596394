"""What a job of the cluster does: it trains one run, as the local launcher would, and stops at SLURM's signals.

Imports neither torch nor submitit until they are needed: a task has to be ready for signals before that.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_cli.errors import EXIT_BAD_INPUT, EXIT_LOCKED, EXIT_SOME_FAILED, EXIT_STOPPED, BadInputError
from resnet_cli.runs.squeue import NoAnswerError, queued
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import submitit

    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.settings import Ending, Monitor, Settings

    Watch = Callable[[str, Sequence[RunSpec]], AbstractContextManager[Monitor]]

EXIT_CODES: dict[Ending, int] = {
    "done": 0,
    "bad input": EXIT_BAD_INPUT,
    "failed": EXIT_SOME_FAILED,
    "diverged": EXIT_SOME_FAILED,
    "locked": EXIT_LOCKED,
    "interrupted": EXIT_STOPPED,
}
FRUITLESS_STARTS = 3  # in a row, after which a job is not requeued again


@dataclass(frozen=True)
class SlurmTask:
    """What a job does for its run: the same as the local launcher. Pickled by submitit.

    Attributes:
        store: The results folder.
        settings: How to train.
        watch: Makes the monitor for the job's log from the experiment's title and the run; a function of a module.
        title: The experiment's title.
        workers: Threads that read photographs; None: as many as the job has CPUs.
    """

    store: Store
    settings: Settings
    watch: Watch
    title: str
    workers: int | None

    def __call__(self, run: RunSpec) -> None:
        """Trains and tests the run, or continues it; the process's exit code says how it ended."""
        # Until `execute` listens, which takes some seconds, there is nothing to save.
        signal.signal(signal.SIGTERM, lambda *_: self._end(run, "interrupted", "stopped", signal.SIGTERM))
        self._note(run, ending="", message="")
        before = self._progress(run)
        ending, message, stopped_by = self._execute(run)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if ending == "interrupted" and self._note_progress(run, before) >= FRUITLESS_STARTS:
            ending, stopped_by = "failed", None
            message = f"made no progress in {FRUITLESS_STARTS} starts before its time limit; raise it: --slurm time=..."
        self._end(run, ending, message, stopped_by)

    def _end(self, run: RunSpec, ending: Ending, message: str, stopped_by: signal.Signals | None) -> None:
        """Notes how the run ended, and ends the task; by way of submitit where the job is to be requeued."""
        self._note(run, ending=ending, message=message)
        preempted = stopped_by is signal.SIGTERM and self._still_counts_as_running(run)
        if ending == "interrupted" and (stopped_by is signal.SIGUSR2 or preempted):
            signal.raise_signal(signal.SIGUSR2)  # submitit requeues the job and ends
        if ending != "done":
            raise SystemExit(EXIT_CODES[ending])

    def _progress(self, run: RunSpec) -> tuple[int, bool]:
        return self.store.status(run).iteration, self.store.is_done(run)

    def _note_progress(self, run: RunSpec, before: tuple[int, bool]) -> int:
        """Counts the starts in a row in which the run made no progress; a pass over data may take more than one."""
        job = run_folder.read_job(self.store.folder(run))
        fruitless = job.fruitless + 1 if job and self._progress(run) == before else 0
        self._note(run, fruitless=fruitless)
        return fruitless

    def checkpoint(self, run: RunSpec) -> submitit.helpers.DelayedSubmission:
        """What submitit puts back into the queue: the same task, since all progress is in the run's folder."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, run)

    def _execute(self, run: RunSpec) -> tuple[Ending, str, signal.Signals | None]:
        import torch

        from resnet_cli.runs.execute import execute

        # The last bits depend on the threads, so a resumed run must have as many as it began with.
        cpus = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
        torch.set_num_threads(cpus)
        settings = replace(self.settings, workers=cpus if self.workers is None else self.workers)
        with self.watch(self.title, [run]) as monitor:
            listener = _Listener(monitor)
            try:
                report = execute([run], self.store, settings, listener)
            except BadInputError as error:  # no such device on this node, say
                listener.ended(run, "bad input", str(error))
                return "bad input", str(error), None
        return report.endings.get(run.run_id, "interrupted"), listener.message, report.stopped_by

    def _note(self, run: RunSpec, **changes: str | int) -> None:
        """Writes into the run's folder which log its job has, and these changes of `Job`."""
        import submitit

        path, folder = submitit.JobEnvironment().paths.stdout, self.store.folder(run)
        job = run_folder.read_job(folder)
        if job:
            log = str(path.relative_to(self.store.root))
            run_folder.write_job(folder, job.model_copy(update={"log": log, **changes}))

    def _still_counts_as_running(self, run: RunSpec) -> bool:
        """Whether SLURM counts this job as running, as in the grace period before it is preempted.

        A job that is cancelled, or already being requeued, counts as completing.
        """
        try:
            job = queued([run], self.store).get(run.run_id)
        except NoAnswerError:
            return False
        return job is not None and job.state in ("RUNNING", "SIGNALING")


class _Listener:
    """A monitor that remembers how the run ended, and passes everything on."""

    def __init__(self, monitor: Monitor) -> None:
        self.progressed, self.noticed, self.pass_on = monitor.progressed, monitor.noticed, monitor.ended
        self.message = ""

    def ended(self, run: RunSpec, ending: Ending, message: str) -> None:
        """The run is over."""
        self.message = message
        self.pass_on(run, ending, message)


def make_task(title: str, store: Store, settings: Settings, watch: Watch, workers: int | None) -> SlurmTask:
    """A task whose paths mean the same on every machine that shares them."""
    root = settings.dataset_root
    there = replace(
        settings, data_dir=settings.data_dir.absolute(), dataset_root=None if root is None else root.absolute()
    )
    return SlurmTask(Store(store.root.absolute()), there, watch, title, workers)
