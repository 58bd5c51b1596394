"""Makes up the difference between the plan and the store: trains what is missing, one run or several at a time."""

from __future__ import annotations

import contextlib
import importlib
import math
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import filelock
import torch

from resnet_cli import run_folder
from resnet_cli.data import Dataset, PhotoDataset, obstacle, open_dataset
from resnet_cli.device import choose_device, prepare
from resnet_cli.errors import BadInputError
from resnet_cli.evaluate.analyse import analyse_run
from resnet_cli.evaluate.trained import score_run
from resnet_cli.ranks import ALONE, Ranks, explained, is_loss
from resnet_cli.run_folder import Status
from resnet_cli.runs.estimate import bytes_needed
from resnet_cli.runs.store import Store
from resnet_cli.train import environment, graph_step
from resnet_cli.train.interrupt import STOPPING, StopSignals
from resnet_cli.train.loop import DivergedError, StoppedError, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resnet_cli.data.statistics import Statistics
    from resnet_cli.spec import AfterTraining, Photos, RunSpec, Variant

NOTICE_SECONDS = 10.0
LOCK_SECONDS = 1.0  # who only looks at a run, or writes its spec, has its lock for a moment

Ending = Literal["done", "failed", "bad input", "diverged", "interrupted", "locked"]
FAILED: tuple[Ending, ...] = ("failed", "bad input")


@dataclass(frozen=True)
class Settings:
    """How to train; nothing in here may change a result beyond the last bits.

    Attributes:
        device: cuda, mps, cpu or auto.
        data_dir: The folder of datasets.
        dataset_root: A folder of classes in place of ImageNet, or ImageNet's own folder.
        workers: Threads of each run that read photographs.
        decode: What decodes JPEGs for training; CUDA's decoder differs from the CPU's in the last bits of a pixel.
        jobs: Runs side by side, each in a process of its own; several GPUs take turns. CPU threads are shared out
            among as many, even if fewer runs are left: the last one resumed must have the threads it began with, to end
            with the same bits.
        checkpoint_seconds: Time between checkpoints.
        compiled: Take the compiled step, or the plain one; None leaves it to the length of the run.
        ranks: This process among those that train one net together.
    """

    device: str
    data_dir: Path
    jobs: int = 1
    checkpoint_seconds: float = 30.0
    dataset_root: Path | None = None
    workers: int = 2
    decode: Literal["cpu", "cuda"] = "cpu"
    compiled: bool | None = None
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class Notice:
    """Something to say of a run beside its status: a pass over its data, or a test, and how far it is."""

    text: str


class Monitor(Protocol):
    """Who watches. Called in the main process, in the order of events."""

    def progressed(self, run: RunSpec, status: Status) -> None:
        """A run has started or moved on."""

    def noticed(self, run: RunSpec, notice: Notice) -> None:
        """A run is busy with something else than its updates."""

    def ended(self, run: RunSpec, ending: Ending, message: str) -> None:
        """A run is over; `message` says why, in one line, if it is not done."""


@dataclass(frozen=True)
class Report:
    """How the runs ended, and the signal that stopped them, if one did. Runs never started are in no list."""

    endings: dict[str, Ending]
    stopped_by: signal.Signals | None

    def count(self, ending: Ending) -> int:
        """Runs that ended so."""
        return sum(each == ending for each in self.endings.values())


def execute(
    runs: Sequence[RunSpec], store: Store, settings: Settings, monitor: Monitor, after: AfterTraining = "1-crop"
) -> Report:
    """Trains these runs and tests or analyses them; one that fails does not keep the others from running.

    Of several ranks it is the first that calls this; the others `follow`. Among them, one that fails ends all.

    Raises:
        BadInputError: The device, the data or the results folder cannot be used, or has no room, or the ranks cannot be
            connected; nothing was trained.
        LostRankError: Another rank was lost after the last training.
    """
    settings.ranks.check(choose_device(settings.device))
    if settings.decode == "cuda":
        if choose_device(settings.device).type != "cuda":
            raise BadInputError("--decode cuda: needs a CUDA device to train on")
        importlib.import_module("torchvision")  # one that does not fit torch is told before anything is begun
    for precision in {run.variant.precision for run in runs}:
        prepare(choose_device(settings.device), precision)
    for variant in {run.variant for run in runs}:
        in_the_way = obstacle(variant, settings.data_dir, settings.dataset_root)
        if in_the_way:
            raise BadInputError(in_the_way)
    for run in runs:
        store.create_folder(run)
    needed, free = bytes_needed(runs, settings.jobs), shutil.disk_usage(store.root).free
    if free < needed:
        raise BadInputError(f"{store.root}: {free:,} bytes free, {needed:,} wanted; make room or choose --results-dir")
    settings.ranks.connect(choose_device(settings.device))  # while signals still end it: other ranks may not come
    with StopSignals() as signals:
        if settings.ranks.count > 1:
            endings = _over_ranks(runs, store, settings, monitor, signals, after)
        elif settings.jobs == 1:
            endings = _one_by_one(runs, store, settings, monitor, signals, after)
        else:
            endings = _side_by_side(runs, store, settings, monitor, signals, after)
    # Of several ranks, another may have had the signal.
    stopped_by = signals.received or (signal.SIGTERM if "interrupted" in endings.values() else None)
    return Report(endings, stopped_by)


def _over_ranks(
    runs: Sequence[RunSpec],
    store: Store,
    settings: Settings,
    monitor: Monitor,
    signals: StopSignals,
    after: AfterTraining,
) -> dict[str, Ending]:
    """What the first rank does: one run after the other, each told to the others before its training begins."""
    ranks = settings.ranks
    endings = _one_by_one(runs, store, settings, monitor, signals, after)
    if not any(ending in FAILED for ending in endings.values()):  # else the others wait for what will never come
        _order(ranks)
        ranks.disconnect()
    return endings


@dataclass(frozen=True)
class _Order:
    """What the first rank tells the others: to train this run with this step; and what it knows of photographs."""

    run: RunSpec
    is_fast: bool
    statistics: Statistics | None


def _order(ranks: Ranks, order: _Order | None = None) -> _Order | None:
    """Hands the first rank's order to the others; None: there is nothing more to do."""
    return ranks.from_first(lambda: order)


def follow(settings: Settings) -> None:
    """What the other ranks do: they take their share of every training, and write nothing.

    Raises:
        BadInputError: This rank's device or data cannot be used, or the ranks cannot be connected.
        Exception: Whatever else went wrong; `is_loss` says whether another rank is to blame, which then tells it.
    """
    ranks, device, datasets = settings.ranks, choose_device(settings.device), _Datasets(settings)
    ranks.connect(device)
    with StopSignals() as signals:
        while order := _order(ranks):
            with contextlib.suppress(StoppedError, DivergedError):  # which all ranks have, and the first tells
                train(
                    order.run,
                    Path(os.devnull),  # only the first writes
                    datasets.open(order.run, lambda _news: None, lambda: False, order.statistics),
                    report=lambda _status: None,
                    should_stop=lambda: signals.received is not None,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    is_fast=order.is_fast,
                    ranks=ranks,
                )
        ranks.disconnect()


def _one_by_one(
    runs: Sequence[RunSpec],
    store: Store,
    settings: Settings,
    monitor: Monitor,
    signals: StopSignals,
    after: AfterTraining,
) -> dict[str, Ending]:
    datasets = _Datasets(settings)
    endings: dict[str, Ending] = {}

    def should_stop() -> bool:
        return signals.received is not None

    for run in runs:
        if should_stop():
            break
        report = partial(_pass_on, monitor, run)
        opened = partial(datasets.open, run, report, should_stop)
        ending, message = _train_one(run, store, opened, settings, report, should_stop, after)
        endings[run.run_id] = ending
        monitor.ended(run, ending, message)
        if settings.ranks.count > 1 and ending in ("interrupted", *FAILED):
            break
    return endings


def _pass_on(monitor: Monitor, run: RunSpec, news: Status | Notice) -> None:
    if isinstance(news, Status):
        monitor.progressed(run, news)
    else:
        monitor.noticed(run, news)


@dataclass
class _Datasets:
    """Opens the datasets of runs. One is kept: the runs of a table share theirs."""

    settings: Settings
    kept: tuple[tuple[Variant, Photos | None], Dataset | PhotoDataset] | None = None

    def open(
        self,
        run: RunSpec,
        report: Callable[[Status | Notice], None],
        should_stop: Callable[[], bool],
        statistics: Statistics | None = None,
    ) -> Dataset | PhotoDataset:
        """The run's dataset; see `_open`."""
        key = run.variant, run.protocol.photos
        if self.kept is None or self.kept[0] != key:
            self.kept = None  # two may be too many for the memory
            self.kept = key, _open(run, self.settings, report, should_stop, statistics)
        return self.kept[1]


def _open(
    run: RunSpec,
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
    statistics: Statistics | None = None,
) -> Dataset | PhotoDataset:
    """Opens a run's dataset on the device; the training set's statistics, unless given, are part of that."""
    device = choose_device(settings.device)
    prepare(device, run.variant.precision)

    def told(text: str) -> None:
        report(Notice(text))
        if should_stop():  # a pass over a training set may take an hour; it keeps what it has
            raise StoppedError

    dataset = open_dataset(
        run.variant,
        settings.data_dir,
        photos=run.protocol.photos,
        dataset_root=settings.dataset_root,
        workers=settings.workers,
        report=told,
    ).to(device)
    if isinstance(dataset, PhotoDataset):
        dataset = replace(dataset, decode=settings.decode, known_statistics=statistics)
        _ = dataset.statistics  # made before the training's clock starts; it may take an hour
    return dataset


def _train_one(
    run: RunSpec,
    store: Store,
    open_its_dataset: Callable[[], Dataset | PhotoDataset],
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
    after: AfterTraining,
) -> tuple[Ending, str]:
    """Trains and tests one run under its lock; whatever goes wrong with it is its ending, not the program's."""
    folder = store.folder(run)
    ending: Literal["failed", "bad input", "diverged"] = "failed"
    try:
        with filelock.FileLock(folder / run_folder.LOCK, timeout=LOCK_SECONDS):
            if not store.is_done(run):  # another process may have finished it since the plan was made
                source = _source(run, store)
                dataset = open_its_dataset()
                is_fast = _is_fast(run, folder, dataset.device, settings, report)
                count = settings.ranks.count
                environment.record(folder, dataset.device, run.variant.precision, dataset, is_fast=is_fast, ranks=count)
                known = dataset.statistics if isinstance(dataset, PhotoDataset) else None
                _order(settings.ranks, _Order(run, is_fast, known))
                train(
                    run,
                    folder,
                    dataset,
                    report=report,
                    should_stop=should_stop,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    is_fast=is_fast,
                    source=source,
                    ranks=settings.ranks,
                )
            if not store.is_complete(run, after):
                _test(run, folder, open_its_dataset(), after, _source(run, store), report, should_stop)
            return "done", ""
    except (filelock.Timeout, _WaitingError) as reason:
        another = f"another process is training {run.run_id}; 'resnet status' shows it"
        return "locked", str(reason) if isinstance(reason, _WaitingError) else another
    except StoppedError:
        return "interrupted", "stopped; the same command goes on from here"
    except DivergedError as error:
        ending, message = "diverged", str(error)
    except BadInputError as error:
        ending, message = "bad input", str(error)
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001  a fault in one run must not take the table down with it
        message = explained(error) if is_loss(error) else _out_of_memory(run, error) or where(error)
    # A trained net that could not be tested is still trained.
    if not store.is_done(run):
        _note_ending(folder, "diverged" if ending == "diverged" else "failed", message)
    return ending, message


class _WaitingError(Exception):
    """The run whose net this one starts from is not done; another process may be training it."""


def _source(run: RunSpec, store: Store) -> Path | None:
    """The folder of the run whose net this one starts from; None if it starts from scratch.

    Raises:
        _WaitingError: That run is not done.
    """
    if run.source is None:
        return None
    if not store.is_done(run.source):
        raise _WaitingError(f"starts from the net of {run.source.run_id}, which is not done; run it again when it is")
    return store.folder(run.source)


def _is_fast(
    run: RunSpec, folder: Path, device: torch.device, settings: Settings, report: Callable[[Status | Notice], None]
) -> bool:
    """Whether to take the compiled step: as asked, else as the run began, else if it is long enough."""
    wanted = settings.compiled
    if wanted is None:
        wanted = environment.was_fast(folder)
    if wanted is None:
        wanted = run.protocol.iterations >= graph_step.SHORTEST.get(device.type, math.inf)
    if not wanted:
        return False
    if settings.ranks.count > 1 and run.variant.accumulate is None:
        report(Notice("the plain step, which is slower: batch normalisation is synchronised"))
        return False
    in_the_way = graph_step.obstacle(device)
    if in_the_way:
        report(Notice(f"the plain step, which is slower: {in_the_way}"))
        return False
    report(Notice("compiling its step; where a net was not compiled before, that takes up to a minute"))
    return True


def _test(
    run: RunSpec,
    folder: Path,
    dataset: Dataset | PhotoDataset,
    after: AfterTraining,
    source: Path | None,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
) -> None:
    """Tests the trained net over several views of each image, or analyses it, telling now and then how far it is.

    Raises:
        StoppedError: `should_stop` said so; the test begins anew next time.
    """
    told = time.monotonic()

    def progress(done: int) -> None:
        nonlocal told
        if should_stop():
            raise StoppedError
        if time.monotonic() - told > NOTICE_SECONDS:
            told = time.monotonic()
            report(Notice(f"{after}: {done:,} images, or views of them, done"))

    if after == "responses" or after == "gradients" or after == "training-set":  # noqa: PLR1714  narrows the type
        analyse_run(run, folder, dataset, after, source, progress)
    else:
        score_run(run, folder, dataset, after, progress)


def _out_of_memory(run: RunSpec, error: Exception) -> str | None:
    """The line for a full memory; None if the error is another. On the CPU torch raises a plain RuntimeError."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        return None
    return (
        f"out of memory at batch size {run.protocol.batch_size}, which is part of the experiment and stays; "
        "free memory, lower --jobs, take the batch in parts (--accumulate 2), or use another device"
    )


def where(error: Exception) -> str:
    """An unexpected error in one line, with the place it comes from."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({at.filename}:{at.lineno})"


def _note_ending(folder: Path, ending: Literal["failed", "diverged"], message: str) -> None:
    status = run_folder.read_status(folder).model_copy(update={"state": ending, "message": message})
    try:
        run_folder.write_status(folder, status)
    except OSError:
        return  # the disk that failed the run may fail its status too; the ending is told all the same


@dataclass
class _Worker:
    run: RunSpec
    process: multiprocessing.process.BaseProcess
    pipe: connection.Connection
    place: int
    ending: tuple[Ending, str] | None = None


def _side_by_side(
    runs: Sequence[RunSpec],
    store: Store,
    settings: Settings,
    monitor: Monitor,
    signals: StopSignals,
    after: AfterTraining,
) -> dict[str, Ending]:
    waiting = list(runs)
    workers: list[_Worker] = []
    endings: dict[str, Ending] = {}
    told_to_stop = False
    while workers or (waiting and not signals.received):
        while waiting and len(workers) < settings.jobs and not signals.received:
            ready = next((each for each in waiting if each.source is None or store.is_done(each.source)), None)
            if ready is None and workers:
                break  # one of them may be the source of what waits
            waiting.remove(ready := ready or waiting[0])
            place = min(set(range(settings.jobs)) - {worker.place for worker in workers})
            workers.append(_start(ready, place, store, settings, after))
        if signals.received and not told_to_stop:
            told_to_stop = True
            for worker in workers:
                worker.process.terminate()  # SIGTERM: it saves and stops
        for pipe in connection.wait([worker.pipe for worker in workers], timeout=0.2):
            worker = next(each for each in workers if each.pipe is pipe)
            try:
                message = worker.pipe.recv()
            except EOFError:
                workers.remove(worker)
                worker.process.join()
                ending, text = worker.ending or _died(worker, store, stopping=told_to_stop)
                endings[worker.run.run_id] = ending
                monitor.ended(worker.run, ending, text)
                continue
            if isinstance(message, Status | Notice):
                _pass_on(monitor, worker.run, message)
            else:
                worker.ending = message
    return endings


def _start(run: RunSpec, place: int, store: Store, settings: Settings, after: AfterTraining) -> _Worker:
    # A fresh interpreter: a forked one would share torch's threads and, with CUDA, not work at all.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(run, place, store.root, settings, theirs, after), name=run.run_id, daemon=True
    )
    # A worker is born deaf to signals, and hears those that came meanwhile once it can save what it has.
    resource_tracker.ensure_running()  # started later, it would undo the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return _Worker(run, process, ours, place)


def _died(worker: _Worker, store: Store, *, stopping: bool) -> tuple[Ending, str]:
    """A worker that ended without saying how: killed from outside, or stopped before it had begun."""
    if stopping:
        return "interrupted", "stopped; the same command goes on from here"
    message = (
        f"its process ended with exit code {worker.process.exitcode}; the same command goes on from its checkpoint"
    )
    _note_ending(store.folder(worker.run), "failed", message)
    return "failed", message


def _work(
    run: RunSpec, place: int, results: Path, settings: Settings, pipe: connection.Connection, after: AfterTraining
) -> None:
    """The body of a worker process; `place` is its number among those side by side."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.jobs))
    if choose_device(settings.device).type == "cuda":
        torch.cuda.set_device(place % torch.cuda.device_count())

    def report(news: Status | Notice) -> None:
        with contextlib.suppress(BrokenPipeError):  # the launcher is gone; should_stop sees it too, and all is saved
            pipe.send(news)

    # A second Ctrl-C ends it at once, without a word: the launcher has said it.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), StopSignals() as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

        def should_stop() -> bool:
            return signals.received is not None or not parent.is_alive()

        opened = cache(lambda: _open(run, settings, report, should_stop))
        pipe.send(_train_one(run, Store(results), opened, settings, report, should_stop, after))
