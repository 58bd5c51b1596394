"""One run from its lock to its last file: opens its data, trains, tests or analyses, and records how it ended."""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import filelock
import torch

from resnet_cli.analyses.analyse import analyse_run
from resnet_cli.device.ranks import explained, is_loss
from resnet_cli.device.torch_device import prepare
from resnet_cli.errors import BadInputError
from resnet_cli.runs.settings import Ending, Notice, Settings
from resnet_cli.storage import run_folder
from resnet_cli.tasks.task import number_or_none
from resnet_cli.train import environment, graph_step, proof
from resnet_cli.train.loop import DivergedError, StoppedError, train
from resnet_cli.weights.trained import score_run, trained_net

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import EnsembleSpec, RunSpec, Variant
    from resnet_cli.spec import Photos
    from resnet_cli.storage.run_folder import Status
    from resnet_cli.storage.store import Store
    from resnet_cli.tasks.data import Data
    from resnet_cli.tasks.task import Scores
    from resnet_cli.train.graph_step import StepName

NOTICE_SECONDS = 10.0
LOCK_SECONDS = 1.0  # a process that only checks a run, or writes its spec, holds its lock for a moment


def train_one(
    run: RunSpec,
    store: Store,
    open_its_dataset: Callable[[], Data],
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
) -> tuple[Ending, str]:
    """Trains and tests one run under its lock; an error ends the run, not the program."""
    folder = store.folder(run)
    ending: Literal["failed", "bad input", "diverged"] = "failed"
    try:
        with filelock.FileLock(folder / run_folder.LOCK, timeout=LOCK_SECONDS):
            if not store.is_done(run):  # another process may have finished it since the plan was made
                source = _source(run, store, settings)
                dataset = open_its_dataset()
                step = _step(run, store, dataset, settings, report, should_stop)
                count = settings.ranks.count
                environment.record(folder, dataset.device, run.variant.precision, dataset, step=step, ranks=count)
                send_order(settings.ranks, Order(run, step, dataset.prepare()))
                train(
                    run,
                    folder,
                    dataset,
                    report=report,
                    should_stop=should_stop,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    step=step,
                    source=source,
                    ranks=settings.ranks,
                )
            _finish(run, store, open_its_dataset, settings, report, should_stop)
            return "done", ""
    except (filelock.Timeout, _WaitingError) as reason:
        another = f"another process is training {run.run_id}; 'resnet status' shows it"
        return "locked", str(reason) if isinstance(reason, _WaitingError) else another
    except StoppedError:
        return "interrupted", "stopped; the same command continues from here"
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
        note_ending(folder, "diverged" if ending == "diverged" else "failed", message)
    return ending, message


class _WaitingError(Exception):
    """The run whose net this one starts from is not done; another process may be training it."""


def _source(run: RunSpec, store: Store, settings: Settings) -> Path | None:
    """The folder of the run whose net this one starts from, or the file of weights; None if it starts from scratch.

    Raises:
        _WaitingError: That run is not done.
        BadInputError: Other nets were given files, but this one was not.
    """
    if run.source is None:
        if run.variant.weights and run.net.name not in settings.weights:
            raise BadInputError(f"--weights: none for {run.net.name}; give one, or leave out the net with --only")
        return settings.weights.get(run.net.name)
    if not store.is_done(run.source):
        raise _WaitingError(f"starts from the net of {run.source.run_id}, which is not done; run it again when it is")
    return store.folder(run.source)


def wants_compiled(run: RunSpec, folder: Path, device: torch.device, settings: Settings) -> bool:
    """Whether a run uses the compiled step: as asked for, else as the run began, else if it is long enough.

    A task that cannot compile its updates never uses it.
    """
    if not run.task.compiles:
        return False
    if settings.compiled is not None:
        return settings.compiled
    before = environment.last_step(folder)
    if before is None:
        return run.protocol.iterations >= graph_step.SHORTEST.get(device.type, math.inf)
    return before != "plain"


def _step(
    run: RunSpec,
    store: Store,
    dataset: Data,
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
) -> StepName:
    """The step to use: the fast one if it is wanted and agrees with the plain one here; see `proof`.

    Raises:
        StoppedError: `should_stop` said so.
    """
    folder = store.folder(run)
    if not wants_compiled(run, folder, dataset.device, settings):
        return "plain"
    if settings.ranks.count > 1 and run.variant.accumulate is None:
        report(Notice("uses the plain step, which is slower: batch normalisation is synchronised"))
        return "plain"

    def check() -> None:
        if should_stop():
            raise StoppedError

    before = environment.last_step(folder) if settings.compiled is None else None
    return proof.proven_step(
        run, dataset, store.proofs, lambda text: report(Notice(text)), check, settings.ranks, before=before
    )


def _finish(
    run: RunSpec,
    store: Store,
    open_its_dataset: Callable[[], Data],
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
) -> None:
    """Tests or analyses the trained net, and tests the ensembles whose last net it was."""
    if settings.after and not store.is_complete(run, settings.after):
        source, told = _source(run, store, settings), _teller(settings.after, report, should_stop)
        _test(run, store.folder(run), open_its_dataset(), settings.after, source, told)
    for ensemble in settings.ensembles:
        if run in ensemble.members and store.is_due(ensemble):
            folder = store.ensemble_folder(ensemble)
            folder.mkdir(parents=True, exist_ok=True)
            # Another member's process may be testing it, and needs no help.
            with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / run_folder.LOCK, timeout=0):
                if store.is_due(ensemble):
                    told = _teller(f"test of {len(ensemble.members)} nets, alone and together", report, should_stop)
                    _test_together(ensemble, store, open_its_dataset(), told)


def _teller(
    what: str, report: Callable[[Status | Notice], None], should_stop: Callable[[], bool]
) -> Callable[[int], None]:
    """The progress function of a test, called with the number of images done: it reports progress now and then.

    It raises StoppedError if `should_stop` says so; the test is then repeated from its beginning next time.
    """
    told = time.monotonic()

    def progress(done: int) -> None:
        nonlocal told
        if should_stop():
            raise StoppedError
        if time.monotonic() - told > NOTICE_SECONDS:
            told = time.monotonic()
            report(Notice(f"{what}: {done:,} images, or views of them, done"))

    return progress


def _test(
    run: RunSpec, folder: Path, dataset: Data, after: str, source: Path | None, progress: Callable[[int], None]
) -> None:
    """Tests the trained net over several views of each image, or analyses it."""
    if after in run.task.views:
        score_run(run, folder, dataset, after, progress)
    else:
        analyse_run(run, folder, dataset, after, source, progress)


def _test_together(ensemble: EnsembleSpec, store: Store, dataset: Data, progress: Callable[[int], None]) -> None:
    """Tests several trained nets each alone and as one, in fp32, as analyses do."""
    task, members = ensemble.task, ensemble.members
    nets = [trained_net(run, store.folder(run)).to(dataset.device) for run in members]
    prepare(dataset.device, "fp32")
    try:
        scores: list[Scores] = []
        for net in (*nets, task.together(nets)):

            def told(seen: int, before: int = sum(each.images for each in scores)) -> None:
                progress(before + seen)

            scores.append(task.test(net, dataset, "fp32", ensemble.step or None, progress=told))
    finally:
        prepare(dataset.device, members[0].variant.precision)  # for the runs that follow
    by_class = {
        ensemble.key(key): tuple(tuple(number_or_none(each) for each in its.by_class[key].tolist()) for its in scores)
        for key in scores[-1].by_class
    }
    result = run_folder.EnsembleResult(
        members=store.weights_of(ensemble),
        images=scores[-1].images,
        numbers={ensemble.key(key): value for key, value in scores[-1].metrics.items()},
        by_class=by_class,
    )
    store.write_ensemble(ensemble, result, scores[-1].kept)


def _out_of_memory(run: RunSpec, error: Exception) -> str | None:
    """The message if memory ran out; None if the error is another. On the CPU torch raises a plain RuntimeError."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        return None
    return (
        f"out of memory at batch size {run.protocol.batch_size}, which is fixed by the experiment; "
        "free memory, lower --jobs, split the batch into parts (--accumulate 2), or use another device"
    )


def where(error: Exception) -> str:
    """An unexpected error in one line, with the place it comes from."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({at.filename}:{at.lineno})"


def note_ending(folder: Path, ending: Literal["failed", "diverged"], message: str) -> None:
    """Writes into a run's folder that it has failed, and why."""
    status = run_folder.read_status(folder).model_copy(update={"state": ending, "message": message, "host": ""})
    try:
        run_folder.write_status(folder, status)
    except OSError:
        return  # the disk that failed the run may fail its status too; the ending is reported all the same


@dataclass(frozen=True)
class Order:
    """What the first rank sends the others: the run to train, the step, and what `Data.prepare` gave it."""

    run: RunSpec
    step: StepName
    known: object


def send_order(ranks: Ranks, order: Order | None = None) -> Order | None:
    """Hands the first rank's order to the others; None: there is nothing more to do."""
    return ranks.from_first(lambda: order)


@dataclass
class Datasets:
    """Opens the datasets of runs. The last one is kept open: the runs of a table share it."""

    settings: Settings
    kept: tuple[tuple[Variant, Photos | None], Data] | None = None

    def open(
        self,
        run: RunSpec,
        report: Callable[[Status | Notice], None],
        should_stop: Callable[[], bool],
        known: object = None,
    ) -> Data:
        """The run's dataset; see `open_run_dataset`."""
        key = run.variant, run.protocol.photos
        if self.kept is None or self.kept[0] != key:
            self.kept = None  # two may be too many for the memory
            self.kept = key, open_run_dataset(run, self.settings, report, should_stop, known)
        return self.kept[1]


def open_run_dataset(
    run: RunSpec,
    settings: Settings,
    report: Callable[[Status | Notice], None],
    should_stop: Callable[[], bool],
    known: object = None,
) -> Data:
    """Opens a run's dataset on the device and prepares it, which may take a pass over it unless the result is known."""
    prepare(settings.place, run.variant.precision)

    def told(text: str) -> None:
        report(Notice(text))
        if should_stop():  # a pass over a training set may take an hour; it keeps what it has
            raise StoppedError

    dataset = run.task.open(
        run.variant,
        settings.data_dir,
        protocol=run.protocol,
        dataset_root=settings.dataset_root,
        workers=settings.workers,
        decode=settings.decode,
        known=known,
        report=told,
    ).to(settings.place)
    dataset.prepare()  # before the training's clock starts; it may take an hour
    return dataset
