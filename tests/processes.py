"""Processes that tests start: waited for as long as it takes, and ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PATIENCE = 600.0  # seconds; only a test that fails waits so long


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program in a process group of its own, of which nothing is left afterwards."""
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # torchrun's processes are in groups of their own, and it ends them
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
            end_group(process.pid)


def end_group(group: int) -> None:
    """Kills what is left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def killed_at_last(*processes: BaseProcess) -> Iterator[None]:
    """Kills processes at the end, if they have not ended."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
