"""Trainings that share too few cores take turns, so that they do not slow each other down.

The threads of one training wait for each other thousands of times in an update, and spin while they do: the fastest
way as long as each has a core of its own. Where other trainings want the cores too, a thread that spins keeps from
running the very thread that it waits for, and each wait costs a time slice of the scheduler: two trainings on two cores
then make a quarter of the progress of one. So a training that finds its cores wanted has them to itself for a moment,
and then lets the next one have them. `benchmarks/waiting.py` measures it; docs/speed.md has the figures.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import torch

if TYPE_CHECKING:
    from resnet_cli.names import Precision

LOOK_SECONDS = 1.0  # between two checks of the time spent waiting for cores
CROWDED = 0.1  # share of the time spent waiting for a core; without others it is below 0.02
CALM_SECONDS = 10.0  # without such a wait, after which no other training is assumed
LOOKS_BEFORE_SLEEP = 3  # checks that find the cores crowded although turns are taken
TURN_SECONDS = 0.2  # or one update, where that takes longer
POLL_SECONDS = 0.002
LONGEST_WAIT = 10.0  # for a turn; its holder may have been stopped, and slow is better than never
AUTOGROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")
AUTOGROUP = Path("/proc/self/autogroup")
SCHEDSTAT = Path("/proc/self/schedstat")  # Linux: nanoseconds on a core, nanoseconds waited for one, of the main thread
WAITING_POLICY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # a user who sets one of them has decided


class Turns:
    """The turns of one training on the CPU; it takes none if there are no others, or if that cannot be determined.

    Trainings of one user and of one niceness take turns; among several nicenesses the scheduler's weights decide. A
    training with a single thread takes no turns, as no thread waits for another; nor do ranks, which wait for each
    other.
    """

    def __init__(
        self, device: torch.device, precision: Precision, *, is_alone: bool = True, folder: Path | None = None
    ) -> None:
        self.is_taking = device.type == "cpu" and is_alone and torch.get_num_threads() > 1 and SCHEDSTAT.exists()
        name = str((folder or Path(tempfile.gettempdir())) / f"resnet-cli-{os.getuid()}-nice-{_niceness()}")
        # Two locks make a queue: the holder of a turn cannot take the next before the first in the queue has had it.
        self.queue, self.turn = filelock.FileLock(f"{name}.queue"), filelock.FileLock(f"{name}.turn")
        self.taken = 0.0
        self.looked, self.waited = time.monotonic(), _waited_for_cores()
        self.crowded_until, self.crowded_looks = 0.0, 0
        self.sleep = _Sleep(precision)

    def take(self) -> None:
        """Waits for this training's turn, if others want the cores; keeps a turn that has just begun."""
        if not self.is_taking:
            return
        now = time.monotonic()
        if now - self.looked >= LOOK_SECONDS:
            self._look(now)
        if self.turn.is_locked and now - self.taken < TURN_SECONDS:
            return
        self.give()
        if now >= self.crowded_until:
            return
        try:
            with self.queue.acquire(timeout=LONGEST_WAIT, poll_interval=POLL_SECONDS):
                self.turn.acquire(timeout=LONGEST_WAIT, poll_interval=POLL_SECONDS)
        except filelock.Timeout:
            pass
        except OSError:  # a folder for temporary files that cannot be written
            self.is_taking = False
        self.taken = time.monotonic()
        if self.taken - now > 2 * POLL_SECONDS:  # another had it
            self.crowded_until = self.taken + CALM_SECONDS

    def give(self) -> None:
        """Lets the next one have the cores: before anything that needs only one, and at the end."""
        self.turn.release()

    def close(self) -> None:
        """Takes no more turns."""
        self.give()
        self.sleep.end()

    def _look(self, now: float) -> None:
        """Notes whether this training waited for cores since the last look."""
        waited = _waited_for_cores()
        is_crowded = waited - self.waited > CROWDED * (now - self.looked)
        self.looked, self.waited = now, waited
        if is_crowded:
            self.crowded_until = now + CALM_SECONDS
            self.crowded_looks += 1
            if self.crowded_looks == LOOKS_BEFORE_SLEEP:
                self.sleep.begin()
        elif now >= self.crowded_until:
            self.crowded_looks = 0
            self.sleep.end()


class _Sleep:
    """Makes OpenMP's threads sleep while they wait for each other, beside programs that take no turns.

    libgomp's threads spin only for a moment where it manages more of them than there are cores (its manual,
    GOMP_SPINCOUNT). A Python thread that has threads of OpenMP of its own brings that about as long as it lives.

    In bf16 they go on spinning: oneDNN has barriers of its own inside a convolution, which spin whatever OpenMP does,
    and at which a thread that was woken late is waited for.
    """

    def __init__(self, precision: Precision) -> None:
        self.is_wanted = precision == "fp32" and not any(name in os.environ for name in WAITING_POLICY)
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def begin(self) -> None:
        """Threads sleep from now on."""
        if self.is_wanted and self.thread is None:
            self.over.clear()
            self.thread = threading.Thread(target=self._crowd, daemon=True)
            self.thread.start()

    def end(self) -> None:
        """Threads spin again."""
        if self.thread:
            self.over.set()
            self.thread.join()
            self.thread = None

    def _crowd(self) -> None:
        torch.ones(1_000_000).add_(1)  # large enough for OpenMP to start this thread's own threads
        self.over.wait()


def _niceness() -> int:
    """The niceness that decides between this training and one of another session.

    Where Linux makes a group of each session's processes, it is the group's: `nice` decides within a session only.
    """
    try:
        if AUTOGROUPS.read_text(encoding="ascii").strip() == "1":
            return int(AUTOGROUP.read_text(encoding="ascii").split()[-1])  # "/autogroup-45 nice 0"
    except (OSError, IndexError, ValueError):
        pass
    return os.nice(0)


def _waited_for_cores() -> float:
    """Seconds for which the main thread was ready to run and another had its core, so far; 0 where it is unknown."""
    try:
        return int(SCHEDSTAT.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
