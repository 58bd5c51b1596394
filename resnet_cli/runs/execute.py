"""Trains the runs that the plan has and the store lacks, one or several at a time."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_cli.device.torch_device import check_precision
from resnet_cli.errors import BadInputError
from resnet_cli.runs.estimate import bytes_needed
from resnet_cli.runs.one_run import Datasets, send_order, train_one
from resnet_cli.runs.settings import FAILED, Ending, Monitor, Report, Settings, pass_on
from resnet_cli.runs.workers import side_by_side
from resnet_cli.train.interrupt import StopSignals
from resnet_cli.train.loop import DivergedError, StoppedError, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store


def execute(runs: Sequence[RunSpec], store: Store, settings: Settings, monitor: Monitor) -> Report:
    """Trains these runs and tests or analyses them; one that fails does not keep the others from running.

    Of several ranks, the first calls this, and the others `follow`. With several ranks, a run that fails ends them all.

    Raises:
        BadInputError: The device, the data or the results folder cannot be used, or has no room, or the ranks cannot be
            connected; nothing was trained.
        LostRankError: Another rank was lost after the last training.
    """
    device, ranks = settings.place, settings.ranks
    ranks.check(device)
    if settings.decode == "cuda":
        if device.type != "cuda":
            raise BadInputError("--decode cuda: needs a CUDA device to train on")
        importlib.import_module("torchvision")  # an incompatible one is reported before anything begins
    for precision in {run.variant.precision for run in runs}:
        check_precision(device, precision)
    settings.check_data(runs)
    for run in runs:
        store.create_folder(run)
    needed, free = bytes_needed(runs, settings.jobs), shutil.disk_usage(store.root).free
    if free < needed:
        raise BadInputError(
            f"{store.root}: {free:,} bytes free, {needed:,} needed; free some space or choose --results-dir"
        )
    ranks.connect(device)  # while signals still end the process: other ranks may never come
    with StopSignals() as signals:
        train_them = _one_by_one if settings.jobs == 1 else side_by_side
        endings = train_them(runs, store, settings, monitor, signals)
        if not any(ending in FAILED for ending in endings.values()):  # else other ranks wait for what will never come
            send_order(ranks)
            ranks.disconnect()
    # With several ranks, another may have received the signal.
    stopped_by = signals.received or (signal.SIGTERM if "interrupted" in endings.values() else None)
    return Report(endings, stopped_by)


def follow(settings: Settings) -> None:
    """What the other ranks do: they take their share of every training, and write nothing.

    Raises:
        BadInputError: This rank's device or data cannot be used, or the ranks cannot be connected.
        Exception: Any other error; `is_loss` says whether another rank caused it, which then reports it.
    """
    ranks, datasets = settings.ranks, Datasets(settings)
    ranks.connect(settings.place)
    with StopSignals() as signals:
        while order := send_order(ranks):
            with contextlib.suppress(StoppedError, DivergedError):  # all ranks get these, and the first reports them
                train(
                    order.run,
                    Path(os.devnull),  # only the first writes
                    datasets.open(order.run, lambda _news: None, lambda: False, order.known),
                    report=lambda _status: None,
                    should_stop=lambda: signals.received is not None,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    step=order.step,
                    ranks=ranks,
                )
        ranks.disconnect()


def _one_by_one(
    runs: Sequence[RunSpec],
    store: Store,
    settings: Settings,
    monitor: Monitor,
    signals: StopSignals,
) -> dict[str, Ending]:
    datasets = Datasets(settings)
    endings: dict[str, Ending] = {}

    def should_stop() -> bool:
        return signals.received is not None

    for run in runs:
        if should_stop():
            break
        report = partial(pass_on, monitor, run)
        opened = partial(datasets.open, run, report, should_stop)
        ending, message = train_one(run, store, opened, settings, report, should_stop)
        endings[run.run_id] = ending
        monitor.ended(run, ending, message)
        if settings.ranks.count > 1 and ending in ("interrupted", *FAILED):
            break
    return endings
