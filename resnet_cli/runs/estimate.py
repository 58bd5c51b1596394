"""How long runs take here, judged by the runs that were made here. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.complexity import multiply_adds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resnet_cli.runs.store import Store
    from resnet_cli.spec import Precision, RunSpec

FEWEST_UPDATES = 50  # below that, start-up drowns the speed


def work(run: RunSpec) -> int:
    """Multiply-adds of a run's forward passes; backward passes and evaluation are in proportion."""
    return run.protocol.iterations * run.protocol.batch_size * multiply_adds(run.net)


def measured_speed(store: Store, precision: Precision) -> float | None:
    """Multiply-adds a second in the store's longest run of this precision, evaluation included; None without one."""
    best: tuple[int, float] | None = None
    for run in store.runs():
        status = store.status(run)
        seconds = status.train_seconds + status.evaluate_seconds
        if run.variant.precision != precision or status.iteration < FEWEST_UPDATES or not seconds:
            continue
        done = work(run) * status.iteration // run.protocol.iterations
        if best is None or done > best[0]:
            best = done, done / seconds
    return best and best[1]


def seconds_left(runs: Iterable[RunSpec], store: Store, speed: float) -> float:
    """Seconds that the missing part of these runs takes at this speed."""
    missing = 0.0
    for run in runs:
        status = store.status(run)
        if status.state != "done":
            missing += work(run) * (1 - status.iteration / run.protocol.iterations)
    return missing / speed


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
