"""A table's runs side by side, workers and launcher killed on the way: what is left is made, what is done stays."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import PATIENCE, end_group, wait_for
from small_run import Endings, result, small_run, train_here

from resnet_cli.runs.execute import execute
from resnet_cli.runs.settings import Settings
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from resnet_cli.identity import RunSpec

UPDATES = 120
JUST_NOW = 0.1  # seconds
NETS = ("plain-8", "resnet-8", "resnet-8-B", "resnet-8-C")
CONTEXT = multiprocessing.get_context("forkserver")


class PidWriter(Endings):
    """Writes down which process makes which run."""

    def __init__(self, pids: Path) -> None:
        super().__init__()
        self.pids = pids

    def progressed(self, *_: object) -> None:
        """A run has moved on."""
        for process in multiprocessing.active_children():
            (self.pids / process.name).write_text(str(process.pid))


def launch(runs: list[RunSpec], root: Path, pids: Path) -> None:
    """The body of the launcher: all that is missing, two at a time."""
    os.setsid()
    os.environ["OMP_NUM_THREADS"] = "2"  # of which each of two workers gets one, as the serial runs have
    execute(runs, Store(root), Settings("cpu", Path("nowhere"), jobs=2, checkpoint_seconds=0.1), PidWriter(pids))


@contextlib.contextmanager
def started(runs: list[RunSpec], root: Path, pids: Path) -> Iterator[BaseProcess]:
    """A launcher, of which, and of its workers, nothing is left afterwards."""
    process = CONTEXT.Process(target=launch, args=(runs, root, pids))
    process.start()
    try:
        yield process
    finally:
        assert process.pid is not None
        process.kill()
        process.join()
        end_group(process.pid)


def in_the_midst(runs: list[RunSpec], store: Store, pids: Path, launcher: BaseProcess) -> RunSpec:
    """Waits for a run that is trained just now and far from its end, as a status says that was written just now."""
    while True:
        assert launcher.is_alive()  # there is still something to wait for
        for run in runs:
            status = store.status(run)
            is_far = status.state == "running" and status.iteration < UPDATES / 2
            if is_far and time.time() - status.heartbeat < JUST_NOW and (pids / run.run_id).exists():
                return run
        time.sleep(0.01)


def weights_written(runs: list[RunSpec], store: Store) -> dict[str, int]:
    """When each finished run's weights were written."""
    done = [run for run in runs if store.is_done(run)]
    return {run.run_id: (store.folder(run) / run_folder.WEIGHTS).stat().st_mtime_ns for run in done}


@pytest.mark.parametrize(
    ("seeds", "worker_kills"),
    [pytest.param(1, (1,), marks=pytest.mark.long), pytest.param(3, (3, 2), marks=pytest.mark.slow)],
    ids=["4 runs", "12 runs"],
)
def test_a_grid_that_is_killed_again_and_again(
    seeds: int, worker_kills: tuple[int, ...], group_ends: Callable[[int], bool], tmp_path: Path
) -> None:
    """So many workers killed, then the launcher, and launched anew: every run ends with the bytes of a serial one.

    Workers without a launcher save and go; no run that is done is made again. Long: each worker is a fresh interpreter.

    Seen to fail when workers do not look for their launcher. That done runs are left alone is held twice: by who starts
    them, and by a training that finds results.
    """
    CONTEXT.set_forkserver_preload(["resnet_cli.runs.execute", "torch._dynamo"])
    runs = [small_run(UPDATES, net, seed) for net in NETS for seed in range(seeds)]
    for run in runs:
        train_here(run, tmp_path / "serial", checkpoint_seconds=30)
    root, pids, store = tmp_path / "grid", tmp_path / "pids", Store(tmp_path / "grid")
    pids.mkdir()
    chance = random.Random(2015)  # noqa: S311  when to kill, no secret
    written: dict[str, int] = {}
    for kills in worker_kills:
        with started(runs, root, pids) as launcher:
            for _ in range(kills):
                run = in_the_midst(runs, store, pids, launcher)
                time.sleep(chance.uniform(0, 0.3))
                with contextlib.suppress(ProcessLookupError):  # on a fast machine it may have ended since
                    os.kill(int((pids / run.run_id).read_text()), signal.SIGKILL)
                # until the launcher has seen it, it may write its number again
                wait_for(lambda run=run: store.status(run).state != "running", "not noticed")  # type: ignore[misc]
                (pids / run.run_id).unlink()
            run = in_the_midst(runs, store, pids, launcher)
            assert launcher.pid is not None
            os.kill(launcher.pid, signal.SIGKILL)
            launcher.join()

            assert group_ends(launcher.pid)
        assert "interrupted" == store.status(run).state  # not done: it saw that its launcher had gone
        now = weights_written(runs, store)
        assert written == {name: now[name] for name in written}
        written = now
    while not all(store.is_done(run) for run in runs):
        with started(runs, root, pids) as launcher:
            launcher.join(PATIENCE)

            assert 0 == launcher.exitcode

    assert written.items() <= weights_written(runs, store).items()
    for run in runs:
        assert result(run, tmp_path / "serial") == result(run, root), run.run_id
