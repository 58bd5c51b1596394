"""The order of things in one training, from its folder to its final weights."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from functools import partial
from typing import TYPE_CHECKING

import torch

from resnet_cli.device.ranks import ALONE
from resnet_cli.device.turns import Turns
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Status
from resnet_cli.train import checkpoint, log, schedule
from resnet_cli.train.checkpoint import TrainState
from resnet_cli.train.folder import begin, remove_checkpoints, save_results
from resnet_cli.train.graph_step import make_step
from resnet_cli.train.step import EagerStep
from resnet_cli.train.training_errors import TrainingErrors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.data import Data
    from resnet_cli.tasks.task import Scores
    from resnet_cli.train.graph_step import StepName

REPORT_SECONDS = 0.5
HEARTBEAT_SECONDS = 10.0  # in a test, which may take minutes
PENDING_UPDATES = 200  # at most so many results wait on the device


class DivergedError(Exception):
    """The loss is not a finite number. The last checkpoint, from before, is untouched."""


class StoppedError(Exception):
    """The training was asked to stop; all is saved."""


def train(
    run: RunSpec,
    folder: Path,
    dataset: Data,
    *,
    report: Callable[[Status], None],
    should_stop: Callable[[], bool],
    checkpoint_seconds: float = 30.0,
    step: StepName = "plain",
    source: Path | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Trains one net to the end of its schedule, from its last checkpoint if there is one (sections 3.4 and 4.2).

    The folder then holds the logs, the final weights and the final logits. However often it is killed and started
    again, on the same machine with as many threads, weights and logs come out the same, bit for bit.

    Several ranks that call it together train one net, and end together. Only the first reads and writes the folder.

    Args:
        run: What to train.
        folder: The run's folder; it exists and is locked by the first rank.
        dataset: Resident on the device to train on.
        report: Called about twice a second, and at the end, with the status that was also written.
        should_stop: Asked after every update and during tests; when true, all is saved and the training stops. A test
            that was stopped is repeated.
        checkpoint_seconds: Time between checkpoints.
        step: How to make updates. It changes the last bits, as another machine does.
        source: The folder of `run.source`, if the training starts from another run's net.
        ranks: Connected. Without `accumulate` batch normalisation is synchronised; else the ranks divide its parts.

    Raises:
        StoppedError: `should_stop` said so.
        DivergedError: The loss became NaN or infinite.
        BadInputError: Checkpoints, or what the logs held at the checkpoint, are damaged.
        LostRankError: Another rank is gone.
        OSError: The folder cannot be written.
    """
    training = _Training(run, folder, dataset, report, step=step, source=source, ranks=ranks)
    with contextlib.closing(training):
        try:
            _run_updates(training, should_stop, checkpoint_seconds)
            evaluation = training.evaluate(should_stop)
        except StoppedError:
            training.save()
            training.tell("interrupted")
            raise
        if ranks.is_first:
            training.eval_log.sync()
    if not all(parameter.isfinite().all() for parameter in training.net.parameters()):
        raise DivergedError("the weights are not finite after the last update")
    if not ranks.is_first:
        return
    sums = {log.path.name: log.sha256 for log in (training.train_log, training.eval_log)}
    save_results(folder, training.net, evaluation, sums)
    training.tell("done")
    remove_checkpoints(folder)


def _run_updates(training: _Training, should_stop: Callable[[], bool], checkpoint_seconds: float) -> None:
    """Makes the missing updates, tests at the end of each epoch except the last, and saves now and then."""
    iterations = training.run.protocol.iterations
    saved = reported = time.monotonic()
    state = training.state
    while state.iteration < iterations:
        if training.is_test_due:
            training.evaluate(should_stop)
        training.update()
        is_last = state.iteration == iterations
        now = time.monotonic()
        is_stopped, is_save_due, is_report_due = training.ranks.any(
            should_stop(), now - saved >= checkpoint_seconds, now - reported >= REPORT_SECONDS
        )
        if is_stopped and not is_last:
            raise StoppedError
        if is_last or is_save_due:
            training.save()
            saved = now
        if is_report_due:
            training.tell("running")
            reported = now


class _Training:
    """A net, its optimiser, its logs and their progress; between two calls they agree with one another."""

    def __init__(
        self,
        run: RunSpec,
        folder: Path,
        dataset: Data,
        report: Callable[[Status], None],
        *,
        step: StepName,
        source: Path | None,
        ranks: Ranks,
    ) -> None:
        self.run = run
        self.folder = folder
        self.dataset = dataset
        self.report = report
        self.ranks = ranks
        self.net, loaded, self.warnings = ranks.from_first(lambda: begin(run, folder, dataset, source))
        fast = partial(make_step, is_alone=ranks.count == 1, is_compiled=step == "compiled")
        make = EagerStep if step == "plain" else fast
        parts = (run.variant.accumulate or ranks.count) // ranks.count
        self.step = make(self.net, run.protocol, run.variant.precision, dataset.device, parts, run.task.loss())
        self.state = loaded or TrainState(averages=bool(run.task.averaged_metrics))
        if loaded:
            self.step.load_momentum(loaded.optimizer)
        if ranks.count > 1:
            self.step.join(ranks, synchronized=run.variant.accumulate is None)
        self.errors = TrainingErrors(run, self.state)
        self.first_iteration = self.state.iteration
        self.is_warm = False
        self.pending: list[tuple[int, float, tuple[torch.Tensor, ...]]] = []
        self.seconds_here = 0.0
        with contextlib.ExitStack() as stack:
            if ranks.is_first:
                self._open_logs(stack)
            self.clock = time.monotonic()
            self.stream = stack.enter_context(contextlib.closing(run.task.stream(dataset, run, ranks.share)))
            turns = Turns(dataset.device, run.variant.precision, is_alone=ranks.count == 1)
            self.turns = stack.enter_context(contextlib.closing(turns))
            epochs = self.stream.epochs_seen(run.protocol.iterations)
            images = len(dataset.train_labels), len(dataset.test_labels)
            self.epochs_between_tests = schedule.epochs_between_tests(epochs, *images)
            self.epochs_between_averages = schedule.epochs_between_averages(epochs, *images)
            self.tell("running")
            self.close = stack.pop_all().close

    def _open_logs(self, stack: contextlib.ExitStack) -> None:
        folder, state, task = self.folder, self.state, self.run.task
        # Results that the last start left would not agree with logs that grow.
        (folder / run_folder.SUMS).unlink(missing_ok=True)
        self.train_log = log.CsvLog(
            folder / run_folder.TRAIN_CSV, task.train_columns, state.train_csv_bytes, state.train_csv_sha256
        )
        stack.callback(self.train_log.close)
        averaged = [metric.key for metric in task.averaged_metrics if state.averages]
        columns = (*task.eval_columns, *averaged)
        self.eval_log = log.CsvLog(folder / run_folder.EVAL_CSV, columns, state.eval_csv_bytes, state.eval_csv_sha256)
        stack.callback(self.eval_log.close)

    def update(self) -> None:
        """Makes the next update. Its loss and error stay on the device until `flush`."""
        state = self.state
        if self.errors.are_wanted:
            self.flush()
            self.errors.end_warmup()
        state.iteration += 1
        rate = self.errors.rate(state.iteration)
        self.turns.take()
        self.pending.append((state.iteration, rate, self.step.update(self.stream, state.iteration, rate)))
        if len(self.pending) >= PENDING_UPDATES:
            self.flush()
        if not self.is_warm:  # the first update here may have compiled its step, which says nothing about the speed
            self.flush()
            self._book_train_time()
            self.seconds_here, self.first_iteration, self.is_warm = 0.0, state.iteration, True

    @property
    def is_test_due(self) -> bool:
        """Whether the last image of an epoch was in the last update's batch; in a long run, only of some epochs."""
        iteration = self.state.iteration
        epoch = self.stream.epochs_seen(iteration)
        ends_epoch = iteration > 0 and epoch > self.stream.epochs_seen(iteration - 1)
        return ends_epoch and epoch % self.epochs_between_tests == 0 and self.state.tested_at < iteration

    @property
    def is_average_due(self) -> bool:
        """Whether a test now is made with averaged statistics too; the last one is."""
        iteration = self.state.iteration
        is_last = iteration == self.run.protocol.iterations
        is_due = self.stream.epochs_seen(iteration) % self.epochs_between_averages == 0
        return self.state.averages and (is_last or is_due)

    def flush(self) -> None:
        """Writes the pending updates to train.csv.

        Raises:
            DivergedError: One of them has a loss that is not finite; those before it are written.
        """
        if not self.pending:
            return
        iterations, rates, results = zip(*self.pending, strict=True)
        columns = [torch.stack(column).tolist() for column in zip(*results, strict=True)]
        self.pending.clear()
        lines = []
        try:
            for iteration, rate, loss, wrong, *parts in zip(iterations, rates, *columns, strict=True):
                if not math.isfinite(loss):
                    raise DivergedError(f"the loss became {loss} at iteration {iteration}")
                lines.append(log.train_line(iteration, rate, loss, self.errors.add(iteration, wrong), parts))
        finally:
            if self.ranks.is_first:
                self.train_log.write(lines)

    def evaluate(self, should_stop: Callable[[], bool]) -> Scores:
        """Tests the net, if it is due with averaged statistics too, and logs the results.

        Returns:
            What the test with running statistics gave.

        Raises:
            StoppedError: `should_stop` said so; nothing is logged. Several ranks first end their test together.
        """
        self.flush()
        self._book_train_time()
        told = time.monotonic()

        def progress(_: int) -> None:
            nonlocal told
            if self.ranks.count == 1 and should_stop():
                raise StoppedError
            self.turns.take()
            if time.monotonic() - told >= HEARTBEAT_SECONDS:
                told = time.monotonic()
                self.state.evaluate_seconds += self._lap()
                self.tell("running")

        task, precision = self.run.task, self.run.variant.precision
        result = task.test(self.net, self.dataset, precision, progress=progress, ranks=self.ranks)
        averaged: list[float | None] = [None for _ in task.averaged_metrics if self.state.averages]
        if self.is_average_due:
            net = task.averaged(self.net, self.dataset, precision, progress=progress)
            again = task.test(net, self.dataset, precision, progress=progress, ranks=self.ranks).metrics
            averaged = [again[metric.key] for metric in task.metrics if metric.averaged in task.averaged_metrics]
        self.state.evaluate_seconds += self._lap()
        self.state.tested_at = self.state.iteration
        self.state.test_error = result.metrics[task.metric.key]
        if self.ranks.is_first:
            self.eval_log.write([log.eval_line(self.state.iteration, result, averaged)])
        return result

    def save(self) -> None:
        """Makes the logs durable, then the checkpoint that names their lengths."""
        self.flush()
        if not self.ranks.is_first:
            return
        self.turns.give()  # the disk may take a while
        self._book_train_time()
        self.state.train_csv_bytes = self.train_log.sync()
        self.state.eval_csv_bytes = self.eval_log.sync()
        self.state.train_csv_sha256, self.state.eval_csv_sha256 = self.train_log.sha256, self.eval_log.sha256
        self.state.net = self.net.state_dict()
        self.state.optimizer = self.step.optimizer.state_dict()
        checkpoint.save(self.state, self.folder)

    def tell(self, state: run_folder.State) -> None:
        """Writes and reports the status."""
        self.flush()
        if not self.ranks.is_first:
            return
        self._book_train_time()
        protocol, reached = self.run.protocol, self.state.iteration
        images = (reached - self.first_iteration) * protocol.batch_size
        status = Status(
            state=state,
            iteration=reached,
            iterations=protocol.iterations,
            learning_rate=self.errors.rate(max(1, reached)),
            train_error=self.errors.mean,
            test_error=self.state.test_error,
            images_per_second=images / self.seconds_here if images else None,
            train_seconds=self.state.train_seconds,
            evaluate_seconds=self.state.evaluate_seconds,
            warmup_ended_at=self.state.warmup_ended_at,
            message="; ".join(self.warnings),
            host=platform.node() if state == "running" else "",
        )
        run_folder.write_status(self.folder, status)
        self.report(status)

    def _book_train_time(self) -> None:
        seconds = self._lap()
        self.state.train_seconds += seconds
        self.seconds_here += seconds

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self.clock = now - self.clock, now
        return seconds
