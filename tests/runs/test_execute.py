"""Executing a plan: one by one and side by side, with runs that fail, diverge, are locked or told to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import filelock
import pytest
import torch
from paper_tasks import IMAGENET

from resnet_cli.analyses import analysis_of
from resnet_cli.data import statistics
from resnet_cli.device.torch_device import default_jobs
from resnet_cli.errors import BadInputError
from resnet_cli.evaluate.scores import top_errors
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.runs import execute as execute_module
from resnet_cli.runs import one_run, workers
from resnet_cli.runs.estimate import bytes_needed
from resnet_cli.runs.execute import execute
from resnet_cli.runs.settings import Ending, Notice, Settings
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.train.loop import DivergedError

if TYPE_CHECKING:
    from resnet_cli.storage.run_folder import Status
    from resnet_cli.storage.store import Store

SETTINGS = Settings(device="cpu", data_dir=Path("nowhere"))
TINY = Variant(dataset="synthetic", tiny=True)


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, Status]] = []
        self.endings: list[tuple[str, Ending, str]] = []
        self.notices: list[tuple[str, str]] = []

    def progressed(self, run: RunSpec, status: Status) -> None:
        """A run has started or moved on."""
        self.statuses.append((run.run_id, status))

    def noticed(self, run: RunSpec, notice: Notice) -> None:
        """A run is busy with something else than its updates."""
        self.notices.append((run.run_id, notice.text))

    def ended(self, run: RunSpec, ending: Ending, message: str) -> None:
        """A run is over."""
        self.endings.append((run.run_id, ending, message))


@pytest.fixture
def _quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers come from a server that has loaded torch; the fresh interpreter of each takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resnet_cli.runs.execute", "torch._dynamo"])
    forkserver.ensure_running()  # started with a worker, it would keep that one's mask of signals
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda _: context)


def tiny_run(net: str, seed: int = 0) -> RunSpec:
    """A run of eight updates."""
    return RunSpec.of(Net.model_validate(net), TINY, Protocol(), seed)


def test_runs_end_done_and_are_not_made_again(store: Store) -> None:
    """Each run ends done with its files; executed once more, a done run is left alone."""
    runs = [tiny_run("plain-8"), tiny_run("resnet-8")]
    watcher = Watcher()
    report = execute(runs, store, SETTINGS, watcher)
    written = [(store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns for run in runs]
    again = execute(runs, store, SETTINGS, Watcher())

    assert {run.run_id: "done" for run in runs} == report.endings == again.endings
    assert [(run.run_id, "done", "") for run in runs] == watcher.endings
    assert written == [(store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns for run in runs]
    assert store.environment(runs[0])["torch"] == torch.__version__


def test_side_by_side_gives_what_one_by_one_gives(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs, a process each, leave the same weights and logs as one job with as many threads."""
    from resnet_cli.storage.store import Store as AnyStore

    runs = [tiny_run("plain-8"), tiny_run("resnet-8"), tiny_run("resnet-8", seed=1)]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of which each of two workers gets one
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        execute(runs, store, SETTINGS, Watcher())
    finally:
        torch.set_num_threads(before)
    other, watcher = AnyStore(tmp_path / "other"), Watcher()
    report = execute(runs, other, Settings("cpu", Path("nowhere"), jobs=2), watcher)

    assert {run.run_id: "done" for run in runs} == report.endings
    assert sorted(run.run_id for run in runs) == sorted(run_id for run_id, _, _ in watcher.endings)
    for run in runs:
        for name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS):
            assert (store.folder(run) / name).read_bytes() == (other.folder(run) / name).read_bytes()


@pytest.mark.usefixtures("_quick_workers")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_starts_from_its_sources_net(jobs: int, store: Store) -> None:
    """The source is trained first, whatever the order and the jobs; its net is what the training starts from."""
    deep = tiny_run("plain-14-from-8")
    assert deep.source
    runs = [deep, deep.source] if jobs == 2 else [deep.source, deep]
    watcher = Watcher()
    report = execute(runs, store, replace(SETTINGS, jobs=jobs, after="training-set"), watcher)
    table = store.analysis(deep, analysis_of("training-set")).set_index("weights")

    assert {run.run_id: "done" for run in runs} == report.endings
    assert [deep.source.run_id, deep.run_id] == [run_id for run_id, _, _ in watcher.endings]
    assert ["end", "start", "source"] == table.index.tolist()
    assert table["error"]["start"] == table["error"]["source"]
    assert 0 == table["changed"]["start"] < table["changed"]["end"]
    assert store.analysis(deep.source, analysis_of("training-set"))["error"].tolist() == [table["error"]["source"]]


@pytest.mark.usefixtures("_quick_workers")
def test_without_its_source_a_run_does_not_start(store: Store) -> None:
    """A run whose source is not done, and is not to be trained either, ends with a line that names it."""
    deep = tiny_run("plain-14-from-8")
    assert deep.source
    for jobs in (1, 2):
        watcher = Watcher()
        report = execute([deep], store, replace(SETTINGS, jobs=jobs), watcher)

        assert {deep.run_id: "locked"} == report.endings
        assert watcher.endings[0][2].startswith(f"starts from the net of {deep.source.run_id}, which is not done; ")
        assert "planned" == store.status(deep).state


@pytest.mark.parametrize("analysis", ["responses", "gradients"])
def test_a_trained_net_is_analysed_later(analysis: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run is not trained again for an analysis; the result is under its checksums; once is enough."""
    run = tiny_run("resnet-8")
    execute([run], store, SETTINGS, Watcher())
    monkeypatch.setattr(one_run, "train", None)
    execute([run], store, replace(SETTINGS, after=analysis), Watcher())
    path = store.folder(run) / run_folder.analysis_file(analysis)
    written = path.stat().st_mtime_ns
    execute([run], store, replace(SETTINGS, after=analysis), Watcher())

    assert store.is_complete(run, analysis)
    assert written == path.stat().st_mtime_ns
    assert {1, 2, 3, 4, 5, 6, 7} == set(store.analysis(run, analysis_of(analysis))["layer"])

    path.write_text(path.read_text().replace("1,conv1", "2,conv1"))

    with pytest.raises(BadInputError, match=f"{analysis}.csv: damaged"):
        store.analysis(run, analysis_of(analysis))
    assert not store.is_done(run, analysis)

    execute([run], store, replace(SETTINGS, after=analysis), Watcher())

    assert store.is_complete(run, analysis)


@pytest.mark.parametrize(
    ("error", "ending", "words"),
    [
        (DivergedError("the loss became nan at iteration 3"), "diverged", "nan at iteration 3"),
        (torch.OutOfMemoryError("CUDA out of memory"), "failed", "out of memory at batch size 16"),
        (OSError(28, "No space left on device", "train.csv"), "failed", "train.csv: No space left on device"),
        (RuntimeError("a\nsurprise"), "failed", "RuntimeError: a surprise"),
    ],
)
def test_a_run_that_fails_does_not_stop_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, ending: str, words: str
) -> None:
    """The ending is told in one line and written to the status; the next run is made; the failed one can be retried."""
    runs = [tiny_run("plain-8"), tiny_run("resnet-8")]
    real = one_run.train

    def fails_for_plain(run: RunSpec, *arguments: object, **options: object) -> None:
        if run.net.family == "plain":
            raise error
        real(run, *arguments, **options)  # type: ignore[arg-type]

    watcher = Watcher()
    with monkeypatch.context() as patch:
        patch.setattr(one_run, "train", fails_for_plain)
        report = execute(runs, store, SETTINGS, watcher)

    assert [ending, "done"] == list(report.endings.values())
    assert words in watcher.endings[0][2]
    assert "\n" not in watcher.endings[0][2]
    assert ending == store.status(runs[0]).state

    assert ["done", "done"] == list(execute(runs, store, SETTINGS, Watcher()).endings.values())


@pytest.mark.long
def test_a_last_run_left_has_the_threads_it_began_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two jobs each has half the threads, also when one run is all that is left to resume.

    Long: the number of threads is a fresh interpreter's.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run = tiny_run("plain-8")
    execute([run], store, Settings("cpu", Path("nowhere"), jobs=2), Watcher())

    assert 1 == store.environment(run)["threads"]


@pytest.mark.usefixtures("_quick_workers")
def test_runs_side_by_side_have_a_place_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three runs two at a time, the third takes the place of the one that ended: so no two share a GPU."""
    started: list[tuple[int, set[str]]] = []
    watcher, start = Watcher(), workers._start

    def noted(run: RunSpec, place: int, *others: Any) -> Any:
        started.append((place, {ended for ended, _, _ in watcher.endings}))
        return start(run, place, *others)

    monkeypatch.setattr(workers, "_start", noted)
    runs = [tiny_run("plain-8"), tiny_run("resnet-20"), tiny_run("resnet-8")]
    execute(runs, store, Settings("cpu", Path("nowhere"), jobs=2), watcher)
    third, ended = started[2]

    assert [0, 1] == [place for place, _ in started[:2]]
    assert runs[third].run_id in ended


@pytest.mark.parametrize(("gpus", "jobs"), [(0, 1), (1, 1), (4, 4)])
def test_several_gpus_are_all_used(gpus: int, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is said there is a run a GPU, and on a CPU one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    assert jobs == default_jobs("auto")
    assert 1 == default_jobs("cpu")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_failure_before_training_is_that_runs_alone(
    store: Store, capfd: pytest.CaptureFixture[str], jobs: int
) -> None:
    """A folder that cannot be written fails its run in one line, without a traceback; the other run is made.

    In `make test-all` also with two jobs, whose fresh interpreters write where the test reads.
    """
    runs = [tiny_run("plain-8"), tiny_run("resnet-8")]
    (store.create_folder(runs[0]) / run_folder.ENVIRONMENT).mkdir()
    watcher = Watcher()
    report = execute(runs, store, Settings("cpu", Path("nowhere"), jobs=jobs), watcher)

    assert {runs[0].run_id: "failed", runs[1].run_id: "done"} == report.endings
    assert any(run_folder.ENVIRONMENT in message for _, _, message in watcher.endings)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.usefixtures("_quick_workers")
def test_a_worker_killed_from_outside_is_a_failure_and_can_be_retried(store: Store) -> None:
    """With kill -9 on one worker, that run fails in one line, the others end, and the same call finishes it."""
    long = tiny_run("resnet-8")  # so that it has not ended before the signal comes
    long = long.model_copy(update={"protocol": long.protocol.model_copy(update={"iterations": 100})})
    runs = [long, tiny_run("plain-8")]

    class Killer(Watcher):
        def progressed(self, run: RunSpec, status: Status) -> None:
            super().progressed(run, status)
            if run == runs[0] and status.iteration == 0:
                for process in workers.multiprocessing.active_children():
                    if process.name == run.run_id and process.pid:
                        os.kill(process.pid, signal.SIGKILL)

    watcher = Killer()
    report = execute(runs, store, Settings("cpu", Path("nowhere"), jobs=2), watcher)

    assert {runs[0].run_id: "failed", runs[1].run_id: "done"} == report.endings
    assert "exit code -9" in next(message for run_id, _, message in watcher.endings if run_id == runs[0].run_id)
    assert "failed" == store.status(runs[0]).state

    assert {"done"} == set(execute(runs, store, SETTINGS, Watcher()).endings.values())


def test_a_run_that_another_process_holds_is_left_to_it(store: Store) -> None:
    """A locked run ends as locked, the others are made."""
    runs = [tiny_run("plain-8"), tiny_run("resnet-8")]
    folder = store.create_folder(runs[0])
    with filelock.FileLock(folder / run_folder.LOCK):
        report = execute(runs, store, SETTINGS, Watcher())

    assert ["locked", "done"] == list(report.endings.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_signals_stop_after_the_update_in_hand(store: Store, number: signal.Signals) -> None:
    """The run in hand is saved as interrupted, the next is not begun, and the report names the signal."""
    runs = [tiny_run("resnet-8"), tiny_run("resnet-14")]

    class Stopper(Watcher):
        def progressed(self, run: RunSpec, status: Status) -> None:
            super().progressed(run, status)
            if status.iteration == 0:
                os.kill(os.getpid(), number)

    report = execute(runs, store, SETTINGS, Stopper())

    assert {runs[0].run_id: "interrupted"} == report.endings
    assert number == report.stopped_by
    assert 1 == store.status(runs[0]).iteration
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    assert ["done", "done"] == list(execute(runs, store, SETTINGS, Watcher()).endings.values())


@pytest.mark.parametrize("content", ["{", "[1]", '{"resumed": 3}', '{"resumed": ["yesterday"]}'])
def test_a_damaged_environment_is_written_anew(store: Store, content: str) -> None:
    """Environment.json is information: whatever stands there, the run is made, and it says what with."""
    run = tiny_run("resnet-8")
    (store.create_folder(run) / run_folder.ENVIRONMENT).write_text(content)

    assert {run.run_id: "done"} == execute([run], store, SETTINGS, Watcher()).endings
    assert torch.__version__ == store.environment(run)["torch"]


def test_a_device_that_is_not_here_is_bad_input(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA where there is none, or TF32 without CUDA, is refused before anything is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInputError, match=r"--device cuda: .* finds none here"):
        execute([tiny_run("resnet-8")], store, Settings("cuda", Path("nowhere")), Watcher())
    tf32 = RunSpec.of(Net.model_validate("resnet-8"), TINY.model_copy(update={"precision": "tf32"}), Protocol(), 0)
    with pytest.raises(BadInputError, match="--precision tf32"):
        execute([tf32], store, SETTINGS, Watcher())

    assert not store.root.exists()


def test_missing_data_is_bad_input(store: Store, tmp_path: Path) -> None:
    """Without CIFAR-10 nothing is begun, and the line names the file and the next step."""
    run = RunSpec.of(Net.model_validate("resnet-8"), Variant(), Protocol(), 0)
    with pytest.raises(BadInputError, match=r"data_batch_1: No such file.*resnet data download"):
        execute([run], store, Settings("cpu", tmp_path), Watcher())

    assert not store.root.exists()


PHOTOS = Variant(dataset="synthetic-photos", tiny=True)


def test_a_trained_net_is_tested_over_several_views(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its training a run is tested as its table asks; a run that is trained already is tested only.

    The errors can be computed again from the scores that are kept. Nothing is done twice.
    """
    run = RunSpec.of(IMAGENET.net("resnet-18"), PHOTOS, IMAGENET.protocol, 0)
    execute([run], store, SETTINGS, Watcher())
    trained = (store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns

    assert store.is_done(run)
    assert not store.is_done(run, "10-crop")

    report = execute([run], store, replace(SETTINGS, after="10-crop"), Watcher())
    result = store.test_result(run, "10-crop")
    scores, labels = store.scores(run, "10-crop")

    assert {run.run_id: "done"} == report.endings
    assert trained == (store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns
    assert result
    assert (result.top1_error, result.top5_error) == top_errors(scores, labels)
    assert (16, 10) == scores.shape

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(one_run, "score_run", never)

    assert {run.run_id: "done"} == execute([run], store, replace(SETTINGS, after="10-crop"), Watcher()).endings


def test_a_test_that_fails_leaves_the_training_done(store: Store) -> None:
    """Weights that are damaged are named, and the run stays trained."""
    run = RunSpec.of(IMAGENET.net("resnet-18"), PHOTOS, IMAGENET.protocol, 0)
    execute([run], store, SETTINGS, Watcher())
    weights = store.folder(run) / run_folder.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    watcher = Watcher()
    reports = [execute([run], store, replace(SETTINGS, after="dense"), watcher)]
    (store.folder(run) / run_folder.SUMS).unlink()  # as an earlier version left it
    reports.append(execute([run], store, replace(SETTINGS, after="dense"), watcher))

    assert [{run.run_id: "bad input"}] * 2 == [report.endings for report in reports]
    assert f"{weights}: damaged: its SHA-256 is not in SHA256SUMS; restore it, or delete" in watcher.endings[0][2]
    assert f"{weights}: not the weights of resnet-18; delete" in watcher.endings[1][2]
    assert store.is_done(run)


def test_a_stop_during_the_test_is_obeyed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to stop while it tests, a run ends as interrupted, and is tested the next time."""
    run = RunSpec.of(IMAGENET.net("resnet-18"), PHOTOS, IMAGENET.protocol, 0)
    execute([run], store, SETTINGS, Watcher())
    real = one_run.score_run

    def stopped(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(one_run, "score_run", stopped)
        report = execute([run], store, replace(SETTINGS, after="10-crop"), Watcher())

    assert ({run.run_id: "interrupted"}, signal.SIGTERM) == (report.endings, report.stopped_by)
    assert store.test_result(run, "10-crop") is None
    assert {run.run_id: "done"} == execute([run], store, replace(SETTINGS, after="10-crop"), Watcher()).endings


def test_scores_that_are_gone_are_made_again(store: Store) -> None:
    """A run whose errors are there but whose scores are not is tested once more when it is executed."""
    run = RunSpec.of(IMAGENET.net("resnet-18"), PHOTOS, IMAGENET.protocol, 0)
    execute([run], store, replace(SETTINGS, after="dense"), Watcher())
    scores = store.folder(run) / run_folder.scores_file("dense")
    content = scores.read_bytes()
    scores.unlink()

    assert store.is_done(run, "dense")
    assert not store.is_complete(run, "dense")

    execute([run], store, replace(SETTINGS, after="dense"), Watcher())

    assert content == scores.read_bytes()


def test_the_pass_over_the_photographs_is_not_training(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean is made before the training's clock starts; asked to stop meanwhile, the run ends as interrupted."""
    run = RunSpec.of(IMAGENET.net("resnet-18"), PHOTOS, IMAGENET.protocol, 0)
    real = statistics.summarize
    training_has_begun = []

    def watched(*arguments: Any) -> statistics.Statistics:
        training_has_begun.append((store.folder(run) / run_folder.TRAIN_CSV).exists())
        return real(*arguments)

    def stopped(*arguments: Any) -> statistics.Statistics:
        os.kill(os.getpid(), signal.SIGTERM)
        arguments[-1]("mean of the training images: 1 of 64")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(statistics, "summarize", stopped)
        watcher = Watcher()
        report = execute([run], store, SETTINGS, watcher)

    assert {run.run_id: "interrupted"} == report.endings
    assert [(run.run_id, "mean of the training images: 1 of 64")] == watcher.notices
    assert "running" != store.status(run).state

    monkeypatch.setattr(statistics, "summarize", watched)
    execute([run], store, SETTINGS, Watcher())

    assert [False] == training_has_begun


@pytest.mark.parametrize(
    ("compiled", "iterations", "expected"),
    [(None, 999, "plain"), (None, 1_000, "compiled"), (True, 8, "compiled"), (False, 64_000, "plain")],
)
def test_long_runs_take_the_compiled_step(
    compiled: bool | None, iterations: int, expected: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 1,000 updates on, or as --compile and --no-compile say; the environment tells which."""
    taken = []
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(one_run.proof, "obstacle", lambda *_: None)
    monkeypatch.setattr(one_run, "train", lambda *_, step, **__: taken.append(step))
    run = tiny_run("resnet-8")
    run = run.model_copy(update={"protocol": run.protocol.model_copy(update={"iterations": iterations})})
    execute([run], store, replace(SETTINGS, compiled=compiled), Watcher())

    assert [expected] == taken
    assert expected == store.environment(run)["step"]


def test_a_run_goes_on_with_the_step_it_began_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself, so that its bits are those of a run that was never stopped; asked otherwise, it does as asked."""
    taken = []
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(one_run.proof, "obstacle", lambda *_: None)
    monkeypatch.setattr(one_run, "train", lambda *_, step, **__: taken.append(step))
    for compiled in (True, None, False, None):
        execute([tiny_run("resnet-8")], store, replace(SETTINGS, compiled=compiled), Watcher())

    assert ["compiled", "compiled", "plain", "plain"] == taken


def test_a_run_that_began_captured_stays_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the compiled step, which failed at first, could be had by now; `--compile` asks for it."""
    taken = []
    problems: dict[str, str | None] = {"compiled": "no memory", "captured": None}
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(one_run.graph_step, "takes_a_graph", lambda *_, is_alone: is_alone)
    monkeypatch.setattr(one_run.proof, "obstacle", lambda *arguments: problems[arguments[-1]])
    monkeypatch.setattr(one_run, "train", lambda *_, step, **__: taken.append(step))
    watcher = Watcher()
    run = tiny_run("resnet-8")
    execute([run], store, replace(SETTINGS, compiled=True), watcher)
    told = watcher.notices[-1]
    problems["compiled"] = None
    for compiled in (None, True):
        execute([run], store, replace(SETTINGS, compiled=compiled), watcher)

    assert (run.run_id, "uses the plain step as a CUDA graph: no memory") == told
    assert ["captured", "captured", "compiled"] == taken


def test_without_a_compiler_a_run_takes_the_plain_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in one line, and is done all the same."""
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: "no compiler here")
    watcher = Watcher()
    run = tiny_run("resnet-8")
    report = execute([run], store, replace(SETTINGS, compiled=True), watcher)

    assert {run.run_id: "done"} == report.endings
    assert [(run.run_id, "uses the plain step, which is slower: no compiler here")] == watcher.notices
    assert "plain" == store.environment(run)["step"]


def test_without_a_compiler_cuda_captures_the_plain_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing need be compiled for a graph of it, which is told; it proves itself like any other fast step."""
    taken = []
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: "no compiler here")
    monkeypatch.setattr(one_run.graph_step, "takes_a_graph", lambda *_, is_alone: is_alone)
    monkeypatch.setattr(one_run.proof, "obstacle", lambda *_: None)
    monkeypatch.setattr(one_run, "train", lambda *_, step, **__: taken.append(step))
    watcher = Watcher()
    run = tiny_run("resnet-8")
    execute([run], store, replace(SETTINGS, compiled=True), watcher)

    assert ["captured"] == taken
    assert [(run.run_id, "uses the plain step as a CUDA graph: no compiler here")] == watcher.notices


def test_a_run_whose_fast_step_is_wrong_takes_the_plain_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why in one line, and is done all the same."""
    monkeypatch.setattr(one_run.graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(one_run.proof, "obstacle", lambda *_: "the fast step fails here: RuntimeError: no capture")
    watcher = Watcher()
    run = tiny_run("resnet-8")
    report = execute([run], store, replace(SETTINGS, compiled=True), watcher)

    assert {run.run_id: "done"} == report.endings
    line = "uses the plain step, which is slower: the fast step fails here: RuntimeError: no capture"
    assert (run.run_id, line) == watcher.notices[-1]
    assert "plain" == store.environment(run)["step"]


def test_a_full_disk_is_told_before_training(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runs would not fit, one line names the folder and the bytes, and nothing is trained.

    Seen to fail when the check is left out.
    """
    run = tiny_run("resnet-8")
    monkeypatch.setattr(execute_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=bytes_needed([run]) - 1))
    with pytest.raises(BadInputError, match=rf"{store.root}: [0-9,]+ bytes free, [0-9,]+ needed"):
        execute([run], store, SETTINGS, Watcher())

    assert "planned" == store.status(run).state
    monkeypatch.setattr(execute_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=bytes_needed([run])))

    assert {run.run_id: "done"} == execute([run], store, SETTINGS, Watcher()).endings
