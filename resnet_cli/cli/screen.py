"""Progress while runs train: a live view on a terminal, plain lines in a pipe. All on standard error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from resnet_cli import streams
from resnet_cli.cli.answer import say
from resnet_cli.runs.estimate import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from resnet_cli.identity import RunSpec
    from resnet_cli.runs.settings import Ending, Notice
    from resnet_cli.storage.run_folder import Status

WIDE = 60  # columns, from which there is room for a bar
BAR = 12  # columns of the shortest bar, the spinner and the spaces
LINE_SECONDS = 30.0  # in a pipe, the least time between two lines of a run


def describe(run: RunSpec, status: Status) -> list[str]:
    """A run's figures in words: update, rate, errors, speed."""
    parts = [f"{status.iteration:,}/{status.iterations:,}"]
    if status.learning_rate is not None:
        parts.append(f"lr {status.learning_rate:g}" + (" (warm-up)" if is_warming(run, status) else ""))
    if status.train_error is not None:
        parts.append(f"train {status.train_error:.1f}%")
    if status.test_error is not None:
        parts.append(f"test {status.test_error:.2f}%")
    if status.images_per_second:
        parts.append(f"{status.images_per_second:,.0f} images/s")
    return parts


def as_many_as_fit(parts: Sequence[str], room: int) -> str:
    """The first of these parts, and after it each part that still fits."""
    text = parts[0]
    for part in parts[1:]:
        if part and len(text) + len(part) + 2 <= room:
            text += f", {part}"
    return text


def is_warming(run: RunSpec, status: Status) -> bool:
    """Whether the run is in its warm-up."""
    return status.state == "running" and run.protocol.warmup is not None and status.warmup_ended_at is None


def seconds_left(run: RunSpec, status: Status) -> float | None:
    """Seconds a run still takes at its present speed; None before it has one."""
    if not status.images_per_second:
        return None
    return (status.iterations - status.iteration) * run.protocol.batch_size / status.images_per_second


class Screen:
    """Shows runs as they go: a bar for each active one and one for the whole table.

    Args:
        title: What is being trained.
        runs: All runs to train, in order.
        console: Where to draw; standard error.
    """

    def __init__(self, title: str, runs: Sequence[RunSpec], console: Console) -> None:
        self.console = console
        self.total = sum(run.task.work(run) for run in runs)
        self.count = len(runs)
        self.ended_count = 0
        self.done_work = {run.run_id: 0.0 for run in runs}
        self.work_before: float | None = None
        self.began = time.monotonic()
        self.spoke: dict[str, float] = {}
        self.warming: set[str] = set()
        self.told: set[str] = set()
        self.tasks: dict[str, TaskID] = {}
        name, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
        left = TextColumn("{task.fields[left]}", justify="right")
        self.is_narrow = console.width < WIDE
        columns = (
            (name, figures)
            if self.is_narrow
            else (SpinnerColumn("line"), name, BarColumn(bar_width=None), figures, left)
        )
        self.progress = Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            expand=True,
        )
        self.overall = self.progress.add_task(f"[bold]{escape(title)}[/]", total=self.total, figures="", left="")

    def __enter__(self) -> Self:
        """Begins to draw."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops drawing."""
        self.progress.stop()

    def progressed(self, run: RunSpec, status: Status) -> None:
        """A run has started or made progress."""
        key = run.run_id
        self.done_work[key] = run.task.work(run) * status.iteration / status.iterations
        self._note_warmup(run, status)
        if status.message and key not in self.told:
            self.told.add(key)
            self._say(f"{_name(run)}: {status.message}")
        left = seconds_left(run, status)
        left_text = "" if left is None else f"{duration(left)} left"
        if self.console.is_terminal:
            if key not in self.tasks:
                self.tasks[key] = self.progress.add_task(_name(run), total=status.iterations, figures="", left="")
            figures = self._figures(run, status, left_text)
            self.progress.update(self.tasks[key], completed=status.iteration, figures=figures, left=left_text)
            self._update_overall()
        elif time.monotonic() - self.spoke.get(key, float("-inf")) >= LINE_SECONDS:
            self.spoke[key] = time.monotonic()
            self._say(f"{_name(run)}: {', '.join(describe(run, status))}" + (f", {left_text}" if left_text else ""))

    def _figures(self, run: RunSpec, status: Status, left: str) -> str:
        """As many figures as the terminal has room for beside the name, a short bar and the time left."""
        updates, *others = describe(run, status)
        if self.is_narrow:
            return as_many_as_fit([updates, left, *others], self.console.width - len(_name(run)) - 1)
        return as_many_as_fit([updates, *others], self.console.width - len(_name(run)) - len(left) - BAR)

    def noticed(self, run: RunSpec, notice: Notice) -> None:
        """A run is busy with something other than its updates."""
        self._say(f"{_name(run)}: {notice.text}")

    def ended(self, run: RunSpec, ending: Ending, message: str) -> None:
        """A run is over."""
        self.ended_count += 1
        if run.run_id in self.tasks:
            self.progress.remove_task(self.tasks.pop(run.run_id))
        self.done_work[run.run_id] = float(run.task.work(run))
        self._update_overall()
        self._say(f"{_name(run)}: {ending}" + (f": {message}" if message else ""))

    def _note_warmup(self, run: RunSpec, status: Status) -> None:
        if is_warming(run, status):
            self.warming.add(run.run_id)
        elif run.run_id in self.warming and status.warmup_ended_at is not None:
            self.warming.remove(run.run_id)
            self._say(f"{_name(run)}: warm-up ended after update {status.warmup_ended_at}")

    def _update_overall(self) -> None:
        done = sum(self.done_work.values())
        if self.work_before is None:  # work of earlier starts says nothing about the speed now
            self.work_before, self.began = done, time.monotonic()
        seconds = time.monotonic() - self.began
        speed = (done - self.work_before) / seconds if seconds > 1 else 0.0
        left = f"{duration((self.total - done) / speed)} left" if speed else ""
        self.progress.update(
            self.overall, completed=done, figures=f"{self.ended_count} of {self.count} runs", left=left
        )

    def _say(self, line: str) -> None:
        say(self.console, line)


def in_a_log(title: str, runs: Sequence[RunSpec]) -> Screen:
    """Lines on standard output, for a job's log."""
    streams.install()
    return Screen(title, runs, Console())


def _name(run: RunSpec) -> str:
    return f"{run.net.name} seed {run.seed}"
