"""Several runs at the same time, each in its own process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING

import torch

from resnet_cli.runs.one_run import note_ending, open_run_dataset, train_one
from resnet_cli.runs.settings import Ending, Monitor, Notice, Settings, pass_on
from resnet_cli.storage.run_folder import Status
from resnet_cli.storage.store import Store
from resnet_cli.train.interrupt import STOPPING, StopSignals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resnet_cli.identity import RunSpec


@dataclass
class _Worker:
    run: RunSpec
    process: multiprocessing.process.BaseProcess
    pipe: connection.Connection
    place: int
    ending: tuple[Ending, str] | None = None


def side_by_side(
    runs: Sequence[RunSpec],
    store: Store,
    settings: Settings,
    monitor: Monitor,
    signals: StopSignals,
) -> dict[str, Ending]:
    """Trains these runs, as many at a time as `settings.jobs` says; returns how each ended."""
    # Compilers are shared out like threads; torch reads it in each process when it first compiles.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, (os.cpu_count() or 1) // settings.jobs)))
    waiting = list(runs)
    workers: list[_Worker] = []
    endings: dict[str, Ending] = {}
    told_to_stop = False
    while workers or (waiting and not signals.received):
        while waiting and len(workers) < settings.jobs and not signals.received:
            ready = next((each for each in waiting if each.source is None or store.is_done(each.source)), None)
            if ready is None and workers:
                break  # a running one may be the source of one that waits
            waiting.remove(ready := ready or waiting[0])
            place = min(set(range(settings.jobs)) - {worker.place for worker in workers})
            workers.append(_start(ready, place, store, settings))
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
                pass_on(monitor, worker.run, message)
            else:
                worker.ending = message
    return endings


def _start(run: RunSpec, place: int, store: Store, settings: Settings) -> _Worker:
    # A fresh interpreter: a forked one would share torch's threads and, with CUDA, not work at all.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(run, place, store.root, settings, theirs), name=run.run_id, daemon=True
    )
    # Signals stay blocked until the worker can save; those that came meanwhile are delivered then.
    resource_tracker.ensure_running()  # started later, it would undo the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return _Worker(run, process, ours, place)


def _died(worker: _Worker, store: Store, *, stopping: bool) -> tuple[Ending, str]:
    """The ending of a worker that reported none: killed from outside, or stopped before it had begun."""
    if stopping:
        return "interrupted", "stopped; the same command continues from here"
    message = (
        f"its process ended with exit code {worker.process.exitcode}; the same command continues from its checkpoint"
    )
    note_ending(store.folder(worker.run), "failed", message)
    return "failed", message


def take_place(place: int, settings: Settings) -> None:
    """Gives this process its share of the CPU's threads, or its GPU; `place` is its number among those side by side."""
    torch.set_num_threads(max(1, torch.get_num_threads() // settings.jobs))
    if settings.place.type == "cuda":
        torch.cuda.set_device(place % torch.cuda.device_count())


def _work(run: RunSpec, place: int, results: Path, settings: Settings, pipe: connection.Connection) -> None:
    """The body of a worker process; `place` is its number among those side by side."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    take_place(place, settings)

    def report(news: Status | Notice) -> None:
        with contextlib.suppress(BrokenPipeError):  # the launcher is gone; should_stop sees it too, and all is saved
            pipe.send(news)

    # A second Ctrl-C ends it at once, without a message: the launcher has printed one.
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), StopSignals() as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

        def should_stop() -> bool:
            return signals.received is not None or not parent.is_alive()

        opened = cache(lambda: open_run_dataset(run, settings, report, should_stop))
        pipe.send(train_one(run, Store(results), opened, settings, report, should_stop))
