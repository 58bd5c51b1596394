"""Runs as jobs of a SLURM cluster, submitted through submitit: one array, one task a run, the same files."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import os
import re
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from resnet_cli.errors import BadInputError
from resnet_cli.runs.settings import Notice, Report
from resnet_cli.runs.slurm_task import EXIT_CODES
from resnet_cli.runs.squeue import NoAnswerError, queued
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Job
from resnet_cli.train.interrupt import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.settings import Ending, Monitor
    from resnet_cli.runs.slurm_task import SlurmTask
    from resnet_cli.runs.squeue import Queued
    from resnet_cli.storage.run_folder import Status
    from resnet_cli.storage.store import Store

FOLDER = "slurm"  # in the results folder: what submitit writes, and the jobs' logs
DEFAULT_TIME = "1:00:00"
OURS = {"array", "error", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output"}
# With these, sbatch prints no job number, makes no job, or does not return for hours.
NOT_HERE = {"parsable", "test-only", "wait"}
ELSEWHERE = {"clusters", "cluster-constraint"}  # which squeue would have to be asked about
# Variables from a user's defaults, or from a job that this launcher runs in, that would override the script's lines.
NOT_FOR_SBATCH = re.compile(
    r"SBATCH_(JOB_NAME|ARRAY_INX|CLUSTERS|SIGNAL|OPEN_MODE|REQUEUE|NO_REQUEUE|WAIT)|SLURM_CLUSTERS|SLURM_ARRAY_.*"
)
LOCK_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
GRACE_SECONDS = 90.0  # a job's last writes may appear so late over NFS, which caches for up to a minute
# Reasons for waiting that will pass; others may never pass.
USUAL_REASONS = {
    *("None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit"),
    *("QOSMaxJobsPerUserLimit", "AssocMaxJobsLimit", "QOSGrpGRES", "AssocGrpGRES"),
}


def parse_options(texts: Sequence[str]) -> dict[str, str | bool]:
    """`partition=gpu,nodelist=a,b` as sbatch's long options; `exclusive=` is one that takes no value.

    Raises:
        BadInputError: A part is not an option, or is one that the user may not choose.
    """
    options: dict[str, str | bool] = {}
    for text in texts:
        key = ""
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals and key and options[key] is not True:
                options[key] = f"{options[key]},{part}"
                continue
            key = name.strip().removeprefix("--").replace("_", "-")
            if not equals or not re.fullmatch(r"[a-z][a-z-]*", key):
                raise BadInputError(f"--slurm '{text}': write KEY=VALUE,KEY=VALUE with sbatch's long options")
            if key in OURS | NOT_HERE | ELSEWHERE:
                raise BadInputError(f"--slurm {key}: is set by this program; each run is one task of one array")
            options[key] = value or True
    return options


def check_installed() -> None:
    """Checks that jobs can be submitted from here.

    Raises:
        BadInputError: submitit or SLURM's commands are missing.
    """
    if importlib.util.find_spec("submitit") is None:
        raise BadInputError("--launcher slurm: submitit is not installed; pip install submitit")
    missing = [name for name in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(name) is None]
    if missing:
        raise BadInputError(
            f"--launcher slurm: no {', '.join(missing)} here: this machine cannot submit SLURM jobs; "
            "use one that can (and pip install submitit there)"
        )


def launch(
    runs: Sequence[RunSpec],
    store: Store,
    task: SlurmTask,
    options: Mapping[str, str | bool],
    monitor: Monitor,
    tell: Callable[[str], None],
) -> Report:
    """Submits the runs that no job has, and watches all of them until they have ended, or until a signal comes.

    Args:
        runs: The missing runs.
        store: The results folder, on a file system that the nodes share.
        task: What a job does.
        options: Options for sbatch.
        monitor: Is told of each run's progress.
        tell: Prints a line about the whole.

    Raises:
        BadInputError: The data or the results folder cannot be used, or SLURM does not take the jobs.
    """
    with StopSignals() as signals:
        ids = _submit_missing(runs, store, task, options, tell)
        endings = _follow(runs, store, monitor, signals, task.settings.after, ids)
    return Report(endings, signals.received)


def _submit_missing(
    runs: Sequence[RunSpec],
    store: Store,
    task: SlurmTask,
    options: Mapping[str, str | bool],
    tell: Callable[[str], None],
) -> dict[str, str]:
    """Submits the runs that no job in the queue has; returns the ids of the jobs by the ids of the runs."""
    import filelock

    task.settings.check_data(runs)
    for run in runs:
        store.create_folder(run)
    folder = store.root.absolute() / FOLDER
    folder.mkdir(exist_ok=True)
    try:
        with filelock.FileLock(folder / run_folder.LOCK, timeout=LOCK_SECONDS):
            has_job = queued(runs, store)
            if has_job:
                tell(f"{len(has_job)} of {len(runs)} runs are in the queue already; joining them.")
            waiting = [run for run in runs if run.run_id not in has_job]
            needs = {run: [each.run_id for each in run.sources if not store.is_done(each)] for run in waiting}
            ids: dict[str, str] = {}
            for count in sorted({len(each) for each in needs.values()}):
                group = [run for run in waiting if len(needs[run]) == count]
                # They start from the nets of others, which have to be trained before.
                first = {needs[run][0] for run in group if needs[run]}
                after = [job.id for run_id, job in queued(runs, store).items() if run_id in first] if first else []
                asked = [str(options["dependency"])] if "dependency" in options else []
                then = {"dependency": ",".join([*asked, f"afterany:{':'.join(after)}"])} if after else {}
                ids |= _submit(group, store, task, {**options, **then}, tell)
            return ids
    except filelock.Timeout as error:
        raise BadInputError(f"{folder}: another launcher is submitting; try again in a minute") from error
    except NoAnswerError as error:
        raise BadInputError(f"--launcher slurm: {error}") from error


def _submit(
    runs: Sequence[RunSpec],
    store: Store,
    task: SlurmTask,
    options: Mapping[str, str | bool],
    tell: Callable[[str], None],
) -> dict[str, str]:
    """Submits these runs as one array. Each job is recorded first, so that a launcher that crashed can recover."""
    import submitit

    if not runs:
        return {}
    folder = store.root.absolute() / FOLDER
    name = f"resnet-{re.sub(r'[^A-Za-z0-9-]+', '-', task.title)}-{secrets.token_hex(4)}"
    for place, run in enumerate(runs):
        run_folder.write_job(store.folder(run), Job(name=name, task=place))
    executor = submitit.SlurmExecutor(folder)
    requeue = {} if "no-requeue" in options else {"requeue": True}  # clusters differ in the default
    executor.update_parameters(
        job_name=name,
        ntasks_per_node=1,  # or srun would start one for each of the CPUs that the job happens to get
        # By this figure submitit counts the time limits that a job has reached, and gives up after some; a long run
        # reaches many. The limit that sbatch gets is among the additional parameters.
        time=math.inf,
        wckey=None,
        stderr_to_stdout=True,
        # Since 22.05, srun does not take the first from sbatch; the second keeps --export=NONE from affecting srun.
        setup=['export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"', "export SLURM_EXPORT_ENV=ALL"],
        additional_parameters={"time": DEFAULT_TIME, **requeue, **options},
    )
    try:
        with contextlib.redirect_stderr(io.StringIO()), _clean_environment():  # submitit prints what it also raises
            jobs = executor.map_array(task, runs)
    except (RuntimeError, OSError) as error:
        for run in runs:
            (store.folder(run) / run_folder.JOB).unlink(missing_ok=True)
        for path in [*folder.glob(f"{'[0-9a-f]' * 32}.pkl"), *folder.glob(".submission_file_*")]:
            if not path.is_symlink():  # those of accepted jobs are links
                path.unlink()
        raise BadInputError(f"--launcher slurm: {error}") from error
    number = jobs[0].job_id.partition("_")[0]
    what = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    tell(f"Submitted {what} as job {number}; logs in {store.root / FOLDER}.")
    return {run.run_id: job.job_id for run, job in zip(runs, jobs, strict=True)}


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """While jobs are submitted, removes the environment's variables that would override the script for sbatch."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if NOT_FOR_SBATCH.fullmatch(name)}
    try:
        yield
    finally:
        os.environ.update(kept)


def _follow(
    runs: Sequence[RunSpec],
    store: Store,
    monitor: Monitor,
    signals: StopSignals,
    after: str | None,
    ids: dict[str, str],
) -> dict[str, Ending]:
    """Watches status and queue until every run has ended or a signal comes; returns how the ended ones ended."""
    endings: dict[str, Ending] = {}
    waiting = list(runs)
    seen: dict[str, Status] = {}
    jobs: dict[str, Queued] = {}
    gone_since: dict[str, float] = {}
    pause = FIRST_PAUSE
    while True:
        # A cluster whose controller is being restarted does not answer for a while; its jobs continue.
        with contextlib.suppress(NoAnswerError):
            now = queued(waiting, store)
            _tell_changes(waiting, jobs, now, monitor)
            gone_since = {run_id: at for run_id, at in gone_since.items() if run_id not in now}
            gone_since |= {
                run.run_id: time.monotonic()
                for run in waiting
                if run.run_id not in now and run.run_id not in gone_since
            }
            jobs |= now
            ids |= {run_id: job.id for run_id, job in now.items()}
        for run in list(waiting):
            status = store.status(run)
            is_running = run.run_id in jobs and jobs[run.run_id].state == "RUNNING"
            if is_running and status.state == "running" and status != seen.get(run.run_id):
                seen[run.run_id] = status
                monitor.progressed(run, status)
            ended = _ending(run, store, after, gone_since.get(run.run_id), ids.get(run.run_id))
            if ended:
                waiting.remove(run)
                endings[run.run_id] = ended[0]
                monitor.ended(run, *ended)
        if not waiting or signals.received:
            return endings
        until = time.monotonic() + pause
        while time.monotonic() < until and not signals.received:
            time.sleep(0.1)
        pause = min(1.2 * pause, LONGEST_PAUSE)


def _tell_changes(
    runs: Sequence[RunSpec], before: Mapping[str, Queued], now: Mapping[str, Queued], monitor: Monitor
) -> None:
    """Reports which jobs have begun, which are back in the queue, and which wait for a reason that may not pass."""
    for run in runs:
        old, new = before.get(run.run_id), now.get(run.run_id)
        if new is None or new == old:
            continue
        moved = new.state in ("PENDING", "RUNNING") and new.state != (old.state if old else "PENDING")
        if moved or (new.is_waiting and new.reason not in USUAL_REASONS):
            monitor.noticed(run, Notice(f"job {new}"))


def _ending(
    run: RunSpec, store: Store, after: str | None, gone_since: float | None, job_id: str | None
) -> tuple[Ending, str] | None:
    """How a run has ended; None if it has not.

    Args:
        run: The run.
        store: Where its files are.
        after: The test or analysis of the trained net.
        gone_since: When its job was first missing from the queue.
        job_id: The id of its job, if known.
    """
    if store.is_complete(run, after):
        return "done", ""
    if gone_since is None:
        return None
    job = run_folder.read_job(store.folder(run))
    for ending in EXIT_CODES:
        if job and ending == job.ending != "done":
            return ending, job.message
    if time.monotonic() - gone_since < GRACE_SECONDS:
        return None
    log = store.root / (job.log if job and job.log else f"{FOLDER}/{job_id}_0_log.out")  # there before any note
    if job and job.ending == "done":
        message = "its job says that it is done, but its files are not visible here; the same command looks again"
    elif log.exists() or (job and job.log):
        message = f"its job ended without a message; see {log}; the same command continues from its checkpoint"
    else:
        return "interrupted", "its job was taken out of the queue before it began; the same command submits it again"
    return "failed", message
