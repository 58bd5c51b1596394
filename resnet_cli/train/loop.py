"""The order of things in one training, from its folder to its final weights."""

from __future__ import annotations

import contextlib
import hashlib
import io
import platform
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch

from resnet_cli.device.ranks import ALONE
from resnet_cli.device.turns import Turns
from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.storage.run_folder import Status
from resnet_cli.train import checkpoint, log, schedule
from resnet_cli.train.checkpoint import TrainState
from resnet_cli.train.graph_step import make_step
from resnet_cli.train.start import initial_net
from resnet_cli.train.step import EagerStep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.device.ranks import Ranks
    from resnet_cli.identity import RunSpec
    from resnet_cli.tasks.task import Data, Scores
    from resnet_cli.train.graph_step import StepName

REPORT_SECONDS = 0.5
HEARTBEAT_SECONDS = 10.0  # in a test, which may take minutes
REPORTED_UPDATES = 100  # the training error on the screen is the mean over as many updates
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
            that was stopped is made anew.
        checkpoint_seconds: Time between checkpoints.
        step: How to make updates. It changes the last bits, as another machine does.
        source: The folder of `run.source`, if the training starts from another run's net.
        ranks: Connected. Without `accumulate` batch normalisation is synchronised; else they share out its parts.

    Raises:
        StoppedError: `should_stop` said so.
        DivergedError: The loss became NaN or infinite.
        BadInputError: Checkpoints, or what the logs held at the checkpoint, are damaged.
        LostRankError: Another rank is gone.
        OSError: The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        training = _Training(run, folder, dataset, report, should_stop, stack, step=step, source=source, ranks=ranks)
        try:
            _run_updates(training, should_stop, checkpoint_seconds)
            evaluation = training.evaluate()
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
    _save_results(folder, training.net, evaluation, sums)
    training.tell("done")
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS_CHECKPOINT):
        (folder / name).unlink(missing_ok=True)


def _run_updates(training: _Training, should_stop: Callable[[], bool], checkpoint_seconds: float) -> None:
    """Makes the updates that are missing, tests at the end of epochs but the last, saves now and then."""
    iterations = training.run.protocol.iterations
    saved = reported = time.monotonic()
    state = training.state
    while state.iteration < iterations:
        if training.is_test_due:
            training.evaluate()
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


def _save_results(folder: Path, net: torch.nn.Module, scores: Scores, sums: dict[str, str]) -> None:
    """Writes what the final test keeps, the weights, and last the checksums: of these and those given."""
    predictions = io.BytesIO()
    np.savez(predictions, **scores.kept)  # type: ignore[arg-type]  # their names are no options of savez
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    results = {run_folder.PREDICTIONS: predictions.getvalue(), run_folder.WEIGHTS: safetensors.torch.save(weights)}
    for name, content in results.items():
        run_folder.replace_file(folder / name, content)
        sums[name] = hashlib.sha256(content).hexdigest()
    run_folder.write_sums(folder, sums)


def _begin(
    run: RunSpec, folder: Path, dataset: Data, source: Path | None
) -> tuple[torch.nn.Module, TrainState | None, list[str]]:
    """The net as it is before the next update, the last checkpoint if there is one, and what is wrong with a newer."""
    run_folder.remove_leftovers(folder)
    loaded, problems = checkpoint.load(folder)
    if loaded:  # its weights take the place of any start, and the source is needed no more
        net = run.task.build(run.net, run.variant, run.seed, len(dataset.classes))
        net.load_state_dict(loaded.net)
        if problems:  # or the next save would put the damaged one in the place of the whole one
            (folder / run_folder.PREVIOUS_CHECKPOINT).replace(folder / run_folder.CHECKPOINT)
        return net, loaded, problems
    if (folder / run_folder.SUMS).exists():
        raise BadInputError(
            f"{folder}: there are results and no checkpoint, but {run_folder.STATUS} does not say done; "
            "restore it, or delete the folder to train it again"
        )
    return initial_net(run, dataset, source), None, problems


class _Training:
    """A net, its optimiser, its logs and where they stand; between two calls they agree with one another."""

    def __init__(
        self,
        run: RunSpec,
        folder: Path,
        dataset: Data,
        report: Callable[[Status], None],
        should_stop: Callable[[], bool],
        stack: contextlib.ExitStack,
        *,
        step: StepName,
        source: Path | None,
        ranks: Ranks,
    ) -> None:
        self.run = run
        self.folder = folder
        self.dataset = dataset
        self.report = report
        self.should_stop = should_stop
        self.ranks = ranks
        self.net, loaded, self.warnings = ranks.from_first(lambda: _begin(run, folder, dataset, source))
        fast = partial(make_step, is_alone=ranks.count == 1, is_compiled=step == "compiled")
        make = EagerStep if step == "plain" else fast
        parts = (run.variant.accumulate or ranks.count) // ranks.count
        self.step = make(self.net, run.protocol, run.variant.precision, dataset.device, parts, run.task.loss())
        self.state = loaded or TrainState()
        if loaded:
            self.step.load_momentum(loaded.optimizer)
        if ranks.count > 1:
            self.step.join(ranks, synchronized=run.variant.accumulate is None)
        if ranks.is_first:
            self._open_logs(stack)
        self.first_iteration = self.state.iteration
        self.is_warm = False
        self.errors_on_screen: deque[float] = deque(self.state.recent_errors, maxlen=REPORTED_UPDATES)
        self.pending: list[tuple[int, float, torch.Tensor, torch.Tensor]] = []
        self.clock = time.monotonic()
        self.seconds_here = 0.0
        self.stream = stack.enter_context(contextlib.closing(run.task.stream(dataset, run, ranks.share)))
        self.turns = stack.enter_context(
            contextlib.closing(Turns(dataset.device, run.variant.precision, is_alone=ranks.count == 1))
        )
        self.epochs_between_tests = schedule.epochs_between_tests(
            self.stream.epochs_seen(run.protocol.iterations), len(dataset.train_labels), len(dataset.test_labels)
        )
        self.tell("running")

    def _open_logs(self, stack: contextlib.ExitStack) -> None:
        folder, state = self.folder, self.state
        # What the last start left of results would not agree with logs that grow.
        (folder / run_folder.SUMS).unlink(missing_ok=True)
        task = self.run.task
        self.train_log = log.CsvLog(
            folder / run_folder.TRAIN_CSV, task.train_columns, state.train_csv_bytes, state.train_csv_sha256
        )
        stack.callback(self.train_log.close)
        self.eval_log = log.CsvLog(
            folder / run_folder.EVAL_CSV, task.eval_columns, state.eval_csv_bytes, state.eval_csv_sha256
        )
        stack.callback(self.eval_log.close)

    def update(self) -> None:
        """Makes the next update. Its loss and error stay on the device until `flush`."""
        protocol, state = self.run.protocol, self.state
        if self.is_warming:
            self.flush()
            assert protocol.warmup is not None
            if schedule.warmup_is_over(protocol.warmup, state.recent_errors):
                state.warmup_ended_at = state.iteration
        if protocol.plateau and state.iteration % protocol.plateau.window == 0:
            self.flush()
        state.iteration += 1
        rate = schedule.learning_rate(protocol, state.iteration, state.warmup_ended_at, state.rate_drops)
        self.turns.take()
        loss, wrong = self.step.update(self.stream, state.iteration, rate)
        self.pending.append((state.iteration, rate, loss, wrong))
        if len(self.pending) >= PENDING_UPDATES:
            self.flush()
        if not self.is_warm:  # the first update here may have compiled its step, which says nothing about the speed
            self.flush()
            self._book_train_time()
            self.seconds_here, self.first_iteration, self.is_warm = 0.0, state.iteration, True

    @property
    def is_warming(self) -> bool:
        """Whether the warm-up (ResNet-110's, section 4.2) still lasts."""
        return self.run.protocol.warmup is not None and self.state.warmup_ended_at is None

    @property
    def is_test_due(self) -> bool:
        """Whether the last image of an epoch was in the last update's batch; in a long run, not of each epoch."""
        iteration = self.state.iteration
        epoch = self.stream.epochs_seen(iteration)
        ends_epoch = iteration > 0 and epoch > self.stream.epochs_seen(iteration - 1)
        return ends_epoch and epoch % self.epochs_between_tests == 0 and self.state.tested_at < iteration

    def flush(self) -> None:
        """Writes the pending updates to train.csv.

        Raises:
            DivergedError: One of them has a loss that is not finite; those before it are written.
        """
        if not self.pending:
            return
        losses = torch.stack([loss for _, _, loss, _ in self.pending]).tolist()
        wrong = [int(count) for count in torch.stack([count for _, _, _, count in self.pending]).tolist()]
        lines = []
        finite = np.isfinite(losses)
        for (iteration, rate, _, _), loss, count, good in zip(self.pending, losses, wrong, finite, strict=True):
            if not good:
                break
            error = self.run.task.trained.of(count, self.run.protocol.batch_size)
            lines.append(log.train_line(iteration, rate, loss, error))
            self.errors_on_screen.append(error)
            if self.is_warming:
                assert self.run.protocol.warmup is not None
                self.state.recent_errors = [*self.state.recent_errors, error][-self.run.protocol.warmup.window :]
            self._watch_plateau(iteration, count)
        if self.ranks.is_first:
            self.train_log.write(lines)
        if not finite.all():
            at = self.pending[len(lines)][0]
            raise DivergedError(f"the loss became {losses[len(lines)]} at iteration {at}")
        self.pending.clear()

    def _watch_plateau(self, iteration: int, wrong: int) -> None:
        """Notes an update's wrong answers; at the end of a window, whether the rate is to drop (section 3.4)."""
        plateau, state = self.run.protocol.plateau, self.state
        if plateau is None:
            return
        state.window_wrong += wrong
        if iteration % plateau.window:
            return
        images = plateau.window * self.run.protocol.batch_size
        state.window_errors.append(100 * state.window_wrong / images)
        state.window_wrong = 0
        if len(state.rate_drops) < plateau.drops and schedule.has_plateaued(plateau, state.window_errors):
            state.rate_drops.append(iteration)
            state.window_errors.clear()

    def evaluate(self) -> Scores:
        """Tests the net as it is and logs it.

        Raises:
            StoppedError: `should_stop` said so; nothing is logged. Several ranks first end their test together.
        """
        self.flush()
        self._book_train_time()
        told = time.monotonic()

        def progress(_: int) -> None:
            nonlocal told
            if self.ranks.count == 1 and self.should_stop():
                raise StoppedError
            self.turns.take()
            if time.monotonic() - told >= HEARTBEAT_SECONDS:
                told = time.monotonic()
                self.state.evaluate_seconds += self._lap()
                self.tell("running")

        task, precision = self.run.task, self.run.variant.precision
        result = task.test(self.net, self.dataset, precision, progress=progress, ranks=self.ranks)
        self.state.evaluate_seconds += self._lap()
        self.state.tested_at = self.state.iteration
        self.state.test_error = result.metrics[task.metric.key]
        if self.ranks.is_first:
            self.eval_log.write([log.eval_line(self.state.iteration, result)])
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
            learning_rate=schedule.learning_rate(
                protocol, max(1, reached), self.state.warmup_ended_at, self.state.rate_drops
            ),
            train_error=float(np.mean(self.errors_on_screen)) if self.errors_on_screen else None,
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
