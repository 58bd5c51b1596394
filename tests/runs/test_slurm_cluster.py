"""A real SLURM of one node on this machine: a table as an array job, and jobs that are stopped in every way."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from processes import PATIENCE, started, wait_for

from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

PACKAGE = Path(run_folder.__file__).parents[1]
FILES = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS, run_folder.SUMS)
pytestmark = pytest.mark.long  # each task is a fresh interpreter, and a job that is requeued waits
START_SECONDS = 120.0
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
# A job that is requeued waits until the credential of its last start has expired; 5 is the least.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Long enough to be stopped in the middle.
EXPERIMENT = """
title = "Runs that are stopped"
question = "Do they end the same?"
section = "4.2"

[protocol]
batch_size = 4
iterations = 200
milestones = [100]

[[runs]]
nets = ["plain-8"]
seeds = 3
"""


@dataclass(frozen=True)
class Cluster:
    """A running SLURM, and the environment in which its commands find it."""

    environment: dict[str, str]

    def __call__(self, *command: str) -> str:
        """What one of SLURM's commands prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def started(self, *arguments: str, folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
        """`resnet`, started in a folder."""
        command = [sys.executable, "-m", "resnet_cli", *arguments]
        return started(command, cwd=folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def resnet(self, *arguments: str, folder: Path) -> tuple[str, str]:
        """Runs `resnet` in a folder to its good end: what it says on standard output and on standard error."""
        with self.started(*arguments, folder=folder) as process:
            out, err = process.communicate(timeout=PATIENCE)

        assert 0 == process.returncode, err
        return out, err


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def is_idle(environment: dict[str, str]) -> bool:
    """Whether the node takes jobs."""
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],  # noqa: S607
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return asked.stdout.strip() == "idle"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A SLURM with ports, keys and folders of its own, gone after the tests."""
    pytest.importorskip("submitit")
    sbin = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    needed = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    programs = {name: path for name in needed if (path := shutil.which(name, path=sbin))}
    missing = [name for name in needed if name not in programs]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    ports = free_ports(2)
    host = socket.gethostname().partition(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, user=getpass.getuser(), folder=folder, controller_port=ports[0], node_port=ports[1]
        )
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "RESNET"))}
    environment = {
        **kept,
        "SLURM_CONF": str(configuration),
        "PYTHONPATH": str(PACKAGE),
        "OMP_NUM_THREADS": "1",  # of what the local launcher trains; a task has as many threads as CPUs, one
        "COLUMNS": "160",
    }
    munge = [f"--{name}={folder / f'munge.{name}'}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    commands = [
        [programs["munged"], "--foreground", "--force", f"--key-file={folder / 'munge.key'}", *munge],
        [programs["slurmctld"], "-D", "-f", str(configuration)],
        [programs["slurmd"], "-D", "-f", str(configuration)],
    ]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "said.log").open("a"))
        daemons = [stack.enter_context(running(command, environment, log)) for command in commands]
        deadline = time.monotonic() + START_SECONDS
        while not is_idle(environment):
            if time.monotonic() > deadline or any(each.poll() is not None for each in daemons):
                said = " ".join((folder / "said.log").read_text().split())
                pytest.skip(f"SLURM does not start here as {getpass.getuser()}: {said[-500:] or 'no reason given'}")
            time.sleep(0.2)
        slurm = Cluster(environment)
        yield slurm
        slurm("scancel", f"--user={getpass.getuser()}")
        wait_for(lambda: is_idle(environment), "jobs that do not end")


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon, stopped at the end."""
    daemon = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(PATIENCE)
        finally:
            daemon.kill()


def results(root: Path) -> dict[str, list[bytes]]:
    """What every run left, by its id."""
    store = Store(root)
    return {run.run_id: [(store.folder(run) / name).read_bytes() for name in FILES] for run in store.runs()}


@pytest.mark.parametrize("only", ["resnet-[23]?", pytest.param("*", marks=pytest.mark.slow)])
def test_a_table_as_an_array(cluster: Cluster, tmp_path: Path, only: str) -> None:
    """One job, a task a run; the same files, table and verdicts as the local launcher's, bit for bit."""
    command = ["run", "table6", "--tiny", "--only", only, "--device", "cpu", "--results-dir"]
    here, _ = cluster.resnet(*command, "local", folder=tmp_path)
    there, said = cluster.resnet(*command, "cluster", "--launcher", "slurm", "--slurm", "time=30", folder=tmp_path)
    expected = results(tmp_path / "local")
    logs = sorted((tmp_path / "cluster" / "slurm").glob("*_log.out"))

    assert here == there
    assert expected == results(tmp_path / "cluster")
    assert len(expected) >= 2
    assert [str(len(expected))] == re.findall(r"Submitted (\d+) runs as job \d+;", said)
    assert len(expected) == len(logs)
    assert all("seed 0: done" in log.read_text() for log in logs)


def test_jobs_that_are_stopped(cluster: Cluster, tmp_path: Path) -> None:
    """A requeued job, one that is told of preemption and one that is cancelled end as if they had not been.

    The launcher is killed in the middle and nothing is lost; the same command joins what runs and submits the rest.
    """
    (tmp_path / "own.toml").write_text(EXPERIMENT)
    command = ["run", "own.toml", "--dataset", "synthetic", "--device", "cpu", "--no-compile"]
    on_slurm = [*command, "--results-dir", "cluster", "--launcher", "slurm", "--slurm", "time=30"]
    store = Store(tmp_path / "cluster")
    with cluster.started(*on_slurm, folder=tmp_path) as launcher:
        wait_for(lambda: len(store.runs()) == 3, "no runs")
        requeued, preempted, cancelled = runs = store.runs()
        wait_for(lambda: any(store.status(run).state == "running" for run in runs), "none runs")
        launcher.kill()
    ids = {run.run_id: task_id(cluster, store.folder(run)) for run in runs}
    stop = {
        requeued: ("scontrol", "requeue"),
        preempted: ("scancel", "--signal=TERM"),  # as a preemption with a grace period: it goes on running
        cancelled: ("scancel",),
    }
    for run, command_of in stop.items():
        wait_for(lambda run=run: store.status(run).state == "running", "does not run")  # type: ignore[misc]
        cluster(*command_of, ids[run.run_id])
    wait_for(lambda: not task_id(cluster, store.folder(cancelled)), "not cancelled")
    status, _ = cluster.resnet("status", "--results-dir", "cluster", folder=tmp_path)

    assert "interrupted" == store.status(cancelled).state
    assert all(0 < store.status(run).iteration < 200 for run in runs)
    for run in (requeued, preempted):
        assert re.search(rf"plain-8 s{run.seed} +(queued|running|completing) {ids[run.run_id]}\b", status)
    assert re.search(rf"plain-8 s{cancelled.seed} +interrupted ", status)

    table, said = cluster.resnet(*on_slurm, folder=tmp_path)
    expected, _ = cluster.resnet(*command, "--results-dir", "local", folder=tmp_path)
    times = [(store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns for run in runs]
    again, _ = cluster.resnet(*on_slurm, folder=tmp_path)

    assert "2 of 3 runs are in the queue already; joining them." in said
    assert "Submitted 1 run as job" in said
    assert expected == table == again
    assert results(tmp_path / "local") == results(store.root)
    assert times == [(store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns for run in runs]
    for run in runs:
        assert "interrupted: stopped" in "".join(path.read_text() for path in logs_of(store, run.seed))


def task_id(cluster: Cluster, folder: Path) -> str:
    """The id of the job that has a run; empty where it is not in the queue."""
    job = run_folder.read_job(folder)
    assert job is not None
    listed = cluster("squeue", "--noheader", "--array", f"--name={job.name}", "--format=%K %i").splitlines()
    return dict(line.split() for line in listed).get(str(job.task), "")


def logs_of(store: Store, seed: int) -> list[Path]:
    """The logs of the jobs that had a run of this seed."""
    return [path for path in (store.root / "slurm").glob("*.out") if f"seed {seed}:" in path.read_text()]
