"""Jobs of a cluster without a cluster: options, what a task does, what the launcher makes of the queue's answers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import filelock
import pytest
import torch
from test_execute import SETTINGS, TINY, Watcher, tiny_run

from resnet_cli.cli.main import _exit_code
from resnet_cli.errors import BadInputError
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs import slurm as slurm_module
from resnet_cli.runs.slurm import check_installed, launch, parse_options
from resnet_cli.runs.slurm_task import SlurmTask, make_task
from resnet_cli.runs.squeue import NoAnswerError, Queued, queued
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Job, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.runs.settings import Ending
    from resnet_cli.storage.store import Store

pytest.importorskip("submitit")

RUN = tiny_run("plain-8")
COMMAND = ["run", "table6", "--tiny", "--only", "resnet-20", "--device", "cpu", "--launcher", "slurm"]


@pytest.fixture(autouse=True)
def _not_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("SLURM", "SBATCH", "SQUEUE", "SUBMITIT")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(slurm_module, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(slurm_module, "GRACE_SECONDS", 0.5)


class Programs:
    """SLURM's commands as shell scripts in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("srun", "scontrol", "sbatch", "squeue"):
            self(name, "exit 0")

    def __call__(self, name: str, script: str) -> None:
        """Makes one of them do this; it writes down the arguments it was called with before."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "$@" >> "{self.folder}/{name}.calls"\n{script}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """The arguments of each call of a command."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """SLURM's commands before all others on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Programs(folder)


def answer(*jobs: tuple[Store, RunSpec, str]) -> str:
    """A script that says the state and the reason of these runs' jobs, as squeue does; ids are 7_<place>."""
    lines = []
    for store, run, rest in jobs:
        job = run_folder.read_job(store.folder(run))
        assert job is not None
        lines.append(f"{job.name}|{job.task}|7_{job.task}|{rest}")
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


def has_job(store: Store, run: RunSpec = RUN, **fields: Any) -> None:
    """Notes a job in a run's folder, as the launcher does before it submits."""
    run_folder.write_job(store.create_folder(run), Job(**{"name": "resnet-test-1", "task": 0, **fields}))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["partition=gpu,gres=gpu:1,time=02:00:00"], {"partition": "gpu", "gres": "gpu:1", "time": "02:00:00"}),
        (["nodelist=a,b,qos=low"], {"nodelist": "a,b", "qos": "low"}),
        (["exclusive=,mem=8G"], {"exclusive": True, "mem": "8G"}),
        (["--cpus_per_task=4", "account=x"], {"cpus-per-task": "4", "account": "x"}),
        (["constraint=a=b"], {"constraint": "a=b"}),
        ([], {}),
    ],
)
def test_options_are_sbatchs(texts: list[str], expected: dict[str, str | bool]) -> None:
    """KEY=VALUE, a comma before the next KEY=; a part without = belongs to the value before; KEY= has no value."""
    assert expected == parse_options(texts)


@pytest.mark.parametrize(
    "text", ["gpu", "=gpu", "a b=c", "exclusive=,gpu", "", "array=0-3", "job-name=x", "wait=", "clusters=b"]
)
def test_what_is_no_option(text: str) -> None:
    """A part that is no option, or one that would take the jobs out of the launcher's hands, is refused by name."""
    with pytest.raises(BadInputError, match="--slurm"):
        parse_options([text])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "table6", "--tiny", "--slurm", "partition=gpu"], "--slurm: needs --launcher slurm"),
        ([*COMMAND, "--jobs", "2"], "--jobs 2: applies to --launcher local"),
        ([*COMMAND, "--slurm", "gpu"], "--slurm 'gpu': write KEY=VALUE"),
    ],
    ids=["local", "jobs", "malformed"],
)
def test_contradictions(
    programs: Programs, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, nothing written, nothing submitted."""
    assert 2 == _exit_code([*arguments, "--results-dir", str(tmp_path / "results")])
    assert capsys.readouterr().err.startswith(f"error: {words}")
    assert not (tmp_path / "results").exists()
    assert [] == programs.calls("sbatch")


def test_where_nothing_can_be_submitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without SLURM's commands, or without submitit, a line says what is missing and how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match=r"no sbatch, srun, squeue, scontrol here.*pip install submitit"):
        check_installed()
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"submitit is not installed; pip install submitit"):
        check_installed()


def test_the_queue_is_asked_once(store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all runs at once, of an array's tasks and of a job of its own; nothing is asked where no run had a job."""
    first, second, third = runs = [tiny_run("plain-8", seed) for seed in range(3)]

    assert {} == queued(runs, store)
    assert [] == programs.calls("squeue")

    has_job(store, first, name="resnet-a-1", task=2)
    has_job(store, second, name="resnet-b-2")
    has_job(store, third, name="resnet-a-1", task=1)
    monkeypatch.setenv("SQUEUE_STATES", "FAILED")
    programs("squeue", 'echo "resnet-a-1|2|5_2|PENDING|a reason|x"; echo "resnet-b-2|N/A|6|RUNNING|$SQUEUE_STATES"')

    expected = {
        first.run_id: Queued("5_2", "PENDING", "a reason|x"),
        second.run_id: Queued("6", "RUNNING", ""),
    }

    assert expected == queued(runs, store)
    (call,) = programs.calls("squeue")
    assert call.endswith("--name=resnet-a-1,resnet-b-2")


def test_a_queue_that_does_not_answer(store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is told from an empty one: a controller that is down, or hangs, and no squeue at all."""
    has_job(store)
    programs("squeue", "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    with pytest.raises(NoAnswerError, match="slurm_load_jobs error: Unable to contact"):
        queued([RUN], store)
    programs("squeue", "exec sleep 60")
    with pytest.raises(NoAnswerError, match=r"squeue.*timed out"):
        queued([RUN], store, patience=0.2)
    monkeypatch.setenv("PATH", str(store.root))
    with pytest.raises(NoAnswerError, match=r"squeue: .*No such file"):
        queued([RUN], store)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("PENDING|Priority", "queued 7_0 (Priority)"),
        ("PENDING|None", "queued 7_0"),
        ("RUNNING|None", "running 7_0"),
        ("COMPLETING|None", "completing 7_0"),
        (None, "failed"),
    ],
)
def test_status_shows_the_queue(
    store: Store, add_run: AddRun, programs: Programs, capsys: pytest.CaptureFixture[str], rest: str | None,
    expected: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A run that a job has shows the job's state and id; one that none has, or that is done, its own state."""
    monkeypatch.setenv("COLUMNS", "140")
    run, done = add_run("plain-20", [50.0], state="failed"), add_run("resnet-20", [50.0])
    for each in (run, done):
        has_job(store, each, task=each is done)
    jobs = [(store, run, rest), (store, done, "COMPLETING|None")] if rest else []
    programs("squeue", answer(*jobs))
    code = _exit_code(["status", "--results-dir", str(store.root)])
    out = capsys.readouterr().out

    assert 0 == code
    assert f"plain-20 s0 {expected} " in " ".join(out.split())
    assert "resnet-20 s0 done " in " ".join(out.split())


def test_status_without_slurm(
    store: Store, add_run: AddRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no squeue, the files say what they say, without a word about it."""
    has_job(store, add_run("plain-20", [50.0], state="interrupted"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "140")

    assert 0 == _exit_code(["status", "--results-dir", str(store.root)])
    captured = capsys.readouterr()
    assert "interrupted" in captured.out
    assert "" == captured.err


@contextmanager
def watched(_title: str, runs: Sequence[RunSpec]) -> Iterator[Watcher]:
    """Who watches a task in these tests; sends the process the signal that the environment names, at the start."""
    watcher = Watcher()

    def stopping(_run: RunSpec, _status: Status) -> None:
        if "TEST_SIGNAL" in os.environ:
            signal.raise_signal(int(os.environ.pop("TEST_SIGNAL")))

    watcher.progressed = stopping  # type: ignore[method-assign]
    assert [RUN.net.family] == [run.net.family for run in runs]
    yield watcher
    WATCHERS.append(watcher)


WATCHERS: list[Watcher] = []


@pytest.fixture
def in_a_job(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[list[int]]:
    """The environment of a job's task, and handlers as submitit's; which of them were called."""
    called: list[int] = []
    WATCHERS.clear()
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm",
        "SUBMITIT_FOLDER": str(store.root / "slurm"),
        "SLURM_JOB_ID": "9",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    threads = torch.get_num_threads()
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    signal.signal(signal.SIGUSR2, lambda number, _: called.append(number))
    yield called
    for number, handler in old.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


def task_of(store: Store, after: str = "1-crop", **settings: Any) -> SlurmTask:
    """A task as it arrives in its job."""
    made = make_task("test", store, replace(SETTINGS, after=after), watched, workers=None)
    task = pickle.loads(pickle.dumps(made))
    assert isinstance(task, SlurmTask)
    return replace(task, settings=replace(task.settings, **settings))


@pytest.mark.usefixtures("in_a_job")
def test_a_task_trains_its_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many threads as its job has CPUs; the note says which log it writes and how it ended; no exit code."""
    has_job(store)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    task_of(store)(RUN)
    job = Job(name="resnet-test-1", task=0, log="slurm/7_0_0_log.out", ending="done")

    assert "done" == store.status(RUN).state
    assert 2 == store.environment(RUN)["threads"]
    assert job == run_folder.read_job(store.folder(RUN))
    assert [(RUN.run_id, "done", "")] == WATCHERS[0].endings


@pytest.mark.usefixtures("in_a_job")
def test_a_task_that_cannot_train(store: Store) -> None:
    """No data on the node: exit code 2, so that SLURM counts the job as failed, and the note says why."""
    run = RunSpec.of(Net.model_validate("plain-8"), TINY.model_copy(update={"dataset": "cifar10", "tiny": False}),
                     Protocol(), 0)  # fmt: skip
    has_job(store, run)
    with pytest.raises(SystemExit) as stopped:
        task_of(store)(run)
    job = run_folder.read_job(store.folder(run))

    assert 2 == stopped.value.code
    assert job is not None
    assert "bad input" == job.ending
    assert "nowhere" in job.message


@pytest.mark.usefixtures("in_a_job")
def test_a_task_whose_run_another_has(store: Store) -> None:
    """Exit code 4, and nothing is trained: a run has one owner."""
    has_job(store)
    with filelock.FileLock(store.folder(RUN) / run_folder.LOCK), pytest.raises(SystemExit) as stopped:
        task_of(store)(RUN)

    assert 4 == stopped.value.code
    assert "planned" == store.status(RUN).state


@pytest.mark.parametrize(
    ("number", "state", "handed_on"),
    [
        (signal.SIGUSR2, None, True),
        (signal.SIGTERM, "RUNNING|None", True),
        (signal.SIGTERM, "SIGNALING|None", True),
        (signal.SIGTERM, "COMPLETING|None", False),
        (signal.SIGTERM, None, False),
        (signal.SIGINT, "RUNNING|None", False),
    ],
    ids=["time limit", "preempted", "being preempted", "cancelled", "gone", "interrupted"],
)
def test_a_task_that_is_told_to_stop(
    store: Store, programs: Programs, in_a_job: list[int], monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals, state: str | None, handed_on: bool,
) -> None:  # fmt: skip
    """All is saved, then submitit hears of a time limit or a preemption, to requeue the job; not of a cancellation.

    SLURM says of a job that it cancels or requeues itself that it is completing, of one that it preempts with a grace
    period that it runs.
    """
    has_job(store)
    programs("squeue", answer((store, RUN, state)) if state else "exit 0")
    monkeypatch.setenv("TEST_SIGNAL", str(int(number)))
    with pytest.raises(SystemExit) as stopped:
        task_of(store)(RUN)

    assert 75 == stopped.value.code
    assert ([signal.SIGUSR2] if handed_on else []) == in_a_job
    assert "interrupted" == store.status(RUN).state
    assert (store.folder(RUN) / run_folder.CHECKPOINT).exists()

    task_of(store).checkpoint(RUN).result()  # what submitit puts into the queue goes on

    assert "done" == store.status(RUN).state


def test_a_task_that_gets_no_further(
    store: Store, in_a_job: list[int], monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    """A job whose time is over before its run gets any further is requeued twice, then it has failed, and says why."""
    has_job(store)
    programs("squeue", "exit 0")

    def stopped(*_: object) -> tuple[str, str, signal.Signals]:
        return "interrupted", "stopped", signal.SIGUSR2

    monkeypatch.setattr(SlurmTask, "_execute", stopped)
    codes = []
    for _ in range(3):
        with pytest.raises(SystemExit) as ended:
            task_of(store)(RUN)
        codes.append(ended.value.code)
    job = run_folder.read_job(store.folder(RUN))

    assert [75, 75, 3] == codes
    assert [signal.SIGUSR2] * 2 == in_a_job
    assert job is not None
    assert "failed" == job.ending
    assert "--slurm time=" in job.message


@pytest.mark.parametrize(("state", "handed_on"), [("RUNNING|None", True), ("COMPLETING|None", False)])
def test_a_task_that_is_stopped_before_it_listens(
    store: Store, in_a_job: list[int], monkeypatch: pytest.MonkeyPatch, programs: Programs, state: str, handed_on: bool
) -> None:
    """A preemption in the seconds before the training listens is handed on too; a cancellation is not."""
    has_job(store)
    programs("squeue", answer((store, RUN, state)))
    monkeypatch.setattr(SlurmTask, "_execute", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as stopped:
        task_of(store)(RUN)

    assert 75 == stopped.value.code
    assert ([signal.SIGUSR2] if handed_on else []) == in_a_job


def test_a_task_arrives_without_torch(store: Store) -> None:
    """Loading a task loads no torch: until submitit listens, a signal would end the job and not requeue it."""
    path = store.root / "task.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps((make_task("test", store, SETTINGS, print, None), RUN)))  # type: ignore[arg-type]
    program = f"import pickle, sys; pickle.load(open({str(path)!r}, 'rb')); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout


def submit(
    store: Store, runs: Sequence[RunSpec], options: dict[str, str | bool] | None = None
) -> tuple[list[str], Watcher, dict[str, Ending]]:
    """Launches runs: what was said, who watched, and how they ended."""
    said: list[str] = []
    watcher = Watcher()
    task = make_task("my test!", store, SETTINGS, watched, None)
    report = launch(runs, store, task, options or {}, watcher, said.append)
    return said, watcher, report.endings


def test_one_array_with_sbatchs_options(store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sbatch reads has the array, our name, the user's options, a time, a requeue, and no figure of submitit's.

    The user's defaults reach it, but for those that would take the jobs out of the launcher's hands.
    """
    programs(
        "sbatch", f'cp "$1" "{programs.folder}/script"; env > "{programs.folder}/env"; echo "Submitted batch job 7"'
    )
    for name in ("SBATCH_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "mine")
    said, _, _ = submit(store, [tiny_run("plain-8"), tiny_run("resnet-8")], {"gres": "gpu:1", "exclusive": True})
    script = (programs.folder / "script").read_text().splitlines()

    assert ["Submitted 2 runs as job 7; logs in " + str(store.root / "slurm") + "."] == said
    for line in (
        "--ntasks-per-node=1",
        "--array=0-1%2",
        "--gres=gpu:1",
        "--exclusive",
        "--time=1:00:00",
        "--requeue",
        "--signal=USR2@90",
    ):
        assert f"#SBATCH {line}" in script
    assert any(line.startswith("#SBATCH --job-name=resnet-my-test-") for line in script)
    assert "export SLURM_EXPORT_ENV=ALL" in script
    defaults = [line for line in (programs.folder / "env").read_text().splitlines() if line.endswith("=mine")]
    assert ["SBATCH_ACCOUNT=mine"] == defaults
    assert "mine" == os.environ["SBATCH_JOB_NAME"]
    assert not any("wckey" in line or "inf" in line.split("=") for line in script)
    assert [0, 1] == [job.task for run in store.runs() if (job := run_folder.read_job(store.folder(run)))]


def test_a_net_made_from_another_waits_for_it(store: Store, programs: Programs) -> None:
    """A run that starts from another's net goes into an array of its own, which depends on that task only."""
    source, run = tiny_run("plain-8"), tiny_run("plain-14-from-8")
    programs("sbatch", f'cat "$1" >> "{programs.folder}/scripts"; echo "Submitted batch job 7"')
    programs(
        "squeue",
        f"""[ -e "{programs.folder}/asked" ] || sed -n 's/.*"name":.*"\\(.*\\)",/\\1|0|7_0|PENDING|/p' \\
        "{store.folder(source) / run_folder.JOB}"; touch "{programs.folder}/asked" """,
    )
    submit(store, [source, run, tiny_run("resnet-8")], {"dependency": "singleton"})
    dependencies = [line for line in (programs.folder / "scripts").read_text().splitlines() if "dependency" in line]

    assert ["#SBATCH --dependency=singleton", "#SBATCH --dependency=singleton,afterany:7_0"] == dependencies


def test_a_chain_of_nets_waits_link_by_link(store: Store, programs: Programs) -> None:
    """An R-CNN's array depends on its RPN's, and that on the classifier's."""
    variant = Variant(dataset="drawn-objects", tiny=True)
    rcnn = RunSpec.of(variant.task.net("rcnn-resnet-8"), variant, variant.task.protocol, 0)
    programs("sbatch", f'cat "$1" >> "{programs.folder}/scripts"; echo "Submitted batch job 7"')
    tell = "; ".join(
        f"""sed -n 's/.*"name":.*"\\(.*\\)",/\\1|0|{number}_0|PENDING|/p' """
        f'"{store.folder(run) / run_folder.JOB}" 2> /dev/null'
        for number, run in enumerate(rcnn.sources)
    )
    asked = programs.folder / "asked"  # before each of three arrays; then all are gone
    programs("squeue", f'echo >> "{asked}"; [ $(wc -l < "{asked}") -gt 3 ] || {{ {tell}; true; }}')
    submit(store, [*reversed(rcnn.sources), rcnn])
    lines = (programs.folder / "scripts").read_text().splitlines()

    assert [f"#SBATCH --dependency=afterany:{number}_0" for number in (1, 0)] == [
        line for line in lines if "dependency" in line
    ]


def test_sbatch_says_no(store: Store, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words are the error's, said once; no note, no script and no pickle stays behind."""
    programs("sbatch", "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    code = _exit_code([*COMMAND, "--slurm", "partition=nope", "--results-dir", str(store.root)])
    left = sorted(path.name for path in store.root.rglob("*") if path.is_file())

    assert 2 == code
    assert "error: --launcher slurm: sbatch: error: invalid partition specified: nope\n" == capsys.readouterr().err
    assert [".lock", ".lock", "spec.json"] == left


def test_a_controller_that_is_down_is_not_an_empty_queue(store: Store, programs: Programs) -> None:
    """Nothing is submitted where nobody says what is in the queue already: a run would get a second job."""
    has_job(store)
    programs("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(BadInputError, match="Unable to contact slurm controller"):
        submit(store, [RUN])

    assert [] == programs.calls("sbatch")


def ends(status: Status | None = None, **job: str) -> Callable[[Store], None]:
    """What a job leaves behind when it is gone."""

    def leave(store: Store) -> None:
        note = run_folder.read_job(store.folder(RUN))
        assert note is not None
        run_folder.write_job(store.folder(RUN), note.model_copy(update=job))
        if status:
            run_folder.write_status(store.folder(RUN), status)

    return leave


def began() -> Callable[[Store], None]:
    """A job that died before it could note anything leaves a log."""

    def leave(store: Store) -> None:
        (store.root / "slurm").mkdir(exist_ok=True)
        (store.root / "slurm" / "7_0_0_log.out").write_text("slurmstepd: error: execve(): python: No such file")

    return leave


@pytest.mark.parametrize(
    ("leave", "ending", "words"),
    [
        (ends(Status(state="done", iteration=8, iterations=8), log="l", ending="done"), "done", ""),
        (ends(Status(state="failed"), log="l", ending="failed", message="no room"), "failed", "no room"),
        (ends(Status(state="running", iterations=8), log="slurm/7_0_0_log.out"), "failed", "slurm/7_0_0_log.out"),
        (ends(log="l", ending="locked", message="another"), "locked", "another"),
        (ends(log="l", ending="done"), "failed", "its files are not visible here"),
        (began(), "failed", "slurm/7_0_0_log.out"),
        (ends(), "interrupted", "before it began"),
    ],
    ids=["done", "failed", "killed", "locked", "not seen yet", "died at once", "cancelled in the queue"],
)
def test_how_a_job_ends(
    store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Store], None],
    ending: Ending, words: str,
) -> None:  # fmt: skip
    """A run in the queue is joined, not submitted; when its job is gone, what it left says how the run ended.

    A controller that does not answer for a while ends nothing; a job that is requeued has not ended.
    """
    has_job(store, log="l", ending="interrupted", message="of an earlier start")
    answers = [
        Queued("7_0", "PENDING", "Priority"),
        Queued("7_0", "RUNNING", "None"),
        NoAnswerError("down"),
        Queued("7_0", "PENDING", "BeginTime"),
        Queued("7_0", "PENDING", "PartitionConfig"),
    ]

    def next_answer(*_: object) -> dict[str, Queued]:
        if not answers:
            return {}
        now = answers.pop(0)
        if not answers:
            leave_what_is_left(store)
        if isinstance(now, NoAnswerError):
            raise now
        return {RUN.run_id: now}

    def leave_what_is_left(store: Store) -> None:
        has_job(store)
        leave(store)

    monkeypatch.setattr(slurm_module, "queued", next_answer)
    said, watcher, endings = submit(store, [RUN])

    assert ["1 of 1 runs are in the queue already; joining them."] == said
    assert [] == programs.calls("sbatch")
    assert {RUN.run_id: ending} == endings
    assert words in watcher.endings[0][2]
    notices = [text for _, text in watcher.notices]
    assert ["job running 7_0", "job queued 7_0 (BeginTime)", "job queued 7_0 (PartitionConfig)"] == notices


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)], ids=["Ctrl-C", "SIGTERM"])
def test_a_launcher_that_is_told_to_stop(
    store: Store, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    number: signal.Signals, code: int,
) -> None:  # fmt: skip
    """It ends; the jobs do not; a line says so."""
    programs("sbatch", "echo 'Submitted batch job 7'")
    submitted = slurm_module._submit_missing

    def then_signal(*arguments: Any) -> dict[str, str]:
        ids = submitted(*arguments)
        signal.raise_signal(number)
        return ids

    monkeypatch.setattr(slurm_module, "_submit_missing", then_signal)

    assert code == _exit_code([*COMMAND, "--results-dir", str(store.root)])
    assert "The jobs continue." in capsys.readouterr().err
    assert [] == programs.calls("scancel")
